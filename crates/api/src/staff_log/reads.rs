//! Reads of what is known of players. None is answered before it is kept; those that come while others are being kept are kept together.

use std::collections::BTreeMap;

use laurel_events::{GrantId, OrgId, Subject};
use laurel_ledger::{Context, Deed, LedgerError, StaffRecord, commit, players_of_grants, record_staff};
use laurel_players::find_players;
use sqlx::PgConnection;

use crate::{ApiState, Principal, Problem, together::Together};

/// Parameters of queries that name players: what they said is told by whom it was about.
const NAMING: [&str; 2] = ["player_id", "wallet"];

/// What is read and not kept yet.
pub(crate) type ReadLog = Together<Read, ()>;

/// Somebody reads something.
#[derive(Debug)]
pub(crate) struct Read {
    record: StaffRecord,
    of: Of,
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
    let log = state.reads();
    let state = state.clone();
    log.ask(Read { record, of }, move |reads| {
        let state = state.clone();
        async move { keep(&state, reads).await.map_err(Problem::from) }
    })
    .await
}

async fn keep(state: &ApiState, reads: Vec<Read>) -> Result<Vec<()>, LedgerError> {
    let kept = vec![(); reads.len()];
    let mut tx = state.pool.begin().await?;
    let records = name_players(&mut tx, reads).await?;
    let context = Context::at(state.now());
    record_staff(&mut tx, &context, &mut state.rng().await, records).await?;
    commit(tx, "reads_kept").await?;
    Ok(kept)
}

/// The records, each about the player that was read of, where it was one.
async fn name_players(conn: &mut PgConnection, reads: Vec<Read>) -> Result<Vec<StaffRecord>, LedgerError> {
    let mut named: BTreeMap<OrgId, Vec<String>> = BTreeMap::new();
    let mut granted = Vec::new();
    for Read { record, of } in &reads {
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
    let told = reads.into_iter().map(|Read { record, of }| match about(&record, &of) {
        Some(player) => StaffRecord { about: Subject::new("player", player), ..record },
        None => record,
    });
    Ok(told.collect())
}
