//! The treasury: brings the caps that managers asked for onto the chain, and closes the campaigns that they are done with.
//!
//! Every step is derived from what the chain says now, so that it can be taken up anywhere: tokens are only sent to the
//! vault as far as it lacks backing, a campaign is only opened if it is not, a cap is only raised if it is below. Only of a
//! withdrawal the chain does not say what it was for; it keeps one nonce until a final block shows what used it.

mod closing;
mod funding;

use std::{sync::Arc, time::Duration};

use alloy::primitives::{Address, U256};
use chrono::TimeDelta;
use laurel_chain::{ChainNode, LaneSigner};
use laurel_events::{CampaignId, Clock, OperatorAlertRaised};
use laurel_ledger::{
    Context, LedgerError, Vault, acquire_lease, answered, append, clear_alert, commit, is_chain_stopped,
    raise_alert,
};
use sqlx::{PgPool, PgTransaction};
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
    /// What the vault has free is known when the release, or the withdrawal, of another campaign is final.
    #[error(
        "what another campaign has left of this token is on its way out of the vault: this waits until that is final"
    )]
    Withdrawing,
}

impl TreasuryError {
    /// Whether it stays as it is until somebody does something about it.
    fn lasts(&self) -> bool {
        match self {
            Self::TooLittle { .. } => true,
            Self::Call(error) => error.lasts(),
            Self::Ledger(_) | Self::Withdrawing => false,
        }
    }
}

fn about(campaign: CampaignId) -> String {
    format!("campaign:{campaign}")
}

/// How long a request rests that failed so often in a row.
fn rest_after(failures: u32) -> TimeDelta {
    let factor = 2_i32.checked_pow(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    RETRY_BASE.checked_mul(factor).map_or(RETRY_CAP, |rest| rest.min(RETRY_CAP))
}

impl From<sqlx::Error> for TreasuryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Brings caps onto the chain and closes campaigns, for one vault.
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

    /// Does what is asked for and does not rest, one after the other: brings caps onto the chain, and closes campaigns.
    ///
    /// # Errors
    /// If the database does not answer. What the chain does not do is noted with the request.
    pub async fn round(&self) -> Result<(), TreasuryError> {
        if is_chain_stopped(&mut *self.pool.acquire().await?, self.vault.identity.chain_id).await? {
            return Ok(());
        }
        self.bring_caps().await?;
        self.close_campaigns().await
    }

    /// Whether this replica is the one that does it.
    async fn holds_lease(&self) -> Result<bool, TreasuryError> {
        let mut conn = self.pool.acquire().await?;
        let name = format!("treasury:{}", self.vault.id);
        Ok(acquire_lease(&mut conn, self.clock.now(), &name, &self.holder, LEASE).await?)
    }

    /// Raises an alert about a request that fails for as long as nobody does something about it. `tx` is committed.
    async fn note_failure(
        &self,
        mut tx: PgTransaction<'_>,
        code: &str,
        campaign: CampaignId,
        error: &TreasuryError,
    ) -> Result<(), TreasuryError> {
        if error.lasts() {
            let alert = OperatorAlertRaised {
                code: code.to_owned(),
                about: about(campaign),
                detail: error.to_string(),
            };
            let now = self.clock.now();
            if let Some(raised) = raise_alert(&mut tx, now, alert).await? {
                append(&mut tx, &Context::at(now), &[raised.into()]).await?;
            }
        }
        commit(tx, "treasury_failed").await?;
        Ok(())
    }

    /// Clears alerts about what has succeeded, or nobody asks for any more.
    async fn clear_alerts(&self, code: &str, over: Vec<String>) -> Result<(), TreasuryError> {
        for about in over {
            let mut tx = self.pool.begin().await?;
            if let Some(cleared) = clear_alert(&mut tx, code, &about).await? {
                append(&mut tx, &Context::at(self.clock.now()), &[cleared.into()]).await?;
            }
            commit(tx, "treasury_alert").await?;
        }
        Ok(())
    }
}
