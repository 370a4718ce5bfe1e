//! The one narrow way to a chain.

use alloy::{
    consensus::{Header, ReceiptEnvelope},
    primitives::{Address, B256, Bytes, U256},
};
use async_trait::async_trait;

use crate::{
    CallError, ChainError, FinalBlock, Finality, SendError,
    finality::last_final,
    receipts::{read_content, require_listed},
};

/// Which block is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// The node's head.
    Latest,
    /// The last block that the node calls final.
    Finalized,
    /// The canonical block of that number.
    Number(u64),
    /// The block of that hash.
    Hash(B256),
}

/// A block whose header hashes to its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its hash.
    pub hash: B256,
    /// Its header.
    pub header: Header,
    /// The hashes of its transactions, in order. The node's word until [`verify_transactions`] was asked.
    ///
    /// [`verify_transactions`]: crate::verify_transactions
    pub transactions: Vec<B256>,
}

/// A transaction's receipt in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxReceipt {
    /// The transaction.
    pub tx: B256,
    /// Who sent it.
    pub from: Address,
    /// The gas it used.
    pub gas_used: u64,
    /// What a unit cost, in wei.
    pub effective_gas_price: u128,
    /// Status, logs and bloom: what the header's receipts root covers.
    pub receipt: ReceiptEnvelope,
}

/// What is in a block, as far as its header proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockContent {
    /// All receipts, in the order of the transactions.
    pub receipts: Vec<TxReceipt>,
    /// All transactions, each as the network encodes it (EIP-2718).
    pub transactions: Vec<Bytes>,
}

/// A read-only call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asks.
    pub from: Address,
    /// The contract.
    pub to: Address,
    /// The call's data.
    pub data: Bytes,
    /// The gas it may use; the node's own limit without.
    pub gas: Option<u64>,
}

/// As of when transactions of an account are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceAt {
    /// Mined ones.
    Latest,
    /// Mined ones and those that wait at the node.
    Pending,
    /// Mined ones, up to the canonical block of that number.
    Block(u64),
}

/// What a node knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// Nothing, which proves nothing: another node, or the same one later, may know it.
    Unknown,
    /// It waits to be mined.
    Waiting,
    /// It is in the block of that hash.
    Mined(B256),
}

/// What gas costs at the moment, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The next block's base fee.
    pub base_fee: u128,
    /// A tip that recent blocks took.
    pub priority_fee: u128,
}

/// A chain, as one or more nodes tell of it. Nothing here waits for ever.
#[async_trait]
pub trait ChainNode: Send + Sync + std::fmt::Debug {
    /// The chain's id (EIP-155).
    ///
    /// # Errors
    /// If the node does not answer.
    async fn chain_id(&self) -> Result<u64, ChainError>;

    /// A block, its header checked against its hash; `None` if the node has no such block.
    ///
    /// # Errors
    /// If the node does not answer or contradicts itself.
    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError>;

    /// All receipts of a block, in the order of its transactions; `None` if the node has no such block.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError>;

    /// All transactions of a block, in order, each as the network encodes it (EIP-2718); `None` if the node has no such
    /// block.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError>;

    /// Receipts and transactions of a block, checked against its header. Whoever speaks with several nodes asks the next
    /// one where this one's are not the block's.
    ///
    /// # Errors
    /// If the node does not answer, lacks the block, or what it sends is not the block's.
    async fn content(&self, block: &Block) -> Result<BlockContent, ChainError> {
        let content = read_content(self, block).await?;
        require_listed(block, &content)?;
        Ok(content)
    }

    /// The last final block; `None` while there is none. Whoever speaks with several nodes says what enough of them
    /// agree on, and [`ChainError::Disagreement`] if they never can.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn last_final(&self, finality: Finality) -> Result<Option<FinalBlock>, ChainError> {
        last_final(self, finality).await
    }

    /// The block of that number on the chain whose final block is that one or a later one; `None` if it is not to be had.
    /// Whoever speaks with several nodes says what enough of them agree on, and does not remember what they said before.
    ///
    /// # Errors
    /// As [`last_final`](Self::last_final).
    async fn final_at(&self, _finality: Finality, number: u64) -> Result<Option<FinalBlock>, ChainError> {
        let block = self.block(BlockRef::Number(number)).await?;
        Ok(block.map(|block| FinalBlock { number, hash: block.hash }))
    }

    /// How many transactions `account` has sent: its next nonce.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError>;

    /// What the node knows of a transaction.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError>;

    /// What an account has of the chain's own currency after the latest block, in wei.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn balance(&self, account: Address) -> Result<U256, ChainError>;

    /// What gas costs. Whoever speaks with several nodes says what enough of them ask for.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn fees(&self) -> Result<Fees, ChainError>;

    /// An account's code.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn code(&self, account: Address) -> Result<Bytes, ChainError>;

    /// The code that an account had after the block `number`; `None` if the node does not keep states that old, which
    /// a node may never do.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn code_at(&self, account: Address, number: u64) -> Result<Option<Bytes>, ChainError>;

    /// What a call returns on the latest block.
    ///
    /// # Errors
    /// If it reverts or the node does not answer.
    async fn call(&self, call: Call) -> Result<Bytes, CallError>;

    /// What a call returns on the latest block, for what cannot be taken back. Whoever speaks with several nodes says what enough of them
    /// agree on.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`ChainError::Undecided`].
    async fn agreed_call(&self, call: Call) -> Result<Bytes, CallError> {
        self.call(call).await
    }

    /// An account's code, in the same way.
    ///
    /// # Errors
    /// As [`code`](Self::code), and [`ChainError::Undecided`].
    async fn agreed_code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.code(account).await
    }

    /// The latest block's time, in seconds since 1970. Whoever speaks with several nodes says what enough of them have reached.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn chain_time(&self) -> Result<u64, ChainError> {
        let latest = self.block(BlockRef::Latest).await?;
        let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
        Ok(latest.header.timestamp)
    }

    /// Whether the node has a block. Whoever speaks with several nodes says whether enough of those have it that answer.
    ///
    /// # Errors
    /// If the node does not answer.
    async fn has_block(&self, hash: B256) -> Result<bool, ChainError> {
        Ok(self.block(BlockRef::Hash(hash)).await?.is_some())
    }

    /// What a call returns on the block of that number.
    ///
    /// # Errors
    /// If it reverts, the node does not answer, or does not keep the state of that block.
    async fn call_at(&self, call: Call, block: u64) -> Result<Bytes, CallError>;

    /// Says that what the node answers, question after question, does not fit together. Whoever speaks with several nodes asks
    /// another one first for a while.
    fn doubt(&self, _why: &str) {}

    /// Why nothing becomes final by the word of a quorum, as it was when the nodes were asked last what is final: too few answered, or some
    /// stay behind what others call final. `None` where that is well.
    fn held_up(&self) -> Option<String> {
        None
    }

    /// Gives a signed transaction to the node. Giving the same bytes again is always safe.
    ///
    /// # Errors
    /// If the node does not plainly accept it.
    async fn send(&self, raw: Bytes) -> Result<B256, SendError>;
}
