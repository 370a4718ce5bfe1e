//! Places that the chain has burned: what proves that their grants are never paid.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use laurel_events::CampaignId;
use sqlx::PgConnection;

use crate::LedgerError;

/// Notes that a final transaction burned these places of a campaign.
///
/// # Errors
/// If the database does not answer.
pub async fn note_burned(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: &[u64],
    tx: B256,
) -> Result<(), LedgerError> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.cast_signed()).collect();
    sqlx::query!(
        "INSERT INTO burns (campaign, seq, tx) SELECT $1, seq, $3 FROM unnest($2::bigint[]) AS s (seq) ON CONFLICT DO NOTHING",
        campaign.number(),
        &seqs,
        tx.as_slice(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of these places that are burned, and the transactions that prove it.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn burned_among(
    conn: &mut PgConnection,
    campaign: CampaignId,
    seqs: &[u64],
) -> Result<BTreeMap<u64, B256>, LedgerError> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.cast_signed()).collect();
    let burned = sqlx::query!(
        "SELECT seq, tx FROM burns WHERE campaign = $1 AND seq = ANY ($2)",
        campaign.number(),
        &seqs,
    );
    let burned = burned.fetch_all(conn).await?;
    let proof = |seq: i64, tx: &[u8]| {
        let tx = B256::try_from(tx).map_err(|_| LedgerError::inconsistent("burns", "tx", seq))?;
        Ok((seq.cast_unsigned(), tx))
    };
    burned.iter().map(|row| proof(row.seq, &row.tx)).collect()
}

/// Forgets that `tx` burned places of a campaign: the chain takes it back.
///
/// # Errors
/// If the database does not answer.
pub async fn forget_burned(
    conn: &mut PgConnection,
    campaign: CampaignId,
    tx: B256,
) -> Result<(), LedgerError> {
    sqlx::query!("DELETE FROM burns WHERE campaign = $1 AND tx = $2", campaign.number(), tx.as_slice())
        .execute(conn)
        .await?;
    Ok(())
}
