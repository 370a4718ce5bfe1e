//! What becomes of reported outcomes. Small reports that come while others are being recorded are recorded together, by one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use laurel_events::{EventKind, GameOutcomeRecorded, NewEvent, OrgId, OutcomeKey, PlayerId};
use laurel_ledger::{
    Context, LedgerError, Place, RecordedOutcome, append_each, commit, find_outcomes, insert_outcomes,
};
use laurel_players::find_players;
use sqlx::PgConnection;

use super::{
    post::{Answer, ItemResult, Status},
    validate::{Checked, Rejected, advice, field_of},
};
use crate::{ApiState, Principal, Problem, pointer::pointer_to, together::Together};

/// A report of more outcomes than this is large enough for a transaction of its own.
const SMALL_MAX: usize = 50;

/// What somebody reports.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(super) principal: Principal,
    pub(super) context: Context,
    pub(super) checked: Vec<Result<Checked, Rejected>>,
}

/// Small reports that wait to be recorded.
pub(crate) type SmallReports = Together<Arc<Reported>, Result<Option<Answer>, Problem>>;

/// Records what is new; `None` if somebody else recorded one of them in between.
pub(super) async fn record(state: &ApiState, reported: &Arc<Reported>) -> Result<Option<Answer>, Problem> {
    if reported.checked.len() > SMALL_MAX {
        let mut answers = record_all(state, std::slice::from_ref(reported)).await?;
        return Ok(answers.as_mut().and_then(Vec::pop));
    }
    let recording = state.clone();
    let answer =
        state.small_reports().ask_weighed(reported.clone(), reported.checked.len(), move |reports| {
            let state = recording.clone();
            async move { Ok(record_together(&state, &reports).await) }
        });
    answer.await?
}

async fn record_together(
    state: &ApiState,
    reports: &[Arc<Reported>],
) -> Vec<Result<Option<Answer>, Problem>> {
    match record_all(state, reports).await {
        Ok(Some(answers)) => answers.into_iter().map(|answer| Ok(Some(answer))).collect(),
        // It begins again, with what is known by then.
        Ok(None) if reports.len() == 1 => vec![Ok(None)],
        // One that cannot be recorded, or has to begin again, does not take the others with it.
        Ok(None) => alone(state, reports).await,
        Err(error) if reports.len() > 1 && !error.is_infrastructure() => alone(state, reports).await,
        Err(error) => {
            let problem = Problem::from(error);
            reports.iter().map(|_| Err(problem.clone())).collect()
        }
    }
}

