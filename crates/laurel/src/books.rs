//! The books, added up from every transfer and compared with the balances and the chain.
//!
//! All of it is read in one snapshot, and the chain is asked at the final block that the snapshot knows: the books may
//! be checked while everything runs.

use std::collections::{BTreeMap, HashMap};

use alloy::{primitives::Address, sol_types::SolCall};
use anyhow::Context;
use laurel_chain::{Call, RewardVault};
use laurel_events::{Amount, CampaignId, Event, EventKind, Partition};
use laurel_ledger::{amount_from_sql, cursor_position, read};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use crate::connect::ConnectedChain;

/// The stage that posts; what it has not handled yet is final on the chain and not in the books.
const BOOKS_STAGE: &str = "books";

/// Events read at a time.
const EVENTS_MAX: i64 = 1_000;

/// All campaigns' balances, and what does not fit.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct BooksReport {
    pub(crate) funded: Amount,
    pub(crate) available: Amount,
    pub(crate) reserved: Amount,
    pub(crate) paid: Amount,
    pub(crate) returned: Amount,
    /// Final on the chain, and about to be posted.
    pub(crate) unposted: Amount,
    /// What the vaults say that they paid, in the ledger's own final block.
    pub(crate) paid_on_chain: Amount,
    /// Empty when everything fits.
    pub(crate) findings: Vec<String>,
}

struct Row {
    campaign: i64,
    chain_id: i64,
    final_number: Option<i64>,
    funded: sqlx::types::BigDecimal,
    available: sqlx::types::BigDecimal,
    reserved: sqlx::types::BigDecimal,
    paid: sqlx::types::BigDecimal,
    returned: sqlx::types::BigDecimal,
    fundings: sqlx::types::BigDecimal,
    holds: sqlx::types::BigDecimal,
    posts: sqlx::types::BigDecimal,
    voids: sqlx::types::BigDecimal,
    suspense: sqlx::types::BigDecimal,
}

/// Adds up every transfer and compares the sums with the balances, and what was paid with what the vaults say.
pub(crate) async fn check_books(pool: &PgPool, chains: &[ConnectedChain]) -> anyhow::Result<BooksReport> {
    let mut snapshot = pool.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *snapshot).await?;
    let rows = balances(&mut snapshot).await?;
    let unposted = unposted(&mut snapshot).await?;
    snapshot.commit().await?;
    let mut report = BooksReport::default();
    for row in rows {
        add_up(&mut report, &row)?;
        let id = CampaignId::try_from(row.campaign)?;
        let about_to_post = unposted.get(&id).copied().unwrap_or_default();
        report.unposted = report.unposted.plus(about_to_post)?;
        let chain = chains.iter().find(|chain| chain.config.id.cast_signed() == row.chain_id);
        let Some((chain, block)) = chain.zip(row.final_number) else { continue };
        if block.cast_unsigned() < chain.vault.identity.deploy_block {
            continue;
        }
        let spent = spent_on_chain(chain, id, block.cast_unsigned())
            .await
            .with_context(|| format!("what campaign {id} has spent in block {block}"))?;
        report.paid_on_chain = report.paid_on_chain.plus(spent)?;
        let settled = amount_from_sql(&(&row.paid + &row.suspense), "accounts", "paid", id)?;
        if spent != settled.plus(about_to_post)? {
            report.findings.push(format!(
                "campaign {id}: in block {block} the vault has paid {spent}; the books have {settled} paid or in \
                 suspense, and {about_to_post} about to be posted",
            ));
        }
    }
    Ok(report)
}

async fn balances(conn: &mut PgConnection) -> anyhow::Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT a.campaign, v.chain_id, h.final_number, a.funded, a.available, a.reserved, a.paid, a.returned,
               (SELECT coalesce(sum(added), 0) FROM fundings t WHERE t.campaign = a.campaign) AS "fundings!",
               (SELECT coalesce(sum(amount), 0) FROM grants t WHERE t.campaign = a.campaign) AS "holds!",
               (SELECT coalesce(sum(amount), 0) FROM postings t WHERE t.campaign = a.campaign) AS "posts!",
               (SELECT coalesce(sum(amount), 0) FROM voids t WHERE t.campaign = a.campaign) AS "voids!",
               (SELECT coalesce(sum(amount), 0) FROM suspense t WHERE t.on_chain_campaign = a.campaign) AS "suspense!"
        FROM accounts a
        JOIN campaigns c ON c.id = a.campaign
        JOIN vaults v ON v.id = c.vault
        JOIN chains h ON h.id = v.chain_id
        ORDER BY a.campaign
        "#,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What confirmed settlements paid that the books have not handled yet, by campaign.
async fn unposted(conn: &mut PgConnection) -> anyhow::Result<HashMap<CampaignId, Amount>> {
    let heads = sqlx::query!("SELECT part, next FROM heads").fetch_all(&mut *conn).await?;
    let heads: BTreeMap<i16, i64> = heads.into_iter().map(|row| (row.part, row.next)).collect();
    let mut sums = HashMap::<CampaignId, Amount>::new();
    for partition in Partition::all() {
        let head = heads.get(&partition.number()).copied().unwrap_or(0);
        let mut from = cursor_position(conn, BOOKS_STAGE, partition).await?;
        while from < head {
            let kinds = [EventKind::BlockchainTxConfirmed];
            let (events, next) = read(conn, partition, from, head, &kinds, EVENTS_MAX).await?;
            for envelope in events {
                let Event::BlockchainTxConfirmed(confirmed) = envelope.event else { continue };
                for segment in confirmed.segments {
                    let sum = sums.entry(segment.campaign).or_default();
                    *sum = sum.plus(segment.total)?;
                }
            }
            from = next;
        }
    }
    Ok(sums)
}

/// Adds a campaign's balances to the report, and compares them with its transfers.
fn add_up(report: &mut BooksReport, row: &Row) -> anyhow::Result<()> {
    let id = row.campaign;
    let amount = |value, column| amount_from_sql(value, "accounts", column, id);
    report.funded = report.funded.plus(amount(&row.funded, "funded")?)?;
    report.available = report.available.plus(amount(&row.available, "available")?)?;
    report.reserved = report.reserved.plus(amount(&row.reserved, "reserved")?)?;
    report.paid = report.paid.plus(amount(&row.paid, "paid")?)?;
    report.returned = report.returned.plus(amount(&row.returned, "returned")?)?;
    let sums = [
        ("funded", &row.funded, row.fundings.clone()),
        ("available", &row.available, &row.fundings - &row.holds + &row.voids),
        ("reserved", &row.reserved, &row.holds - &row.posts - &row.voids),
        ("paid", &row.paid, row.posts.clone()),
    ];
    for (account, balance, sum) in sums {
        if *balance != sum {
            report
                .findings
                .push(format!("campaign {id}: {account} is {balance}, its transfers sum up to {sum}"));
        }
    }
    Ok(())
}

async fn spent_on_chain(chain: &ConnectedChain, campaign: CampaignId, block: u64) -> anyhow::Result<Amount> {
    let data = RewardVault::campaignCall { id: campaign.on_chain() }.abi_encode();
    let call = Call { from: Address::ZERO, to: chain.vault.identity.vault, data: data.into(), gas: None };
    let answer = chain.node.call_at(call, block).await?;
    let found = RewardVault::campaignCall::abi_decode_returns(&answer)?;
    Ok(Amount::new(found.spent.to()))
}
