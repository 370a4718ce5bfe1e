//! The interface as it is served: over real connections.

mod connections;
mod heads;
mod origins;
mod tls;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::Router;
use laurel_api::{Certificates, ServerSettings, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a head may take: short, for the tests that wait for it.
const HEAD_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a client may read nothing: short, likewise.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// How many connections may be open: few, so that a test can take them all.
const CONNECTIONS_MAX: usize = 3;

/// How many of an address: fewer.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 2;

/// Who speaks for others: another address of this machine.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

/// A world that is served.
struct Served {
    world: World,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        Self::with(None).await
    }

    async fn with(certificates: Option<Certificates>) -> Self {
        let world = World::new().await;
        let router = world.router.clone();
        Self::of(world, router, certificates, false).await
    }

    /// Only for proxies.
    async fn proxied() -> Self {
        let world = World::new().await;
        let router = world.router.clone();
        Self::of(world, router, None, true).await
    }

    async fn of(
        world: World,
        router: Router,
        certificates: Option<Certificates>,
        proxies_only: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = ServerSettings {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            trusted_proxies: vec![PROXY.into()],
            proxies_only,
            head_timeout: HEAD_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            certificates,
            connections: world.state.limits.metrics.connections.clone(),
        };
        let shutdown = world.shutdown.clone();
        let serving = tokio::spawn(serve(listener, router, settings, shutdown.clone()));
        Self { world, address, shutdown, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_from(&self, from: IpAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    fn open(&self) -> i64 {
        self.world.state.limits.metrics.connections.get()
    }

    /// Waits until as many connections are open.
    async fn until_open(&self, count: i64) {
        let reached = async {
            while self.open() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{} are open", self.open()));
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it ends").unwrap();
    }
}

const ASK: &str = "GET /v1/auth/jwks HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Sends something, and gives what is answered until `count` bytes of body, an empty one, or the end.
async fn talk(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    answer(stream).await
}

/// An answer, or what there is of it.
async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    let read = async {
        loop {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if count == 0 || is_whole(&text) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer, or the end");
    text
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}
