//! Plans that the chain would not pay: their places rest, and come back.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::NewEvent;
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

use crate::{
    plan::{Plan, Source},
    refused::{held, hold_refused},
    requeues::{lock_places, requeue, take_out},
};

/// What was done about a plan that the chain would not pay.
#[derive(Clone, Debug)]
pub(crate) enum SetBack {
    /// Nothing: another lane has the places, so the chain spoke of that lane's batch.
    Overtaken,
    /// The places rest and do not keep others waiting. These tell of the grants among them that are held now.
    Places(Vec<NewEvent>),
    /// The places are still next in their campaign's queue.
    Campaign,
}

/// How long places that the chain would not pay rest at first; doubled with every time after that.
pub(crate) const SET_BACK_BASE: TimeDelta = TimeDelta::seconds(15);

/// How long they rest at most: what kept them back may end at any time, and asking costs one call.
const SET_BACK_CAP_S: f64 = 600.0;

/// Whose trouble it is that the chain would not pay a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The recipient's, whose place is the plan's only one.
    Recipient,
    /// The token's, which would pay nobody: whether a recipient refuses is not known then.
    Token,
    /// Nobody knows.
    Unknown,
}

/// Sets back the places of a plan that the chain would not pay. Places that go again rest by themselves, and so does a
/// single place with others behind it in the queue; what is more than that is the campaign's trouble, not the places',
/// unless it is known to be the recipient's. What the plan leaves out rests with them.
pub(crate) async fn set_back(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    plan: &Plan,
    trouble: Trouble,
) -> Result<SetBack, LedgerError> {
    let campaign = plan.segment.campaign.number();
    let first_seq = plan.segment.first_seq.cast_signed();
    let taken = i32::try_from(plan.segment.words.len()).unwrap_or(i32::MAX);
    if let Source::Requeue { count } = plan.source {
        let count = count.cast_signed();
        lock_places(conn, plan.segment.campaign).await?;
        if !rest_requeue(conn, now, (campaign, first_seq, count), taken).await? {
            return Ok(SetBack::Overtaken);
        }
        take_out(conn, plan.segment.campaign, &plan.left_out()).await?;
        return Ok(SetBack::Places(leave_out(conn, now, plan).await?));
    }
    let queue = sqlx::query!(
        "SELECT next_seq FROM queues WHERE campaign = $1 AND batched_to = $2 FOR NO KEY UPDATE",
        campaign,
        first_seq,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(queue) = queue else { return Ok(SetBack::Overtaken) };
    let open: Vec<u64> = plan.open().map(|place| place.seq).collect();
    let others_behind = queue.next_seq > first_seq + i64::from(taken);
    if trouble != Trouble::Recipient && (open.len() != 1 || !others_behind) {
        return Ok(SetBack::Campaign);
    }
    sqlx::query!(
        "UPDATE queues SET batched_to = batched_to + $2 WHERE campaign = $1",
        campaign,
        i64::from(taken)
    )
    .execute(&mut *conn)
    .await?;
    requeue(conn, plan.segment.campaign, open, now + SET_BACK_BASE, 1).await?;
    Ok(SetBack::Places(leave_out(conn, now, plan).await?))
}

/// Has the places that a plan leaves out rest by themselves, wherever they were; those whose recipients refuse are held. Those whose
/// grants had failed when it was planned, and go again since, are among them.
pub(crate) async fn leave_out(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    plan: &Plan,
) -> Result<Vec<NewEvent>, LedgerError> {
    let campaign = plan.segment.campaign;
    for seq in plan.holes() {
        // Each alone: one that goes on being refused must not keep its neighbour waiting.
        requeue(conn, campaign, [seq], now + SET_BACK_BASE, 1).await?;
    }
    let held_now = hold_refused(conn, now, campaign, &plan.refused).await?;
    Ok(held_now.iter().map(|place| NewEvent::from(held(campaign, place))).collect())
}

/// Has the first `taken` places of a requeued run rest; the others stay as they are. Says whether the run was still there,
/// and not set back already by another lane that had planned it.
async fn rest_requeue(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    (campaign, first_seq, count): (i64, i64, i32),
    taken: i32,
) -> Result<bool, LedgerError> {
    let rested = sqlx::query!(
        r#"
        UPDATE requeues
        SET count = $4, setbacks = setbacks + 1,
            queued_at = $5::timestamptz + make_interval(secs => least($6 * power(2, least(setbacks, 16)), $7))
        WHERE campaign = $1 AND first_seq = $2 AND count = $3 AND queued_at <= $5
        "#,
        campaign,
        first_seq,
        count,
        taken,
        now,
        SET_BACK_BASE.as_seconds_f64(),
        SET_BACK_CAP_S,
    )
    .execute(&mut *conn)
    .await?;
    if rested.rows_affected() == 1 && taken < count {
        sqlx::query!(
            "INSERT INTO requeues (campaign, first_seq, count, queued_at) VALUES ($1, $2, $3, $4)",
            campaign,
            first_seq + i64::from(taken),
            count - taken,
            now,
        )
        .execute(conn)
        .await?;
    }
    Ok(rested.rows_affected() == 1)
}
