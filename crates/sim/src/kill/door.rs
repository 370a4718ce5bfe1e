//! The way in: two replicas of the API behind a client that takes the other one when one does not answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use alloy::primitives::keccak256;
use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::AGAIN;

/// How long a try may take: the API itself gives up after that.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a caller insists on an answer: longer than anything is down.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of single tries, whatever became of the requests that they were for.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// All of them.
    pub(super) made: AtomicU64,
    /// Nobody listened.
    pub(super) refused: AtomicU64,
    /// The connection broke before the answer.
    pub(super) cut: AtomicU64,
    /// No answer in time.
    pub(super) timed_out: AtomicU64,
    /// Answered with a failure of the server's (5xx).
    pub(super) server_errors: AtomicU64,
}

/// A try that did not do.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

/// Callers share it.
#[derive(Clone, Debug)]
pub(super) struct Door {
    client: Client,
    urls: Arc<[String]>,
    next: Arc<AtomicUsize>,
    pub(super) tries: Arc<Tries>,
}

impl Door {
    pub(super) fn new(urls: Vec<String>) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(TRY_TIMEOUT).build()?;
        Ok(Self { client, urls: urls.into(), next: Arc::default(), tries: Arc::default() })
    }

    /// The same, which counts its tries anew.
    pub(super) fn anew(&self) -> Self {
        Self { tries: Arc::default(), ..self.clone() }
    }

    /// One try at the replica whose turn it is, and one more at the other if that did not do. What is asked for may be
    /// asked for twice: outcomes have ids, everything else has a key.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failed> {
        let turn = self.next.fetch_add(1, Relaxed);
        match self.attempt(turn, method.clone(), path, body).await {
            Ok(answer) => Ok(answer),
            Err(_) => self.attempt(turn + 1, method, path, body).await,
        }
    }

    /// Asks until there is an answer that is no failure of the server's, as game servers do.
    pub(super) async fn insist(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let began = Instant::now();
        loop {
            match self.request(method.clone(), path, body).await {
                Ok(answer) => return Ok(answer),
                Err(Failed(why)) if began.elapsed() > PATIENCE => {
                    bail!("{method} {path}: no answer within {PATIENCE:?}; the last try: {why}");
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// The same, and the answer has to be a good one.
    pub(super) async fn must(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let (status, answer) = self.insist(method, path, body.as_ref()).await?;
        if !status.is_success() {
            bail!("{path}: {status}: {answer}");
        }
        Ok(answer)
    }

    /// Waits until a route's answer is as wanted.
    pub(super) async fn until(
        &self,
        path: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let answer = self.must(Method::GET, path, None).await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if began.elapsed() > within {
                bail!("{path}: after {within:?} still {answer}");
            }
            sleep(AGAIN).await;
        }
    }

    async fn attempt(
        &self,
        turn: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failed> {
        self.tries.made.fetch_add(1, Relaxed);
        let url = &self.urls[turn % self.urls.len()];
        let key = keccak256(format!("{path}{}", body.map(ToString::to_string).unwrap_or_default()));
        let mut request = self.client.request(method, format!("{url}/v1{path}"));
        request = request.header("idempotency-key", format!("\"{key}\""));
        if let Some(body) = body {
            request = request.json(body);
        }
        match read(request).await {
            Ok((status, answer)) if status.is_server_error() => {
                self.tries.server_errors.fetch_add(1, Relaxed);
                Err(Failed(format!("{status}: {answer}")))
            }
            Ok(answer) => Ok(answer),
            Err(error) => {
                let why = error.downcast_ref::<reqwest::Error>();
                let kind = if why.is_some_and(reqwest::Error::is_timeout) {
                    &self.tries.timed_out
                } else if why.is_some_and(reqwest::Error::is_connect) {
                    &self.tries.refused
                } else {
                    &self.tries.cut
                };
                kind.fetch_add(1, Relaxed);
                Err(Failed(format!("{error:#}")))
            }
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Value)> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    let answer = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
    Ok((status, answer))
}
