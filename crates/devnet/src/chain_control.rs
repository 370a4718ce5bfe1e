//! What only a development chain can be told: to mine, to forget blocks, to move its clock.

use std::time::Duration;

use serde_json::json;

use crate::{error::DevnetError, rpc::Rpc};

/// Steers the Anvil at an address. Anybody's Anvil will do, not only ours.
#[derive(Clone, Debug)]
pub struct ChainControl {
    rpc: Rpc,
}

impl ChainControl {
    /// Steers the chain at `rpc_url`; nothing is called yet.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub fn new(rpc_url: impl Into<String>) -> Result<Self, DevnetError> {
        Rpc::new(rpc_url).map(|rpc| Self { rpc })
    }

    /// The number of the latest block.
    ///
    /// # Errors
    ///
    /// When the chain does not answer, as for every method here.
    pub async fn block_number(&self) -> Result<u64, DevnetError> {
        self.rpc.quantity("eth_blockNumber").await
    }

    /// Mines `blocks` blocks at once; pending transactions go into the first ones.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn mine(&self, blocks: u64) -> Result<(), DevnetError> {
        self.rpc.call("anvil_mine", json!([blocks])).await.map(drop)
    }

    /// Replaces the last `depth` blocks by as many empty ones. Their transactions do not go back to the pool: as after
    /// a real reorganisation that a node has missed, they have to be sent again.
    ///
    /// # Errors
    ///
    /// When the chain is not that high, does not keep that many states (`AnvilOptions::states_kept`), or does not answer.
    pub async fn reorg(&self, depth: u64) -> Result<(), DevnetError> {
        self.rpc.call("anvil_reorg", json!([depth, []])).await.map(drop)
    }

    /// Moves the chain's clock forward by whole seconds and mines a block, so that it shows.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn warp(&self, seconds: u64) -> Result<(), DevnetError> {
        self.rpc.call("evm_increaseTime", json!([seconds])).await?;
        self.mine(1).await
    }

    /// Mines an empty block of that base fee, in wei: the next ones begin there.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn set_base_fee(&self, base_fee: u128) -> Result<(), DevnetError> {
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", json!([format!("{base_fee:#x}")])).await?;
        self.mine(1).await
    }

    /// Gives an account that much of the chain's own currency, in wei, and no more.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn set_balance(&self, account: &str, wei: u128) -> Result<(), DevnetError> {
        self.rpc.call("anvil_setBalance", json!([account, format!("{wei:#x}")])).await.map(drop)
    }

    /// Sets how many transactions `account` has sent.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn set_nonce(&self, account: &str, nonce: u64) -> Result<(), DevnetError> {
        self.rpc.call("anvil_setNonce", json!([account, format!("{nonce:#x}")])).await.map(drop)
    }

    /// Gives an account other code.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn set_code(&self, account: &str, code: &str) -> Result<(), DevnetError> {
        self.rpc.call("anvil_setCode", json!([account, code])).await.map(drop)
    }

    /// Writes a word into a contract's storage.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn set_storage(&self, account: &str, slot: &str, word: &str) -> Result<(), DevnetError> {
        self.rpc.call("anvil_setStorageAt", json!([account, slot, word])).await.map(drop)
    }

    /// Has the pool forget a transaction.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn forget(&self, tx: &str) -> Result<(), DevnetError> {
        self.rpc.call("anvil_dropTransaction", json!([tx])).await.map(drop)
    }

    /// Mines a block every `interval` from now on, and only then. Anvil takes whole seconds here; fractions are for
    /// its start ([`Mining::Every`](crate::anvil::Mining)).
    ///
    /// # Errors
    ///
    /// When `interval` is not one second or more, in whole seconds, or the chain does not answer.
    pub async fn mine_every(&self, interval: Duration) -> Result<(), DevnetError> {
        if interval.as_secs() == 0 || interval.subsec_nanos() != 0 {
            let message =
                format!("a running Anvil mines every so many whole seconds, not every {interval:?}");
            return Err(DevnetError::Unsupported(message));
        }
        self.rpc.call("evm_setIntervalMining", json!([interval.as_secs()])).await.map(drop)
    }

    /// Mines a block as soon as there is a transaction, from now on.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn mine_each_transaction(&self) -> Result<(), DevnetError> {
        self.rpc.call("evm_setAutomine", json!([true])).await.map(drop)
    }

    /// Mines nothing from now on but what [`ChainControl::mine`] asks for.
    ///
    /// # Errors
    ///
    /// When the chain does not answer.
    pub async fn pause_mining(&self) -> Result<(), DevnetError> {
        // Each of the two leaves the other's kind of mining on.
        self.rpc.call("evm_setAutomine", json!([false])).await?;
        self.rpc.call("evm_setIntervalMining", json!([0])).await.map(drop)
    }
}
