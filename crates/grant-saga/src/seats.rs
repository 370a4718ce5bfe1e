//! Giving places to grants that waited.

use alloy::primitives::Address;
use chrono::{DateTime, Utc};
use laurel_bus::{StageError, cancel_timers};
use laurel_chain::GrantWord;
use laurel_events::{Event, EventId, EventKind, GrantId, NewEvent, TokenGrantStarted};
use sqlx::PgConnection;

use crate::{
    compensation::fail_released,
    exceptions::{Awaiting, set_queued},
    queue::{Enqueued, Seated, enqueue},
};

/// Gives the grants, which the caller has locked, places that pay `wallet`.
pub(crate) async fn seat_waiting(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    cause: Option<EventId>,
    wallet: Address,
    awaiting: &[Awaiting],
) -> Result<Vec<NewEvent>, StageError> {
    let mut seated = Vec::with_capacity(awaiting.len());
    for awaiting in awaiting {
        let word = GrantWord::new(wallet, awaiting.amount)
            .ok_or_else(|| StageError::poison(format!("grant {} fits no word", awaiting.grant)))?;
        seated.push(Seated { grant: awaiting.grant, word });
    }
    let Enqueued { given, released, adopted } = enqueue(conn, now, &seated, false).await?;
    let places: Vec<(GrantId, u64)> = given.iter().map(|given| (given.grant, given.seq)).collect();
    set_queued(conn, now, &places).await?;
    let deadlines: Vec<String> = places.iter().map(|(grant, _)| grant.to_string()).collect();
    cancel_timers(conn, EventKind::WalletDeadlinePassed, &deadlines).await?;
    let started = given.into_iter().map(|given| TokenGrantStarted {
        grant: given.grant,
        seq: given.seq,
        word: given.word,
    });
    let mut events: Vec<NewEvent> = started.map(|started| caused(cause, started)).collect();
    events.extend(adopted.into_iter().map(|adopted| caused(cause, adopted)));
    events.extend(fail_released(conn, now, cause, &released).await?);
    Ok(events)
}

fn caused(cause: Option<EventId>, event: impl Into<Event>) -> NewEvent {
    NewEvent { event: event.into(), occurred_at: None, cause }
}
