//! HTTP on a listener: accepted under limits, served over TLS or in the clear, ended in order.

use crate::addresses::Addresses;
use crate::gate::Peer;
use crate::listeners::accept;
use crate::tls::Tls;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
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
    pub(crate) async fn accept(
        self,
        listener: TcpListener,
        tls: Option<Arc<Tls>>,
        router: axum::Router,
        most: usize,
    ) {
        let permits = Arc::new(Semaphore::new(most));
        let addresses = Addresses::new(self.connections_per_address);
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let stream = tokio::select! {
                () = self.stopping.cancelled() => return,
                stream = accept(&listener) => stream,
            };
            let peer = peer_of(&stream);
            // Hung up on: whoever opens so many is not told by as many answers.
            let Ok(counted) = addresses.count(peer) else { continue };
            let (tls, router, stopping) = (tls.clone(), router.clone(), self.stopping.clone());
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
