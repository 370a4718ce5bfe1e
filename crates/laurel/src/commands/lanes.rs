//! `laurel lanes`

use anyhow::{Context, bail, ensure};
use laurel_chain::NonceAt;
use laurel_events::{Clock, SystemClock};
use laurel_grant_saga::{Lane, LaneState, list_lanes, register_lane, retire_lane, settle_lane};
use laurel_ledger::in_quarantine;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use crate::{
    cli::Lanes,
    config::Config,
    connect::{self, ChainParts, ConnectedChain},
    environment::Environment,
    output::JsonTo,
    roles::grant_saga::signers,
};

/// Lists lanes, adds one, has one get no more batches, or has one go on.
pub(crate) async fn run(
    config: &Config,
    environment: &Environment,
    lanes: Lanes,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 2).await?;
    connect::require_current_schema(&pool).await?;
    match lanes {
        Lanes::List => {
            let lanes = list_lanes(&mut *pool.acquire().await?).await?;
            let items: Vec<Value> = lanes.iter().map(object).collect();
            super::answer(json, &json!({ "items": items }), || match lanes.len() {
                0 => "There are no lanes.".to_owned(),
                _ => lanes.iter().map(line).collect::<Vec<_>>().join("\n"),
            })
        }
        Lanes::Add { source, chain } => {
            let chain =
                connected(config, &pool, |configured| chain.is_none_or(|id| configured == id)).await?;
            let lane = add(&pool, &chain, environment, &source).await?;
            super::answer(json, &object(&lane), || format!("Added.\n{}", line(&lane)))
        }
        Lanes::Retire { id } => {
            let lane = find(&mut *pool.acquire().await?, id).await?;
            if lane.state == LaneState::Halted {
                // Nobody drives what stands: what somebody else has displaced would wait for ever.
                let chain = connected_of(config, &pool, &lane).await?;
                settle_lane(&pool, &*chain.node, SystemClock.now(), &chain.vault, &lane, LaneState::Retired)
                    .await?;
            } else {
                retire_lane(&mut *pool.acquire().await?, lane.id).await?;
            }
            let lane = find(&mut *pool.acquire().await?, id).await?;
            super::answer(json, &object(&lane), || {
                format!("Retired; {} batches of it are seen to.\n{}", lane.open_batches, line(&lane))
            })
        }
        Lanes::Resume { id } => {
            let lane = find(&mut *pool.acquire().await?, id).await?;
            ensure!(
                !in_quarantine(&mut *pool.acquire().await?).await?,
                "the database is in quarantine: `laurel recover` ends it, and has its lanes go on"
            );
            let chain = connected_of(config, &pool, &lane).await?;
            let given_up =
                settle_lane(&pool, &*chain.node, SystemClock.now(), &chain.vault, &lane, LaneState::Active)
                    .await?;
            let lane = find(&mut *pool.acquire().await?, id).await?;
            let mut shown = object(&lane);
            shown["displaced_batches"] = given_up.into();
            super::answer(json, &shown, || match given_up {
                0 => format!("Resumed.\n{}", line(&lane)),
                _ => {
                    format!("Resumed; the grants of {given_up} displaced batches go again.\n{}", line(&lane))
                }
            })
        }
    }
}

async fn find(conn: &mut PgConnection, id: i32) -> anyhow::Result<Lane> {
    let lanes = list_lanes(conn).await?;
    let lane = lanes.into_iter().find(|lane| lane.id.0 == id);
    lane.with_context(|| format!("there is no lane {id}: `laurel lanes list` shows those that there are"))
}

/// The one configured chain that fits.
async fn connected(
    config: &Config,
    pool: &PgPool,
    fits: impl Fn(u64) -> bool,
) -> anyhow::Result<ConnectedChain> {
    let fitting: Vec<_> = config.chains.iter().filter(|chain| fits(chain.id)).collect();
    match fitting[..] {
        [chain] => connect::chain(pool, chain, &ChainParts::unwatched()?).await,
        [] => bail!("no such chain is configured: see [[chains]]"),
        _ => bail!("several chains are configured: say which with --chain"),
    }
}

async fn connected_of(config: &Config, pool: &PgPool, lane: &Lane) -> anyhow::Result<ConnectedChain> {
    for chain in &config.chains {
        let vaults = laurel_ledger::list_vaults(&mut *pool.acquire().await?, chain.id).await?;
        if vaults.iter().any(|vault| vault.id == lane.vault) {
            return connect::chain(pool, chain, &ChainParts::unwatched()?).await;
        }
    }
    bail!("the chain of lane {} is not configured: see [[chains]]", lane.id)
}

/// Registers a lane whose key the vault takes. Whoever runs the role grant-saga and has the key from there drives it.
async fn add(
    pool: &PgPool,
    chain: &ConnectedChain,
    environment: &Environment,
    source: &str,
) -> anyhow::Result<Lane> {
    let signer = signers::lane(chain, source, environment, false).await?;
    let nonce = chain.node.nonce(signer.address(), NonceAt::Latest).await?;
    let mut conn = pool.acquire().await?;
    let known = list_lanes(&mut conn).await?;
    if let Some(known) = known.iter().find(|lane| lane.address == signer.address()) {
        bail!(
            "{} is lane {} already: `laurel lanes resume {}` if it is retired",
            known.address,
            known.id,
            known.id
        );
    }
    let id = register_lane(&mut conn, chain.vault.id, signer.address(), Some(source), nonce).await?;
    find(&mut conn, id.0).await
}

const fn name_of(state: LaneState) -> &'static str {
    match state {
        LaneState::Active => "active",
        LaneState::Parked => "parked",
        LaneState::Halted => "halted",
        LaneState::Retired => "retired",
    }
}

/// A lane as the API shows it.
fn object(lane: &Lane) -> Value {
    json!({
        "id": lane.id.0, "vault_id": lane.vault.0, "address": lane.address.to_checksum(None),
        "state": name_of(lane.state), "reason": lane.reason, "key_source": lane.key_source,
        "next_nonce": lane.next_nonce, "holder": lane.holder, "lease_until": lane.lease_until,
        "open_batches": lane.open_batches,
    })
}

fn line(lane: &Lane) -> String {
    let reason = lane.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "{} {} {}{reason} nonce {} open batches {} holder {}",
        lane.id,
        lane.address.to_checksum(None),
        name_of(lane.state),
        lane.next_nonce,
        lane.open_batches,
        lane.holder.as_deref().unwrap_or("-"),
    )
}
