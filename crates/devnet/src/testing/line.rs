//! A line to a server that can be cut, or that carries nothing any more.

use std::{io, net::SocketAddr, path::PathBuf};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};
use url::Url;

/// How a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// It carries everything.
    Good,
    /// Connections are closed, and new ones at once.
    Cut,
    /// Connections are made and stay, but nothing comes back.
    Hung,
    /// Connections that there were stay, but nothing comes back; new ones are carried: the server's machine was replaced.
    Stale,
}

/// Where a line leads.
#[derive(Clone, Debug)]
enum Server {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Anything that carries bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Server {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// A line to a server on this machine: what connects to [`Line::url`] reaches the server while the line is good.
#[derive(Debug)]
pub struct Line {
    url: String,
    state: watch::Sender<LineState>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A good line to the server at `url`, such as `http://127.0.0.1:8545`.
    ///
    /// # Errors
    ///
    /// When `url` is none of that form, or there is no port to listen on.
    pub async fn to(url: &str) -> io::Result<Self> {
        let server = url.strip_prefix("http://").and_then(|address| address.parse::<SocketAddr>().ok());
        let server = server.ok_or_else(|| io::Error::other(format!("{url} is no http://ADDRESS:PORT")))?;
        Self::carrying(Server::Tcp(server), |address| format!("http://{address}")).await
    }

    /// A good line to the database at `url`, which may be on a socket.
    ///
    /// # Errors
    ///
    /// When `url` is no address of a database, or there is no port to listen on.
    pub async fn to_database(url: &str) -> io::Result<Self> {
        let options: PgConnectOptions = url.parse().map_err(io::Error::other)?;
        let server = match options.get_socket() {
            Some(folder) => Server::Unix(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => {
                let mut found = tokio::net::lookup_host((options.get_host(), options.get_port())).await?;
                Server::Tcp(found.next().ok_or_else(|| io::Error::other("the database has no address"))?)
            }
        };
        let mut through = Url::parse(url).map_err(io::Error::other)?;
        Self::carrying(server, |address| {
            // Neither can fail: a URL of this form has both.
            let _ = through.set_host(Some(&address.ip().to_string()));
            let _ = through.set_port(Some(address.port()));
            through.set_query(Some("sslmode=disable"));
            through.into()
        })
        .await
    }

    async fn carrying(server: Server, url: impl FnOnce(SocketAddr) -> String) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = url(listener.local_addr()?);
        let (state, seen) = watch::channel(LineState::Good);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), seen.clone()));
            }
        });
        Ok(Self { url, state, accepting })
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the line is from now on, also for the connections that there are.
    pub fn set(&self, state: LineState) {
        self.state.send_replace(state);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one connection until the line changes. An error ends it, as it would without the line.
async fn carry(mut client: TcpStream, server: Server, mut state: watch::Receiver<LineState>) {
    if matches!(*state.borrow_and_update(), LineState::Good | LineState::Stale) {
        let Ok(mut server) = server.connect().await else { return };
        tokio::select! {
            biased;
            changed = state.changed() => if changed.is_err() { return },
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
    }
    if matches!(*state.borrow_and_update(), LineState::Hung | LineState::Stale) {
        // What is held keeps the other side waiting; it ends with the line, or when that is something else again.
        _ = state.changed().await;
    }
}
