//! Every movement of money, for whoever wants to add it up.
//!
//! ```text
//!   grants (hold) ──── by number ─────────╮
//!   fundings ───────── by time ───────────┤ each read from where the page before left it,
//!   postings (post) ── by time ───────────┤ merged by time: no page sorts more than it shows
//!   voids ──────────── by time ───────────┤
//!   returns ────────── by turn ───────────╯
//! ```

use std::{fmt, iter::Peekable, str::FromStr, vec::IntoIter};

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{LedgerError, numeric::amount_from_sql};

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

/// Up to where each kind of transfer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferCursor {
    hold: i64,
    funding: (DateTime<Utc>, i64, i32, i32),
    post: (DateTime<Utc>, Uuid, i32),
    void: (DateTime<Utc>, i64, i32),
    returned: i32,
}

impl TransferCursor {
    /// Before every transfer.
    pub const START: Self = Self {
        hold: -1,
        funding: (DateTime::UNIX_EPOCH, -1, -1, -1),
        post: (DateTime::UNIX_EPOCH, Uuid::nil(), -1),
        void: (DateTime::UNIX_EPOCH, -1, -1),
        returned: -1,
    };
}

impl fmt::Display for TransferCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hold, funding, post, void, returned } = self;
        let [funded, posted, voided] = [funding.0, post.0, void.0].map(|at| at.timestamp_micros());
        write!(f, "{hold}.{funded}.{}.{}.{}.", funding.1, funding.2, funding.3)?;
        write!(f, "{posted}.{}.{}.{voided}.{}.{}.{returned}", post.1.simple(), post.2, void.1, void.2)
    }
}

/// A text that is no [`TransferCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a list of transfers")]
pub struct NoTransferCursor;

impl FromStr for TransferCursor {
    type Err = NoTransferCursor;

    fn from_str(text: &str) -> Result<Self, NoTransferCursor> {
        let parts: Vec<&str> = text.split('.').collect();
        let [hold, funded, block, log, taken_back, posted, batch, turn, voided, number, undone, returned] =
            parts[..]
        else {
            return Err(NoTransferCursor);
        };
        fn part<T: FromStr>(text: &str) -> Result<T, NoTransferCursor> {
            text.parse().map_err(|_| NoTransferCursor)
        }
        let time = |text: &str| {
            let time = DateTime::from_timestamp_micros(part(text)?).ok_or(NoTransferCursor)?;
            // The database keeps no others.
            if TIMES.contains(&time) { Ok(time) } else { Err(NoTransferCursor) }
        };
        Ok(Self {
            hold: part(hold)?,
            funding: (time(funded)?, part(block)?, part(log)?, part(taken_back)?),
            post: (time(posted)?, part(batch)?, part(turn)?),
            void: (time(voided)?, part(number)?, part(undone)?),
            returned: part(returned)?,
        })
    }
}

/// From when on anything was recorded, and until when at the very most: the year 9999.
const TIMES: std::ops::RangeInclusive<DateTime<Utc>> = DateTime::UNIX_EPOCH
    ..=match DateTime::from_timestamp_secs(253_402_300_799) {
        Some(end) => end,
        None => DateTime::UNIX_EPOCH,
    };

/// A transfer as its table has it, and what a cursor becomes behind it.
struct Row {
    recorded_at: DateTime<Utc>,
    reference: String,
    /// Below zero where it undoes one.
    amount: BigDecimal,
    kind: Kind,
    turn: i32,
}

/// What kind of transfer it is, with what tells it from the others of its kind.
#[derive(Clone, Copy)]
enum Kind {
    Funding(i64, i32),
    Hold(i64),
    Post(Uuid),
    Void(i64),
    Return,
}

impl Row {
    fn transfer(self, cursor: &mut TransferCursor) -> Result<Transfer, LedgerError> {
        let turn = self.turn;
        let ([written, undone], debit, credit) = match self.kind {
            Kind::Funding(block, log) => {
                cursor.funding = (self.recorded_at, block, log, turn);
                (["funding", "funding_undone"], "chain", "available")
            }
            Kind::Hold(number) => {
                cursor.hold = number;
                (["hold", "hold"], "available", "reserved")
            }
            Kind::Post(batch) => {
                cursor.post = (self.recorded_at, batch, turn);
                (["post", "post_undone"], "reserved", "paid")
            }
            Kind::Void(number) => {
                cursor.void = (self.recorded_at, number, turn);
                (["void", "void_undone"], "reserved", "available")
            }
            Kind::Return => {
                cursor.returned = turn;
                (["return", "return_undone"], "available", "returned")
            }
        };
        let (kind, debit, credit) =
            if turn % 2 == 0 { (written, debit, credit) } else { (undone, credit, debit) };
        let amount = amount_from_sql(&self.amount.abs(), "transfers", "amount", &self.reference)?;
        let (recorded_at, reference) = (self.recorded_at, self.reference);
        Ok(Transfer { kind, reference, debit, credit, amount, recorded_at, cursor: *cursor })
    }
}

