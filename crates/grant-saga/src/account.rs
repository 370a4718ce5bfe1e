//! An account that sends one transaction after the other, each derived from what the chain says at the moment.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};
use laurel_chain::{
    BlockRef, Call, CallError, ChainError, ChainNode, KeyError, LaneSigner, NextStep, NonceAt, Refusal,
    SendError, SignedTx, TxRequest, revert_reason,
};

use crate::fees::{AboveCap, Price};

/// How long to wait for a transaction to be mined before the chain is asked again what is missing.
const MINED_WITHIN: Duration = Duration::from_secs(60);

/// How often to look whether it was mined.
const MINED_POLL: Duration = Duration::from_millis(100);

/// The most gas that a call of the vault's owner or guardian may use; unused gas costs nothing.
const GAS_LIMIT: u64 = 500_000;

/// How often the market's price is doubled at most for a transaction that is not mined.
const DOUBLINGS_MAX: u32 = 5;

/// Why a call did not come onto the chain.
#[derive(Debug, thiserror::Error)]
pub enum CallFailed {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It reverts.
    #[error("{step}: {reason}")]
    Reverts {
        /// The step.
        step: &'static str,
        /// Why.
        reason: String,
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
    /// Gas costs more than may be spent on it.
    #[error("{step}: gas costs at least {needed} wei, and the cap is {cap}")]
    FeeAboveCap {
        /// The step.
        step: &'static str,
        /// What a unit of gas would have to cost.
        needed: u128,
        /// The cap.
        cap: u128,
    },
    /// The transaction was not mined in time; the next round sees what came of it.
    #[error("{step}: transaction {tx} was not mined within {MINED_WITHIN:?}")]
    NotMined {
        /// The step.
        step: &'static str,
        /// The transaction.
        tx: B256,
    },
}

impl CallFailed {
    fn call(step: &'static str, error: CallError) -> Self {
        match error {
            CallError::Reverted(data) => Self::Reverts { step, reason: revert_reason(&data) },
            CallError::Chain(error) => error.into(),
        }
    }

    /// Whether it stays as it is until somebody does something about it.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Reverts { .. } | Self::Key(_) => true,
            Self::Chain(error) => matches!(error, ChainError::Untrue(_)),
            Self::Send { source, .. } => source.refusal().is_some_and(Refusal::lasts),
            Self::FeeAboveCap { .. } | Self::NotMined { .. } => false,
        }
    }
}

/// A transaction that does not revert, as far as is known, signed and not sent.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    step: &'static str,
    nonce: u64,
    signed: SignedTx,
}

impl Prepared {
    pub(crate) fn hash(&self) -> B256 {
        self.signed.hash
    }
}

/// An account with its key.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) chain_id: u64,
    pub(crate) signer: Arc<dyn LaneSigner>,
    pub(crate) node: Arc<dyn ChainNode>,
    /// The most that a unit of gas may cost; nothing where it has to come through at any price.
    pub(crate) max_fee_per_gas: Option<u128>,
}

impl Account {
    pub(crate) fn address(&self) -> Address {
        self.signer.address()
    }

    /// What a contract answers.
    pub(crate) async fn ask<C: SolCall>(
        &self,
        step: &'static str,
        to: Address,
        call: C,
    ) -> Result<C::Return, CallFailed> {
        let call = Call { from: self.address(), to, data: call.abi_encode().into(), gas: None };
        let answer = self.node.agreed_call(call).await.map_err(|error| CallFailed::call(step, error))?;
        C::abi_decode_returns(&answer)
            .map_err(|error| ChainError::Untrue(format!("{step} answered what it cannot: {error}")).into())
    }

    /// What a contract answers by the word of whoever can be asked.
    pub(crate) async fn ask_anybody<C: SolCall>(&self, to: Address, call: C) -> Option<C::Return> {
        let call = Call { from: self.address(), to, data: call.abi_encode().into(), gas: None };
        let answer = self.node.call(call).await.ok()?;
        C::abi_decode_returns(&answer).ok()
    }

    /// Whether it has to come through at any price, and is not stopped because too few endpoints can be asked.
    const fn is_hurried(&self) -> bool {
        self.max_fee_per_gas.is_none()
    }

    /// The nonce of the account's next transaction.
    pub(crate) async fn next_nonce(&self) -> Result<u64, CallFailed> {
        match self.node.nonce(self.address(), NonceAt::Latest).await {
            // Too few say how many are mined; any of them knows what is the next one.
            Err(_) if self.is_hurried() => Ok(self.node.nonce(self.address(), NonceAt::Pending).await?),
            nonce => Ok(nonce?),
        }
    }

    /// Sends a transaction that does not revert, as far as is known, and waits until it is mined. Offers twice the market's price for
    /// every time that it was not before, so that one that is stuck is outbid.
    pub(crate) async fn transact(
        &self,
        step: &'static str,
        to: Address,
        data: Bytes,
        failures: u32,
    ) -> Result<(), CallFailed> {
        let nonce = self.next_nonce().await?;
        self.send(self.prepare(nonce, step, to, data, failures).await?).await
    }

    /// Signs a transaction with a nonce that was asked for before what it follows from: where an earlier one, that was given up, is mined
    /// in between, this one is refused.
    pub(crate) async fn prepare(
        &self,
        nonce: u64,
        step: &'static str,
        to: Address,
        data: Bytes,
        failures: u32,
    ) -> Result<Prepared, CallFailed> {
        let from = self.address();
        let call = Call { from, to, data: data.clone(), gas: Some(GAS_LIMIT) };
        let hurried = self.is_hurried();
        match self.node.agreed_call(call).await {
            Ok(_) => {}
            Err(CallError::Chain(error)) if hurried => {
                tracing::warn!(step, %error, "nobody says whether it reverts");
            }
            Err(error) => return Err(CallFailed::call(step, error)),
        }
        let market = self.node.fees().await?;
        let cap = self.max_fee_per_gas.unwrap_or(u128::MAX);
        let price = Price::at(market, cap);
        let price =
            price.map_err(|AboveCap { needed, cap }| CallFailed::FeeAboveCap { step, needed, cap })?;
        let price = price.times(1 << failures.min(DOUBLINGS_MAX), cap);
        let signed = self.signer.sign(&TxRequest {
            chain_id: self.chain_id,
            nonce,
            to: Some(to),
            data,
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: price.max_fee,
            max_priority_fee_per_gas: price.tip,
        })?;
        Ok(Prepared { step, nonce, signed })
    }

    /// Sends what was signed, and waits until it is mined.
    pub(crate) async fn send(&self, prepared: Prepared) -> Result<(), CallFailed> {
        let Prepared { step, nonce, signed } = prepared;
        let (from, hurried) = (self.address(), self.is_hurried());
        match self.node.send(signed.raw).await {
            Ok(_) => {}
            Err(error) if error.next() == NextStep::Confirm => {}
            Err(source) => return Err(CallFailed::Send { step, source }),
        }
        tracing::info!(step, account = %from, tx.hash = %signed.hash, "sent a transaction");
        let mined = async {
            loop {
                match self.node.nonce(from, NonceAt::Latest).await {
                    Ok(mined) if mined > nonce => break,
                    Err(error) if !hurried => return Err(error),
                    _ => tokio::time::sleep(MINED_POLL).await,
                }
            }
            // The head that has the transaction must be the one that the next step reads.
            self.node.block(BlockRef::Latest).await
        };
        match tokio::time::timeout(MINED_WITHIN, mined).await {
            Ok(mined) => Ok(mined.map(|_| ())?),
            Err(_) => Err(CallFailed::NotMined { step, tx: signed.hash }),
        }
    }
}