async fn alone(state: &ApiState, reports: &[Arc<Reported>]) -> Vec<Result<Option<Answer>, Problem>> {
    let mut answers = Vec::with_capacity(reports.len());
    for report in reports {
        let alone = record_all(state, std::slice::from_ref(report)).await;
        answers.push(alone.map(|answers| answers?.pop()).map_err(Problem::from));
    }
    answers
}
/// Records what is new of several reports, in one transaction.
async fn record_all(state: &ApiState, reports: &[Arc<Reported>]) -> Result<Option<Vec<Answer>>, LedgerError> {
    let mut tx = state.pool.begin().await?;
    let mut known = Known::find(&mut tx, reports).await?;
    let (answers, fresh): (Vec<Answer>, Vec<Vec<Fresh<'_>>>) =
        reports.iter().map(|report| known.judge_all(report)).unzip();
    if fresh.iter().all(Vec::is_empty) {
        return Ok(Some(answers));
    }
    let events: Vec<Vec<NewEvent>> = reports
        .iter()
        .zip(&fresh)
        .map(|(report, fresh)| fresh.iter().map(|fresh| recorded(&report.principal, fresh)).collect())
        .collect();
    let requests: Vec<(&Context, &[NewEvent])> =
        reports.iter().zip(&events).map(|(report, events)| (&report.context, events.as_slice())).collect();
    let placed = append_each(&mut tx, &requests).await?;
    let mut rows: BTreeMap<OrgId, Vec<RecordedOutcome>> = BTreeMap::new();
    for ((report, fresh), places) in reports.iter().zip(&fresh).zip(placed) {
        let own = fresh.iter().zip(places).map(|(fresh, id)| RecordedOutcome {
            key: fresh.key,
            digest: fresh.item.digest,
            place: Place(id),
        });
        rows.entry(report.principal.org).or_default().extend(own);
    }
    for (org, mut rows) in rows {
        // In one order everywhere, so that two requests with the same outcomes wait for each other and never in a circle.
        rows.sort_unstable_by_key(|row| row.key);
        match insert_outcomes(&mut tx, org, &rows).await {
            Err(LedgerError::Database(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                return Ok(None);
            }
            inserted => inserted?,
        }
    }
    commit(tx, "outcomes").await?;
    state.wakes.committed([EventKind::GameOutcomeRecorded]).await;
    Ok(Some(answers))
}

/// An outcome that nobody has reported before.
struct Fresh<'a> {
    key: OutcomeKey,
    item: &'a Checked,
    player: PlayerId,
}

/// What there is of what is reported.
struct Known {
    outcomes: HashMap<OutcomeKey, [u8; 32]>,
    players: BTreeMap<OrgId, HashMap<String, PlayerId>>,
}

impl Known {
    async fn find(conn: &mut PgConnection, reports: &[Arc<Reported>]) -> Result<Self, LedgerError> {
        let mut keys = Vec::new();
        let mut names: BTreeMap<OrgId, Vec<String>> = BTreeMap::new();
        for report in reports {
            let names = names.entry(report.principal.org).or_default();
            for item in report.checked.iter().flatten() {
                keys.push(key(&report.principal, item));
                names.push(item.outcome.player_id.clone());
            }
        }
        let outcomes = find_outcomes(conn, &keys).await?;
        let mut players = BTreeMap::new();
        for (org, names) in names {
            players.insert(org, find_players(conn, org, &names).await?);
        }
        Ok(Self { outcomes, players })
    }

    fn judge_all<'a>(&mut self, report: &'a Reported) -> (Answer, Vec<Fresh<'a>>) {
        let mut answer = Answer::default();
        let mut fresh = Vec::new();
        for (index, item) in report.checked.iter().enumerate() {
            let mut at = None;
            let (outcome_id, status, code) = match item {
                Err(rejected) => {
                    at = Some(rejected.pointer.clone());
                    (rejected.outcome_id.clone(), Status::Rejected, Some(rejected.code))
                }
                Ok(item) => {
                    let (status, code, new) = self.judge(&report.principal, item);
                    fresh.extend(new);
                    (Some(item.outcome.outcome_id.clone()), status, code)
                }
            };
            answer.count(status);
            let detail = match status {
                Status::Conflict => Some(advice("conflict")),
                _ => code.map(advice),
            };
            let pointer = at.or_else(|| code.map(|code| pointer_to(field_of(code))));
            let pointer = pointer.map(|at| at.replacen('#', &format!("#/outcomes/{index}"), 1));
            answer.results.push(ItemResult { outcome_id, status, code, detail, pointer });
        }
        (answer, fresh)
    }

    /// What becomes of one. The next copy of what is accepted is a duplicate of it.
    fn judge<'a>(
        &mut self,
        principal: &Principal,
        item: &'a Checked,
    ) -> (Status, Option<&'static str>, Option<Fresh<'a>>) {
        if !principal.may_report_of(&item.outcome.game) {
            return (Status::Rejected, Some("game_not_allowed"), None);
        }
        let key = key(principal, item);
        let player = self.players.get(&principal.org).and_then(|known| known.get(&item.outcome.player_id));
        match (self.outcomes.get(&key), player) {
            (Some(digest), _) if *digest == item.digest => (Status::Duplicate, None, None),
            (Some(_), _) => (Status::Conflict, None, None),
            (None, None) => (Status::Rejected, Some("unknown_player"), None),
            (None, Some(player)) => {
                self.outcomes.insert(key, item.digest);
                (Status::Accepted, None, Some(Fresh { key, item, player: *player }))
            }
        }
    }
}

fn key(principal: &Principal, item: &Checked) -> OutcomeKey {
    OutcomeKey::derive(principal.org, &principal.subject, &item.outcome.outcome_id)
}

fn recorded(principal: &Principal, fresh: &Fresh<'_>) -> NewEvent {
    let outcome = &fresh.item.outcome;
    let event = GameOutcomeRecorded {
        org: principal.org,
        issuer: principal.subject.clone(),
        outcome: fresh.key,
        outcome_id: outcome.outcome_id.clone(),
        game: outcome.game.clone(),
        player: fresh.player,
        score: fresh.item.score,
        rank: fresh.item.rank,
        attributes: outcome.attributes.clone(),
    };
    NewEvent { event: event.into(), occurred_at: Some(outcome.occurred_at), cause: None }
}
