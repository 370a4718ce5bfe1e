//! Serving: so many connections, each with its time limits, with TLS or without.
//!
//! ```text
//!   place for a connection ──► accept ──► place of the address ──► TLS ──► HTTP/1.1: head in time ──► router
//!                                                                                      reader in time ◄──╯
//! ```
//!
//! hyper is driven itself, because axum's own server knows neither limits of heads nor of connections.

mod certificates;
mod peers;

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use prometheus::IntGauge;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

pub use self::certificates::{CertificateError, Certificates};
use self::peers::Peers;

/// How long a client may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody is accepted after the system had no room for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The most of a head that is kept. What is longer than what routes take, and shorter than this, is refused with a problem.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most headers, likewise.
const HEADERS_MAX: usize = 128;

/// How connections are served.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How many may be open; whoever comes then waits to be accepted.
    pub connections_max: usize,
    /// How many of them one address may have; whoever comes with more is cut off.
    pub connections_per_address_max: usize,
    /// Proxies, which may have any number.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether whoever is none is cut off.
    pub proxies_only: bool,
    /// How long a head may take, and a connection may be idle.
    pub head_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// Without, TLS is somebody else's, or nobody's on a loopback address.
    pub certificates: Option<Certificates>,
    /// How many are open.
    pub connections: IntGauge,
}

/// Serves until `shutdown`, and then until every request that has begun is answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let peers = Peers::new(&settings);
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Whoever goes makes room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let Some(admitted) = peers.admit(peer.ip()) else {
                tracing::debug!(%peer, "an address may not connect, or has as many connections as it may");
                continue;
            };
            let serving = serve_connection(stream, peer, router.clone(), settings.clone(), shutdown.clone());
            let connections = settings.connections.clone();
            connections.inc();
            tasks.spawn(async move {
                serving.await;
                connections.dec();
                drop((place, admitted));
            });
        }
    };
    shutdown.run_until_cancelled(accepting).await;
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    settings: ServerSettings,
    shutdown: CancellationToken,
) {
    // An answer is one write, which waits for nothing.
    let _ = stream.set_nodelay(true);
    let stream = with_write_timeout(stream, settings.write_timeout);
    let Some(certificates) = &settings.certificates else {
        return serve_http(stream, peer, router, &settings, &shutdown).await;
    };
    let handshake = TlsAcceptor::from(certificates.current()).accept(stream);
    let agreed = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake);
    match shutdown.run_until_cancelled(agreed).await {
        Some(Ok(Ok(stream))) => serve_http(stream, peer, router, &settings, &shutdown).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, "a client did not agree on TLS"),
        Some(Err(_)) => tracing::debug!("a client took too long to agree on TLS"),
        None => {}
    }
}

/// Under TLS, where what is written is what the client takes.
fn with_write_timeout(stream: TcpStream, timeout: Duration) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    Box::pin(stream)
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    settings: &ServerSettings,
    shutdown: &CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
