//! Grants with their derived state.

use alloy_primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::{
    Amount, BatchId, CampaignId, Event, EventId, GrantId, OrgId, OutcomeKey, Partition, PlayerId,
};
use laurel_ledger::{LedgerError, amount_from_sql, read_one};
use sqlx::PgConnection;

use crate::candidates::{Key, Search, Span};

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
    /// When the books had its payment.
    pub posted_at: Option<DateTime<Utc>>,
    /// Where the journal has the outcome: partition, offset, index.
    pub(crate) place: (i16, i64, i32),
}

/// Which grants are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantFilter<'a> {
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// Of campaigns that pay this token.
    pub token: Option<Address>,
    /// Of campaigns on this chain.
    pub chain_id: Option<u64>,
    /// Of these players.
    pub players: Option<&'a [PlayerId]>,
    /// To this wallet; the players are those who ever linked it.
    pub wallet: Option<Address>,
    /// In this state.
    pub state: Option<&'a str>,
    /// Granted in this span of time.
    pub granted: Span,
    /// Of this amount at the least.
    pub amount_min: Option<Amount>,
    /// Of this amount at the most.
    pub amount_max: Option<Amount>,
    /// By this version of the campaign's rule.
    pub rule_version: Option<i32>,
    /// Whose transaction is in one of these blocks, the last one included.
    pub blocks: (Option<u64>, Option<u64>),
    /// After this grant, in the order of the list.
    pub after: Option<GrantId>,
}

impl GrantFilter<'_> {
    /// Whether it finds grants where they are few, so that a list of all that it lets pass is read page by page.
    pub fn finds_few(&self) -> bool {
        let in_blocks = self.blocks.0.is_some() || self.blocks.1.is_some();
        self.players.is_some() || in_blocks || self.state.is_some_and(|state| state != "completed")
    }

    /// Whether it asks for nothing but campaigns and a span of time.
    pub(crate) fn asks_of_campaigns_and_time(&self) -> bool {
        !self.finds_few()
            && self.state.is_none()
            && self.wallet.is_none()
            && self.amount_min.is_none()
            && self.amount_max.is_none()
            && self.rule_version.is_none()
    }

    /// Whether the list is in the order of places, not of ids.
    pub(crate) fn by_place(&self) -> bool {
        let in_blocks = self.blocks.0.is_some() || self.blocks.1.is_some();
        let elsewhere = matches!(
            self.state,
            Some(
                "awaiting_wallet"
                    | "held"
                    | "failed"
                    | "compensated"
                    | "submitted"
                    | "mined"
                    | "confirmed"
                    | "queued"
                    | "requested"
            )
        );
        in_blocks && self.players.is_none() && !elsewhere
    }

    /// Whether a grant passes what only its derived state tells.
    pub(crate) fn passes(&self, grant: &GrantView) -> bool {
        let (from, until) = self.blocks;
        let in_blocks = match (from, until, grant.block) {
            (None, None, _) => true,
            (_, _, None) => false,
            (from, until, Some(block)) => {
                from.is_none_or(|from| block >= from) && until.is_none_or(|until| block <= until)
            }
        };
        let granted = self.granted.0.is_none_or(|from| grant.granted_at >= from)
            && self.granted.1.is_none_or(|until| grant.granted_at < until);
        let amount = self.amount_min.is_none_or(|least| grant.amount >= least)
            && self.amount_max.is_none_or(|most| grant.amount <= most);
        self.state.is_none_or(|state| state == grant.state)
            && self.wallet.is_none_or(|wallet| Some(wallet) == grant.wallet)
            && in_blocks
            && self.rule_version.is_none_or(|version| version == grant.rule_version)
            && granted
            && amount
    }
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

/// Grants of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantPage {
    /// In the order of their ids, or of their places where blocks are asked for. There may be fewer than wanted also where the list goes on.
    pub grants: Vec<GrantView>,
    /// Behind which the list goes on.
    pub next: Option<GrantId>,
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
    let Ok(number) = i64::try_from(id.number) else { return Ok(None) };
    Ok(show(conn, org, &[(id.campaign.number(), number)]).await?.pop())
}

/// How often at most one call looks for more candidates, so that a rare state among many grants costs some hundred
/// milliseconds a page and not a minute for the first.
const ROUNDS_MAX: usize = 8;

/// The next `limit` of the organisation's grants that the filter lets pass, or as many as a reasonable search finds.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_grant_views(
    conn: &mut PgConnection,
    org: OrgId,
    filter: &GrantFilter<'_>,
    limit: i64,
) -> Result<GrantPage, LedgerError> {
    let after = filter.after.map_or((0, -1), |after| (after.campaign.number(), after.number.cast_signed()));
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut page = GrantPage::default();
    let mut search = Search::begin(conn, org, filter, after, limit).await?;
    for _ in 0..ROUNDS_MAX {
        let candidates = search.next(conn).await?;
        let shown = show(conn, org, &candidates.keys).await?;
        page.grants.extend(shown.into_iter().filter(|grant| filter.passes(grant)));
        if page.grants.len() >= wanted {
            page.grants.truncate(wanted);
            page.next = page.grants.last().map(|grant| grant.id);
            return Ok(page);
        }
        let Some(next) = candidates.next else {
            page.next = None;
            return Ok(page);
        };
        page.next = Some(grant_id(next)?);
    }
    Ok(page)
}

fn grant_id((campaign, number): Key) -> Result<GrantId, LedgerError> {
    let id = format!("{campaign}-{number}");
    id.parse().map_err(|_| LedgerError::Inconsistent { table: "grants", column: "number", id })
}

/// The organisation's grants among `keys`, in their order.
async fn show(conn: &mut PgConnection, org: OrgId, keys: &[Key]) -> Result<Vec<GrantView>, LedgerError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let campaigns: Vec<i64> = keys.iter().map(|key| key.0).collect();
    let numbers: Vec<i64> = keys.iter().map(|key| key.1).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT g.campaign AS "campaign!", g.number AS "number!", g.outcome AS "outcome!", g.player AS "player!",
               g.amount AS "amount!", g.rule_version AS "rule_version!", g.recorded_at AS "recorded_at!",
               g.part AS "part!", g.position AS "position!", g.idx AS "idx!", g.reason, g.wallet_until, g.seq,
               g.wallet, g.queued_at, g.batch, g.tx, g.block_number, g.posted_at, g.state AS "state!",
               c.org, c.token, v.chain_id, v.address AS vault
        -- How many there are is for nobody to plan by: a plan for each call takes longer than the call.
        FROM unnest((SELECT $2::bigint[]), (SELECT $3::bigint[])) WITH ORDINALITY AS k (campaign, number, at)
        JOIN grant_states g ON g.campaign = k.campaign AND g.number = k.number
        JOIN campaigns c ON c.id = k.campaign
        JOIN vaults v ON v.id = c.vault
        WHERE c.org = $1
        ORDER BY k.at
        "#,
        org.0,
        &campaigns,
        &numbers,
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
