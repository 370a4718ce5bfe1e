//! Several endpoints answer like one node.

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::Endpoints;
use crate::{
    Block, BlockContent, BlockRef, Call, CallError, ChainError, ChainNode, Fees, FinalBlock, Finality,
    NonceAt, SendError, TxReceipt, TxStatus,
    receipts::{read_content, require_listed},
};

/// A call, in which a revert is an answer: another endpoint would only say the same.
fn called(
    node: &dyn ChainNode,
    call: Call,
    block: Option<u64>,
) -> BoxFuture<'_, Result<Result<Bytes, Bytes>, ChainError>> {
    Box::pin(async move {
        let answer = match block {
            Some(number) => node.call_at(call, number).await,
            None => node.call(call).await,
        };
        match answer {
            Ok(returned) => Ok(Ok(returned)),
            Err(CallError::Reverted(data)) => Ok(Err(data)),
            Err(CallError::Chain(error)) => Err(error),
        }
    })
}

#[async_trait]
impl ChainNode for Endpoints {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask(|node| node.chain_id()).await
    }

    /// What is asked for by its hash is the same everywhere, so whoever has it may answer. That there is no block of a
    /// number is an answer.
    async fn block(&self, which: BlockRef) -> Result<Option<Block>, ChainError> {
        let by_hash = matches!(which, BlockRef::Hash(_));
        self.ask_until(move |node| node.block(which), |block| block.is_some() || !by_hash).await
    }

    async fn receipts(&self, block: B256) -> Result<Option<Vec<TxReceipt>>, ChainError> {
        self.ask_until(move |node| node.receipts(block), Option::is_some).await
    }

    async fn transactions(&self, block: B256) -> Result<Option<Vec<Bytes>>, ChainError> {
        self.ask_until(move |node| node.transactions(block), Option::is_some).await
    }

    /// From the first endpoint whose word the header proves.
    async fn content(&self, block: &Block) -> Result<BlockContent, ChainError> {
        let header = block.clone();
        let content = self.ask(move |node| read(node, header.clone())).await?;
        require_listed(block, &content)?;
        Ok(content)
    }

    async fn last_final(&self, finality: Finality) -> Result<Option<FinalBlock>, ChainError> {
        self.agreed_final(finality).await
    }

    async fn final_at(&self, finality: Finality, number: u64) -> Result<Option<FinalBlock>, ChainError> {
        self.agreed_at(finality, number).await
    }

    /// What a quorum has reached: too much halts a lane, too little hides that somebody else has used it, and neither
    /// should be one endpoint's to say. With what is pending it is the highest: whoever says less knows less.
    async fn nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        self.agreed_nonce(account, at).await
    }

    /// That one endpoint does not know it says nothing: the next one is asked.
    async fn transaction(&self, hash: B256) -> Result<TxStatus, ChainError> {
        self.ask_until(move |node| node.transaction(hash), |status| *status != TxStatus::Unknown).await
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.ask(move |node| node.balance(account)).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.agreed_fees().await
    }

    async fn chain_time(&self) -> Result<u64, ChainError> {
        self.reached(|node| node.chain_time()).await
    }

    async fn has_block(&self, hash: B256) -> Result<bool, ChainError> {
        self.reached(move |node| node.has_block(hash)).await
    }

    async fn agreed_code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.agreed("eth_getCode", move |node| node.code(account)).await
    }

    async fn agreed_call(&self, call: Call) -> Result<Bytes, CallError> {
        let answer = self.agreed("eth_call", move |node| called(node, call.clone(), None)).await?;
        answer.map_err(CallError::Reverted)
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.ask(move |node| node.code(account)).await
    }

    /// From the first endpoint that keeps states that old.
    async fn code_at(&self, account: Address, number: u64) -> Result<Option<Bytes>, ChainError> {
        self.ask_until(move |node| node.code_at(account, number), Option::is_some).await
    }

    async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        self.ask(move |node| called(node, call.clone(), None)).await?.map_err(CallError::Reverted)
    }

    async fn call_at(&self, call: Call, block: u64) -> Result<Bytes, CallError> {
        self.ask(move |node| called(node, call.clone(), Some(block))).await?.map_err(CallError::Reverted)
    }

    fn doubt(&self, why: &str) {
        self.leave_first_alone(why);
    }

    fn held_up(&self) -> Option<String> {
        self.why_held_up()
    }

    async fn send(&self, raw: Bytes) -> Result<B256, SendError> {
        self.send_to_some(raw).await
    }
}

fn read(node: &dyn ChainNode, block: Block) -> BoxFuture<'_, Result<BlockContent, ChainError>> {
    Box::pin(async move { read_content(node, &block).await })
}
