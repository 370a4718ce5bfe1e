//! Transfers of each kind, as their tables have them.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::CampaignId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Transfer, TransferCursor};
use crate::{LedgerError, numeric::amount_from_sql};

/// What is read of each kind.
pub(super) struct Window {
    pub(super) campaign: CampaignId,
    pub(super) after: TransferCursor,
    pub(super) recorded: (DateTime<Utc>, DateTime<Utc>),
    /// Holds of this number and later ones were recorded after that.
    pub(super) holds_end: i64,
    pub(super) limit: i64,
}

/// A transfer as its table has it, and what a cursor becomes behind it.
pub(super) struct Row {
    pub(super) recorded_at: DateTime<Utc>,
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
    pub(super) fn transfer(self, cursor: &mut TransferCursor) -> Result<Transfer, LedgerError> {
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

pub(super) async fn fundings(conn: &mut PgConnection, window: &Window) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT block_number, log_index, turn, added, recorded_at FROM fundings
        WHERE campaign = $1 AND (recorded_at, block_number, log_index, turn) > ($2, $3, $4, $5)
          AND recorded_at >= $8 AND recorded_at < $7
        ORDER BY recorded_at, block_number, log_index, turn
        LIMIT $6
        "#,
        window.campaign.number(),
        window.after.funding.0,
        window.after.funding.1,
        window.after.funding.2,
        window.after.funding.3,
        window.limit,
        window.recorded.1,
        window.recorded.0,
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
pub(super) async fn holds(conn: &mut PgConnection, window: &Window) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT number, amount, recorded_at FROM grants
        WHERE campaign = $1 AND number > $2 AND number < $4 AND recorded_at >= $5 AND recorded_at < $6
        ORDER BY number
        LIMIT $3
        "#,
        window.campaign.number(),
        window.after.hold,
        window.limit,
        window.holds_end,
        window.recorded.0,
        window.recorded.1,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: format!("{}-{}", window.campaign, row.number),
        amount: row.amount,
        kind: Kind::Hold(row.number),
        turn: 0,
    });
    Ok(rows.collect())
}

pub(super) async fn posts(conn: &mut PgConnection, window: &Window) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT batch, turn, amount, recorded_at FROM postings
        WHERE campaign = $1 AND (recorded_at, batch, turn) > ($2, $3, $4)
          AND recorded_at >= $7 AND recorded_at < $6
        ORDER BY recorded_at, batch, turn
        LIMIT $5
        "#,
        window.campaign.number(),
        window.after.post.0,
        window.after.post.1,
        window.after.post.2,
        window.limit,
        window.recorded.1,
        window.recorded.0,
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

pub(super) async fn voids(conn: &mut PgConnection, window: &Window) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT number, turn, amount, recorded_at FROM voids
        WHERE campaign = $1 AND (recorded_at, number, turn) > ($2, $3, $4)
          AND recorded_at >= $7 AND recorded_at < $6
        ORDER BY recorded_at, number, turn
        LIMIT $5
        "#,
        window.campaign.number(),
        window.after.void.0,
        window.after.void.1,
        window.after.void.2,
        window.limit,
        window.recorded.1,
        window.recorded.0,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        recorded_at: row.recorded_at,
        reference: format!("{}-{}", window.campaign, row.number),
        amount: row.amount,
        kind: Kind::Void(row.number),
        turn: row.turn,
    });
    Ok(rows.collect())
}

pub(super) async fn returns(conn: &mut PgConnection, window: &Window) -> Result<Vec<Row>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT turn, '0x' || encode(tx, 'hex') AS "tx!", amount, recorded_at FROM returns
        WHERE campaign = $1 AND turn > $2 AND recorded_at >= $5 AND recorded_at < $4
        ORDER BY turn
        LIMIT $3
        "#,
        window.campaign.number(),
        window.after.returned,
        window.limit,
        window.recorded.1,
        window.recorded.0,
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

/// The number of the first of a campaign's holds that may have been recorded at `moment` or later, as far as their times are in the order of
/// their numbers; one more than the last where there is none.
pub(super) async fn first_hold_since(
    conn: &mut PgConnection,
    campaign: CampaignId,
    moment: DateTime<Utc>,
) -> Result<i64, LedgerError> {
    let end = sqlx::query_scalar!(
        r#"SELECT max(number) + 1 AS "end!" FROM grants WHERE campaign = $1 HAVING max(number) IS NOT NULL"#,
        campaign.number(),
    );
    let (mut low, mut high) = (0, end.fetch_optional(&mut *conn).await?.unwrap_or(0));
    while low < high {
        let middle = low + (high - low) / 2;
        let is_before = sqlx::query_scalar!(
            r#"SELECT recorded_at < $3 AS "before!" FROM grants WHERE campaign = $1 AND number = $2"#,
            campaign.number(),
            middle,
            moment,
        );
        // A range that was archived is before everything that is asked for.
        match is_before.fetch_optional(&mut *conn).await? {
            Some(false) => high = middle,
            Some(true) | None => low = middle + 1,
        }
    }
    Ok(low)
}
