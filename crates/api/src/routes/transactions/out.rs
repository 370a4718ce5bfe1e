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
    tx: B256,
    /// Its own id, by which the list is ordered.
    #[schema(value_type = uuid::Uuid)]
    pub(crate) attempt: AttemptId,
    /// The batch that it settles.
    #[schema(value_type = uuid::Uuid)]
    batch: BatchId,
    /// The chain.
    chain_id: u64,
    /// The vault.
    vault: String,
    /// The lane's account.
    from: String,
    /// Its nonce.
    nonce: u64,
    /// submitted, mined, confirmed, reverted or replaced.
    state: String,
    /// How many grants it settles.
    grants: u32,
    /// The most gas it may use.
    gas_limit: u64,
    /// The most a unit of gas may cost, in wei.
    #[schema(value_type = String)]
    max_fee_per_gas: Amount,
    /// The gas that it used, once its block is final.
    gas_used: Option<u64>,
    /// What a unit of that cost, in wei.
    #[schema(value_type = Option<String>)]
    effective_gas_price: Option<Amount>,
    /// What it cost, in wei: the product of both.
    #[schema(value_type = Option<String>)]
    fee: Option<Amount>,
    /// Its block.
    block: Option<u64>,
    /// When it was signed.
    signed_at: DateTime<Utc>,
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
