//! The books, added up from every transfer and compared with the balances and the chain.

use alloy::{primitives::Address, sol_types::SolCall};
use laurel_chain::{Call, RewardVault};
use laurel_events::{Amount, CampaignId};
use laurel_ledger::amount_from_sql;
use serde::Serialize;
use sqlx::PgPool;

use crate::connect::ConnectedChain;

/// All campaigns' balances, and what does not fit.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct BooksReport {
    pub(crate) funded: Amount,
    pub(crate) available: Amount,
    pub(crate) reserved: Amount,
    pub(crate) paid: Amount,
    pub(crate) returned: Amount,
    /// What the vaults say that they paid, in the latest block.
    pub(crate) paid_on_chain: Amount,
    /// Empty when everything fits.
    pub(crate) findings: Vec<String>,
}

struct Row {
    campaign: i64,
    chain_id: i64,
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
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT a.campaign, v.chain_id, a.funded, a.available, a.reserved, a.paid, a.returned,
               (SELECT coalesce(sum(added), 0) FROM fundings t WHERE t.campaign = a.campaign) AS "fundings!",
               (SELECT coalesce(sum(amount), 0) FROM grants t WHERE t.campaign = a.campaign) AS "holds!",
               (SELECT coalesce(sum(amount), 0) FROM postings t WHERE t.campaign = a.campaign) AS "posts!",
               (SELECT coalesce(sum(amount), 0) FROM voids t WHERE t.campaign = a.campaign) AS "voids!",
               (SELECT coalesce(sum(amount), 0) FROM suspense t WHERE t.on_chain_campaign = a.campaign) AS "suspense!"
        FROM accounts a JOIN campaigns c ON c.id = a.campaign JOIN vaults v ON v.id = c.vault
        ORDER BY a.campaign
        "#,
    )
    .fetch_all(pool)
    .await?;
    let mut report = BooksReport::default();
    for row in rows {
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
        let settled = amount(&(&row.paid + &row.suspense), "paid")?;
        let chain = chains.iter().find(|chain| chain.config.id.cast_signed() == row.chain_id);
        let Some(chain) = chain else { continue };
        let spent = spent_on_chain(chain, CampaignId::try_from(id)?).await?;
        report.paid_on_chain = report.paid_on_chain.plus(spent)?;
        if spent != settled {
            report.findings.push(format!(
                "campaign {id}: the vault has paid {spent}, the books have {settled} paid or in suspense",
            ));
        }
    }
    Ok(report)
}

async fn spent_on_chain(chain: &ConnectedChain, campaign: CampaignId) -> anyhow::Result<Amount> {
    let data = RewardVault::campaignCall { id: campaign.on_chain() }.abi_encode();
    let call = Call { from: Address::ZERO, to: chain.vault.identity.vault, data: data.into(), gas: None };
    let answer = chain.node.call(call).await?;
    let found = RewardVault::campaignCall::abi_decode_returns(&answer)?;
    Ok(Amount::new(found.spent.to()))
}
