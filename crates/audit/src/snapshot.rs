//! The ledger of one moment, and what is known of it so far.

use std::collections::{BTreeMap, HashSet};

use alloy::primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::CampaignId;
use sqlx::PgConnection;

use crate::{
    AuditError,
    error::{inconsistent, no_campaign},
    finding::Findings,
    pending::{Pending, read_pending},
    store::BlockAt,
};

/// A campaign of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Campaign {
    pub(crate) id: CampaignId,
    pub(crate) chain_id: u64,
    pub(crate) vault: Address,
    /// How many grants its books count.
    pub(crate) grants: i64,
    /// The next place that its queue gives.
    pub(crate) next_seq: i64,
}

/// How far a campaign's transfers are from what they should be, by what was named before: a balance is compared with what
/// they should be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deltas {
    pub(crate) funded: BigDecimal,
    pub(crate) holds: BigDecimal,
    pub(crate) posts: BigDecimal,
    pub(crate) voids: BigDecimal,
    pub(crate) returns: BigDecimal,
}

/// What was found before and explains more than its own place: one fault is to have one name.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Transactions that settle and are not ours.
    pub(crate) outside: HashSet<B256>,
    /// Campaigns that stand on a vault that does not pay them.
    pub(crate) foreign: HashSet<CampaignId>,
    /// Nonces of lanes whose batch has no row.
    pub(crate) lost: HashSet<(i32, i64)>,
    /// Lanes about whose nonces something was said.
    pub(crate) lanes: HashSet<i32>,
    /// Grants without a row.
    pub(crate) missing: HashSet<(CampaignId, i64)>,
    pub(crate) deltas: BTreeMap<CampaignId, Deltas>,
    /// How many places were looked at.
    pub(crate) places: u64,
    /// How many settled segments were looked at.
    pub(crate) settlements: u64,
}

impl Known {
    pub(crate) fn deltas(&mut self, campaign: CampaignId) -> &mut Deltas {
        self.deltas.entry(campaign).or_default()
    }
}

/// One comparison, in one transaction that sees one moment.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) conn: &'a mut PgConnection,
    pub(crate) findings: &'a mut Findings,
    /// The ledger's final block of each chain that can be compared.
    pub(crate) finals: BTreeMap<u64, BlockAt>,
    pub(crate) campaigns: BTreeMap<CampaignId, Campaign>,
    pub(crate) only: Option<CampaignId>,
    /// What never changes is looked at from then on; nothing where all is looked at.
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) pending: Pending,
    pub(crate) known: Known,
}

impl<'a> Snapshot<'a> {
    /// Reads what every check needs. `conn` is in a transaction that reads repeatably.
    pub(crate) async fn read(
        conn: &'a mut PgConnection,
        findings: &'a mut Findings,
        finals: BTreeMap<u64, BlockAt>,
        only: Option<CampaignId>,
        since: Option<DateTime<Utc>>,
    ) -> Result<Self, AuditError> {
        let campaigns = read_campaigns(conn, only).await?;
        let pending = read_pending(conn).await?;
        Ok(Self { conn, findings, finals, campaigns, only, since, pending, known: Known::default() })
    }

    /// The only campaign's number, for statements.
    pub(crate) fn only(&self) -> Option<i64> {
        self.only.map(CampaignId::number)
    }

    /// The chains that can be compared, for statements.
    pub(crate) fn chains(&self) -> Vec<i64> {
        self.finals.keys().map(|id| id.cast_signed()).collect()
    }

    /// Up to which block of each of them.
    pub(crate) fn blocks(&self) -> Vec<i64> {
        self.finals.values().map(|block| block.number.cast_signed()).collect()
    }
}

async fn read_campaigns(
    conn: &mut PgConnection,
    only: Option<CampaignId>,
) -> Result<BTreeMap<CampaignId, Campaign>, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.id, v.chain_id, v.address, coalesce(a.grants, 0) AS "grants!",
               coalesce(q.next_seq, 0) AS "next_seq!"
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        LEFT JOIN accounts a ON a.campaign = c.id
        LEFT JOIN queues q ON q.campaign = c.id
        WHERE $1::bigint IS NULL OR c.id = $1
        "#,
        only.map(CampaignId::number),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = CampaignId::try_from(row.id).map_err(no_campaign("campaigns", row.id))?;
            let vault = Address::try_from(row.address.as_slice())
                .map_err(|_| inconsistent("vaults", "address", row.id))?;
            let campaign = Campaign {
                id,
                chain_id: row.chain_id.cast_unsigned(),
                vault,
                grants: row.grants,
                next_seq: row.next_seq,
            };
            Ok((id, campaign))
        })
        .collect()
}

/// A hash in a row.
pub(crate) fn hash_of(bytes: &[u8], table: &'static str, column: &'static str) -> Result<B256, AuditError> {
    B256::try_from(bytes).map_err(|_| inconsistent(table, column, "a row"))
}

/// A campaign's id as the chain and the audit's own tables have it, where any number may be one.
pub(crate) fn any_campaign(number: i64) -> CampaignId {
    CampaignId::from(number.cast_unsigned())
}
