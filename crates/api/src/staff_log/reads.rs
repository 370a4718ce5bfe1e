//! Reads of what is known of players. None is answered before it is kept; those that come while others are being kept are kept together.

use std::{collections::BTreeMap, sync::Arc};

use laurel_events::{GrantId, OrgId, Subject};
use laurel_ledger::{Context, Deed, LedgerError, StaffRecord, commit, players_of_grants, record_staff};
use laurel_players::find_players;
use sqlx::PgConnection;
use tokio::sync::{
    Mutex,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::{ApiState, Principal, Problem};

/// How many are kept by one transaction at the most.
const TOGETHER_MAX: usize = 500;

/// Parameters of queries that name players: what they said is told by whom it was about.
const NAMING: [&str; 2] = ["player_id", "wallet"];

/// What is read and not kept yet.
#[derive(Clone, Debug)]
pub(crate) struct ReadLog {
    waiting: UnboundedSender<Waiting>,
    /// Whoever has it keeps what is waiting, for everybody.
    turn: Arc<Mutex<UnboundedReceiver<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    record: StaffRecord,
    of: Of,
    kept: oneshot::Sender<Result<(), Problem>>,
}

/// Of whom something is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    /// The player whom the organisation calls so.
    Player(String),
    /// The player of a grant.
    Grant(GrantId),
    /// Nobody in particular.
    Many,
}

impl Default for ReadLog {
    fn default() -> Self {
        let (waiting, receiver) = unbounded_channel();
        Self { waiting, turn: Arc::new(Mutex::new(receiver)) }
    }
}

/// Keeps that somebody read something: the path's parameters and the query say of whom.
pub(crate) async fn keep_read(
    state: &ApiState,
    principal: &Principal,
    path: &BTreeMap<String, String>,
    query: &str,
) -> Result<(), Problem> {
    let mut asked: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().chain(path.clone()).collect();
    let of = match (asked.get("player_id"), asked.get("grant_id").and_then(|grant| grant.parse().ok())) {
        (Some(player), _) => Of::Player(player.clone()),
        (None, Some(grant)) => Of::Grant(grant),
        (None, None) => Of::Many,
    };
    let about = match asked.get("campaign_id") {
        Some(campaign) => Subject::new("campaign", campaign),
        None => Subject::new("org", principal.org),
    };
    for name in NAMING {
        asked.entry(name.to_owned()).and_modify(|value| value.clear());
    }
    let record = principal.record(about, Deed::Read { asked: super::shown(&asked)? });
    let (kept, mut told) = oneshot::channel();
    let log = state.reads();
    let gone = || Problem::internal("nobody keeps what is read");
    log.waiting.send(Waiting { record, of, kept }).map_err(|_| gone())?;
    let mut turn = tokio::select! {
        biased;
        told = &mut told => return told.map_err(|_| gone())?,
        turn = log.turn.clone().lock_owned() => turn,
    };
    let state = state.clone();
    // Not by the request: one that goes away would take those of others with it.
    let keeping = tokio::spawn(async move {
        while let Ok(first) = turn.try_recv() {
            let mut together = vec![first];
            while together.len() < TOGETHER_MAX
                && let Ok(next) = turn.try_recv()
            {
                together.push(next);
            }
            let (records, tell): (Vec<_>, Vec<_>) =
                together.into_iter().map(|waiting| ((waiting.record, waiting.of), waiting.kept)).unzip();
            let kept = keep(&state, records).await.map_err(Problem::from);
            for one in tell {
                // Whoever has gone is told nothing.
                let _gone = one.send(kept.clone());
            }
        }
    });
    keeping.await.map_err(|error| Problem::internal(&error.to_string()))?;
    told.await.map_err(|_| gone())?
}

async fn keep(state: &ApiState, reads: Vec<(StaffRecord, Of)>) -> Result<(), LedgerError> {
    let mut tx = state.pool.begin().await?;
    let records = name_players(&mut tx, reads).await?;
    let context = Context::at(state.now());
    record_staff(&mut tx, &context, &mut state.rng().await, records).await?;
    Ok(commit(tx, "reads_kept").await?)
}

/// The records, each about the player that was read of, where it was one.
async fn name_players(
    conn: &mut PgConnection,
    reads: Vec<(StaffRecord, Of)>,
) -> Result<Vec<StaffRecord>, LedgerError> {
    let mut named: BTreeMap<OrgId, Vec<String>> = BTreeMap::new();
    let mut granted = Vec::new();
    for (record, of) in &reads {
        match (of, record.org) {
            (Of::Player(name), Some(org)) => named.entry(org).or_default().push(name.clone()),
            (Of::Grant(grant), _) => granted.push(*grant),
            _ => {}
        }
    }
    let owners = players_of_grants(conn, &granted).await?;
    let mut known = BTreeMap::new();
    for (org, names) in named {
        known.insert(org, find_players(conn, org, &names).await?);
    }
    let about = |record: &StaffRecord, of: &Of| match of {
        Of::Player(name) => known.get(&record.org?)?.get(name).copied(),
        Of::Grant(grant) => owners.get(grant).copied(),
        Of::Many => None,
    };
    let told = reads.into_iter().map(|(record, of)| match about(&record, &of) {
        Some(player) => StaffRecord { about: Subject::new("player", player), ..record },
        None => record,
    });
    Ok(told.collect())
}
