//! The treasury: brings the caps that managers asked for onto the chain.
//!
//! Every step is derived from what the chain says now, so that it can be taken up anywhere: tokens are only sent to the
//! vault as far as it lacks backing, a campaign is only opened if it is not, a cap is only raised if it is below.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use chrono::TimeDelta;
use laurel_chain::{ChainNode, Erc20, LaneSigner, RewardVault, funding_call};
use laurel_events::{Amount, CampaignId, Clock, OperatorAlertRaised, alert::FUNDING_FAILED};
use laurel_ledger::{
    Context, LedgerError, Vault, acquire_lease, amount_from_sql, amount_to_sql, answered, append,
    clear_alert, commit, is_chain_stopped, raise_alert,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{CallFailed, account::Account};

/// How often requests are looked for.
const POLL: Duration = Duration::from_millis(500);

/// How long a round may take before it is given up: two transactions for each of a handful of campaigns.
const STEP_TIMEOUT: Duration = Duration::from_secs(900);

/// How long the treasury's lease lasts: longer than waiting for one transaction.
const LEASE: TimeDelta = TimeDelta::seconds(90);

/// How long a request rests after it failed for the first time, and at most: each failure doubles it. What a manager can
/// mend in a minute is tried again soon, and what nobody mends costs a node a handful of questions an hour.
const RETRY_BASE: TimeDelta = TimeDelta::seconds(2);
const RETRY_CAP: TimeDelta = TimeDelta::minutes(10);

/// Why a request was not brought onto the chain.
#[derive(Debug, thiserror::Error)]
pub enum TreasuryError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Call(#[from] CallFailed),
    /// The treasury owns too little of the token.
    #[error("the treasury {treasury} owns {owned} of token {token} and has to give {wanted} to the vault")]
    TooLittle {
        /// The treasury's account.
        treasury: Address,
        /// The token.
        token: Address,
        /// What it owns.
        owned: U256,
        /// What is missing in the vault.
        wanted: U256,
    },
}

impl TreasuryError {
    /// Whether it stays as it is until somebody does something about it.
    fn lasts(&self) -> bool {
        match self {
            Self::TooLittle { .. } => true,
            Self::Call(error) => error.lasts(),
            Self::Ledger(_) => false,
        }
    }
}

fn about(campaign: CampaignId) -> String {
    format!("campaign:{campaign}")
}

/// How long a request rests that failed so often in a row.
fn rest_after(failures: i32) -> TimeDelta {
    let doublings = u32::try_from(failures - 1).unwrap_or_default();
    let factor = 2_i32.checked_pow(doublings).unwrap_or(i32::MAX);
    RETRY_BASE.checked_mul(factor).map_or(RETRY_CAP, |rest| rest.min(RETRY_CAP))
}

impl From<sqlx::Error> for TreasuryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Brings caps onto the chain, for one vault.
#[derive(Debug)]
pub struct Treasury {
    vault: Vault,
    account: Account,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    holder: String,
}

impl Treasury {
    /// The treasury of a vault that `signer` owns, who pays at the most `max_fee_per_gas` for a unit of gas.
    pub fn new(
        vault: Vault,
        signer: Arc<dyn LaneSigner>,
        node: Arc<dyn ChainNode>,
        pool: PgPool,
        clock: Arc<dyn Clock>,
        holder: String,
        max_fee_per_gas: u128,
    ) -> Self {
        let chain_id = vault.identity.chain_id;
        let account = Account { chain_id, signer, node, max_fee_per_gas: Some(max_fee_per_gas) };
        Self { vault, account, pool, clock, holder }
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = answered(STEP_TIMEOUT, self.round()).await {
                tracing::warn!(error = %error, "the treasury will try again");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Brings every request that does not rest onto the chain, one after the other.
    ///
    /// # Errors
    /// If the database does not answer. What the chain does not do is noted with the request.
    pub async fn round(&self) -> Result<(), TreasuryError> {
        if is_chain_stopped(&mut *self.pool.acquire().await?, self.vault.identity.chain_id).await? {
            return Ok(());
        }
        let requests = sqlx::query!(
            r#"
            SELECT f.campaign, f.cap, f.failures, c.token
            FROM funding_requests f JOIN campaigns c ON c.id = f.campaign
            JOIN vaults v ON v.id = c.vault
            JOIN chains h ON h.id = v.chain_id AND h.halted IS NULL
            WHERE c.vault = $1 AND (f.retry_at IS NULL OR f.retry_at <= $2)
            ORDER BY f.requested_at
            "#,
            self.vault.id.0,
            self.clock.now(),
        )
        .fetch_all(&self.pool)
        .await?;
        for request in requests {
            let mut conn = self.pool.acquire().await?;
            let name = format!("treasury:{}", self.vault.id);
            if !acquire_lease(&mut conn, self.clock.now(), &name, &self.holder, LEASE).await? {
                return Ok(());
            }
            drop(conn);
            let cap = amount_from_sql(&request.cap, "funding_requests", "cap", request.campaign)?;
            let campaign = CampaignId::from(request.campaign.cast_unsigned());
            match self.bring(campaign, Address::from_slice(&request.token), cap, request.failures).await {
                Ok(()) => self.succeeded(campaign).await?,
                Err(error) => self.failed(campaign, cap, request.failures, &error).await?,
            }
        }
        self.clear_alerts().await
    }

    async fn succeeded(&self, campaign: CampaignId) -> Result<(), TreasuryError> {
        sqlx::query!(
            r#"
            UPDATE funding_requests SET failures = 0, error = NULL, retry_at = NULL
            WHERE campaign = $1 AND failures > 0
            "#,
            campaign.number(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes why a request failed and has it rest, unless another cap is asked for by now.
    async fn failed(
        &self,
        campaign: CampaignId,
        cap: Amount,
        failures: i32,
        error: &TreasuryError,
    ) -> Result<(), TreasuryError> {
        let failures = failures.saturating_add(1);
        let now = self.clock.now();
        let rest = rest_after(failures);
        tracing::warn!(campaign.id = %campaign, %error, failures, rest = %rest, "the cap is not on the chain yet");
        let detail = error.to_string();
        let mut tx = self.pool.begin().await?;
        let noted = sqlx::query!(
            r#"
            UPDATE funding_requests SET failures = $3, error = $4, retry_at = $5
            WHERE campaign = $1 AND cap = $2
            "#,
            campaign.number(),
            amount_to_sql(cap),
            failures,
            detail,
            now + rest,
        )
        .execute(&mut *tx)
        .await?;
        if noted.rows_affected() == 1 && error.lasts() {
            let alert =
                OperatorAlertRaised { code: FUNDING_FAILED.to_owned(), about: about(campaign), detail };
            if let Some(raised) = raise_alert(&mut tx, now, alert).await? {
                append(&mut tx, &Context::at(now), &[raised.into()]).await?;
            }
        }
        commit(tx, "funding_failed").await?;
        Ok(())
    }

    /// Clears the alerts about requests that succeeded, or that nobody makes any more.
    async fn clear_alerts(&self) -> Result<(), TreasuryError> {
        let over = sqlx::query_scalar!(
            r#"
            SELECT a.about FROM alerts a
            WHERE a.code = $1 AND NOT EXISTS (
                SELECT FROM funding_requests f WHERE f.failures > 0 AND a.about = 'campaign:' || f.campaign)
            "#,
            FUNDING_FAILED,
        )
        .fetch_all(&self.pool)
        .await?;
        for about in over {
            let mut tx = self.pool.begin().await?;
            if let Some(cleared) = clear_alert(&mut tx, FUNDING_FAILED, &about).await? {
                append(&mut tx, &Context::at(self.clock.now()), &[cleared.into()]).await?;
            }
            commit(tx, "funding_alert").await?;
        }
        Ok(())
    }

    /// Takes whatever step is missing until the vault has the cap.
    async fn bring(
        &self,
        campaign: CampaignId,
        token: Address,
        cap: Amount,
        failures: i32,
    ) -> Result<(), TreasuryError> {
        let (account, vault) = (&self.account, self.vault.identity.vault);
        let nonce = account.next_nonce().await?;
        let terms = RewardVault::campaignCall { id: campaign.on_chain() };
        let found = account.ask("campaign", vault, terms).await?;
        let current = U256::from(found.terms.cap);
        if current >= cap.units() {
            return Ok(());
        }
        let failures = failures.unsigned_abs();
        self.back(token, cap.units() - current, failures, nonce).await?;
        let data =
            funding_call(&*account.node, vault, campaign, token, cap).await.map_err(CallFailed::from)?;
        Ok(account.transact("open or raise the cap", vault, data, failures).await?)
    }

    /// Gives the vault the tokens that it lacks to back `wanted` more, which was found after the nonce was asked for.
    async fn back(
        &self,
        token: Address,
        wanted: U256,
        failures: u32,
        nonce: u64,
    ) -> Result<(), TreasuryError> {
        let (account, vault) = (&self.account, self.vault.identity.vault);
        let free = account.ask("uncommitted", vault, RewardVault::uncommittedCall { token }).await?;
        let Some(missing) = wanted.checked_sub(free).filter(|missing| !missing.is_zero()) else {
            return Ok(());
        };
        let treasury = account.address();
        let owned = account.ask("balanceOf", token, Erc20::balanceOfCall { owner: treasury }).await?;
        if owned < missing {
            return Err(TreasuryError::TooLittle { treasury, token, owned, wanted: missing });
        }
        let transfer = Erc20::transferCall { to: vault, value: missing };
        Ok(account.transact_at(nonce, "transfer", token, transfer.abi_encode().into(), failures).await?)
    }
}
