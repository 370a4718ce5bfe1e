//! TransactionHistoryView: every transaction that was signed.

use alloy_primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, AttemptId, BatchId, CampaignId, GrantId, OrgId};
use laurel_ledger::{LedgerError, amount_from_sql, find_places, find_segments};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Span;

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionKind {
    /// It settles grants.
    Settlement,
    /// It burns a place, so that its grant can be given up.
    Cancel,
    /// Nothing: it uses its nonce, so that later ones can be mined.
    Empty,
}

impl TransactionKind {
    /// Its name at the REST interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settlement => "settlement",
            Self::Cancel => "cancel",
            Self::Empty => "empty",
        }
    }
}

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
    /// Which attempt of its nonce it is, from 0: each outbids the one before it.
    pub number: u32,
    /// What it does.
    pub kind: TransactionKind,
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
    number: i32,
    empty: bool,
    cancels: bool,
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
            number: row.number.unsigned_abs(),
            kind: match (row.empty, row.cancels) {
                (true, _) => TransactionKind::Empty,
                (false, true) => TransactionKind::Cancel,
                (false, false) => TransactionKind::Settlement,
            },
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
    /// That settle, or burn, something of this campaign.
    pub campaign: Option<CampaignId>,
    /// That pay this token.
    pub token: Option<Address>,
    /// On this chain.
    pub chain_id: Option<u64>,
    /// In this state.
    pub state: Option<&'a str>,
    /// By this lane.
    pub from: Option<Address>,
    /// That outbid another one, or, if false, that outbid none.
    pub replacement: Option<bool>,
    /// Signed in this span of time.
    pub signed: Span,
    /// In one of these blocks, the last one included.
    pub blocks: (Option<u64>, Option<u64>),
    /// Of these batches.
    pub batches: Option<&'a [BatchId]>,
    /// After this one, in the order in which they were signed.
    pub after: Option<AttemptId>,
}

/// Transactions of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPage {
    /// In the order in which they were signed. There may be fewer than wanted also where the list goes on.
    pub transactions: Vec<TransactionView>,
    /// Behind which the list goes on.
    pub next: Option<AttemptId>,
}

/// How many attempts are looked at for one page: some ten milliseconds.
const WINDOW: i64 = 4_000;

/// The transactions of an organisation that the filter lets pass, among the next `window` that anybody has.
async fn select(
    conn: &mut PgConnection,
    org: OrgId,
    tx: Option<B256>,
    filter: &TransactionFilter<'_>,
    (limit, window): (i64, i64),
) -> Result<Vec<TransactionView>, LedgerError> {
    let batches: Option<Vec<Uuid>> =
        filter.batches.map(|batches| batches.iter().map(|batch| batch.uuid()).collect());
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH looked_at AS MATERIALIZED (
            SELECT a.* FROM attempts a
            WHERE ($1::bytea IS NULL OR a.tx = $1) AND ($2::uuid IS NULL OR a.id > $2)
              AND ($3::uuid[] IS NULL OR a.batch = ANY ($3))
            ORDER BY a.id
            LIMIT $4
        )
        SELECT a.id, a.batch, a.tx, a.number, a.empty, v.chain_id, v.address AS vault, l.address, b.nonce, b.grants,
               a.gas_limit, a.max_fee_per_gas, m.block_number AS "block_number?", m.gas_used AS "gas_used?",
               m.effective_gas_price AS "effective_gas_price?", a.signed_at, s.state AS "state!", x.batch IS NOT NULL AS "cancels!"
        FROM looked_at a
        JOIN batches b ON b.id = a.batch
        JOIN lanes l ON l.id = b.lane
        JOIN vaults v ON v.id = l.vault
        CROSS JOIN LATERAL (
            SELECT CASE WHEN b.mined_tx IS NULL OR b.mined_tx = a.tx THEN b.state ELSE 'replaced' END AS state
        ) s
        -- what is known of the block belongs to the attempt that is in it
        LEFT JOIN batches m ON m.id = a.batch AND m.mined_tx = a.tx
        LEFT JOIN cancels x ON x.batch = b.id
        WHERE ($6::bigint IS NULL OR v.chain_id = $6) AND ($7::text IS NULL OR s.state = $7)
          AND ($8::bytea IS NULL OR l.address = $8) AND ($9::boolean IS NULL OR (a.number > 0) = $9)
          AND ($10::timestamptz IS NULL OR a.signed_at >= $10) AND ($11::timestamptz IS NULL OR a.signed_at < $11)
          AND ($12::bigint IS NULL OR m.block_number >= $12) AND ($13::bigint IS NULL OR m.block_number <= $13)
          AND (EXISTS (SELECT FROM segments s JOIN campaigns c ON c.id = s.campaign
                       WHERE s.batch = b.id AND c.org = $5 AND ($14::bigint IS NULL OR c.id = $14)
                         AND ($15::bytea IS NULL OR c.token = $15))
               OR EXISTS (SELECT FROM campaigns c
                          WHERE c.id = x.campaign AND c.org = $5 AND ($14::bigint IS NULL OR c.id = $14)
                            AND ($15::bytea IS NULL OR c.token = $15)))
        ORDER BY a.id
        LIMIT $16
        "#,
        tx.as_ref().map(|tx| tx.as_slice()),
        filter.after.map(AttemptId::uuid),
        batches.as_deref(),
        window,
        org.0,
        filter.chain_id.map(u64::cast_signed),
        filter.state,
        filter.from.as_ref().map(|from| from.as_slice()),
        filter.replacement,
        filter.signed.0,
        filter.signed.1,
        filter.blocks.0.map(bound),
        filter.blocks.1.map(bound),
        filter.campaign.map(CampaignId::number),
        filter.token.as_ref().map(|token| token.as_slice()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TransactionView::try_from).collect()
}

