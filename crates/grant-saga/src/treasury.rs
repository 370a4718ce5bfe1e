//! The treasury: brings the caps that managers asked for onto the chain.
//!
//! Every step is derived from what the chain says now, so that it can be taken up anywhere: tokens are only sent to the
//! vault as far as it lacks backing, a campaign is only opened if it is not, a cap is only raised if it is below.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall,
};
use chrono::TimeDelta;
use laurel_chain::{
    BlockRef, Call, CallError, ChainError, ChainNode, Erc20, KeyError, LaneSigner, NonceAt, RewardVault,
    SendError, TxRequest, funding_call,
};
use laurel_events::{Amount, CampaignId, Clock};
use laurel_ledger::{LedgerError, Vault, acquire_lease, amount_from_sql};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// How often requests are looked for.
const POLL: Duration = Duration::from_millis(500);

/// How long the treasury's lease lasts: longer than waiting for one transaction.
const LEASE: TimeDelta = TimeDelta::seconds(90);

/// How long to wait for a transaction to be mined before the chain is asked again what is missing.
const MINED_WITHIN: Duration = Duration::from_secs(60);

/// How often to look whether it was mined.
const MINED_POLL: Duration = Duration::from_millis(100);

/// The most gas that opening or funding a campaign may use; unused gas costs nothing.
const GAS_LIMIT: u64 = 500_000;

/// Why a request was not brought onto the chain.
#[derive(Debug, thiserror::Error)]
pub enum TreasuryError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A call reverted.
    #[error("{step}: {source}")]
    Call {
        /// The step.
        step: &'static str,
        /// What came of it.
        #[source]
        source: CallError,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The node would not take the transaction.
    #[error("{step}: {source}")]
    Send {
        /// The step.
        step: &'static str,
        /// Why.
        #[source]
        source: SendError,
    },
    /// The transaction was not mined in time; the next round sees what came of it.
    #[error("{step}: transaction {tx} was not mined within {MINED_WITHIN:?}")]
    NotMined {
        /// The step.
        step: &'static str,
        /// The transaction.
        tx: B256,
    },
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

impl From<sqlx::Error> for TreasuryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Brings caps onto the chain, for one vault.
#[derive(Debug)]
pub struct Treasury {
    vault: Vault,
    signer: Arc<dyn LaneSigner>,
    node: Arc<dyn ChainNode>,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    holder: String,
}

impl Treasury {
    /// The treasury of a vault that `signer` owns.
    pub fn new(
        vault: Vault,
        signer: Arc<dyn LaneSigner>,
        node: Arc<dyn ChainNode>,
        pool: PgPool,
        clock: Arc<dyn Clock>,
        holder: String,
    ) -> Self {
        Self { vault, signer, node, pool, clock, holder }
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.round().await {
                tracing::warn!(error = %error, "the treasury will try again");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Brings every request onto the chain, one after the other.
    ///
    /// # Errors
    /// If the database does not answer. What the chain does not do is noted with the request.
    pub async fn round(&self) -> Result<(), TreasuryError> {
        let requests = sqlx::query!(
            r#"
            SELECT f.campaign, f.cap, c.token FROM funding_requests f JOIN campaigns c ON c.id = f.campaign
            WHERE c.vault = $1
            ORDER BY f.requested_at
            "#,
            self.vault.id.0,
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
            let done = self.bring(campaign, Address::from_slice(&request.token), cap).await;
            let error = done.as_ref().err().map(ToString::to_string);
            sqlx::query!(
                "UPDATE funding_requests SET error = $2 WHERE campaign = $1 AND error IS DISTINCT FROM $2",
                request.campaign,
                error,
            )
            .execute(&self.pool)
            .await?;
            if let Err(error) = done {
                tracing::warn!(campaign.id = %campaign, %error, "the cap is not on the chain yet");
            }
        }
        Ok(())
    }

    /// Takes whatever step is missing until the vault has the cap.
    async fn bring(&self, campaign: CampaignId, token: Address, cap: Amount) -> Result<(), TreasuryError> {
        let found = self.ask("campaign", RewardVault::campaignCall { id: campaign.on_chain() }).await?;
        let current = U256::from(found.terms.cap);
        if current >= cap.units() {
            return Ok(());
        }
        self.back(token, cap.units() - current).await?;
        let data = funding_call(&*self.node, self.vault.identity.vault, campaign, token, cap).await?;
        self.transact("open or raise the cap", self.vault.identity.vault, data).await
    }

    /// Gives the vault the tokens that it lacks to back `wanted` more.
    async fn back(&self, token: Address, wanted: U256) -> Result<(), TreasuryError> {
        let free = self.ask("uncommitted", RewardVault::uncommittedCall { token }).await?;
        let Some(missing) = wanted.checked_sub(free).filter(|missing| !missing.is_zero()) else {
            return Ok(());
        };
        let treasury = self.signer.address();
        let owned = self.ask_at("balanceOf", token, Erc20::balanceOfCall { owner: treasury }).await?;
        if owned < missing {
            return Err(TreasuryError::TooLittle { treasury, token, owned, wanted: missing });
        }
        let transfer = Erc20::transferCall { to: self.vault.identity.vault, value: missing };
        self.transact("transfer", token, transfer.abi_encode().into()).await
    }

    async fn ask<C: SolCall>(&self, step: &'static str, call: C) -> Result<C::Return, TreasuryError> {
        self.ask_at(step, self.vault.identity.vault, call).await
    }

    async fn ask_at<C: SolCall>(
        &self,
        step: &'static str,
        to: Address,
        call: C,
    ) -> Result<C::Return, TreasuryError> {
        let call = Call { from: self.signer.address(), to, data: call.abi_encode().into(), gas: None };
        let answer = self.node.call(call).await.map_err(|source| TreasuryError::Call { step, source })?;
        C::abi_decode_returns(&answer)
            .map_err(|error| ChainError::Untrue(format!("{step} answered what it cannot: {error}")).into())
    }

    /// Sends a transaction that is known not to revert, and waits until it is mined.
    async fn transact(&self, step: &'static str, to: Address, data: Bytes) -> Result<(), TreasuryError> {
        let from = self.signer.address();
        let call = Call { from, to, data: data.clone(), gas: Some(GAS_LIMIT) };
        self.node.call(call).await.map_err(|source| TreasuryError::Call { step, source })?;
        let nonce = self.node.nonce(from, NonceAt::Latest).await?;
        let fees = self.node.fees().await?;
        let signed = self.signer.sign(&TxRequest {
            chain_id: self.vault.identity.chain_id,
            nonce,
            to: Some(to),
            data,
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: fees.base_fee.saturating_mul(2).saturating_add(fees.priority_fee),
            max_priority_fee_per_gas: fees.priority_fee,
        })?;
        match self.node.send(signed.raw).await {
            Ok(_) | Err(SendError::AlreadyKnown | SendError::PerhapsSent(_)) => {}
            Err(source) => return Err(TreasuryError::Send { step, source }),
        }
        tracing::info!(step, tx.hash = %signed.hash, "the treasury sent a transaction");
        let mined = async {
            while self.node.nonce(from, NonceAt::Latest).await? <= nonce {
                tokio::time::sleep(MINED_POLL).await;
            }
            // The head that has the transaction must be the one that the next step reads.
            self.node.block(BlockRef::Latest).await
        };
        match tokio::time::timeout(MINED_WITHIN, mined).await {
            Ok(mined) => Ok(mined.map(|_| ())?),
            Err(_) => Err(TreasuryError::NotMined { step, tx: signed.hash }),
        }
    }
}
