//! Trying a set-aside event again.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use laurel_events::{Envelope, EventKind, NewEvent};
use laurel_ledger::{Context, append, claim_cursor, commit, planted, raise_alert, read_one};
use sqlx::{Acquire, Executor, PgConnection, PgPool};

use crate::{
    OnPoison, Stage, StageError,
    deliver::Delivered,
    halt::Halt,
    letters::{
        DueLetter, LetterState, fail_letter, halted_letter, lock_due, next_due, put_off_letter,
        settle_letter, tell_dead,
    },
};

/// Hands the longest due letter to its stage again, in a transaction of its own. `again_at` says when it is due next,
/// given its attempts so far and what its kind does with poison; `None` makes it a dead letter. One that was not tried to
/// an end is put off until `later`, so that the others have their turn.
pub(crate) async fn redeliver(
    pool: &PgPool,
    stage: &dyn Stage,
    now: DateTime<Utc>,
    later: DateTime<Utc>,
    again_at: impl FnOnce(u32, OnPoison) -> Option<DateTime<Utc>> + Send,
) -> Result<Delivered, StageError> {
    let Some(letter) = next_due(pool, stage.name(), now).await? else { return Ok(Delivered::Idle) };
    let delivered = redeliver_letter(pool, stage, now, &letter, again_at).await;
    if delivered.is_err() {
        put_off_letter(pool, &letter, later).await?;
    }
    delivered
}

async fn redeliver_letter(
    pool: &PgPool,
    stage: &dyn Stage,
    now: DateTime<Utc>,
    letter: &DueLetter,
    again_at: impl FnOnce(u32, OnPoison) -> Option<DateTime<Utc>> + Send,
) -> Result<Delivered, StageError> {
    let mut tx = pool.begin().await?;
    let delivered = redeliver_in(&mut tx, stage, now, letter, again_at).await;
    match delivered {
        Ok(Delivered::Handled { .. } | Delivered::Halted(_)) => commit(tx, "letter").await?,
        _ => tx.rollback().await?,
    }
    delivered
}

async fn redeliver_in(
    tx: &mut PgConnection,
    stage: &dyn Stage,
    now: DateTime<Utc>,
    letter: &DueLetter,
    again_at: impl FnOnce(u32, OnPoison) -> Option<DateTime<Utc>> + Send,
) -> Result<Delivered, StageError> {
    // The cursor keeps the partition's next delivery from setting an event aside behind a subject that this frees.
    let claim = claim_cursor(tx, stage.name(), letter.event.partition).await?;
    if claim.is_none() || !lock_due(tx, letter).await? {
        return Ok(Delivered::Busy);
    }
    let mut savepoint = tx.begin().await?;
    match hand_over(&mut savepoint, stage, now, letter).await {
        Ok((event, effects)) => {
            savepoint.commit().await?;
            if planted!(RedriveSkipsKey) {
                tx.execute("COMMIT AND CHAIN").await?;
            }
            let cleared = settle_letter(tx, now, stage.name(), letter.id, LetterState::Redriven).await?;
            let mut effects = effects;
            effects.extend(cleared.into_iter().map(NewEvent::from));
            let context = Context { now, request_id: event.request_id, trace: event.trace };
            append(tx, &context, &effects).await?;
            let effects: HashSet<_> = effects.iter().map(|new| new.event.kind()).collect();
            Ok(Delivered::Handled { events: 1, effects, letters: 0 })
        }
        Err(error @ StageError::Infrastructure(_)) => Err(error),
        Err(error @ StageError::Poison(_)) => {
            savepoint.rollback().await?;
            // What this version does not know was set aside by one that did: it may be passed over.
            let halting: Option<EventKind> =
                letter.kind.parse().ok().filter(|kind| stage.on_poison(*kind) == OnPoison::Halt);
            let on_poison = halting.map_or(OnPoison::Park, |_| OnPoison::Halt);
            let due_at = again_at(letter.attempts.unsigned_abs() + 1, on_poison);
            fail_letter(tx, now, letter.id, due_at, &error.chain()).await?;
            let Some(kind) = halting else {
                if due_at.is_none() {
                    let detail = format!("event {} ({}): {}", letter.event, letter.kind, error.chain());
                    let told = tell_dead(tx, now, stage.name(), detail).await?;
                    let told: Vec<NewEvent> = told.into_iter().map(NewEvent::from).collect();
                    append(tx, &Context::at(now), &told).await?;
                }
                return Ok(Delivered::Handled { events: 0, effects: HashSet::new(), letters: 1 });
            };
            let halt = Halt { event: Some((letter.event, kind)), error };
            let about = halted_letter(stage.name(), letter.id);
            if let Some(raised) = raise_alert(tx, now, halt.alert(about)).await? {
                append(tx, &Context::at(now), &[raised.into()]).await?;
            }
            Ok(Delivered::Halted(halt))
        }
    }
}

/// Reads the letter's event and has the stage handle it.
async fn hand_over(
    conn: &mut PgConnection,
    stage: &dyn Stage,
    now: DateTime<Utc>,
    letter: &DueLetter,
) -> Result<(Envelope, Vec<NewEvent>), StageError> {
    let event = read_one(conn, letter.event).await?;
    let event =
        event.ok_or_else(|| StageError::poison(format!("no event {} in the journal", letter.event)))?;
    let effects = stage.handle(conn, now, std::slice::from_ref(&event)).await?;
    Ok((event, effects))
}
