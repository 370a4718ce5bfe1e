//! Connections that stay open, each with a request whenever its turn comes, however long the one before took.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, ensure};
use chrono::Utc;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    BOUND_MS, NONE,
    mix::{Kind, Mix},
};
use crate::{
    figures::{Bound, Figure, Figures},
    server::Server,
};

/// How many connections are made at the same time.
const CONNECTING: usize = 200;

/// How long the first turns wait until all connections are there.
const SETTLING: Duration = Duration::from_secs(3);

/// How long an answer may take before it counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How many seconds at the beginning do not count: plans and caches are made then.
const WARM: Duration = Duration::from_secs(5);

/// What is sent.
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) rate: u32,
    pub(super) lasts: Duration,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How long each request took from its turn on.
    times: BTreeMap<Kind, Vec<Duration>>,
    /// How often each status came that is no success.
    refused: BTreeMap<(Kind, u16), u64>,
    /// Answers that did not come.
    lost: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        for (kind, times) in other.times {
            self.times.entry(kind).or_default().extend(times);
        }
        for (refusal, count) in other.refused {
            *self.refused.entry(refusal).or_default() += count;
        }
        self.lost += other.lost;
    }
}

impl Load {
    pub(super) async fn run(&self, server: &Server, mix: &Mix) -> anyhow::Result<Seen> {
        let address = server.address;
        let mut connections = Vec::new();
        let mut connecting = JoinSet::new();
        for _ in 0..self.connections {
            if connecting.len() >= CONNECTING
                && let Some(connected) = connecting.join_next().await
            {
                connections.push(connected??);
            }
            connecting.spawn(connect(address));
        }
        while let Some(connected) = connecting.join_next().await {
            connections.push(connected??);
        }
        let between = Duration::from_secs(1) * self.connections / self.rate;
        let begin = Instant::now() + SETTLING;
        let numbers = AtomicU64::new(0);
        let turns = connections.into_iter().enumerate().map(|(at, connection)| {
            let first = begin + Duration::from_secs(1) * u32::try_from(at).unwrap_or(0) / self.rate;
            self.keep_asking(connection, at as u64, first, (begin, between), (mix, &numbers))
        });
        let mut seen = Seen::default();
        for one in futures::future::join_all(turns).await {
            seen.add(one);
        }
        ensure!(!seen.times.is_empty(), "nothing was answered");
        Ok(seen)
    }

    async fn keep_asking(
        &self,
        mut connection: SendRequest<Full<Bytes>>,
        at: u64,
        mut turn: Instant,
        (begin, between): (Instant, Duration),
        (mix, numbers): (&Mix, &AtomicU64),
    ) -> Seen {
        let mut rng = StdRng::seed_from_u64(at);
        let mut seen = Seen::default();
        while turn < begin + self.lasts {
            sleep_until(turn).await;
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let ask = mix.ask(&mut rng, number, Utc::now());
            let kind = ask.kind;
            let request = Request::builder()
                .method(ask.method)
                .uri(format!("/v1{}", ask.path))
                .header("host", "bench")
                .header("authorization", ask.authorization)
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(ask.body.unwrap_or_default())));
            let answer = async {
                let answer = connection.send_request(request.ok()?).await.ok()?;
                let status = answer.status();
                answer.into_body().collect().await.ok()?;
                Some(status)
            };
            let answer = timeout(ANSWER_WITHIN, answer).await.ok().flatten();
            let counts = turn >= begin + WARM;
            match answer {
                None => {
                    seen.lost += 1;
                    return seen;
                }
                Some(status) if !status.is_success() => {
                    *seen.refused.entry((kind, status.as_u16())).or_default() += 1;
                }
                Some(_) if counts => seen.times.entry(kind).or_default().push(turn.elapsed()),
                Some(_) => {}
            }
            turn += between;
        }
        seen
    }
}

async fn connect(address: std::net::SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("an HTTP connection")?;
    tokio::spawn(async move {
        // What became of it is seen by whoever sends.
        let _over = connection.await;
    });
    Ok(sender)
}

impl Seen {
    pub(super) fn tell(self, load: &Load, figures: &mut Figures) {
        let all: Vec<Duration> = self.times.values().flatten().copied().collect();
        let counted = load.lasts.saturating_sub(WARM).as_secs_f64();
        let answered = all.len() as f64 / counted;
        figures.p95("all requests", all, BOUND_MS, &format!("{} open connections", load.connections));
        for (kind, times) in self.times {
            figures.p95(kind.as_str(), times, BOUND_MS, "");
        }
        figures.figures.push(Figure {
            what: "answered".to_owned(),
            value: answered,
            unit: "/s",
            bound: Some(Bound::AtLeast(f64::from(load.rate) * 0.99)),
            detail: format!("of {} that were sent each second", load.rate),
        });
        let refused: Vec<String> = self
            .refused
            .iter()
            .map(|((kind, status), count)| format!("{count} times {status}: {}", kind.as_str()))
            .collect();
        figures.figures.push(Figure {
            what: "not answered, or not with a success".to_owned(),
            value: (self.lost + self.refused.values().sum::<u64>()) as f64,
            unit: "",
            bound: Some(NONE),
            detail: refused.join("; "),
        });
    }
}
