//! One reconciliation: the ledger of one moment against every chain at the ledger's own final block.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_chain::ChainError;
use laurel_events::{CampaignId, Clock, time_ordered};
use rand::RngCore;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    AuditError, AuditedChain, Finding, Severity,
    checks::{Questions, ask, compare, verify_journal},
    error::with_causes,
    finding::{Code, Findings},
    follow::{catch_up, check_identity},
    report::{last_started, raise, save},
    snapshot::Snapshot,
    store::{BlockAt, checkpoint, forget, last_final},
};

/// How often a chain may move on between its reading and the snapshot: at four blocks a second, one time in twenty.
const SNAPSHOTS_MAX: u32 = 50;

/// What a long statement of a snapshot needs: time, memory for joins over all grants of a campaign, and plans that know how
/// much they are asked.
const SETTINGS: [&str; 3] = [
    "SET LOCAL statement_timeout = '10min'",
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL plan_cache_mode = force_custom_plan",
];

/// What is to be compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Everything is read again, from the vaults' first block and the journal's first chunk.
    pub whole: bool,
    /// Only this campaign.
    pub campaign: Option<CampaignId>,
}

/// The block at which a chain was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReconciledChain {
    /// The chain.
    pub chain_id: u64,
    /// The ledger's own final block.
    pub block: u64,
    /// Its hash.
    pub hash: alloy::primitives::B256,
}

/// A comparison and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Reconciliation {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was done.
    pub finished_at: DateTime<Utc>,
    /// Whether everything was read again.
    pub whole: bool,
    /// The only campaign that was looked at, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    /// At which blocks.
    pub chains: Vec<ReconciledChain>,
    /// How many campaigns were compared.
    pub campaigns: u32,
    /// How many places on the chain.
    pub places: u64,
    /// How many settled segments.
    pub settlements: u64,
    /// How many findings there are of each severity.
    pub counts: BTreeMap<Severity, u64>,
    /// The findings, the worst first; empty when everything fits.
    pub findings: Vec<Finding>,
}

/// Compares everything, keeps the result, and raises and clears alerts.
///
/// # Errors
/// If the database does not answer, or a node that answered before.
pub async fn reconcile(
    pool: &PgPool,
    chains: &[AuditedChain],
    clock: &dyn Clock,
    rng: &mut (dyn RngCore + Send),
    request: Request,
) -> Result<Reconciliation, AuditError> {
    let started_at = clock.now();
    let id = time_ordered(started_at, rng);
    let mut findings = Findings::default();
    let compared = match compare_all(pool, chains, request, &mut findings).await {
        Ok(compared) => compared,
        Err(error) => {
            // What was found so far is told. It ends no alert: nobody has looked at all.
            if let Err(untold) = raise(pool, clock.now(), &findings.into_told()).await {
                tracing::error!(error = %untold, "what was found could not be told");
            }
            return Err(error);
        }
    };
    let reconciliation = Reconciliation {
        id,
        started_at,
        finished_at: clock.now(),
        whole: request.whole,
        campaign: request.campaign,
        chains: compared.chains,
        campaigns: compared.campaigns,
        places: compared.places,
        settlements: compared.settlements,
        counts: findings.counts(),
        findings: findings.into_told(),
    };
    save(pool, &reconciliation).await?;
    Ok(reconciliation)
}

/// What a snapshot told.
struct Compared {
    chains: Vec<ReconciledChain>,
    campaigns: u32,
    places: u64,
    settlements: u64,
}

async fn compare_all(
    pool: &PgPool,
    chains: &[AuditedChain],
    request: Request,
    findings: &mut Findings,
) -> Result<Compared, AuditError> {
    let mut readable = Vec::new();
    for chain in chains {
        if request.whole {
            forget(pool, chain.chain_id).await?;
        }
        if check_identity(pool, chain, findings).await? {
            readable.push(chain.clone());
        }
    }
    let since = if request.whole { None } else { last_started(pool).await? };
    let (compared, questions) = at_one_moment(pool, &readable, request, since, findings).await?;
    ask(&readable, &questions, findings).await?;
    if request.campaign.is_none() {
        verify_journal(pool, request.whole, findings).await?;
    }
    Ok(compared)
}

