//! What an import reads and writes of the database.

use std::collections::HashMap;

use alloy::primitives::B256;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_chain::GrantWord;
use laurel_events::{Amount, CampaignId};
use laurel_ledger::{ChainPlace, LedgerError, amount_to_sql, find_given_places};
use sqlx::PgConnection;

use super::{import::hash, settlement::Settlement};
use crate::{adoption::PaidPlace, compensation::failed_among};

/// What the database knows of a place.
pub(super) enum Known {
    /// It was given with this word, and its grant is neither paid nor failed.
    Open(B256),
    /// A settlement that was recovered paid it.
    Paid(B256),
    Failed,
}

impl Known {
    pub(super) const fn trouble(&self) -> &'static str {
        match self {
            Self::Open(_) => "which has another word here",
            Self::Paid(_) => "which another settlement has paid",
            Self::Failed => "whose grant has failed here",
        }
    }
}

pub(super) async fn known_places(
    conn: &mut PgConnection,
    campaign: CampaignId,
    places: &[PaidPlace],
) -> Result<HashMap<u64, Known>, LedgerError> {
    let mut given = Vec::new();
    // Two segments of one transaction may be far apart.
    for places in places.chunk_by(|one, next| next.seq == one.seq + 1) {
        let Some(first) = places.first() else { continue };
        let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
        given.extend(find_given_places(conn, campaign, first.seq, count).await?);
    }
    let failed = failed_among(conn, campaign, &given).await?;
    let seqs: Vec<i64> = given.iter().map(|place| place.seq.cast_signed()).collect();
    let adopted = sqlx::query!(
        r#"
        SELECT p.seq AS "seq!", a.tx FROM unnest($2::bigint[]) AS p (seq)
        JOIN adoptions a ON a.campaign = $1
        JOIN segments s ON s.batch = a.batch AND s.campaign = a.campaign AND s.first_seq = a.first_seq
                       AND s.first_seq <= p.seq AND s.first_seq + s.count > p.seq
        "#,
        campaign.number(),
        &seqs,
    );
    let mut paid = HashMap::new();
    for row in adopted.fetch_all(conn).await? {
        paid.insert(row.seq.cast_unsigned(), hash(&row.tx)?);
    }
    let known = |place: &ChainPlace| match paid.get(&place.seq) {
        _ if failed.contains(&place.seq) => Known::Failed,
        Some(by) => Known::Paid(*by),
        None => Known::Open(place.word),
    };
    Ok(given.iter().map(|place| (place.seq, known(place))).collect())
}

pub(super) async fn insert_recovered(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    settlement: &Settlement,
) -> Result<(), LedgerError> {
    let Settlement { request, block, .. } = settlement;
    sqlx::query!(
        r#"
        INSERT INTO recovered_txs
            (chain_id, tx, lane, nonce, deadline, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
             block_number, block_hash, block_time, gas_used, effective_gas_price, recovered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT DO NOTHING
        "#,
        chain_id.cast_signed(),
        settlement.tx.as_slice(),
        settlement.lane.0,
        request.nonce.cast_signed(),
        settlement.deadline.cast_signed(),
        settlement.raw.as_ref(),
        request.gas_limit.cast_signed(),
        amount_to_sql(Amount::from(request.max_fee_per_gas)),
        amount_to_sql(Amount::from(request.max_priority_fee_per_gas)),
        block.header.number.cast_signed(),
        block.hash.as_slice(),
        block.header.timestamp.cast_signed(),
        settlement.gas_used.cast_signed(),
        amount_to_sql(Amount::from(settlement.effective_gas_price)),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes a payment whose grant is lost. Returns 1 unless it was noted before.
pub(super) async fn insert_orphan(
    conn: &mut PgConnection,
    chain_id: u64,
    tx: B256,
    campaign: CampaignId,
    place: &PaidPlace,
) -> Result<usize, LedgerError> {
    let amount: BigDecimal =
        amount_to_sql(GrantWord::decode(place.word).map_or(Amount::ZERO, GrantWord::amount));
    let inserted = sqlx::query!(
        r#"
        INSERT INTO orphans (campaign, seq, word, chain_id, tx, log_index, amount) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING
        "#,
        campaign.number(),
        place.seq.cast_signed(),
        place.word.as_slice(),
        chain_id.cast_signed(),
        tx.as_slice(),
        place.log_index.cast_signed(),
        amount,
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(inserted.rows_affected()).unwrap_or(0))
}
