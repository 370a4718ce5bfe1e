//! Grants with their derived state.

use alloy_primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{
    Amount, BatchId, CampaignId, Event, EventId, GrantId, OrgId, OutcomeKey, Partition, PlayerId,
};
use laurel_ledger::{LedgerError, amount_from_sql, read_one};
use sqlx::PgConnection;

/// A grant as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantView {
    /// Which.
    pub id: GrantId,
    /// One of the states of the REST interface.
    pub state: String,
    /// Why, where the state has a reason.
    pub reason: Option<String>,
    /// Until when a wallet can be linked, while one is awaited.
    pub wallet_until: Option<DateTime<Utc>>,
    /// Whose campaign it is.
    pub org: OrgId,
    /// The sequence number on the chain.
    pub seq: Option<u64>,
    /// The outcome's key.
    pub outcome: OutcomeKey,
    /// Who earned it.
    pub player: PlayerId,
    /// The wallet that its word pays.
    pub wallet: Option<Address>,
    /// How much.
    pub amount: Amount,
    /// The token.
    pub token: Address,
    /// The chain.
    pub chain_id: u64,
    /// The vault.
    pub vault: Address,
    /// The batch it is in.
    pub batch: Option<BatchId>,
    /// The transaction that has it: the mined one, else the newest attempt.
    pub tx: Option<B256>,
    /// The block that has the transaction.
    pub block: Option<u64>,
    /// The rule that granted it.
    pub rule_version: i32,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
    pub(crate) queued_at: Option<DateTime<Utc>>,
    pub(crate) posted_at: Option<DateTime<Utc>>,
    /// Where the journal has the outcome: partition, offset, index.
    pub(crate) place: (i16, i64, i32),
}

/// Which grants are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantFilter<'a> {
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// Of this player.
    pub player: Option<PlayerId>,
    /// In this state.
    pub state: Option<&'a str>,
    /// After this grant, in the order of their ids.
    pub after: Option<GrantId>,
}

struct Row {
    campaign: i64,
    number: i64,
    state: String,
    reason: Option<String>,
    wallet_until: Option<DateTime<Utc>>,
    org: i32,
    seq: Option<i64>,
    outcome: uuid::Uuid,
    player: uuid::Uuid,
    wallet: Option<Vec<u8>>,
    amount: BigDecimal,
    token: Vec<u8>,
    chain_id: i64,
    vault: Vec<u8>,
    batch: Option<uuid::Uuid>,
    tx: Option<Vec<u8>>,
    block_number: Option<i64>,
    rule_version: i32,
    recorded_at: DateTime<Utc>,
    queued_at: Option<DateTime<Utc>>,
    posted_at: Option<DateTime<Utc>>,
    part: i16,
    position: i64,
    idx: i32,
}

impl TryFrom<Row> for GrantView {
    type Error = LedgerError;

    fn try_from(row: Row) -> Result<Self, LedgerError> {
        let id = format!("{}-{}", row.campaign, row.number);
        let wrong = |table, column| LedgerError::Inconsistent { table, column, id: id.clone() };
        let address =
            |bytes: &[u8], table, column| Address::try_from(bytes).map_err(|_| wrong(table, column));
        Ok(Self {
            id: id.parse().map_err(|_| wrong("grants", "number"))?,
            state: row.state,
            reason: row.reason,
            wallet_until: row.wallet_until,
            org: OrgId(row.org),
            seq: row.seq.map(i64::cast_unsigned),
            outcome: row.outcome.into(),
            player: row.player.into(),
            wallet: row.wallet.map(|wallet| address(&wallet, "runs", "words")).transpose()?,
            amount: amount_from_sql(&row.amount, "grants", "amount", &id)?,
            token: address(&row.token, "campaigns", "token")?,
            chain_id: row.chain_id.cast_unsigned(),
            vault: address(&row.vault, "vaults", "address")?,
            batch: row.batch.map(BatchId::from),
            tx: row
                .tx
                .map(|tx| B256::try_from(tx.as_slice()).map_err(|_| wrong("attempts", "tx")))
                .transpose()?,
            block: row.block_number.map(i64::cast_unsigned),
            rule_version: row.rule_version,
            granted_at: row.recorded_at,
            queued_at: row.queued_at,
            posted_at: row.posted_at,
            place: (row.part, row.position, row.idx),
        })
    }
}

/// The grant of that id, as it is now.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn find_grant_view(
    conn: &mut PgConnection,
    org: OrgId,
    id: GrantId,
) -> Result<Option<GrantView>, LedgerError> {
    let filter = GrantFilter { campaign: Some(id.campaign), ..GrantFilter::default() };
    let after = i64::try_from(id.number).unwrap_or(i64::MAX) - 1;
    let found = select(conn, org, &filter, (id.campaign.number(), after), 1).await?;
    Ok(found.into_iter().find(|grant| grant.id == id))
}