async fn at_one_moment(
    pool: &PgPool,
    chains: &[AuditedChain],
    request: Request,
    since: Option<DateTime<Utc>>,
    findings: &mut Findings,
) -> Result<(Compared, Questions), AuditError> {
    for _ in 0..SNAPSHOTS_MAX {
        let mut finals = BTreeMap::new();
        for chain in chains {
            match catch_up(pool, chain, findings).await {
                Ok(target) => finals.extend(target.map(|target| (chain.chain_id, target))),
                // A node that does not answer is told; one that lies as well.
                Err(AuditError::Chain(error)) => tell_unread(chain, &error, findings),
                Err(error) => return Err(error),
            }
        }
        let mut tx = pool.begin().await?;
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *tx).await?;
        for setting in SETTINGS {
            sqlx::query(setting).execute(&mut *tx).await?;
        }
        if !is_read(&mut tx, &mut finals).await? {
            continue;
        }
        tell_unread_chains(&mut tx, &finals, findings).await?;
        let mut snapshot = Snapshot::read(&mut tx, findings, finals, request.campaign, since).await?;
        let questions = compare(&mut snapshot).await?;
        let chains = snapshot.finals.iter().map(|(chain_id, block)| ReconciledChain {
            chain_id: *chain_id,
            block: block.number,
            hash: block.hash,
        });
        let compared = Compared {
            chains: chains.collect(),
            campaigns: u32::try_from(snapshot.campaigns.len()).unwrap_or(u32::MAX),
            places: snapshot.known.places,
            settlements: snapshot.known.settlements,
        };
        tx.commit().await?;
        return Ok((compared, questions));
    }
    let chain_id = chains.first().map_or(0, |chain| chain.chain_id);
    Err(AuditError::Moving { chain_id })
}

/// Whether all chains were read up to the final blocks of the snapshot, which become those of `finals`.
async fn is_read(conn: &mut PgConnection, finals: &mut BTreeMap<u64, BlockAt>) -> Result<bool, AuditError> {
    for (chain_id, target) in finals {
        let read = checkpoint(conn, *chain_id).await?;
        let last = last_final(conn, *chain_id).await?;
        match (read, last) {
            (Some(read), Some(last)) if read.number >= last.number && last == *target => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn tell_unread(chain: &AuditedChain, error: &ChainError, findings: &mut Findings) {
    let detail = format!("the chain could not be read: {}", with_causes(error));
    findings.add(Code::ChainNotCompared, format!("chain:{}", chain.chain_id), None, detail);
}

/// Names the chains with money of ours that were not read and not named yet.
async fn tell_unread_chains(
    conn: &mut PgConnection,
    finals: &BTreeMap<u64, BlockAt>,
    findings: &mut Findings,
) -> Result<(), AuditError> {
    let read: Vec<i64> = finals.keys().map(|id| id.cast_signed()).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT v.chain_id FROM vaults v
        WHERE v.chain_id <> ALL ($1)
          AND (EXISTS (SELECT FROM campaigns c JOIN accounts a ON a.campaign = c.id WHERE c.vault = v.id AND a.funded > 0)
               OR EXISTS (SELECT FROM suspense s WHERE s.vault = v.id))
        "#,
        &read,
    )
    .fetch_all(conn)
    .await?;
    for chain_id in rows {
        let about = format!("chain:{chain_id}");
        let named = [Code::ChainDiffers, Code::FinalBlockDiffers, Code::ChainNotCompared];
        if named.iter().any(|code| findings.has(*code, &about)) {
            continue;
        }
        let detail = "campaigns of it have money; it is not configured, or the ledger has no final block of its vault's: \
                      let `laurel chain-watcher` follow it"
            .to_owned();
        findings.add(Code::ChainNotCompared, about, None, detail);
    }
    Ok(())
}
