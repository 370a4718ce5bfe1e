//! The transactions that wait to be mined, and what a node says to those that it does not take.

use std::{collections::BTreeMap, sync::Arc};

use alloy::{
    consensus::{TxEip1559, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, U256},
};

use super::evm::{State, TX_GAS_MAX, account};

/// A signed transaction.
#[derive(Clone, Debug)]
pub(crate) struct PoolTx {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    pub(crate) tx: Arc<TxEip1559>,
    pub(crate) envelope: Arc<TxEnvelope>,
    pub(crate) raw: Bytes,
}

impl PoolTx {
    /// Reads what was sent.
    pub(crate) fn decode(raw: &Bytes) -> Option<Self> {
        let envelope = TxEnvelope::decode_2718(&mut raw.as_ref()).ok()?;
        let from = envelope.recover_signer().ok()?;
        let TxEnvelope::Eip1559(signed) = &envelope else { return None };
        let tx = Arc::new(signed.tx().clone());
        Some(Self { hash: *envelope.tx_hash(), from, tx, envelope: Arc::new(envelope), raw: raw.clone() })
    }

    /// What a unit of gas costs it in a block with that base fee; `None` if it does not pay that much.
    pub(crate) fn price(&self, base_fee: u128) -> Option<u128> {
        let tip = self.tx.max_fee_per_gas.checked_sub(base_fee)?.min(self.tx.max_priority_fee_per_gas);
        Some(base_fee + tip)
    }

    fn outbids(&self, other: &Self) -> bool {
        let enough = |ours: u128, theirs: u128| ours >= theirs + theirs.div_ceil(10);
        enough(self.tx.max_fee_per_gas, other.tx.max_fee_per_gas)
            && enough(self.tx.max_priority_fee_per_gas, other.tx.max_priority_fee_per_gas)
    }
}

/// How a client's pool differs from geth's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PoolRules {
    /// It refuses a nonce while one before it is missing, where geth has it wait.
    pub(crate) refuses_gaps: bool,
    /// It refuses what does not pay the base fee, where geth has it wait.
    pub(crate) refuses_below_base_fee: bool,
}

/// What a node answers instead of a hash.
pub(crate) type NodeWords = (i64, String);

/// The code of most of geth's refusals.
const SERVER_ERROR: i64 = -32_000;

/// The waiting transactions by account and nonce.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) rules: PoolRules,
    /// How many were outbid.
    pub(crate) replaced: u64,
    waiting: BTreeMap<Address, BTreeMap<u64, PoolTx>>,
}

impl Pool {
    /// Takes a transaction, or says why not in a node's words.
    pub(crate) fn take(
        &mut self,
        state: &State,
        base_fee: u128,
        gas_limit: u64,
        tx: PoolTx,
    ) -> Result<(), NodeWords> {
        let refused = |message: String| Err((SERVER_ERROR, message));
        let sender = account(state, tx.from);
        let waiting = self.waiting.get(&tx.from);
        let same = waiting.and_then(|waiting| waiting.get(&tx.tx.nonce));
        if same.is_some_and(|same| same.hash == tx.hash) {
            return refused("already known".to_owned());
        }
        if tx.tx.gas_limit > TX_GAS_MAX {
            return refused(format!(
                "transaction gas limit too high (cap: {TX_GAS_MAX}, tx: {})",
                tx.tx.gas_limit
            ));
        }
        if tx.tx.gas_limit > gas_limit {
            return refused("exceeds block gas limit".to_owned());
        }
        if tx.tx.max_priority_fee_per_gas == 0 {
            return refused("transaction underpriced: gas tip cap 0, minimum needed 1".to_owned());
        }
        if self.rules.refuses_below_base_fee && tx.tx.max_fee_per_gas < base_fee {
            return refused("max fee per gas less than block base fee".to_owned());
        }
        if tx.tx.nonce < sender.nonce {
            return refused(format!("nonce too low: next nonce {}, tx nonce {}", sender.nonce, tx.tx.nonce));
        }
        let cost = U256::from(tx.tx.max_fee_per_gas) * U256::from(tx.tx.gas_limit);
        if cost > sender.balance {
            let (have, short) = (sender.balance, cost - sender.balance);
            return refused(format!(
                "insufficient funds for gas * price + value: balance {have}, tx cost {cost}, overshot {short}"
            ));
        }
        let next = (sender.nonce..).find(|nonce| !waiting.is_some_and(|waiting| waiting.contains_key(nonce)));
        if self.rules.refuses_gaps && next.is_some_and(|next| tx.tx.nonce > next) {
            return refused(format!("nonce too high: tx nonce {}", tx.tx.nonce));
        }
        if same.is_some_and(|same| !tx.outbids(same)) {
            return refused("replacement transaction underpriced".to_owned());
        }
        if self.waiting.entry(tx.from).or_default().insert(tx.tx.nonce, tx).is_some() {
            self.replaced += 1;
        }
        Ok(())
    }

    /// Takes back what a block held that is no more, unless another transaction of the nonce came meanwhile.
    pub(crate) fn take_back(&mut self, tx: PoolTx) {
        self.waiting.entry(tx.from).or_default().entry(tx.tx.nonce).or_insert(tx);
    }

    /// Forgets what an account's used nonces make impossible.
    pub(crate) fn prune(&mut self, state: &State) {
        self.waiting.retain(|from, waiting| {
            let next = account(state, *from).nonce;
            waiting.retain(|nonce, _| *nonce >= next);
            !waiting.is_empty()
        });
    }

    /// Forgets a transaction, as full or restarted nodes do.
    pub(crate) fn drop_one(&mut self, hash: B256) {
        for waiting in self.waiting.values_mut() {
            waiting.retain(|_, tx| tx.hash != hash);
        }
    }

    /// Those of an account, from its next nonce on, without gaps.
    pub(crate) fn ready(&self, from: Address, next: u64) -> Vec<PoolTx> {
        let Some(waiting) = self.waiting.get(&from) else { return Vec::new() };
        (next..).map_while(|nonce| waiting.get(&nonce).cloned()).collect()
    }

    /// Whose transactions wait.
    pub(crate) fn senders(&self) -> Vec<Address> {
        self.waiting.keys().copied().collect()
    }

    /// Everything that waits.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PoolTx> {
        self.waiting.values().flat_map(BTreeMap::values)
    }
}
