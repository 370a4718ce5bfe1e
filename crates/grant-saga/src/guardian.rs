//! The guardian: while everything that goes to a chain is stopped, its vault is paused.
//!
//! Stopping here keeps ourselves from signing. Whoever else has an operator's key is only kept from it by the vault.

use std::{sync::Arc, time::Duration};

use alloy::{primitives::Address, sol_types::SolCall};
use laurel_chain::{ChainNode, LaneSigner, RewardVault};
use laurel_events::{Clock, NewEvent, OperatorAlertRaised, SystemClock, alert::VAULT_NOT_PAUSED};
use laurel_ledger::{
    Context, LedgerError, Vault, answered, append, clear_alert, commit, has_alert, is_chain_stopped,
    raise_alert,
};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{CallFailed, account::Account};

/// How often the stops are looked at: far more often than blocks are made.
const POLL: Duration = Duration::from_millis(200);

/// How long a step may take before it is given up: twice what is waited for its transaction.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// After so many steps in a row that failed people are told: longer than a block takes, for which another guardian with the same key
/// may have been quicker. A step that has waited in vain for its transaction, for longer than that, is enough.
const FAILURES_MAX: u32 = 15;

/// How long to rest after an error.
const ERROR_REST: Duration = Duration::from_secs(1);

/// Why a vault is not paused.
#[derive(Debug, thiserror::Error)]
pub enum GuardianError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Call(#[from] CallFailed),
}

impl From<sqlx::Error> for GuardianError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Pauses one vault while what goes to its chain is stopped. Two of them at once pause it once: the second call reverts or
/// changes nothing.
#[derive(Debug)]
pub struct Guardian {
    vault: Vault,
    account: Account,
    pool: PgPool,
    failures: u32,
    /// Whether what goes to the chain was stopped, when that was looked at last.
    stopped: bool,
    /// Whether people were told since it was all right last: where another guardian says that the vault is paused, once is enough.
    told: bool,
    /// Whether there may be an alert to end.
    may_be_raised: bool,
}

impl Guardian {
    /// The guardian of a vault, whose guardian or owner is `signer`.
    pub fn new(vault: Vault, signer: Arc<dyn LaneSigner>, node: Arc<dyn ChainNode>, pool: PgPool) -> Self {
        let chain_id = vault.identity.chain_id;
        // What a thief may take is more than any gas.
        let account = Account { chain_id, signer, node, max_fee_per_gas: None };
        Self { vault, account, pool, failures: 0, stopped: false, told: false, may_be_raised: true }
    }

