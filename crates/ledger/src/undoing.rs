//! Taking transfers back that the chain took back.
//!
//! ```text
//!   turn 0  written   +a      turn 1  undone   -a      turn 2  written again   +a'   …
//! ```
//!
//! A transfer is undone by a row of its own, with the opposite amount: what the rows of its key sum up to is true at any time.
//! Undoing one twice changes nothing.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, BatchId, CampaignFunded, CampaignId, GrantId, SettledSegment, Sighting};
use sqlx::PgConnection;

use crate::{LedgerError, Posting, amount_from_sql, amount_to_sql, find_balances};

/// Takes back what `tx` had a batch post of a campaign, if it is posted: paid -> reserved. Returns what that was.
///
/// # Errors
/// If less is paid than it moves, or the database does not answer.
pub async fn unpost(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    batch: BatchId,
    campaign: CampaignId,
    tx: B256,
) -> Result<Option<Posting>, LedgerError> {
    let undone = sqlx::query!(
        r#"
        INSERT INTO postings (batch, campaign, turn, grants, amount, tx, recorded_at)
        SELECT batch, campaign, turn + 1, -grants, -amount, tx, $4
        FROM (SELECT * FROM postings WHERE batch = $1 AND campaign = $2 ORDER BY turn DESC LIMIT 1) p
        WHERE turn % 2 = 0 AND tx = $3
        RETURNING -grants AS "grants!", -amount AS "amount!"
        "#,
        batch.uuid(),
        campaign.number(),
        tx.as_slice(),
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(undone) = undone else { return Ok(None) };
    let moved = sqlx::query!(
        "UPDATE accounts SET reserved = reserved + $2, paid = paid - $2 WHERE campaign = $1",
        campaign.number(),
        undone.amount,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("undo a posting", 1, moved.rows_affected())?;
    let amount = amount_from_sql(&undone.amount, "postings", "amount", batch)?;
    Ok(Some(Posting { batch, campaign, grants: undone.grants.unsigned_abs(), amount, tx }))
}

/// What became of a funding that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfunded {
    /// What the campaign has less.
    pub removed: Amount,
    /// What it should have less, and cannot: holds stand on it.
    pub missing: Amount,
}

/// Takes back a funding, if it is booked: available -> chain, as far as nothing is held of it. What is missing stays in the books
/// until the vault has a cap again that covers it. The caller has locked the books.
///
/// # Errors
/// If the database does not answer.
pub async fn unfund(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    funded: &CampaignFunded,
) -> Result<Option<Unfunded>, LedgerError> {
    let Some(balances) = find_balances(conn, funded.campaign).await? else { return Ok(None) };
    let undone = sqlx::query!(
        r#"
        INSERT INTO fundings (campaign, block_number, log_index, turn, tx, cap, added, recorded_at)
        SELECT campaign, block_number, log_index, turn + 1, tx, cap, -least(added, $5), $6
        FROM (SELECT * FROM fundings WHERE campaign = $1 AND block_number = $2 AND log_index = $3
              ORDER BY turn DESC LIMIT 1) f
        WHERE turn % 2 = 0 AND tx = $4
        RETURNING -added AS "removed!",
                  (SELECT added FROM fundings g WHERE g.campaign = $1 AND g.block_number = $2 AND g.log_index = $3
                   ORDER BY turn DESC LIMIT 1) AS "added!"
        "#,
        funded.campaign.number(),
        funded.block_number.cast_signed(),
        funded.log_index.cast_signed(),
        funded.tx.as_slice(),
        amount_to_sql(balances.available),
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(undone) = undone else { return Ok(None) };
    let moved = sqlx::query!(
        "UPDATE accounts SET funded = funded - $2, available = available - $2 WHERE campaign = $1",
        funded.campaign.number(),
        undone.removed,
    )
    .execute(conn)
    .await?;
    LedgerError::expect_rows("undo a funding", 1, moved.rows_affected())?;
    let removed = amount_from_sql(&undone.removed, "fundings", "added", funded.campaign)?;
    let added = amount_from_sql(&undone.added, "fundings", "added", funded.campaign)?;
    Ok(Some(Unfunded { removed, missing: added.minus(removed)? }))
}

/// Takes a payment back out of suspense, if it is there.
///
/// # Errors
/// If the database does not answer.
pub async fn undo_suspense(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    sighting: &Sighting,
    settled: &SettledSegment,
) -> Result<bool, LedgerError> {
    let undone = sqlx::query!(
        r#"
        INSERT INTO suspense
            (chain_id, tx, log_index, turn, vault, on_chain_campaign, first_seq, amount, reason, recorded_at, block_number,
             block_hash)
        SELECT chain_id, tx, log_index, turn + 1, vault, on_chain_campaign, first_seq, -amount, 'taken back by the chain', $4,
               block_number, block_hash
        FROM (SELECT * FROM suspense WHERE chain_id = $1 AND tx = $2 AND log_index = $3 ORDER BY turn DESC LIMIT 1) s
        WHERE turn % 2 = 0
        "#,
        sighting.chain_id.cast_signed(),
        sighting.tx.as_slice(),
        settled.log_index.cast_signed(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(undone.rows_affected() == 1)
}

/// What became of a void that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reheld {
    /// That much is held again.
    Held(Amount),
    /// The campaign has granted it to others since: so much is not there.
    Short(Amount),
}

/// Holds again what was voided of a grant: available -> reserved. `None` if nothing is void. What is not there is owed from then
/// on. The caller has locked the books.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn unvoid(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    grant: GrantId,
) -> Result<Option<Reheld>, LedgerError> {
    let (campaign, number) = (grant.campaign.number(), grant.number.cast_signed());
    let last = sqlx::query!(
        "SELECT turn, amount FROM voids WHERE campaign = $1 AND number = $2 ORDER BY turn DESC LIMIT 1",
        campaign,
        number,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(last) = last.filter(|last| last.turn % 2 == 0) else { return Ok(None) };
    let amount = amount_from_sql(&last.amount, "voids", "amount", grant)?;
    let balances = find_balances(conn, grant.campaign).await?.unwrap_or_default();
    if balances.available < amount {
        sqlx::query!(
            r#"
            INSERT INTO owed_holds (campaign, number, seq)
            SELECT campaign, number, (proof ->> 'seq')::bigint FROM voids WHERE campaign = $1 AND number = $2 AND turn = $3
            ON CONFLICT DO NOTHING
            "#,
            campaign,
            number,
            last.turn,
        )
        .execute(conn)
        .await?;
        return Ok(Some(Reheld::Short(amount)));
    }
    sqlx::query!(
        r#"
        INSERT INTO voids (campaign, number, turn, amount, proof, recorded_at)
        SELECT campaign, number, turn + 1, -amount, proof, $4 FROM voids WHERE campaign = $1 AND number = $2 AND turn = $3
        "#,
        campaign,
        number,
        last.turn,
        now,
    )
    .execute(&mut *conn)
    .await?;
    let moved = sqlx::query!(
        "UPDATE accounts SET reserved = reserved + $2, available = available - $2 WHERE campaign = $1",
        campaign,
        last.amount,
    )
    .execute(&mut *conn)
    .await?;
    LedgerError::expect_rows("undo a void", 1, moved.rows_affected())?;
    sqlx::query!("DELETE FROM owed_holds WHERE campaign = $1 AND number = $2", campaign, number)
        .execute(conn)
        .await?;
    Ok(Some(Reheld::Held(amount)))
}

/// The grants of a campaign that are owed their holds, and their places.
///
/// # Errors
/// If the database does not answer.
pub async fn owed_holds(
    conn: &mut PgConnection,
    campaign: CampaignId,
) -> Result<Vec<(GrantId, u64)>, LedgerError> {
    let owed = sqlx::query!(
        "SELECT number, seq FROM owed_holds WHERE campaign = $1 ORDER BY number",
        campaign.number()
    );
    let owed = owed.fetch_all(conn).await?;
    let owed = owed
        .into_iter()
        .map(|row| (GrantId { campaign, number: row.number.cast_unsigned() }, row.seq.cast_unsigned()));
    Ok(owed.collect())
}

/// Notes that grants are owed nothing any more: the chain has proven again that they are never paid.
///
/// # Errors
/// If the database does not answer.
pub async fn forget_owed(conn: &mut PgConnection, grants: &[GrantId]) -> Result<(), LedgerError> {
    for grant in grants {
        sqlx::query!(
            "DELETE FROM owed_holds WHERE campaign = $1 AND number = $2",
            grant.campaign.number(),
            grant.number.cast_signed(),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The grants of a campaign whose holds `tx` has proven to be void.
///
/// # Errors
/// If the database does not answer.
pub async fn voided_by(
    conn: &mut PgConnection,
    campaign: CampaignId,
    tx: B256,
) -> Result<Vec<GrantId>, LedgerError> {
    let numbers = sqlx::query_scalar!(
        r#"
        SELECT number FROM voids WHERE campaign = $1 AND proof ->> 'tx' = $2
        GROUP BY number HAVING sum(amount) > 0 ORDER BY number
        "#,
        campaign.number(),
        tx.to_string(),
    );
    let numbers = numbers.fetch_all(conn).await?;
    Ok(numbers.into_iter().map(|number| GrantId { campaign, number: number.cast_unsigned() }).collect())
}
