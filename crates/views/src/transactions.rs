//! TransactionHistoryView: every transaction that was signed.

use alloy_primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, AttemptId, BatchId, GrantId, OrgId};
use laurel_ledger::{LedgerError, amount_from_sql, find_places, find_segments};
use sqlx::PgConnection;
use uuid::Uuid;

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionView {
    /// Its attempt.
    pub attempt: AttemptId,
    /// The batch it settles.
    pub batch: BatchId,
    /// Its hash.
    pub tx: B256,
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The lane's account.
    pub from: Address,
    /// Its nonce.
    pub nonce: u64,
    /// submitted, mined, confirmed, reverted, or replaced where another attempt of the nonce was mined.
    pub state: String,
    /// How many grants it settles.
    pub grants: u32,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The most a unit of gas may cost, in wei.
    pub max_fee_per_gas: Amount,
    /// The block that has it.
    pub block: Option<u64>,
    /// The gas that it used, once the block is final.
    pub gas_used: Option<u64>,
    /// What a unit of that cost, in wei.
    pub effective_gas_price: Option<Amount>,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
}

struct Row {
    id: uuid::Uuid,
    batch: uuid::Uuid,
    tx: Vec<u8>,
    chain_id: i64,
    vault: Vec<u8>,
    address: Vec<u8>,
    nonce: i64,
    state: String,
    grants: i32,
    gas_limit: i64,
    max_fee_per_gas: BigDecimal,
    block_number: Option<i64>,
    gas_used: Option<i64>,
    effective_gas_price: Option<BigDecimal>,
    signed_at: DateTime<Utc>,
}

impl TryFrom<Row> for TransactionView {
    type Error = LedgerError;

    fn try_from(row: Row) -> Result<Self, LedgerError> {
        let wrong = |table, column| LedgerError::Inconsistent { table, column, id: row.id.to_string() };
        Ok(Self {
            attempt: row.id.into(),
            batch: row.batch.into(),
            tx: B256::try_from(row.tx.as_slice()).map_err(|_| wrong("attempts", "tx"))?,
            chain_id: row.chain_id.cast_unsigned(),
            vault: Address::try_from(row.vault.as_slice()).map_err(|_| wrong("vaults", "address"))?,
            from: Address::try_from(row.address.as_slice()).map_err(|_| wrong("lanes", "address"))?,
            nonce: row.nonce.cast_unsigned(),
            state: row.state,
            grants: row.grants.unsigned_abs(),
            gas_limit: row.gas_limit.cast_unsigned(),
            max_fee_per_gas: amount_from_sql(&row.max_fee_per_gas, "attempts", "max_fee_per_gas", row.id)?,
            block: row.block_number.map(i64::cast_unsigned),
            gas_used: row.gas_used.map(i64::cast_unsigned),
            effective_gas_price: row
                .effective_gas_price
                .map(|price| amount_from_sql(&price, "batches", "effective_gas_price", row.batch))
                .transpose()?,
            signed_at: row.signed_at,
        })
    }
}

/// Which transactions are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransactionFilter<'a> {
    /// On this chain.
    pub chain_id: Option<u64>,
    /// In this state.
    pub state: Option<&'a str>,
    /// Of these batches.
    pub batches: Option<&'a [BatchId]>,
    /// After this one, in the order in which they were signed.
    pub after: Option<AttemptId>,
}

async fn select(
    conn: &mut PgConnection,
    org: OrgId,
    tx: Option<B256>,
    filter: &TransactionFilter<'_>,
    limit: i64,
) -> Result<Vec<TransactionView>, LedgerError> {
    let batches: Option<Vec<Uuid>> =
        filter.batches.map(|batches| batches.iter().map(|batch| batch.uuid()).collect());
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT a.id, a.batch, a.tx, v.chain_id, v.address AS vault, l.address, b.nonce, b.grants, a.gas_limit,
               a.max_fee_per_gas, m.block_number, m.gas_used, m.effective_gas_price, a.signed_at, s.state AS "state!"
        FROM attempts a
        JOIN batches b ON b.id = a.batch
        JOIN lanes l ON l.id = b.lane
        JOIN vaults v ON v.id = l.vault
        CROSS JOIN LATERAL (
            SELECT CASE WHEN b.mined_tx IS NULL OR b.mined_tx = a.tx THEN b.state ELSE 'replaced' END AS state
        ) s
        -- what is known of the block belongs to the attempt that is in it
        LEFT JOIN batches m ON m.id = a.batch AND m.mined_tx = a.tx
        WHERE ($1::bytea IS NULL OR a.tx = $1) AND ($2::uuid IS NULL OR a.id > $2)
          AND ($5::bigint IS NULL OR v.chain_id = $5) AND ($6::text IS NULL OR s.state = $6)
          AND ($7::uuid[] IS NULL OR a.batch = ANY ($7))
          AND (EXISTS (SELECT FROM segments s JOIN campaigns c ON c.id = s.campaign
                       WHERE s.batch = b.id AND c.org = $4)
               OR EXISTS (SELECT FROM cancels x JOIN campaigns c ON c.id = x.campaign
                          WHERE x.batch = b.id AND c.org = $4))
        ORDER BY a.id
        LIMIT $3
        "#,
        tx.as_ref().map(|tx| tx.as_slice()),
        filter.after.map(AttemptId::uuid),
        limit,
        org.0,
        filter.chain_id.map(u64::cast_signed),
        filter.state,
        batches.as_deref(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TransactionView::try_from).collect()
}

/// The transactions that settle grants of an organisation and that the filter lets pass, in the order in which they
/// were signed.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_transactions(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &TransactionFilter<'_>,
    limit: i64,
) -> Result<Vec<TransactionView>, LedgerError> {
    select(conn, org, None, filter, limit).await
}

/// The transaction of that hash, if it settles a grant of the organisation.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn find_transaction(
    conn: &mut PgConnection,
    org: OrgId,
    tx: B256,
) -> Result<Option<TransactionView>, LedgerError> {
    Ok(select(conn, org, Some(tx), &TransactionFilter::default(), 1).await?.pop())
}

/// The grants of an organisation that a batch settles.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn grants_of_transaction(
    conn: &mut PgConnection,
    org: OrgId,
    batch: BatchId,
) -> Result<Vec<GrantId>, LedgerError> {
    let mut grants = Vec::new();
    for segment in find_segments(conn, batch).await? {
        let owner = sqlx::query_scalar!("SELECT org FROM campaigns WHERE id = $1", segment.campaign.number())
            .fetch_one(&mut *conn)
            .await?;
        if owner != org.0 {
            continue;
        }
        let places = find_places(conn, segment.campaign, segment.first_seq, segment.count).await?;
        let settled = places.into_iter().filter(|place| segment.settles(place.seq));
        grants.extend(settled.map(|place| GrantId { campaign: segment.campaign, number: place.number }));
    }
    Ok(grants)
}
