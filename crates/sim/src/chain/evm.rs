//! Running transactions and calls on the real EVM.

use std::convert::Infallible;

use alloy::primitives::{Address, Bytes, TxKind, U256};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::{BlockEnv, TxEnv, result::ExecutionResult},
    database::{CacheDB, EmptyDB},
    state::{AccountInfo, Bytecode},
};

use super::pool::PoolTx;

/// All accounts after a block.
pub(crate) type State = CacheDB<EmptyDB>;

/// The most gas of a transaction (EIP-7825).
pub(crate) const TX_GAS_MAX: u64 = 1 << 24;

/// What a block tells its transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) chain_id: u64,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u128,
    pub(crate) gas_limit: u64,
}

impl Surroundings {
    fn block(&self) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.number),
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: u64::try_from(self.base_fee).unwrap_or(u64::MAX),
            prevrandao: Some(Default::default()),
            ..BlockEnv::default()
        }
    }
}

/// Runs a transaction for good; `None` if a block may not hold it.
pub(crate) fn execute(state: &mut State, at: &Surroundings, tx: &PoolTx) -> Option<ExecutionResult> {
    let envelope = TxEnv {
        tx_type: 2,
        caller: tx.from,
        gas_limit: tx.tx.gas_limit,
        gas_price: tx.tx.max_fee_per_gas,
        gas_priority_fee: Some(tx.tx.max_priority_fee_per_gas),
        kind: tx.tx.to,
        data: tx.tx.input.clone(),
        nonce: tx.tx.nonce,
        chain_id: Some(at.chain_id),
        ..TxEnv::default()
    };
    let mut evm = Context::mainnet()
        .with_db(state)
        .modify_cfg_chained(|cfg| cfg.chain_id = at.chain_id)
        .with_block(at.block())
        .build_mainnet();
    evm.transact_commit(envelope).ok()
}

/// What a call would do after a block. Costs nothing and asks for no nonce.
pub(crate) fn call(
    state: &State,
    at: &Surroundings,
    from: Address,
    to: Address,
    data: Bytes,
    gas: Option<u64>,
) -> Result<ExecutionResult, String> {
    let envelope = TxEnv {
        caller: from,
        gas_limit: gas.unwrap_or(at.gas_limit).min(at.gas_limit),
        kind: TxKind::Call(to),
        data,
        chain_id: Some(at.chain_id),
        ..TxEnv::default()
    };
    let mut evm = Context::mainnet()
        .with_ref_db(state)
        .modify_cfg_chained(|cfg| {
            cfg.chain_id = at.chain_id;
            cfg.disable_nonce_check = true;
            cfg.disable_balance_check = true;
            cfg.disable_base_fee = true;
            cfg.disable_eip3607 = true;
            cfg.disable_fee_charge = true;
            cfg.tx_gas_limit_cap = Some(u64::MAX);
        })
        .with_block(at.block())
        .build_mainnet();
    evm.transact(envelope).map(|done| done.result).map_err(|error| error.to_string())
}

/// An account as of a state.
pub(crate) fn account(state: &State, address: Address) -> AccountInfo {
    use revm::DatabaseRef as _;
    let found: Result<_, Infallible> = state.basic_ref(address);
    found.ok().flatten().unwrap_or_default()
}

/// An account's code.
pub(crate) fn code(state: &State, address: Address) -> Bytes {
    use revm::DatabaseRef as _;
    let hash = account(state, address).code_hash;
    state.code_by_hash_ref(hash).map(|code| code.original_bytes()).unwrap_or_default()
}

/// Gives an account money and code, before the first block.
pub(crate) fn endow(state: &mut State, address: Address, wei: U256, code: Option<Bytes>) {
    let mut info = AccountInfo::from_balance(wei);
    if let Some(code) = code {
        info = info.with_code(Bytecode::new_raw(code));
    }
    state.insert_account_info(address, info);
}
