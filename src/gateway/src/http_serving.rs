//! HTTP on a listener: accepted under limits, served over TLS or in the clear, ended in order.

use crate::addresses::Addresses;
use crate::first_bytes::FirstBytes;
use crate::gate::Peer;
use crate::listeners::{Listener, accept};
use crate::tls::Tls;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send the head of a request.
pub(crate) const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What HTTP listeners share.
#[derive(Clone)]
pub(crate) struct HttpServing {
    /// Connections under way.
    pub(crate) tasks: TaskTracker,
    /// Set when the service ends.
    pub(crate) stopping: CancellationToken,
    /// `limits.connections_per_address`.
    pub(crate) connections_per_address: Option<usize>,
}

impl HttpServing {
    /// Accepts until the service ends, at most `most` connections at a time.
    pub(crate) async fn accept(self, listener: Listener, router: axum::Router, most: usize) {
        let permits = Arc::new(Semaphore::new(most));
        let addresses = Addresses::new(self.connections_per_address);
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let stream = tokio::select! {
                () = self.stopping.cancelled() => return,
                stream = accept(&listener.socket) => stream,
            };
            let peer = peer_of(&stream);
            // Hung up on: whoever opens so many is not told by as many answers.
            let Ok(counted) = addresses.count(peer) else { continue };
            let (tls, router, stopping) = (listener.tls.clone(), router.clone(), self.stopping.clone());
            self.tasks.spawn(async move {
                match tls {
                    None => serve(stream, peer, router, stopping).await,
                    Some(tls) => {
                        if let Some(stream) = shake_hands(&tls, stream, &stopping).await {
                            serve(stream, peer, router, stopping).await;
                        }
                    }
                }
                drop((permit, counted));
            });
        }
    }
}

/// Who is at the other end.
pub(crate) fn peer_of(stream: &TcpStream) -> IpAddr {
    stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}

/// The TLS handshake, unless the service ends meanwhile.
pub(crate) async fn shake_hands(
    tls: &Tls,
    stream: TcpStream,
    stopping: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    tokio::select! {
        () = stopping.cancelled() => None,
        stream = Box::pin(tls.accept(stream)) => stream,
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: IpAddr,
    router: axum::Router,
    stopping: CancellationToken,
) {
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = TowerToHyperService::new(router.layer(axum::Extension(Peer(peer))));
    // The clock of a head starts with the protocol, which the client's first bytes tell.
    let stream = FirstBytes::new(stream, HEAD_PATIENCE);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Nothing waits here: the clock goes on by itself while everybody is idle.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_is_closed() {
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "here" }));
        for (said, answer) in [
            ("", ""),
            ("PRI * HT", ""),
            ("G", ""),
            ("GET / HTTP/1.1\r\nhost: x\r\n", ""),
            ("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "here"),
        ] {
            let (mut client, server) = tokio::io::duplex(1 << 10);
            let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let serving = tokio::spawn(serve(server, peer, router.clone(), CancellationToken::new()));
            client.write_all(said.as_bytes()).await.unwrap();
            let began = tokio::time::Instant::now();
            serving.await.unwrap();
            assert!(began.elapsed() <= HEAD_PATIENCE + Duration::from_secs(1), "{said:?}");
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert!(
                heard.ends_with(answer) && heard.starts_with("HTTP/1.1 200") != answer.is_empty(),
                "{heard}"
            );
        }
    }
}
