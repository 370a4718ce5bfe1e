//! Every movement of money, for whoever wants to add it up.
//!
//! ```text
//!   grants (hold) ──── by number ─────────╮
//!   fundings ───────── by time ───────────┤ each read from where the page before left it,
//!   postings (post) ── by time ───────────┤ merged by time: no page sorts more than it shows
//!   voids ──────────── by time ───────────┤
//!   returns ────────── by turn ───────────╯
//! ```

mod cursor;
mod rows;

use std::{iter::Peekable, vec::IntoIter};

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{Amount, CampaignId};
use sqlx::PgConnection;

pub use self::cursor::{NoTransferCursor, TransferCursor};
use self::{
    cursor::TIMES,
    rows::{Row, Window, first_hold_since, fundings, holds, posts, returns, voids},
};
use crate::LedgerError;

/// How many transfers are looked at for a page of which a filter leaves few.
const LOOKED_AT_MAX: i64 = 2_000;

/// How far the times of holds may be out of the order of their numbers: as long as somebody waits for a campaign's books.
const DISORDER_MAX: TimeDelta = TimeDelta::minutes(1);

/// A movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// funding, hold, post, void or return; with `_undone`, one that the chain took back.
    pub kind: &'static str,
    /// What it concerns: a block and log, a grant, a batch, or a transaction.
    pub reference: String,
    /// The account it leaves.
    pub debit: &'static str,
    /// The account it enters.
    pub credit: &'static str,
    /// How much.
    pub amount: Amount,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// Where a list goes on after it.
    pub cursor: TransferCursor,
}

/// What a transfer can be, without what undoes one.
pub const TRANSFER_KINDS: [&str; 5] = ["funding", "hold", "post", "void", "return"];

/// Which transfers are wanted. What is `None` is not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransferFilter<'a> {
    /// Of this kind, with those that undo one.
    pub kind: Option<&'a str>,
    /// Recorded at this moment or later, and before that one.
    pub recorded: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    /// Of this amount or more, and of that one or less.
    pub amount: (Option<Amount>, Option<Amount>),
    /// Behind this one.
    pub after: Option<TransferCursor>,
}

impl TransferFilter<'_> {
    fn lets_pass(&self, transfer: &Transfer) -> bool {
        self.amount.0.is_none_or(|min| transfer.amount >= min)
            && self.amount.1.is_none_or(|max| transfer.amount <= max)
    }
}

/// Some of a campaign's transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferPage {
    /// The transfers; there may be fewer than were asked for, or none, and yet more behind.
    pub transfers: Vec<Transfer>,
    /// Where it goes on; `None` at the end.
    pub next: Option<TransferCursor>,
}

/// A campaign's transfers in the order of their writing: `limit` of them at the most.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_transfers(
    conn: &mut PgConnection,
    campaign: CampaignId,
    filter: &TransferFilter<'_>,
    limit: i64,
) -> Result<TransferPage, LedgerError> {
    let after = match (filter.after, filter.recorded.0) {
        (Some(after), _) => after,
        (None, None) => TransferCursor::START,
        (None, Some(from)) => {
            let hold =
                first_hold_since(conn, campaign, from.checked_sub_signed(DISORDER_MAX).unwrap_or(from))
                    .await?;
            TransferCursor::since(from, hold)
        }
    };
    let (until, holds_end) = match filter.recorded.1 {
        Some(until) => (
            until,
            first_hold_since(conn, campaign, until.checked_add_signed(DISORDER_MAX).unwrap_or(until)).await?,
        ),
        None => (*TIMES.end(), i64::MAX),
    };
    let looked_at = if filter.amount == (None, None) { limit } else { limit.max(LOOKED_AT_MAX) };
    let from = filter.recorded.0.unwrap_or(DateTime::UNIX_EPOCH);
    let window = Window { campaign, after, recorded: (from, until), holds_end, limit: looked_at };
    let is_wanted = |kind: &str| filter.kind.is_none_or(|wanted| wanted == kind);
    let mut kinds: Vec<Peekable<IntoIter<Row>>> = Vec::with_capacity(TRANSFER_KINDS.len());
    // Where times are equal, the first of these comes first.
    for kind in TRANSFER_KINDS.into_iter().filter(|kind| is_wanted(kind)) {
        let rows = match kind {
            "funding" => fundings(conn, &window).await?,
            "hold" => holds(conn, &window).await?,
            "post" => posts(conn, &window).await?,
            "void" => voids(conn, &window).await?,
            _ => returns(conn, &window).await?,
        };
        kinds.push(rows.into_iter().peekable());
    }
    let mut cursor = after;
    let mut transfers = Vec::new();
    // Of a kind that has more there may be an earlier one than those that are read of others: no further than all are known.
    for _ in 0..looked_at {
        let heads = kinds.iter_mut().filter_map(|rows| Some((rows.peek()?.recorded_at, rows)));
        let Some(row) = heads.min_by_key(|(at, _)| *at).and_then(|(_, rows)| rows.next()) else {
            return Ok(TransferPage { transfers, next: None });
        };
        let transfer = row.transfer(&mut cursor)?;
        if filter.lets_pass(&transfer) {
            transfers.push(transfer);
        }
        if i64::try_from(transfers.len()).is_ok_and(|found| found >= limit) {
            break;
        }
    }
    Ok(TransferPage { transfers, next: Some(cursor) })
}
