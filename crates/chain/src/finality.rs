//! When a block is final.

use alloy::primitives::B256;
use serde::Deserialize;

use crate::{BlockRef, ChainError, ChainNode};

/// What makes a block final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// The node's `finalized` tag.
    Finalized,
    /// This many blocks on top, for chains without the tag.
    #[serde(untagged)]
    Depth {
        /// How many.
        depth: u64,
    },
}

/// A block that is final as a node tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalBlock {
    /// Its number.
    pub number: u64,
    /// Its hash, which its header has.
    pub hash: B256,
}

/// The last final block as one node has it: what is buried is buried under that node's own head.
pub(crate) async fn last_final<N: ChainNode + ?Sized>(
    node: &N,
    finality: Finality,
) -> Result<Option<FinalBlock>, ChainError> {
    let which = match finality {
        Finality::Finalized => BlockRef::Finalized,
        Finality::Depth { depth } => {
            let Some(head) = node.block(BlockRef::Latest).await? else { return Ok(None) };
            match head.header.number.checked_sub(depth) {
                Some(number) => BlockRef::Number(number),
                None => return Ok(None),
            }
        }
    };
    let block = node.block(which).await?;
    Ok(block.map(|block| FinalBlock { number: block.header.number, hash: block.hash }))
}
