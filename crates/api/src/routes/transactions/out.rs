//! A transaction as the interface shows it.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, AttemptId, BatchId, GrantId};
use laurel_views::TransactionView;
use serde::Serialize;
use utoipa::ToSchema;

/// The states of a transaction.
pub(crate) const STATES: [&str; 5] = ["submitted", "mined", "confirmed", "reverted", "replaced"];

/// A signed transaction.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TransactionOut {
    /// Its hash.
    #[schema(value_type = String)]
    pub(super) tx: B256,
    /// Its own id, by which the list is ordered.
    #[schema(value_type = uuid::Uuid)]
    pub(crate) attempt: AttemptId,
    /// The batch that it settles.
    #[schema(value_type = uuid::Uuid)]
    pub(super) batch: BatchId,
    /// The chain.
    pub(super) chain_id: u64,
    /// The vault.
    pub(super) vault: String,
    /// The lane's account.
    pub(super) from: String,
    /// Its nonce.
    pub(super) nonce: u64,
    /// Which attempt of its nonce it is, from 0: each outbids the one before it.
    pub(super) number: u32,
    /// settlement, cancel (it burns a place), or empty (it only uses its nonce).
    pub(super) kind: &'static str,
    /// submitted, mined, confirmed, reverted or replaced.
    pub(super) state: String,
    /// How many grants it settles.
    pub(super) grants: u32,
    /// The most gas it may use.
    pub(super) gas_limit: u64,
    /// The most a unit of gas may cost, in wei.
    #[schema(value_type = String)]
    pub(super) max_fee_per_gas: Amount,
    /// The gas that it used, once its block is final.
    pub(super) gas_used: Option<u64>,
    /// What a unit of that cost, in wei.
    #[schema(value_type = Option<String>)]
    pub(super) effective_gas_price: Option<Amount>,
    /// What it cost, in wei: the product of both.
    #[schema(value_type = Option<String>)]
    pub(super) fee: Option<Amount>,
    /// Its block.
    pub(super) block: Option<u64>,
    /// When it was signed.
    pub(super) signed_at: DateTime<Utc>,
    /// The grants that it settles; only where one transaction is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) grant_ids: Option<Vec<GrantId>>,
}

impl From<TransactionView> for TransactionOut {
    fn from(view: TransactionView) -> Self {
        // Gas of a block times a price of any chain is far from 256 bits.
        let fee = view.gas_used.zip(view.effective_gas_price).and_then(|(gas, price)| price.times(gas).ok());
        Self {
            tx: view.tx,
            attempt: view.attempt,
            batch: view.batch,
            chain_id: view.chain_id,
            vault: view.vault.to_checksum(None),
            from: view.from.to_checksum(None),
            nonce: view.nonce,
            number: view.number,
            kind: view.kind.as_str(),
            state: view.state,
            grants: view.grants,
            gas_limit: view.gas_limit,
            max_fee_per_gas: view.max_fee_per_gas,
            gas_used: view.gas_used,
            effective_gas_price: view.effective_gas_price,
            fee,
            block: view.block,
            signed_at: view.signed_at,
            grant_ids: None,
        }
    }
}
