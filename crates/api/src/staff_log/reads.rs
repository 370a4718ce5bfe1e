//! Reads of what is known of players. None is answered before it is kept; those that come while others are being kept are kept together.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use alloy_primitives::Address;
use laurel_bus::find_letter;
use laurel_events::{EventId, GrantId, OrgId, PlayerId, Subject};
use laurel_ledger::{
    Context, Deed, LedgerError, StaffRecord, commit, orgs_of_subjects, players_of_grants, read_chunks,
    record_staff,
};
use laurel_players::find_players;
use laurel_views::own_players_of_wallets;
use sqlx::PgConnection;

use crate::{ApiState, Principal, Problem, together::Together};

/// Parameters of queries that name players: what they said is told by whom it was about.
const NAMING: [&str; 2] = ["player_id", "wallet"];

/// What is read and not kept yet.
pub(crate) type ReadLog = Together<Read, Result<(), Problem>>;

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
    /// Those who ever linked a wallet.
    Wallet(Address),
    /// Whom an event is about.
    Event(EventId),
    /// Whom the event of a dead letter is about, whatever organisation's they are.
    Letter(i64),
    /// Nobody in particular.
    Many,
}

impl Of {
    /// Whom the parameters of a path and of a query name. The route has answered, so they are what they are to be.
    fn named_in(asked: &BTreeMap<String, String>) -> Self {
        fn parsed<T: FromStr>(asked: &BTreeMap<String, String>, name: &str) -> Option<T> {
            asked.get(name)?.parse().ok()
        }
        let place = ["partition", "offset", "index"].map(|name| asked.get(name).map_or("", String::as_str));
        asked
            .get("player_id")
            .cloned()
            .map(Self::Player)
            .or_else(|| parsed(asked, "grant_id").map(Self::Grant))
            .or_else(|| parsed(asked, "wallet").map(Self::Wallet))
            .or_else(|| parsed(asked, "letter_id").map(Self::Letter))
            .or_else(|| place.join("/").parse().ok().map(Self::Event))
            .unwrap_or(Self::Many)
    }
}

/// Keeps that somebody read something: the path's parameters and the query's say of whom.
pub(crate) async fn keep_read(
    state: &ApiState,
    principal: &Principal,
    mut asked: BTreeMap<String, String>,
) -> Result<(), Problem> {
    let of = Of::named_in(&asked);
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
    let kept = log.ask(Read { record, of }, move |reads| {
        let state = state.clone();
        async move { Ok(keep_together(&state, &reads).await) }
    });
    kept.await?
}

/// What became of each.
async fn keep_together(state: &ApiState, reads: &[Read]) -> Vec<Result<(), Problem>> {
    match keep(state, reads).await {
        Ok(()) => vec![Ok(()); reads.len()],
        // One that cannot be kept does not take the others with it.
        Err(error) if reads.len() > 1 && !error.is_infrastructure() => {
            let mut kept = Vec::with_capacity(reads.len());
            for read in reads {
                kept.push(keep(state, std::slice::from_ref(read)).await.map_err(Problem::from));
            }
            kept
        }
        Err(error) => vec![Err(Problem::from(error)); reads.len()],
    }
}

async fn keep(state: &ApiState, reads: &[Read]) -> Result<(), LedgerError> {
    let mut tx = state.pool.begin().await?;
    let named = Named::find(&mut tx, reads).await?;
    let records = reads.iter().flat_map(|read| named.records(read)).collect();
    let context = Context::at(state.now());
    record_staff(&mut tx, &context, &mut state.rng().await, records).await?;
    Ok(commit(tx, "reads_kept").await?)
}

/// Who is who, of those that some reads name.
struct Named {
    players: BTreeMap<OrgId, HashMap<String, PlayerId>>,
    grants: HashMap<(OrgId, GrantId), PlayerId>,
    wallets: BTreeMap<(OrgId, Address), Vec<PlayerId>>,
    events: HashMap<EventId, Subject>,
    letters: HashMap<i64, EventId>,
    orgs: HashMap<Subject, OrgId>,
}

impl Named {
    async fn find(conn: &mut PgConnection, reads: &[Read]) -> Result<Self, LedgerError> {
        let mut names: BTreeMap<OrgId, Vec<String>> = BTreeMap::new();
        let (mut grants, mut wallets, mut events, mut letters) = (vec![], vec![], vec![], HashMap::new());
        for Read { record, of } in reads {
            match (of, record.org) {
                (Of::Player(name), Some(org)) => names.entry(org).or_default().push(name.clone()),
                (Of::Grant(grant), Some(org)) => grants.push((org, *grant)),
                (Of::Wallet(wallet), Some(org)) => wallets.push((org, *wallet)),
                (Of::Event(event), _) => events.push(*event),
                (Of::Letter(letter), _) => {
                    let event = find_letter(conn, *letter).await?.map(|letter| letter.event);
                    events.extend(event);
                    letters.extend(event.map(|event| (*letter, event)));
                }
                _ => {}
            }
        }
        let mut players = BTreeMap::new();
        for (org, names) in names {
            players.insert(org, find_players(conn, org, &names).await?);
        }
        let chunks: Vec<_> = events.iter().map(|event| (event.partition, event.offset)).collect();
        let told = read_chunks(conn, &chunks).await?;
        let events: HashMap<EventId, Subject> =
            told.iter().map(|envelope| (envelope.id, envelope.subject())).collect();
        let subjects: Vec<Subject> =
            letters.values().filter_map(|event| events.get(event)).cloned().collect();
        Ok(Self {
            players,
            grants: players_of_grants(conn, &grants).await?,
            wallets: own_players_of_wallets(conn, &wallets).await?,
            orgs: orgs_of_subjects(conn, &subjects).await?,
            events,
            letters,
        })
    }

    /// One record for each of those who were read of, or one about whatever was asked for.
    fn records(&self, read: &Read) -> Vec<StaffRecord> {
        let record = &read.record;
        let about = |about: &Subject| StaffRecord { about: about.clone(), ..record.clone() };
        let of_player = |player: &PlayerId| about(&Subject::new("player", player));
        let Some(org) = record.org else { return vec![record.clone()] };
        let records: Vec<StaffRecord> = match &read.of {
            Of::Player(name) => {
                self.players.get(&org).and_then(|known| known.get(name)).map(of_player).into_iter().collect()
            }
            Of::Grant(grant) => self.grants.get(&(org, *grant)).map(of_player).into_iter().collect(),
            Of::Wallet(wallet) => {
                self.wallets.get(&(org, *wallet)).into_iter().flatten().map(of_player).collect()
            }
            Of::Event(event) => self.events.get(event).map(about).into_iter().collect(),
            // For those to find whose it is, not for those who keep the system going.
            Of::Letter(letter) => {
                let subject = self.letters.get(letter).and_then(|event| self.events.get(event));
                let record = |subject: &Subject| StaffRecord {
                    org: self.orgs.get(subject).copied().or(Some(org)),
                    ..about(subject)
                };
                subject.map(record).into_iter().collect()
            }
            Of::Many => Vec::new(),
        };
        if records.is_empty() { vec![record.clone()] } else { records }
    }
}
