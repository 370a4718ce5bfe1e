//! The guardian: while everything that goes to a chain is stopped, its vault is paused.
//!
//! Stopping here keeps ourselves from signing. Whoever else has an operator's key is only kept from it by the vault.

use std::{sync::Arc, time::Duration};

use alloy::{primitives::Address, sol_types::SolCall};
use laurel_chain::{ChainNode, LaneSigner, RewardVault};
use laurel_ledger::{LedgerError, Vault, answered, is_chain_stopped};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{CallFailed, account::Account};

/// How often the stops are looked at: far more often than blocks are made.
const POLL: Duration = Duration::from_millis(200);

/// How long a step may take before it is given up: twice what is waited for its transaction.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

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
}

impl Guardian {
    /// The guardian of a vault, whose guardian or owner is `signer`.
    pub fn new(vault: Vault, signer: Arc<dyn LaneSigner>, node: Arc<dyn ChainNode>, pool: PgPool) -> Self {
        let chain_id = vault.identity.chain_id;
        // What a thief may take is more than any gas.
        let account = Account { chain_id, signer, node, max_fee_per_gas: None };
        Self { vault, account, pool, failures: 0 }
    }

    /// Watches over the vault until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            // A step that is given up has sent its transaction, or not: the next one sees.
            let step = tokio::select! {
                () = shutdown.cancelled() => return,
                step = answered(STEP_TIMEOUT, self.step()) => step,
            };
            let rest = match step {
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
        if !is_chain_stopped(&mut *self.pool.acquire().await?, chain_id).await? {
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
