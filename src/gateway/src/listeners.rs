//! The three sockets that are listened on, and what becomes of a connection before it is HTTP or WebSocket.

use crate::tls::Tls;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidecast_config::{ConfigError, ListenerName, Settings};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted: ten thousand clients come back at once after a restart.
const BACKLOG: u32 = 8_192;
/// A client that acknowledges nothing for this long is lost, and its connection with it.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(300);

/// A bound socket with the certificate that it shows: all that a listener's start can be refused for.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: TcpListener,
    /// `None`: it speaks in the clear.
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Where it is bound: the port where the setting said 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The three listeners of the contract, bound.
#[derive(Debug)]
pub struct Listeners {
    /// Dashboard, REST, ingest.
    pub app: Listener,
    /// `/forecast-updates`.
    pub websocket: Listener,
    /// Health and metrics.
    pub admin: Listener,
}

impl Listeners {
    /// Binds all three and reads their certificates. The error is one line that names the setting and says what to do.
    pub async fn bind(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Listeners {
            app: bind(settings, ListenerName::App).await?,
            websocket: bind(settings, ListenerName::WebSocket).await?,
            admin: bind(settings, ListenerName::Admin).await?,
        })
    }

    /// Binds the admin listener alone: of a process that serves no clients.
    pub async fn bind_admin(settings: &Settings) -> Result<Listener, ConfigError> {
        bind(settings, ListenerName::Admin).await
    }

    /// Where they are bound, in the contract's order: the port where the setting said 0.
    pub fn addresses(&self) -> io::Result<[SocketAddr; 3]> {
        Ok([self.app.address()?, self.websocket.address()?, self.admin.address()?])
    }
}

async fn bind(settings: &Settings, name: ListenerName) -> Result<Listener, ConfigError> {
    let protocols: &[&str] = match name {
        // A WebSocket is asked for in HTTP/1.1.
        ListenerName::WebSocket => &["http/1.1"],
        ListenerName::App | ListenerName::Admin => &["h2", "http/1.1"],
    };
    let tls = Tls::load(settings, name, protocols)?;
    Ok(Listener { socket: bind_socket(settings, name).await?, tls })
}

async fn bind_socket(settings: &Settings, name: ListenerName) -> Result<TcpListener, ConfigError> {
    let listener = settings.listener(name);
    let (host, port) = (format!("{}.host", name.as_str()), format!("{}.port", name.as_str()));
    let addresses: Vec<SocketAddr> =
        match tokio::net::lookup_host((listener.host.as_str(), listener.port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                let found = format!("\"{}\", which is no address of this machine ({error})", listener.host);
                return Err(settings.refuse(
                    &host,
                    found,
                    "an address or a name that resolves, such as 127.0.0.1",
                ));
            }
        };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::AddrInUse => {
            let found = format!("{}, which another program is using on {}", listener.port, listener.host);
            settings.refuse(&port, found, "a port that is free, or 0 for any")
        }
        io::ErrorKind::PermissionDenied => {
            let found = format!("{}, which this user may not listen on", listener.port);
            settings.refuse(&port, found, "a port from 1024 on, or 0 for any free one")
        }
        _ => {
            let found = format!("\"{}\", which cannot be listened on ({last})", listener.host);
            settings.refuse(&host, found, "an address of this machine")
        }
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // A restart must not wait for connections of the process before to be forgotten by the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts the next connection. Trouble that is not the connection's own (no file descriptors left) is waited out.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                prepare(&stream);
                return stream;
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; is the limit of open files (ulimit -n) high enough?");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Frames go out at once, and a peer that has vanished is noticed. What the kernel refuses here changes nothing else.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}
