//! A line to a server that can be cut, or that carries nothing any more.

use std::{io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// How a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// It carries everything.
    Good,
    /// Connections are closed, and new ones at once.
    Cut,
    /// Connections are made and stay, but nothing comes back.
    Hung,
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
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (state, seen) = watch::channel(LineState::Good);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, seen.clone()));
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
async fn carry(mut client: TcpStream, server: SocketAddr, mut state: watch::Receiver<LineState>) {
    if *state.borrow_and_update() == LineState::Good {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            biased;
            changed = state.changed() => if changed.is_err() { return },
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
    }
    if *state.borrow_and_update() == LineState::Hung {
        // What is held keeps the other side waiting; it ends with the line, or when that is something else again.
        _ = state.changed().await;
    }
}
