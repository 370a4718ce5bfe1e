//! `laurel pause` and `laurel unpause`

use std::{sync::Arc, time::Duration};

use alloy::sol_types::SolCall;
use anyhow::{Context as _, ensure};
use laurel_campaign::find_campaign;
use laurel_chain::RewardVault;
use laurel_events::{Clock, NewEvent, SystemClock};
use laurel_grant_saga::{Guardian, pause_vault, unpause_vault};
use laurel_ledger::{
    Context, Stop, Written, append, commit, is_chain_stopped, list_vaults, lock_quarantine, resume_payouts,
    stop_payouts,
};
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

/// How long a vault may take to be paused before the operator is told that it is not: some blocks of most chains.
const PAUSED_WITHIN: Duration = Duration::from_secs(10);

/// How long the database may take to note a stop before the vaults are paused without it: whoever calls for this is in a hurry.
const NOTED_WITHIN: Duration = Duration::from_secs(15);

/// Stops payouts: nothing more is signed from now on. With the guardian's key the vaults are paused, too.
pub(crate) async fn pause(
    config: &Config,
    environment: &Environment,
    paused: &Paused,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let stop = paused.stop();
    let noted = tokio::time::timeout(NOTED_WITHIN, note_stop(config, paused)).await;
    let (pool, written) = match noted.unwrap_or_else(|_| Err(NotNoted::silent())) {
        Ok(noted) => noted,
        Err(NotNoted::Unknown(error)) => return Err(error),
        // Whatever is wrong with the database: the vaults can be paused without it.
        Err(NotNoted::Database(error)) => {
            return pause_vaults_alone(config, environment, stop, json, &error).await;
        }
    };
    let vaults = at_vaults(config, stop, async |chain| {
        let connected = by_anybody(chain, async |chain| pause_connected(&pool, chain, environment).await);
        match tokio::time::timeout(NOTED_WITHIN + PAUSED_WITHIN * 2, connected).await {
            Ok(Ok(paused)) => Ok(paused),
            // Whatever it was: the vault can be paused without the database.
            failed => {
                let why = failed.map_or_else(
                    |_| "nobody answered".to_owned(),
                    |done| done.err().map_or_else(String::new, |error| format!("{error:#}")),
                );
                tracing::warn!(why, "the vault is paused without the database's word");
                pause_alone(chain, environment).await.context("not paused")
            }
        }
    })
    .await;
    let was = if written == Written::Exists { "was stopped before" } else { "is stopped" };
    answer(json, &stop, was, &vaults)
}

/// Why a stop is not in the database.
enum NotNoted {
    /// There is nothing of that name.
    Unknown(anyhow::Error),
    /// The database is not there, is not the one, or takes nothing.
    Database(anyhow::Error),
}

impl NotNoted {
    fn silent() -> Self {
        Self::Database(anyhow::anyhow!("the database did not answer within {NOTED_WITHIN:?}"))
    }
}

