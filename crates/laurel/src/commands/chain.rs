//! `laurel chain`

use laurel_devnet::chain_control::ChainControl;

use crate::cli::{Chain, ChainAction};

/// Steers a development chain.
pub(crate) async fn run(chain: Chain) -> anyhow::Result<()> {
    let control = ChainControl::new(chain.rpc_url)?;
    match chain.action {
        ChainAction::Mine { blocks } => control.mine(blocks).await?,
        ChainAction::Reorg { depth } => control.reorg(depth).await?,
        ChainAction::Warp { seconds } => control.warp(seconds).await?,
    }
    Ok(())
}
