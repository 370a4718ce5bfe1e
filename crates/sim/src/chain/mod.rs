//! A chain in memory: real bytecode on a real EVM, real headers, and a pool, fees, reorganisations and finality of our own.
//!
//! Everything that a block says of itself can be checked: hashes, roots, blooms. The state's root alone is none: nobody
//! here has the states to check it, and it tells blocks apart that hold the same.

mod evm;
mod liar;
mod node;
mod pool;

use std::{collections::BTreeMap, sync::Arc};

use alloy::{
    consensus::{
        Header, Receipt, ReceiptEnvelope,
        proofs::{calculate_receipt_root, calculate_transaction_root},
    },
    primitives::{Address, B256, Bloom, Bytes, U256, keccak256},
};
use laurel_chain::{Block, TxReceipt};
use rand::{Rng, RngCore, seq::SliceRandom};

use self::{
    evm::{State, Surroundings, account, code, endow, execute},
    pool::{NodeWords, Pool},
};
pub(crate) use self::{
    liar::Liar,
    node::{Shared, SimNode},
    pool::PoolTx,
};

/// The gas of a block: as on the networks that matter.
const BLOCK_GAS: u64 = 60_000_000;

/// A base fee on a quiet day: 1 gwei.
pub(crate) const QUIET_BASE_FEE: u128 = 1_000_000_000;

/// A block with everything that anybody asks about it.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) block: Block,
    pub(crate) txs: Vec<PoolTx>,
    pub(crate) receipts: Vec<TxReceipt>,
    state: Arc<State>,
}

/// The chain, and the pool of the network around it.
#[derive(Clone, Debug)]
pub(crate) struct SimChain {
    pub(crate) chain_id: u64,
    /// All blocks that ever were, also those of abandoned branches.
    blocks: BTreeMap<B256, Arc<Sealed>>,
    /// The canonical ones, by their number.
    canonical: Vec<Arc<Sealed>>,
    pub(crate) pool: Pool,
    /// How many blocks on top make one final.
    pub(crate) depth: u64,
    final_number: u64,
    pub(crate) base_fee: u128,
    /// Whether every transaction gets a block at once: while the world is made.
    pub(crate) automine: bool,
    /// How many transactions its pool has taken.
    pub(crate) taken: u64,
    sealed: u64,
}

impl SimChain {
    /// A chain with its first block.
    pub(crate) fn new(
        chain_id: u64,
        timestamp: u64,
        depth: u64,
        accounts: &[(Address, U256, Option<Bytes>)],
    ) -> Self {
        let mut state = State::default();
        for (address, wei, code) in accounts {
            endow(&mut state, *address, *wei, code.clone());
        }
        let mut chain = Self {
            chain_id,
            blocks: BTreeMap::new(),
            canonical: Vec::new(),
            pool: Pool::default(),
            depth,
            final_number: 0,
            base_fee: QUIET_BASE_FEE,
            automine: false,
            taken: 0,
            sealed: 0,
        };
        chain.seal(B256::ZERO, 0, timestamp, Vec::new(), Vec::new(), Arc::new(state));
        chain
    }

    /// The last block.
    pub(crate) fn head(&self) -> &Arc<Sealed> {
        self.canonical.last().expect("a chain has a first block and keeps it")
    }

    /// The last final block's number.
    pub(crate) fn final_number(&self) -> u64 {
        self.final_number
    }

    /// How many blocks may be reorganised.
    pub(crate) fn unfinal(&self) -> u64 {
        self.head().block.header.number - self.final_number
    }

    /// Whether a block that is not final holds transactions.
    pub(crate) fn pays_unfinal(&self) -> bool {
        let unfinal = usize::try_from(self.unfinal()).unwrap_or(usize::MAX);
        self.canonical.iter().rev().take(unfinal).any(|sealed| !sealed.txs.is_empty())
    }

    /// Whether a transaction waits, or stands in a block that is not final.
    pub(crate) fn has_work(&self) -> bool {
        self.pays_unfinal() || self.pool.all().next().is_some()
    }

