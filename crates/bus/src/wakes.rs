//! Wakes: hints that there is something to do. Losing one costs a poll interval, never an event.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use laurel_events::EventKind;
use laurel_ledger::{LedgerError, answered};
use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::{Notify, RwLock, mpsc};
use tokio_util::sync::CancellationToken;

/// The channel of PostgreSQL's LISTEN and NOTIFY.
const CHANNEL: &str = "laurel_journal";

/// How long commits are gathered into one NOTIFY, which takes a cluster-wide lock: 200 a second at most.
const GATHER: Duration = Duration::from_millis(5);

/// How long to wait before listening again after the connection broke.
const RECONNECT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Subscriber {
    kinds: &'static [EventKind],
    wake: Arc<Notify>,
}

/// Wakes the stages of this process, and through [`announce_wakes`] those of others.
#[derive(Clone, Debug)]
pub struct Wakes {
    subscribers: Arc<RwLock<Vec<Subscriber>>>,
    announce: mpsc::UnboundedSender<BTreeSet<EventKind>>,
}

impl Wakes {
    /// Wakes, and what is to be announced to other processes.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<BTreeSet<EventKind>>) {
        let (announce, announced) = mpsc::unbounded_channel();
        (Self { subscribers: Arc::default(), announce }, announced)
    }

    /// A wake-up call for events of `kinds`. Calls that nobody waits for are kept, as one.
    pub async fn subscribe(&self, kinds: &'static [EventKind]) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        self.subscribers.write().await.push(Subscriber { kinds, wake: wake.clone() });
        wake
    }

    /// Tells everybody that events of `kinds` were committed.
    pub async fn committed(&self, kinds: impl IntoIterator<Item = EventKind>) {
        let kinds: BTreeSet<EventKind> = kinds.into_iter().collect();
        if kinds.is_empty() {
            return;
        }
        self.heard(&kinds).await;
        // Nobody announces in a process that runs alone, such as a test; that is no fault.
        let _ = self.announce.send(kinds);
    }

    async fn heard(&self, kinds: &BTreeSet<EventKind>) {
        for subscriber in self.subscribers.read().await.iter() {
            if subscriber.kinds.iter().any(|kind| kinds.contains(kind)) {
                subscriber.wake.notify_one();
            }
        }
    }
}

/// How long announcing may take: a wake that is later than this was found by polling.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(30);

/// After this long without a wake the connection is made anew.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Announces this process's commits to the others, gathered, outside of any transaction.
pub async fn announce_wakes(
    pool: PgPool,
    mut announced: mpsc::UnboundedReceiver<BTreeSet<EventKind>>,
    shutdown: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => return,
            first = announced.recv() => first,
        };
        let Some(mut kinds) = first else { return };
        tokio::time::sleep(GATHER).await;
        while let Ok(more) = announced.try_recv() {
            kinds.extend(more);
        }
        let payload: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let payload = payload.join(",");
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload);
        let sent = async { Ok(notify.execute(&pool).await?) };
        if let Err(error) = answered::<_, LedgerError>(ANNOUNCE_TIMEOUT, sent).await {
            tracing::debug!(%error, "a wake was not announced; polling will find the events");
        }
    }
}

/// Hears other processes' commits.
pub async fn hear_wakes(listen_url: String, wakes: Wakes, shutdown: CancellationToken) {
    loop {
        let listening = async {
            let begun = async {
                let mut listener = PgListener::connect(&listen_url).await?;
                listener.listen(CHANNEL).await?;
                Ok::<_, sqlx::Error>(listener)
            };
            // Nobody needs it within that time: polling goes on.
            let Ok(listener) = tokio::time::timeout(SILENCE_MAX, begun).await else { return Ok(()) };
            let mut listener = listener?;
            loop {
                // A connection to a server that is gone says nothing, like one on which nothing happens.
                let heard = tokio::time::timeout(SILENCE_MAX, listener.recv()).await;
                let Ok(heard) = heard else { return Ok(()) };
                let notification = heard?;
                let kinds = notification.payload().split(',').filter_map(|kind| kind.parse().ok()).collect();
                wakes.heard(&kinds).await;
            }
        };
        let ended: Result<(), sqlx::Error> = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = listening => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "wakes are not heard; polling goes on");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}