impl<E: Into<anyhow::Error>> From<E> for NotNoted {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Stops payouts in the database.
async fn note_stop(config: &Config, paused: &Paused) -> Result<(PgPool, Written), NotNoted> {
    let stop = paused.stop();
    let pool = connected(config).await?;
    if !is_known(&pool, stop).await? {
        return Err(NotNoted::Unknown(anyhow::anyhow!("there is no {}", stop.about())));
    }
    let mut tx = pool.begin().await?;
    let now = SystemClock.now();
    let reason = paused.reason.as_deref().unwrap_or("no reason given");
    let (written, events) = stop_payouts(&mut tx, now, stop, reason, BY).await?;
    let events: Vec<NewEvent> = events.into_iter().map(NewEvent::from).collect();
    append(&mut tx, &Context::at(now), &events).await?;
    commit(tx, "paused").await?;
    Ok((pool, written))
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
    ensure!(
        matches!(stop, Stop::Campaign(_)) || lock_quarantine(&mut tx).await?.is_none(),
        "the database is in quarantine: `laurel recover` ends it"
    );
    // First of all: while it is stopped, the guardian pauses the vault again.
    let events = resume_payouts(&mut tx, stop).await?;
    let was = if events.is_some() { "goes on" } else { "was not stopped" };
    let events: Vec<NewEvent> = events.into_iter().flatten().map(NewEvent::from).collect();
    append(&mut tx, &Context::at(SystemClock.now()), &events).await?;
    commit(tx, "unpaused").await?;
    let vaults = at_vaults(config, stop, async |chain| {
        unpaused(&pool, chain, environment).await.context("perhaps still paused")
    })
    .await;
    answer(json, &stop, was, &vaults)
}

async fn connected(config: &Config) -> anyhow::Result<PgPool> {
    let pool = connect::database(&config.database.url, 2).await?;
    connect::require_current_schema(&pool).await?;
    Ok(pool)
}

/// What became of the vaults that are concerned.
struct Vaults {
    items: Vec<Value>,
    /// Whether each is as it was asked to be.
    all: bool,
}

/// Acts at each vault that is concerned. A campaign alone is stopped here only.
async fn at_vaults(
    config: &Config,
    stop: Stop,
    act: impl AsyncFn(&config::Chain) -> anyhow::Result<String>,
) -> Vaults {
    let concerned = config.chains.iter().filter(|chain| match stop {
        Stop::All => true,
        Stop::Chain(id) => chain.id == id,
        Stop::Campaign(_) => false,
    });
    let mut vaults = Vaults { items: Vec::new(), all: true };
    for chain in concerned {
        let state = act(chain).await;
        vaults.all &= state.is_ok();
        let state = state.unwrap_or_else(|error| format!("{error:#}"));
        let vault = chain.vault.to_checksum(None);
        vaults.items.push(json!({ "chain_id": chain.id, "vault": vault, "state": state }));
    }
    vaults
}

/// Whether there is what is to be stopped: otherwise it would look as if something had been.
async fn is_known(pool: &PgPool, stop: Stop) -> anyhow::Result<bool> {
    Ok(match stop {
        Stop::All => true,
        Stop::Chain(id) => !list_vaults(&mut *pool.acquire().await?, id).await?.is_empty(),
        Stop::Campaign(id) => find_campaign(&mut *pool.acquire().await?, id).await?.is_some(),
    })
}

fn answer(json: Option<&JsonTo>, stop: &Stop, was: &str, vaults: &Vaults) -> anyhow::Result<()> {
    let about = stop.about();
    super::answer(json, &json!({ "about": about, "payouts": was, "vaults": vaults.items }), || {
        let vaults = vaults.items.iter().map(|vault| {
            let text = |name: &str| vault[name].as_str().unwrap_or_default().to_owned();
            format!("\nvault {} on chain {}: {}", text("vault"), vault["chain_id"], text("state"))
        });
        format!("{about} {was}.{}", vaults.collect::<String>())
    })?;
    ensure!(vaults.all, "not every vault is as it should be");
    Ok(())
}

/// What is said of a vault whose guardian's key is not in the configuration.
const NO_KEY: &str = "left to whoever runs the role chain-watcher with guardian_key: there is none here";

/// Without the database nothing of ours can be stopped, and the vaults can be paused all the same: that is what stops a thief.
async fn pause_vaults_alone(
    config: &Config,
    environment: &Environment,
    stop: Stop,
    json: Option<&JsonTo>,
    error: &anyhow::Error,
) -> anyhow::Result<()> {
    let mut vaults = at_vaults(config, stop, async |chain| pause_alone(chain, environment).await).await;
    // An error by itself: whoever signs goes on, and the vault refuses it.
    vaults.all = false;
    answer(json, &stop, &format!("is not stopped: {error:#}"), &vaults)
}

/// Pauses a vault without asking the database for anything.
async fn pause_alone(chain: &config::Chain, environment: &Environment) -> anyhow::Result<String> {
    let source = chain.guardian_key.as_ref().context(NO_KEY)?;
    let key = Arc::new(connect::key(source, environment)?);
    by_anybody(chain, async |chain| {
        let node = connect::unpinned_chain(chain, &ChainParts::unwatched()?).await?;
        let did = pause_vault((chain.id, chain.vault), key.clone(), node, PAUSED_WITHIN).await?;
        Ok(if did { "paused" } else { "is paused already" }.to_owned())
    })
    .await
}

/// Pauses with the word of a quorum of the endpoints, or else with that of any of them: a vault that was paused for nothing can be
/// unpaused.
async fn by_anybody(
    chain: &config::Chain,
    pause: impl AsyncFn(&config::Chain) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let first = match pause(chain).await {
        Err(error) if chain.final_quorum() > 1 => error,
        done => return done,
    };
    tracing::warn!(error = %format!("{first:#}"), "there is no quorum: one endpoint has to do");
    pause(&config::Chain { final_quorum: Some(1), ..chain.clone() }).await
}

async fn pause_connected(
    pool: &PgPool,
    chain: &config::Chain,
    environment: &Environment,
) -> anyhow::Result<String> {
    let Some(source) = &chain.guardian_key else { return Ok(NO_KEY.to_owned()) };
    let key = Arc::new(connect::key(source, environment)?);
    let connected = connect::chain(pool, chain, &ChainParts::unwatched()?).await?;
    let ConnectedChain { vault, node, .. } = connected;
    let did = Guardian::new(vault, key, node, pool.clone()).pause_within(PAUSED_WITHIN).await?;
    Ok(if did { "paused" } else { "is paused already" }.to_owned())
}

async fn unpaused(pool: &PgPool, chain: &config::Chain, environment: &Environment) -> anyhow::Result<String> {
    if is_chain_stopped(&mut *pool.acquire().await?, chain.id).await? {
        return Ok(
            "left as it is: payouts are stopped for another reason, see `laurel alerts list`".to_owned()
        );
    }
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
