//! `laurel pause` and `laurel unpause`

use std::sync::Arc;

use alloy::sol_types::SolCall;
use laurel_chain::RewardVault;
use laurel_events::{Clock, NewEvent, SystemClock};
use laurel_grant_saga::{Guardian, unpause_vault};
use laurel_ledger::{Context, Stop, Written, append, commit, resume_payouts, stop_payouts};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    cli::Paused,
    config::{self, Config},
    connect::{self, ChainParts, ConnectedChain},
    environment::Environment,
    output::JsonTo,
};

/// Who stops, as the alert names it.
const BY: &str = "operator";

/// Stops payouts: nothing more is signed from now on. With the guardian's key the vaults are paused, too.
pub(crate) async fn pause(
    config: &Config,
    environment: &Environment,
    paused: &Paused,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let pool = connected(config).await?;
    let stop = paused.stop();
    let mut tx = pool.begin().await?;
    let now = SystemClock.now();
    let reason = paused.reason.as_deref().unwrap_or("no reason given");
    let (written, events) = stop_payouts(&mut tx, now, stop, reason, BY).await?;
    let events: Vec<NewEvent> = events.into_iter().map(NewEvent::from).collect();
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "paused").await?;
    let vaults = at_vaults(config, stop, async |chain| {
        let state = pause_vault(&pool, chain, environment).await;
        state.unwrap_or_else(|error| format!("not paused: {error:#}"))
    })
    .await;
    let was = if written == Written::Exists { "was stopped before" } else { "is stopped" };
    answer(json, &stop, was, &vaults)
}

/// Has payouts go on. With the owner's key the vaults pay again.
pub(crate) async fn unpause(
    config: &Config,
    environment: &Environment,
    paused: &Paused,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let pool = connected(config).await?;
    let stop = paused.stop();
    let mut tx = pool.begin().await?;
    // First of all: while it is stopped, the guardian pauses the vault again.
    let events = resume_payouts(&mut tx, stop).await?;
    let was = if events.is_some() { "goes on" } else { "was not stopped" };
    let events: Vec<NewEvent> = events.into_iter().flatten().map(NewEvent::from).collect();
    append(&mut tx, &Context::at(SystemClock.now()), &events).await?;
    commit(tx, "unpaused").await?;
    let vaults = at_vaults(config, stop, async |chain| {
        let state = unpaused(&pool, chain, environment).await;
        state.unwrap_or_else(|error| format!("perhaps still paused: {error:#}"))
    })
    .await;
    answer(json, &stop, was, &vaults)
}

async fn connected(config: &Config) -> anyhow::Result<PgPool> {
    let pool = connect::database(&config.database.url, 2).await?;
    connect::require_current_schema(&pool).await?;
    Ok(pool)
}

/// Acts at each vault that is concerned, and lists what became of it. A campaign alone is stopped here only.
async fn at_vaults(config: &Config, stop: Stop, act: impl AsyncFn(&config::Chain) -> String) -> Vec<Value> {
    let concerned = config.chains.iter().filter(|chain| match stop {
        Stop::All => true,
        Stop::Chain(id) => chain.id == id,
        Stop::Campaign(_) => false,
    });
    let mut vaults = Vec::new();
    for chain in concerned {
        let state = act(chain).await;
        vaults.push(json!({ "chain_id": chain.id, "vault": chain.vault.to_checksum(None), "state": state }));
    }
    vaults
}

fn answer(json: Option<&JsonTo>, stop: &Stop, was: &str, vaults: &[Value]) -> anyhow::Result<()> {
    let about = stop.about();
    super::answer(json, &json!({ "about": about, "payouts": was, "vaults": vaults }), || {
        let vaults = vaults.iter().map(|vault| {
            let text = |name: &str| vault[name].as_str().unwrap_or_default().to_owned();
            format!("\nvault {} on chain {}: {}", text("vault"), vault["chain_id"], text("state"))
        });
        format!("{about} {was}.{}", vaults.collect::<String>())
    })
}

async fn pause_vault(
    pool: &PgPool,
    chain: &config::Chain,
    environment: &Environment,
) -> anyhow::Result<String> {
    let Some(source) = &chain.guardian_key else {
        return Ok(
            "left to whoever runs the role chain-watcher with guardian_key: there is none here".to_owned()
        );
    };
    let key = Arc::new(connect::key(source, environment)?);
    let connected = connect::chain(pool, chain, &ChainParts::unwatched()?).await?;
    let ConnectedChain { vault, node, .. } = connected;
    let did = Guardian::new(vault, key, node, pool.clone()).step().await?;
    Ok(if did { "paused" } else { "is paused already" }.to_owned())
}

async fn unpaused(pool: &PgPool, chain: &config::Chain, environment: &Environment) -> anyhow::Result<String> {
    let Some(source) = &chain.treasury_key else {
        let data = RewardVault::unpauseCall {}.abi_encode();
        return Ok(format!(
            "its owner has to call unpause() on it, which is data 0x{} to {}",
            alloy::hex::encode(data),
            chain.vault
        ));
    };
    let key = Arc::new(connect::key(source, environment)?);
    let connected = connect::chain(pool, chain, &ChainParts::unwatched()?).await?;
    let did = unpause_vault(&connected.vault, key, connected.node).await?;
    Ok(if did { "pays again" } else { "was not paused" }.to_owned())
}