/// A campaign's transfers in the order of their writing, after `after`.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_transfers(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: TransferCursor,
    limit: i64,
) -> Result<Vec<Transfer>, LedgerError> {
    // Where times are equal, the first of these comes first.
    let mut kinds: [Peekable<IntoIter<Row>>; 5] = [
        fundings(conn, campaign, after, limit).await?.into_iter().peekable(),
        holds(conn, campaign, after, limit).await?.into_iter().peekable(),
        posts(conn, campaign, after, limit).await?.into_iter().peekable(),
        voids(conn, campaign, after, limit).await?.into_iter().peekable(),
        returns(conn, campaign, after, limit).await?.into_iter().peekable(),
    ];
    let mut cursor = after;
    let mut transfers = Vec::new();
    while i64::try_from(transfers.len()).is_ok_and(|found| found < limit) {
        let heads = kinds.iter_mut().filter_map(|rows| Some((rows.peek()?.recorded_at, rows)));
        let Some(row) = heads.min_by_key(|(at, _)| *at).and_then(|(_, rows)| rows.next()) else { break };
        transfers.push(row.transfer(&mut cursor)?);
    }
    Ok(transfers)
}

async fn fundings(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: TransferCursor,
    limit: i64,
) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT block_number, log_index, turn, added, recorded_at FROM fundings
        WHERE campaign = $1 AND (recorded_at, block_number, log_index, turn) > ($2, $3, $4, $5)
        ORDER BY recorded_at, block_number, log_index, turn
        LIMIT $6
        "#,
        campaign.number(),
        after.funding.0,
        after.funding.1,
        after.funding.2,
        after.funding.3,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: format!("{}/{}", row.block_number, row.log_index),
        amount: row.added,
        kind: Kind::Funding(row.block_number, row.log_index),
        turn: row.turn,
    });
    Ok(rows.collect())
}

/// Holds by their numbers, which rise as they are committed; their times may differ by as long as somebody waited for the
/// campaign's books.
async fn holds(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: TransferCursor,
    limit: i64,
) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT number, amount, recorded_at FROM grants
        WHERE campaign = $1 AND number > $2
        ORDER BY number
        LIMIT $3
        "#,
        campaign.number(),
        after.hold,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: format!("{campaign}-{}", row.number),
        amount: row.amount,
        kind: Kind::Hold(row.number),
        turn: 0,
    });
    Ok(rows.collect())
}

async fn posts(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: TransferCursor,
    limit: i64,
) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT batch, turn, amount, recorded_at FROM postings
        WHERE campaign = $1 AND (recorded_at, batch, turn) > ($2, $3, $4)
        ORDER BY recorded_at, batch, turn
        LIMIT $5
        "#,
        campaign.number(),
        after.post.0,
        after.post.1,
        after.post.2,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: row.batch.to_string(),
        amount: row.amount,
        kind: Kind::Post(row.batch),
        turn: row.turn,
    });
    Ok(rows.collect())
}

async fn voids(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: TransferCursor,
    limit: i64,
) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT number, turn, amount, recorded_at FROM voids
        WHERE campaign = $1 AND (recorded_at, number, turn) > ($2, $3, $4)
        ORDER BY recorded_at, number, turn
        LIMIT $5
        "#,
        campaign.number(),
        after.void.0,
        after.void.1,
        after.void.2,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: format!("{campaign}-{}", row.number),
        amount: row.amount,
        kind: Kind::Void(row.number),
        turn: row.turn,
    });
    Ok(rows.collect())
}

async fn returns(
    conn: &mut PgConnection,
    campaign: CampaignId,
    after: TransferCursor,
    limit: i64,
) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT turn, '0x' || encode(tx, 'hex') AS "tx!", amount, recorded_at FROM returns
        WHERE campaign = $1 AND turn > $2
        ORDER BY turn
        LIMIT $3
        "#,
        campaign.number(),
        after.returned,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: row.tx,
        amount: row.amount,
        kind: Kind::Return,
        turn: row.turn,
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_there_and_back() {
        let cursor = TransferCursor {
            hold: 12,
            funding: (DateTime::from_timestamp_micros(7).unwrap(), 3, 4, 1),
            post: (DateTime::from_timestamp_micros(1_767_225_600_000_001).unwrap(), Uuid::from_u128(5), 2),
            void: (DateTime::UNIX_EPOCH, 6, 1),
            returned: 2,
        };
        for cursor in [cursor, TransferCursor::START] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let start = TransferCursor::START.to_string();
        for text in ["", "1.2.3", "x", &format!("{start}.1"), &start.replace(".0.", ".9223372036854775807.")]
        {
            assert_eq!(text.parse::<TransferCursor>(), Err(NoTransferCursor), "{text}");
        }
    }
}
