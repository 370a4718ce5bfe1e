//! `laurel chain`, of a development chain

use laurel_devnet::chain_control::ChainControl;
use serde_json::json;

use crate::{cli::ChainAction, output::JsonTo};

/// Where Anvil listens unless it is told something else.
const ANVIL: &str = "http://127.0.0.1:8545";

/// Steers a development chain.
pub(crate) async fn run(
    rpc_url: Option<String>,
    action: ChainAction,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let control = ChainControl::new(rpc_url.unwrap_or_else(|| ANVIL.to_owned()))?;
    let (done, people) = match action {
        ChainAction::Rebase { .. } => anyhow::bail!("a development chain is not rebased: the database is"),
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