/// The organisation's grants that the filter lets pass, in the order of their ids.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_grant_views(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
    limit: i64,
) -> Result<Vec<GrantView>, LedgerError> {
    let after =
        filter.after.map_or((i64::MIN, -1), |after| (after.campaign.number(), after.number.cast_signed()));
    select(conn, org, filter, after, limit).await
}

/// A segment holds at most this many places, so that the segments of a place begin within this many before it.
pub(crate) const SEGMENT_MAX: i64 = 1_000;

/// The numbers of a run span at most this many. Requests come some thousands at a time; one that was set aside and tried
/// again has a run of its own, in the middle of another's span.
const RUN_SPAN_MAX: i64 = 10_000;

async fn select(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
    after: (i64, i64),
    limit: i64,
) -> Result<Vec<GrantView>, LedgerError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT g.campaign, g.number, g.outcome, g.player, g.amount, g.rule_version, g.recorded_at, g.part, g.position,
               g.idx, c.org, c.token, v.chain_id, v.address AS vault, e.reason AS "reason?",
               e.wallet_until AS "wallet_until?", p.seq AS "seq?", p.wallet AS "wallet?", p.queued_at AS "queued_at?",
               b.id AS "batch?", b.tx AS "tx?", b.block_number AS "block_number?",
               b.posted_at AS "posted_at?", s.state AS "state!"
        FROM grants g
        JOIN campaigns c ON c.id = g.campaign
        JOIN vaults v ON v.id = c.vault
        LEFT JOIN exceptions e ON e.campaign = g.campaign AND e.number = g.number
        LEFT JOIN LATERAL (
            SELECT r.first_seq + i.at - 1 AS seq, r.queued_at,
                   substring(r.words FROM (32 * (i.at - 1) + 1)::integer FOR 20) AS wallet
            FROM (
                (SELECT * FROM runs r
                 WHERE e.seq IS NULL AND r.campaign = g.campaign AND r.first_number <= g.number
                   AND r.first_number > g.number - $9 AND g.number = ANY (r.numbers)
                 ORDER BY r.first_number DESC LIMIT 1)
                UNION ALL
                (SELECT * FROM runs r
                 WHERE e.seq IS NOT NULL AND r.campaign = g.campaign AND r.first_seq <= e.seq
                 ORDER BY r.first_seq DESC LIMIT 1)
            ) r
            CROSS JOIN LATERAL (SELECT array_position(r.numbers, g.number) AS at) i
            WHERE i.at IS NOT NULL
        ) p ON true
        LEFT JOIN LATERAL (
            SELECT b.id, b.state, b.block_number, s.posted_at,
                   coalesce(b.mined_tx, (SELECT a.tx FROM attempts a WHERE a.batch = b.id
                                         ORDER BY a.signed_at DESC, a.id DESC LIMIT 1)) AS tx
            FROM segments s JOIN batches b ON b.id = s.batch
            WHERE s.campaign = g.campaign AND s.first_seq <= p.seq AND s.first_seq > p.seq - $8
              AND s.first_seq + s.count > p.seq
            ORDER BY b.created_at DESC
            LIMIT 1
        ) b ON true
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN e.state <> 'queued' THEN e.state
                WHEN p.seq IS NULL THEN 'requested'
                WHEN b.id IS NULL OR b.state = 'reverted' THEN 'queued'
                WHEN b.posted_at IS NOT NULL THEN 'completed'
                ELSE b.state
            END AS state
        ) s
        WHERE c.org = $1
          AND ($2::bigint IS NULL OR g.campaign = $2)
          AND ($3::uuid IS NULL OR g.player = $3)
          AND ($4::text IS NULL OR s.state = $4)
          AND (g.campaign, g.number) > ($5, $6)
        ORDER BY g.campaign, g.number
        LIMIT $7
        "#,
        org.0,
        filter.campaign.map(CampaignId::number),
        filter.player.map(PlayerId::uuid),
        filter.state,
        after.0,
        after.1,
        limit,
        SEGMENT_MAX,
        RUN_SPAN_MAX,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(GrantView::try_from).collect()
}

/// What the game server called the outcome that earned the grant; `None` if the journal does not hold it here.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn grant_outcome_id(
    conn: &mut PgConnection,
    grant: &GrantView,
) -> Result<Option<String>, LedgerError> {
    let (part, offset, index) = grant.place;
    let wrong = || LedgerError::Inconsistent { table: "grants", column: "part", id: grant.id.to_string() };
    let partition = Partition::new(part).ok_or_else(wrong)?;
    let envelope = read_one(conn, EventId { partition, offset, index }).await?;
    Ok(envelope.and_then(|envelope| match envelope.event {
        Event::GameOutcomeRecorded(outcome) => Some(outcome.outcome_id),
        _ => None,
    }))
}