    /// The canonical block of a number.
    pub(crate) fn canonical(&self, number: u64) -> Option<&Arc<Sealed>> {
        self.canonical.get(usize::try_from(number).ok()?)
    }

    /// Any block, by its hash.
    pub(crate) fn by_hash(&self, hash: B256) -> Option<&Arc<Sealed>> {
        self.blocks.get(&hash)
    }

    /// The block of a number below, or at, some head.
    pub(crate) fn ancestor(&self, head: &Arc<Sealed>, number: u64) -> Option<Arc<Sealed>> {
        let mut at = head.clone();
        while at.block.header.number > number {
            let (found, parent) = (at.block.header.number, at.block.header.parent_hash);
            if self.canonical(found).is_some_and(|block| block.block.hash == at.block.hash) {
                return self.canonical(number).cloned();
            }
            at = self.blocks.get(&parent)?.clone();
        }
        (at.block.header.number == number).then_some(at)
    }

    /// What somebody at the door of a node is told.
    pub(crate) fn send(&mut self, raw: &Bytes) -> Result<B256, NodeWords> {
        let tx = PoolTx::decode(raw)
            .ok_or_else(|| (-32_602, "rlp: value size exceeds available input length".to_owned()))?;
        let hash = tx.hash;
        let state = self.head().state.clone();
        self.pool.take(&state, self.base_fee, BLOCK_GAS, tx)?;
        self.taken += 1;
        if self.automine {
            let timestamp = self.head().block.header.timestamp + 1;
            self.mine(timestamp, &mut |_| true);
        }
        Ok(hash)
    }

    /// Makes a block of what is ready and pays enough, as far as `wanted` wants it. An account's transactions stay in order.
    pub(crate) fn mine(&mut self, timestamp: u64, wanted: &mut dyn FnMut(&PoolTx) -> bool) {
        let senders = self.pool.senders();
        self.mine_from(timestamp, &senders, wanted);
    }

    /// The same with accounts in an order of chance.
    pub(crate) fn mine_shuffled(&mut self, timestamp: u64, rng: &mut dyn RngCore, share: f64) {
        let mut senders = self.pool.senders();
        senders.shuffle(rng);
        let mut chance = |_: &PoolTx| rng.random_bool(share);
        self.mine_from(timestamp, &senders, &mut chance);
    }

    fn mine_from(&mut self, timestamp: u64, senders: &[Address], wanted: &mut dyn FnMut(&PoolTx) -> bool) {
        let parent = self.head().clone();
        let number = parent.block.header.number + 1;
        let timestamp = timestamp.max(parent.block.header.timestamp + 1);
        let at = self.surroundings(number, timestamp);
        let mut state: Option<State> = None;
        let (mut txs, mut receipts, mut gas) = (Vec::new(), Vec::new(), 0);
        for from in senders {
            for tx in self.pool.ready(*from, account(&parent.state, *from).nonce) {
                let Some(price) = tx.price(self.base_fee).filter(|_| wanted(&tx)) else { break };
                if gas + tx.tx.gas_limit > BLOCK_GAS {
                    break;
                }
                // Most blocks change nothing, and then share the state of their parent.
                let state = state.get_or_insert_with(|| State::clone(&parent.state));
                let Some(result) = execute(state, &at, &tx) else { break };
                let gas_used = result.tx_gas_used();
                gas += gas_used;
                let success = result.is_success();
                let logs = if success { result.into_logs() } else { Vec::new() };
                let receipt = Receipt { status: success.into(), cumulative_gas_used: gas, logs }.with_bloom();
                let receipt = ReceiptEnvelope::Eip1559(receipt);
                receipts.push(TxReceipt {
                    tx: tx.hash,
                    from: tx.from,
                    gas_used,
                    effective_gas_price: price,
                    receipt,
                });
                txs.push(tx);
            }
        }
        let state = state.map_or_else(|| parent.state.clone(), Arc::new);
        self.seal(parent.block.hash, number, timestamp, txs, receipts, state);
        let state = self.head().state.clone();
        self.pool.prune(&state);
        self.final_number = self.final_number.max(number.saturating_sub(self.depth));
    }