/// A block's number as the database compares it: none has more.
fn bound(block: u64) -> i64 {
    i64::try_from(block).unwrap_or(i64::MAX)
}

/// The transactions that settle grants of an organisation and that the filter lets pass, in the order in which they
/// were signed, or as many as a reasonable search finds.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_transactions(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &TransactionFilter<'_>,
    limit: i64,
) -> Result<TransactionPage, LedgerError> {
    let transactions = select(conn, org, None, filter, (limit, WINDOW.max(limit))).await?;
    if i64::try_from(transactions.len()).is_ok_and(|found| found >= limit) {
        let next = transactions.last().map(|last| last.attempt);
        return Ok(TransactionPage { transactions, next });
    }
    let end = sqlx::query_scalar!(
        "SELECT id FROM attempts WHERE $1::uuid IS NULL OR id > $1 ORDER BY id OFFSET $2 LIMIT 1",
        filter.after.map(AttemptId::uuid),
        WINDOW.max(limit) - 1,
    );
    let end = if filter.batches.is_some() { None } else { end.fetch_optional(conn).await? };
    Ok(TransactionPage { transactions, next: end.map(AttemptId::from) })
}

/// What transactions add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionTotals {
    /// How many there are.
    pub transactions: u64,
    /// How many of them are in a final block.
    pub paid_for: u64,
    /// The gas that those used.
    pub gas_used: u64,
    /// What that cost, in wei.
    pub fees: Amount,
}

/// What all transactions add up to that the filter lets pass.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn transaction_totals(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &TransactionFilter<'_>,
) -> Result<TransactionTotals, LedgerError> {
    let mut totals = TransactionTotals::default();
    let mut filter = *filter;
    loop {
        let page = list_transactions(conn, org, &filter, WINDOW).await?;
        for transaction in page.transactions {
            totals.transactions += 1;
            if let Some((gas, price)) = transaction.gas_used.zip(transaction.effective_gas_price) {
                totals.paid_for += 1;
                totals.gas_used += gas;
                let overflow = |_| LedgerError::Inconsistent {
                    table: "batches",
                    column: "effective_gas_price",
                    id: transaction.batch.to_string(),
                };
                totals.fees = price.times(gas).and_then(|fee| totals.fees.plus(fee)).map_err(overflow)?;
            }
        }
        let Some(next) = page.next else { return Ok(totals) };
        filter.after = Some(next);
    }
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
    Ok(select(conn, org, Some(tx), &TransactionFilter::default(), (1, 1)).await?.pop())
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