    /// Watches over the vault until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let round = tokio::select! {
                () = shutdown.cancelled() => return,
                round = self.round() => round,
            };
            let rest = match round {
                Ok(_) => POLL,
                Err(error) => {
                    tracing::error!(%error, vault = %self.vault.identity.vault, "the vault is not paused yet");
                    ERROR_REST
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Takes a step, and sees to it that people are told while that does not help.
    ///
    /// # Errors
    /// As [`Guardian::step`], and if a step takes too long.
    pub async fn round(&mut self) -> Result<bool, GuardianError> {
        // A step that is given up has sent its transaction, or not: the next one sees.
        let done = answered(STEP_TIMEOUT, self.step()).await;
        if let Err(error) = answered(STEP_TIMEOUT, self.note(&done)).await {
            tracing::warn!(%error, vault = %self.vault.identity.vault, "whether the vault is paused could not be noted");
        }
        done
    }

    /// Raises an alert that the vault is not paused, or ends it once it is, or need not be.
    async fn note(&mut self, done: &Result<bool, GuardianError>) -> Result<(), LedgerError> {
        match done {
            // Sent and mined: the next step sees whether it is paused.
            Ok(true) => {}
            Ok(false) => {
                self.told = false;
                if self.may_be_raised {
                    self.clear().await?;
                    self.may_be_raised = self.stopped;
                }
            }
            Err(error) => {
                let waited = matches!(
                    error,
                    GuardianError::Call(CallFailed::NotMined { .. })
                        | GuardianError::Ledger(LedgerError::Unanswered { .. })
                );
                if self.stopped && !self.told && (waited || self.failures >= FAILURES_MAX) {
                    self.tell(error).await?;
                    self.told = true;
                }
            }
        }
        Ok(())
    }

    async fn tell(&self, error: &GuardianError) -> Result<(), LedgerError> {
        let now = SystemClock.now();
        let alert = OperatorAlertRaised {
            code: VAULT_NOT_PAUSED.to_owned(),
            about: self.about(),
            detail: format!(
                "payouts to chain {} are stopped, and {} could not pause the vault: {error}",
                self.vault.identity.chain_id,
                self.account.address()
            ),
        };
        let mut tx = self.pool.begin().await?;
        if let Some(raised) = raise_alert(&mut tx, now, alert).await? {
            append(&mut tx, &Context::at(now), &[raised.into()]).await?;
        }
        Ok(commit(tx, "guardian_alert").await?)
    }

    async fn clear(&self) -> Result<(), LedgerError> {
        let about = self.about();
        // Nearly always there is none, and a look is cheaper than a transaction.
        if !has_alert(&mut *self.pool.acquire().await?, VAULT_NOT_PAUSED, &about).await? {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        if let Some(cleared) = clear_alert(&mut tx, VAULT_NOT_PAUSED, &about).await? {
            append(&mut tx, &Context::at(SystemClock.now()), &[NewEvent::from(cleared)]).await?;
        }
        Ok(commit(tx, "guardian_alert").await?)
    }

    /// What alerts of the vault are about.
    fn about(&self) -> String {
        format!("vault:{}", self.vault.identity.vault)
    }

    /// Takes steps until one succeeds, for so long: another guardian may have the same key and nonce and be quicker, so that this one's
    /// transaction is refused before the other's is in a block. Says whether it paused the vault.
    ///
    /// # Errors
    /// That of the last step.
    pub async fn pause_within(&mut self, limit: Duration) -> Result<bool, GuardianError> {
        let began = Instant::now();
        loop {
            match self.step().await {
                Err(_) if began.elapsed() < limit => tokio::time::sleep(POLL).await,
                done => return done,
            }
        }
    }

    /// Pauses the vault if it should be and is not. Says whether it did.
    ///
    /// # Errors
    /// If the database or the chain does not answer, or the vault does not take the call.
    pub async fn step(&mut self) -> Result<bool, GuardianError> {
        let chain_id = self.vault.identity.chain_id;
        self.stopped = is_chain_stopped(&mut *self.pool.acquire().await?, chain_id).await?;
        self.may_be_raised |= self.stopped;
        if !self.stopped {
            self.failures = 0;
            return Ok(false);
        }
        let done = pause(self.vault.identity.vault, &self.account, self.failures).await;
        self.failures = if done.is_ok() { 0 } else { self.failures.saturating_add(1) };
        Ok(done?)
    }
}

/// Pauses a vault that is not, whatever a database says, and tries again for so long. Says whether it was not.
///
/// # Errors
/// That of the last try.
pub async fn pause_vault(
    (chain_id, vault): (u64, Address),
    guardian: Arc<dyn LaneSigner>,
    node: Arc<dyn ChainNode>,
    limit: Duration,
) -> Result<bool, CallFailed> {
    let account = Account { chain_id, signer: guardian, node, max_fee_per_gas: None };
    let began = Instant::now();
    let mut failures = 0;
    loop {
        match pause(vault, &account, failures).await {
            Err(_) if began.elapsed() < limit => tokio::time::sleep(POLL).await,
            done => return done,
        }
        failures += 1;
    }
}

async fn pause(address: Address, account: &Account, failures: u32) -> Result<bool, CallFailed> {
    match account.ask("paused", address, RewardVault::pausedCall {}).await {
        Ok(true) => return Ok(false),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(vault = %address, %error, "too few say whether the vault is paused");
            if account.ask_anybody(address, RewardVault::pausedCall {}).await.unwrap_or(false) {
                return Ok(false);
            }
        }
    }
    let pause = RewardVault::pauseCall {}.abi_encode().into();
    account.transact("pause", address, pause, failures).await?;
    tracing::warn!(vault = %address, "the vault is paused");
    Ok(true)
}

/// Has a vault pay again that is paused. Says whether it was. Only its owner can.
///
/// # Errors
/// If the chain does not answer or the vault does not take the call.
pub async fn unpause_vault(
    vault: &Vault,
    owner: Arc<dyn LaneSigner>,
    node: Arc<dyn ChainNode>,
) -> Result<bool, CallFailed> {
    let account = Account { chain_id: vault.identity.chain_id, signer: owner, node, max_fee_per_gas: None };
    let address = vault.identity.vault;
    if !account.ask("paused", address, RewardVault::pausedCall {}).await? {
        return Ok(false);
    }
    let unpause = RewardVault::unpauseCall {}.abi_encode().into();
    account.transact("unpause", address, unpause, 0).await?;
    Ok(true)
}
