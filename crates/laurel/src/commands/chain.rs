//! `laurel chain`

use laurel_devnet::chain_control::ChainControl;
use serde_json::json;

use crate::{
    cli::{Chain, ChainAction},
    output::JsonTo,
};

/// Steers a development chain.
pub(crate) async fn run(chain: Chain, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let control = ChainControl::new(chain.rpc_url)?;
    let (done, people) = match chain.action {
        ChainAction::Mine { blocks } => {
            control.mine(blocks).await?;
            (json!({ "mined": blocks }), format!("{blocks} blocks are mined"))
        }
        ChainAction::Reorg { depth } => {
            control.reorg(depth).await?;
            (json!({ "replaced": depth }), format!("the newest {depth} blocks are replaced"))
        }
        ChainAction::Warp { seconds } => {
            control.warp(seconds).await?;
            (json!({ "warped_seconds": seconds }), format!("the chain is {seconds} s ahead"))
        }
    };
    super::answer(json, &done, || people)
}
