//! One delivery: a batch of one partition's events, handled in one transaction.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use laurel_events::{Envelope, EventKind, NewEvent, Partition, Subject};
use laurel_ledger::{Context, append, claim_cursor, move_cursor, read};
use sqlx::{Acquire, PgConnection, PgPool};

use crate::{
    OnPoison, Stage, StageError,
    letters::{NewLetter, insert_letters, parked_subjects},
};

/// What a delivery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Another transaction holds the partition.
    Busy,
    /// There was nothing.
    Idle,
    /// Events were handled and committed.
    Handled {
        /// How many.
        events: usize,
        /// What they led to.
        effects: HashSet<EventKind>,
        /// Events that were set aside.
        letters: usize,
    },
}

/// How a delivery treats an event that cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// It fails: the fast way, without savepoints.
    Fail,
    /// It finds the event by halving and sets it aside; `due_at` is when it is tried again.
    SetAside { due_at: DateTime<Utc> },
}

/// Delivers the next events of `partition` to `stage`.
pub(crate) async fn deliver(
    pool: &PgPool,
    stage: &dyn Stage,
    partition: Partition,
    now: DateTime<Utc>,
    care: Care,
) -> Result<Delivered, StageError> {
    let mut tx = pool.begin().await?;
    let delivered = deliver_in(&mut tx, stage, partition, now, care).await;
    // A transaction that is only dropped keeps its locks until the pool comes to roll it back, and the next delivery
    // would find the partition busy.
    match delivered {
        Ok(Delivered::Handled { .. }) => tx.commit().await?,
        _ => tx.rollback().await?,
    }
    delivered
}

async fn deliver_in(
    tx: &mut PgConnection,
    stage: &dyn Stage,
    partition: Partition,
    now: DateTime<Utc>,
    care: Care,
) -> Result<Delivered, StageError> {
    let Some(claim) = claim_cursor(tx, stage.name(), partition).await? else {
        return Ok(Delivered::Busy);
    };
    if claim.next >= claim.head {
        return Ok(Delivered::Idle);
    }
    let (events, next) =
        read(tx, partition, claim.next, claim.head, stage.kinds(), stage.events_max()).await?;
    let request_id = events.first().and_then(|event| event.request_id.clone());
    let trace = events.first().and_then(|event| event.trace.clone());
    let parked = if claim.parked { parked_subjects(tx, stage.name()).await? } else { HashSet::new() };
    let handled = events.len();
    let mut sorted = Sorted::default();
    match care {
        Care::Fail if parked.is_empty() => {
            if !events.is_empty() {
                sorted.effects = stage.handle(tx, now, &events).await?;
            }
        }
        Care::Fail => {
            let (blocked, free) = events.into_iter().partition(|event| parked.contains(&event.subject()));
            sorted.block(blocked);
            let free: Vec<Envelope> = free;
            if !free.is_empty() {
                sorted.effects = stage.handle(tx, now, &free).await?;
            }
        }
        Care::SetAside { due_at } => {
            sorted = handle_in_halves(tx, stage, now, due_at, events, parked).await?;
        }
    }
    insert_letters(tx, stage.name(), now, &sorted.letters).await?;
    move_cursor(tx, stage.name(), partition, claim.next, next).await?;
    append(tx, &Context { now, request_id, trace }, &sorted.effects).await?;
    Ok(Delivered::Handled {
        events: handled,
        effects: sorted.effects.iter().map(|new| new.event.kind()).collect(),
        letters: sorted.letters.len(),
    })
}

/// What came of a batch.
#[derive(Debug, Default)]
struct Sorted {
    effects: Vec<NewEvent>,
    letters: Vec<NewLetter>,
}

impl Sorted {
    fn block(&mut self, events: Vec<Envelope>) {
        self.letters.extend(events.iter().map(NewLetter::blocked));
    }
}

/// Handles `events` in order, in ever smaller pieces where a piece fails, down to the single events that cannot be
/// handled. Later events of the same subject wait behind them.
async fn handle_in_halves(
    conn: &mut PgConnection,
    stage: &dyn Stage,
    now: DateTime<Utc>,
    due_at: DateTime<Utc>,
    events: Vec<Envelope>,
    mut parked: HashSet<Subject>,
) -> Result<Sorted, StageError> {
    let mut sorted = Sorted::default();
    let mut pieces = VecDeque::from([events]);
    while let Some(piece) = pieces.pop_front() {
        let (blocked, mut piece): (Vec<_>, Vec<_>) =
            piece.into_iter().partition(|event| parked.contains(&event.subject()));
        sorted.block(blocked);
        if piece.is_empty() {
            continue;
        }
        let mut savepoint = conn.begin().await?;
        match stage.handle(&mut savepoint, now, &piece).await {
            Ok(effects) => {
                savepoint.commit().await?;
                sorted.effects.extend(effects);
            }
            Err(error @ StageError::Infrastructure(_)) => return Err(error),
            Err(error @ StageError::Poison(_)) => {
                savepoint.rollback().await?;
                if piece.len() > 1 {
                    let later = piece.split_off(piece.len() / 2);
                    pieces.push_front(later);
                    pieces.push_front(piece);
                } else if stage.on_poison(piece[0].event.kind()) == OnPoison::Halt {
                    return Err(error);
                } else {
                    parked.insert(piece[0].subject());
                    sorted.letters.push(NewLetter::retrying(&piece[0], due_at, error.chain()));
                }
            }
        }
    }
    Ok(sorted)
}
