//! One delivery: a batch of one partition's events, handled in one transaction.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use laurel_events::{Envelope, EventKind, NewEvent, Partition, Subject, alert::STAGE_HALTED};
use laurel_ledger::{
    Context, append, claim_cursor, clear_alert, commit, halted_partition, move_cursor, planted, read,
};
use sqlx::{Acquire, Executor, PgConnection, PgPool};

use crate::{
    OnPoison, Stage, StageError,
    halt::Halt,
    letters::{NewLetter, insert_letters, parked_subjects},
};

/// What a delivery did.
#[derive(Debug)]
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
    /// An event that must not be passed over cannot be handled: the partition stands still before it.
    Halted(Halt),
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
    let delivered = deliver_to(pool, stage, partition, now, care, i64::MAX).await?;
    let Delivered::Halted(Halt { event: Some((event, _)), .. }) = &delivered else { return Ok(delivered) };
    // What stands before the event does not wait for it.
    match deliver_to(pool, stage, partition, now, care, event.offset).await? {
        Delivered::Idle => Ok(delivered),
        before => Ok(before),
    }
}

/// The same up to an offset, which is not reached.
async fn deliver_to(
    pool: &PgPool,
    stage: &dyn Stage,
    partition: Partition,
    now: DateTime<Utc>,
    care: Care,
    end: i64,
) -> Result<Delivered, StageError> {
    let mut tx = pool.begin().await?;
    let delivered = deliver_in(&mut tx, stage, partition, now, care, end).await;
    let delivered = match (delivered, care) {
        // Not one of the events, but the batch itself: the journal cannot be read, or its effects not be written.
        (Err(error @ StageError::Poison(_)), Care::SetAside { .. }) => {
            Ok(Delivered::Halted(Halt { event: None, error }))
        }
        (delivered, _) => delivered,
    };
    // A transaction that is only dropped keeps its locks until the pool comes to roll it back, and the next delivery
    // would find the partition busy.
    match delivered {
        Ok(Delivered::Handled { .. }) => commit(tx, stage.name()).await?,
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
    end: i64,
) -> Result<Delivered, StageError> {
    let Some(claim) = claim_cursor(tx, stage.name(), partition).await? else {
        return Ok(Delivered::Busy);
    };
    let end = claim.head.min(end);
    if claim.next >= end {
        return Ok(Delivered::Idle);
    }
    let (events, next) = read(tx, partition, claim.next, end, stage.kinds(), stage.events_max()).await?;
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
            let free = sorted.block(stage, &parked, events);
            if !free.is_empty() {
                sorted.effects = stage.handle(tx, now, &free).await?;
            }
        }
        Care::SetAside { due_at } => {
            sorted = match handle_in_halves(tx, stage, now, due_at, events, parked).await? {
                Ok(sorted) => sorted,
                Err(halt) => return Ok(Delivered::Halted(halt)),
            };
        }
    }
    if claim.halted {
        let cleared = clear_alert(tx, STAGE_HALTED, &halted_partition(stage.name(), partition)).await?;
        sorted.effects.extend(cleared.map(NewEvent::from));
    }
    insert_letters(tx, stage.name(), now, &sorted.letters).await?;
    if planted!(CursorOutsideTransaction) {
        tx.execute("COMMIT AND CHAIN").await?;
    }
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
    /// Sets aside what waits behind an earlier event of its subject, and returns the rest in its order. Events that must
    /// not be passed over never wait: a stage for which their order matters finds that it cannot handle them, and halts.
    fn block(
        &mut self,
        stage: &dyn Stage,
        parked: &HashSet<Subject>,
        events: Vec<Envelope>,
    ) -> Vec<Envelope> {
        let (blocked, free): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| {
            stage.on_poison(event.event.kind()) == OnPoison::Park && parked.contains(&event.subject())
        });
        self.letters.extend(blocked.iter().map(NewLetter::blocked));
        free
    }
}

/// Handles `events` in order, in ever smaller pieces where a piece fails, down to the single events that cannot be
/// handled. Later events of the same subject wait behind them, but for those that must not be passed over.
async fn handle_in_halves(
    conn: &mut PgConnection,
    stage: &dyn Stage,
    now: DateTime<Utc>,
    due_at: DateTime<Utc>,
    events: Vec<Envelope>,
    mut parked: HashSet<Subject>,
) -> Result<Result<Sorted, Halt>, StageError> {
    let mut sorted = Sorted::default();
    let mut pieces = VecDeque::from([events]);
    while let Some(piece) = pieces.pop_front() {
        let mut piece = sorted.block(stage, &parked, piece);
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
                    let event = Some((piece[0].id, piece[0].event.kind()));
                    return Ok(Err(Halt { event, error }));
                } else {
                    parked.insert(piece[0].subject());
                    sorted.letters.push(NewLetter::retrying(&piece[0], due_at, error.chain()));
                }
            }
        }
    }
    Ok(Ok(sorted))
}
