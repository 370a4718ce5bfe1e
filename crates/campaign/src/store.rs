//! Campaigns in the database.

use alloy_primitives::Address;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_bus::StageError;
use laurel_events::{Amount, CampaignCreated, CampaignId, OrgId};
use laurel_ledger::{Context, LedgerError, amount_from_sql, amount_to_sql, append, open_account};
use rand::RngCore;
use sqlx::{PgConnection, types::Json};

use crate::{
    By, CampaignState, Caps, Definition, DefinitionError, IllegalTransition, Windows,
    versions::insert_version,
};

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Its id, on the chain and off it.
    pub id: CampaignId,
    /// Whose it is.
    pub org: OrgId,
    /// What its manager says of it.
    pub definition: Definition,
    /// The vault that pays.
    pub vault: Address,
    /// Where it is in its life.
    pub state: CampaignState,
    /// Why it is in that state, where Laurel itself put it there.
    pub state_reason: Option<String>,
    /// Whether it treats some players apart, or did.
    pub listed: bool,
    /// The version of rule, reward and caps.
    pub rule_version: i32,
    /// The version of everything: changes with every change.
    pub version: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Why a campaign is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The definition is wrong.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// No vault on that chain belongs to this ledger.
    #[error("chain_id: no vault on chain {0} belongs to this ledger")]
    NoVault(u64),
    /// There is no such campaign of this organisation.
    #[error("there is no campaign {0}")]
    Unknown(CampaignId),
    /// It is not in a state for this.
    #[error(transparent)]
    State(#[from] IllegalTransition),
    /// It is over, so that nothing it is given could ever be paid.
    #[error("a campaign that is ended cannot be funded: nothing could be paid from it any more")]
    Ended,
    /// Somebody changed it in between.
    #[error("the campaign has version {found} by now, not {wanted}")]
    Changed {
        /// The version that was meant.
        wanted: i32,
        /// The version that it has.
        found: i32,
    },
    /// What a change may not touch.
    #[error("{0}: cannot be changed once the campaign has left its draft")]
    Fixed(&'static str),
    /// It would begin, or go on, after its end.
    #[error("ends_at: {0} has passed: nothing could earn anything any more")]
    Over(DateTime<Utc>),
    /// It has no moment at which it could begin by itself.
    #[error("starts_at: a campaign is scheduled for a moment to come; activate it, and it begins now")]
    NotToCome,
    /// It has no money.
    #[error("the campaign has no money: fund it, and wait until that is final on the chain")]
    Unfunded,
    /// A draft that has money, or will have, is not deleted.
    #[error("the vault holds money for this campaign, or will: end it, so that it can be taken back")]
    Funded,
    /// A cap only rises.
    #[error("cap: {asked} is not above {current}, which the vault or an earlier request has already")]
    CapNotRaised {
        /// What was asked for.
        asked: Amount,
        /// What there is.
        current: Amount,
    },
    /// An alert that lasts as long as what it tells of.
    #[error("{0} is a state and lasts until something is done about it: docs/RUNBOOK.md says what")]
    StateAlert(String),
    /// A cap is a uint96 above zero.
    #[error("cap: from 1 to 2^96 - 1 base units")]
    CapRange,
    /// What it does by itself cannot be noted down.
    #[error("its timers cannot be set")]
    Timers(#[source] StageError),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<sqlx::Error> for CampaignError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<CampaignError> for StageError {
    fn from(error: CampaignError) -> Self {
        match error {
            CampaignError::Ledger(error) => error.into(),
            CampaignError::Timers(error) => error,
            error => Self::Poison(error.into()),
        }
    }
}

/// Makes a campaign, as a draft.
///
/// # Errors
/// If the definition is wrong, no vault is on its chain, or the database does not answer.
pub async fn create_campaign(
    conn: &mut PgConnection,
    context: &Context,
    rng: &mut (dyn RngCore + Send),
    org: OrgId,
    by: By<'_>,
    definition: &Definition,
) -> Result<CampaignId, CampaignError> {
    definition.check()?;
    let vault = sqlx::query_scalar!(
        "SELECT id FROM vaults WHERE chain_id = $1 ORDER BY id LIMIT 1",
        definition.chain_id.cast_signed(),
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(CampaignError::NoVault(definition.chain_id))?;
    let id = CampaignId::generate(context.now, rng);
    sqlx::query!(
        r#"
        INSERT INTO campaigns
            (id, org, vault, token, name, games, state, starts_at, ends_at, wallet_deadline_hours, rule_version,
             version, created_at, windows, only_allowed)
        VALUES ($1, $2, $3, $4, $5, $6, 'draft', $7, $8, $9, 1, 1, $10, $11, $12)
        "#,
        id.number(),
        org.0,
        vault,
        definition.token.as_slice(),
        definition.name,
        &definition.games,
        definition.starts_at,
        definition.ends_at,
        definition.wallet_deadline_hours.cast_signed(),
        context.now,
        definition.windows.as_ref().map(Json) as _,
        definition.only_allowed,
    )
    .execute(&mut *conn)
    .await?;
    insert_rule(conn, context.now, id, 1, by.who, definition).await?;
    open_account(conn, id).await?;
    let made = find_campaign(conn, id).await?.ok_or(CampaignError::Unknown(id))?;
    insert_version(conn, context.now, &made, by).await?;
    let created = CampaignCreated {
        campaign: id,
        org,
        rule_version: 1,
        definition_hash: definition.hash(),
        by: by.who.to_owned(),
    };
    append(conn, context, &[created.into()]).await?;
    Ok(id)
}

pub(crate) async fn insert_rule(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    version: i32,
    by: &str,
    definition: &Definition,
) -> Result<(), LedgerError> {
    let reward =
        serde_json::to_value(&definition.reward).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        r#"
        INSERT INTO campaign_rules
            (campaign, version, rule, reward, grants_per_player, grants_per_player_per_day, amount_per_player,
             created_at, created_by, amount_per_player_per_day)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        campaign.number(),
        version,
        definition.rule,
        reward,
        definition.caps.grants_per_player.map(u64::cast_signed),
        definition.caps.grants_per_player_per_day.map(u64::cast_signed),
        definition.caps.amount_per_player.map(amount_to_sql),
        now,
        by,
        definition.caps.amount_per_player_per_day.map(amount_to_sql),
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    id: i64,
    org: i32,
    chain_id: i64,
    vault: Vec<u8>,
    token: Vec<u8>,
    name: String,
    games: Vec<String>,
    state: String,
    state_reason: Option<String>,
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
    windows: Option<Json<Windows>>,
    wallet_deadline_hours: i32,
    rule_version: i32,
    version: i32,
    created_at: DateTime<Utc>,
    rule: String,
    reward: serde_json::Value,
    grants_per_player: Option<i64>,
    grants_per_player_per_day: Option<i64>,
    amount_per_player: Option<BigDecimal>,
    amount_per_player_per_day: Option<BigDecimal>,
    only_allowed: bool,
    listed: bool,
}

impl TryFrom<Row> for Campaign {
    type Error = LedgerError;

    fn try_from(row: Row) -> Result<Self, LedgerError> {
        let wrong = |table, column| LedgerError::Inconsistent { table, column, id: row.id.to_string() };
        let address =
            |bytes: &[u8], table, column| Address::try_from(bytes).map_err(|_| wrong(table, column));
        let amount = |amount: &Option<BigDecimal>, column| {
            let units = amount.as_ref().map(|units| amount_from_sql(units, "campaign_rules", column, row.id));
            units.transpose()
        };
        let caps = Caps {
            grants_per_player: row.grants_per_player.map(i64::cast_unsigned),
            grants_per_player_per_day: row.grants_per_player_per_day.map(i64::cast_unsigned),
            amount_per_player: amount(&row.amount_per_player, "amount_per_player")?,
            amount_per_player_per_day: amount(&row.amount_per_player_per_day, "amount_per_player_per_day")?,
        };
        Ok(Self {
            id: CampaignId::try_from(row.id).map_err(|_| wrong("campaigns", "id"))?,
            org: OrgId(row.org),
            vault: address(&row.vault, "vaults", "address")?,
            state: row.state.parse().map_err(|()| wrong("campaigns", "state"))?,
            definition: Definition {
                chain_id: row.chain_id.cast_unsigned(),
                token: address(&row.token, "campaigns", "token")?,
                reward: serde_json::from_value(row.reward.clone())
                    .map_err(|_| wrong("campaign_rules", "reward"))?,
                name: row.name,
                games: row.games,
                rule: row.rule,
                caps,
                starts_at: row.starts_at,
                ends_at: row.ends_at,
                windows: row.windows.map(|windows| windows.0),
                only_allowed: row.only_allowed,
                wallet_deadline_hours: row.wallet_deadline_hours.cast_unsigned(),
            },
            state_reason: row.state_reason,
            listed: row.listed,
            rule_version: row.rule_version,
            version: row.version,
            created_at: row.created_at,
        })
    }
}

/// The campaigns of `ids`, or, without ids, of `org` from `after` on, in `state` if one is given.
pub(crate) async fn select(
    conn: &mut PgConnection,
    ids: Option<&[i64]>,
    org: Option<OrgId>,
    state: Option<CampaignState>,
    after: i64,
    limit: i64,
) -> Result<Vec<Campaign>, LedgerError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT c.id, c.org, v.chain_id, v.address AS vault, c.token, c.name, c.games, c.state, c.state_reason,
               c.starts_at, c.ends_at, c.windows AS "windows: Json<Windows>", c.wallet_deadline_hours, c.rule_version, c.version, c.created_at,
               r.rule, r.reward, r.grants_per_player, r.grants_per_player_per_day, r.amount_per_player,
               r.amount_per_player_per_day, c.only_allowed, c.listed
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        JOIN campaign_rules r ON r.campaign = c.id AND r.version = c.rule_version
        WHERE ($1::bigint[] IS NULL OR c.id = ANY ($1)) AND ($2::integer IS NULL OR c.org = $2) AND c.id > $3
          AND CASE WHEN $5::text IS NULL THEN $1::bigint[] IS NOT NULL OR c.state <> 'deleted' ELSE c.state = $5 END
        ORDER BY c.id
        LIMIT $4
        "#,
        ids,
        org.map(|org| org.0),
        after,
        limit,
        state.map(CampaignState::as_str),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Campaign::try_from).collect()
}

/// The campaign of that id.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn find_campaign(
    conn: &mut PgConnection,
    id: CampaignId,
) -> Result<Option<Campaign>, CampaignError> {
    Ok(select(conn, Some(&[id.number()]), None, None, 0, 1).await?.pop())
}

/// An organisation's campaigns after `after`, in `state` if one is given, in the order in which they were made.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_campaigns(
    conn: &mut PgConnection,
    org: OrgId,
    state: Option<CampaignState>,
    after: Option<CampaignId>,
    limit: i64,
) -> Result<Vec<Campaign>, CampaignError> {
    Ok(select(conn, None, Some(org), state, after.map_or(0, CampaignId::number), limit).await?)
}
