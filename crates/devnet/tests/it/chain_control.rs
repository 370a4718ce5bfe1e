//! A development chain can be steered.

use std::time::Duration;

use anyhow::Result;
use laurel_devnet::{Anvil, AnvilOptions, DevnetError, Mining, chain_control::ChainControl, testing};
use serde_json::{Value, json};

use crate::eventually;

async fn block(anvil: &Anvil, tag: &str) -> Result<Value> {
    let request =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": [tag, false] });
    let answer: Value =
        reqwest::Client::new().post(anvil.rpc_url()).json(&request).send().await?.json().await?;
    Ok(answer["result"].clone())
}

fn quantity(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("a quantity");
    u64::from_str_radix(digits, 16).expect("a quantity")
}

#[tokio::test]
async fn blocks_are_mined_on_demand_and_finalized_is_two_behind() -> Result<()> {
    let anvil = testing::anvil(Mining::OnDemand).await?;
    let chain = ChainControl::new(anvil.rpc_url())?;
    chain.mine(10).await?;
    assert_eq!(chain.block_number().await?, 10);
    assert_eq!(quantity(&block(&anvil, "finalized").await?["number"]), 8);
    Ok(())
}

#[tokio::test]
async fn a_reorganisation_replaces_blocks_at_the_same_height() -> Result<()> {
    let kept = AnvilOptions { states_kept: Some(16), ..AnvilOptions::new(Mining::OnDemand) };
    for options in [AnvilOptions::new(Mining::OnDemand), kept] {
        let anvil = Anvil::start(options).await?;
        let chain = ChainControl::new(anvil.rpc_url())?;
        chain.mine(10).await?;
        let (kept, dropped) = (block(&anvil, "0x8").await?, block(&anvil, "0x9").await?);
        chain.reorg(2).await?;
        assert_eq!(chain.block_number().await?, 10);
        assert_eq!(block(&anvil, "0x8").await?["hash"], kept["hash"]);
        assert_ne!(block(&anvil, "0x9").await?["hash"], dropped["hash"]);

        let too_deep = chain.reorg(11).await;
        assert!(matches!(too_deep, Err(DevnetError::RpcRefused { .. })), "{too_deep:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_clock_moves_forward() -> Result<()> {
    let anvil = testing::anvil(Mining::OnDemand).await?;
    let chain = ChainControl::new(anvil.rpc_url())?;
    let before = quantity(&block(&anvil, "latest").await?["timestamp"]);
    chain.warp(86_400).await?;
    assert!(quantity(&block(&anvil, "latest").await?["timestamp"]) >= before + 86_400);
    Ok(())
}

#[tokio::test]
async fn mining_is_paused_and_resumed() -> Result<()> {
    let anvil = testing::anvil(Mining::Every(Duration::from_millis(20))).await?;
    let chain = ChainControl::new(anvil.rpc_url())?;
    eventually("a first block", async || chain.block_number().await.is_ok_and(|number| number > 0)).await;
    chain.pause_mining().await?;
    let paused = block(&anvil, "latest").await?;
    // Another chain with the same interval tells when blocks would have come.
    let other = testing::anvil(Mining::Every(Duration::from_millis(20))).await?;
    let clock = ChainControl::new(other.rpc_url())?;
    eventually("blocks elsewhere", async || clock.block_number().await.is_ok_and(|number| number >= 10))
        .await;
    assert_eq!(block(&anvil, "latest").await?["hash"], paused["hash"]);

    chain.mine_every(Duration::from_secs(1)).await?;
    let number = quantity(&paused["number"]);
    eventually("a next block", async || chain.block_number().await.is_ok_and(|next| next > number)).await;
    let refused = chain.mine_every(Duration::from_millis(500)).await;
    assert!(matches!(refused, Err(DevnetError::Unsupported(_))), "{refused:?}");
    Ok(())
}
