//! When a block is final.

use laurel_chain::{BlockRef, ChainError, ChainNode};
use serde::Deserialize;

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

impl Finality {
    /// The number of the last final block, given the head's; `None` while there is none.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn number(self, node: &dyn ChainNode, head: u64) -> Result<Option<u64>, ChainError> {
        match self {
            Self::Finalized => Ok(node.block(BlockRef::Finalized).await?.map(|block| block.header.number)),
            Self::Depth { depth } => Ok(head.checked_sub(depth)),
        }
    }
}