    fn seal(
        &mut self,
        parent_hash: B256,
        number: u64,
        timestamp: u64,
        txs: Vec<PoolTx>,
        receipts: Vec<TxReceipt>,
        state: Arc<State>,
    ) {
        self.sealed += 1;
        let envelopes: Vec<_> = txs.iter().map(|tx| (*tx.envelope).clone()).collect();
        let of_block: Vec<_> = receipts.iter().map(|receipt| receipt.receipt.clone()).collect();
        let header = Header {
            parent_hash,
            number,
            timestamp,
            gas_limit: BLOCK_GAS,
            gas_used: of_block.last().map_or(0, |receipt| receipt.cumulative_gas_used()),
            base_fee_per_gas: Some(u64::try_from(self.base_fee).unwrap_or(u64::MAX)),
            state_root: keccak256(self.sealed.to_be_bytes()),
            transactions_root: calculate_transaction_root(&envelopes),
            receipts_root: calculate_receipt_root(&of_block),
            logs_bloom: of_block.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom()),
            ..Header::default()
        };
        let block =
            Block { hash: header.hash_slow(), header, transactions: txs.iter().map(|tx| tx.hash).collect() };
        let sealed = Arc::new(Sealed { block, txs, receipts, state });
        self.blocks.insert(sealed.block.hash, sealed.clone());
        self.canonical.push(sealed);
    }

    /// Takes the last `depth` blocks away, as far as they are not final. Their transactions wait again, but for those that
    /// `lost` has lost. Returns how many blocks went.
    pub(crate) fn unwind(&mut self, depth: u64, lost: &mut dyn FnMut(&PoolTx) -> bool) -> u64 {
        let depth = depth.min(self.unfinal());
        for _ in 0..depth {
            let removed = self.canonical.pop().expect("only blocks above the final one are taken away");
            for tx in removed.txs.iter().filter(|tx| !lost(tx)) {
                self.pool.take_back(tx.clone());
            }
        }
        depth
    }

    /// Takes away every block above `to`, whether final or not. Returns how many went.
    pub(crate) fn take_back(&mut self, to: u64, lost: &mut dyn FnMut(&PoolTx) -> bool) -> u64 {
        self.final_number = to;
        let removed = self.unfinal();
        self.unwind(removed, lost)
    }

    fn surroundings(&self, number: u64, timestamp: u64) -> Surroundings {
        Surroundings {
            chain_id: self.chain_id,
            number,
            timestamp,
            base_fee: self.base_fee,
            gas_limit: BLOCK_GAS,
        }
    }

    /// An account's next nonce after a block.
    pub(crate) fn nonce(&self, at: &Sealed, address: Address) -> u64 {
        account(&at.state, address).nonce
    }

    /// An account's money after a block.
    pub(crate) fn balance(&self, at: &Sealed, address: Address) -> U256 {
        account(&at.state, address).balance
    }

    /// An account's code after a block.
    pub(crate) fn code(&self, at: &Sealed, address: Address) -> Bytes {
        code(&at.state, address)
    }

    /// What a call does after a block; a revert's data is the error's.
    pub(crate) fn call(
        &self,
        at: &Sealed,
        from: Address,
        to: Address,
        data: Bytes,
        gas: Option<u64>,
    ) -> Result<Result<Bytes, Bytes>, String> {
        let header = &at.block.header;
        let surroundings = self.surroundings(header.number, header.timestamp);
        let result = evm::call(&at.state, &surroundings, from, to, data, gas)?;
        if result.is_halt() {
            return Err("out of gas".to_owned());
        }
        let success = result.is_success();
        let output = result.into_output().unwrap_or_default();
        Ok(if success { Ok(output) } else { Err(output) })
    }
}
