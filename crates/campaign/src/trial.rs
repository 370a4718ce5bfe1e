//! What a definition would decide, without deciding anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use laurel_events::{Amount, CampaignId, Envelope, Event, EventKind, GameOutcomeRecorded, OrgId, PlayerId};
use laurel_ledger::{Counter, LedgerError, read_latest};
use sqlx::PgConnection;

use crate::{
    ActiveCampaign, CampaignState, DeclineReason, Definition, DefinitionError, PlayerList, Windows,
    decide::Used,
    lists::lists_of,
    rule::{Explained, Rule},
};

/// The most outcomes that are decided again at once: some hundred milliseconds' work.
pub const REPLAYED_MAX: i64 = 10_000;

/// How far back in each partition they are looked for: a look at an index, not a walk through a year.
const POSITIONS_MAX: i64 = 20_000;

/// How many of those who would win are named: those who would win most.
const WINNERS_MAX: usize = 100;

/// A definition that decides as if its campaign were active and had all the money it needs.
#[derive(Clone, Debug)]
pub struct Trial {
    campaign: ActiveCampaign,
    rule: Rule,
}

/// What a player is and has got so far, as a trial is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Got {
    /// Grants over the campaign's whole life.
    pub grants: u64,
    /// Their sum.
    pub amount: Amount,
    /// Grants today.
    pub grants_today: u64,
    /// Their sum.
    pub amount_today: Amount,
    /// The list that the player is on.
    pub list: Option<PlayerList>,
}

impl Trial {
    /// A trial of a definition.
    ///
    /// # Errors
    /// What is wrong with the definition.
    pub fn of(org: OrgId, definition: Definition) -> Result<Self, DefinitionError> {
        let rule = definition.check()?;
        let windows = definition.windows.as_ref().map(Windows::parse).transpose();
        let windows =
            windows.map_err(|(field, problem)| DefinitionError::of(format!("windows.{field}"), problem))?;
        let campaign = ActiveCampaign {
            id: CampaignId::from(0),
            org,
            games: definition.games,
            state: CampaignState::Active,
            starts_at: definition.starts_at,
            ends_at: definition.ends_at,
            windows,
            wallet_deadline_hours: definition.wallet_deadline_hours,
            chain_id: definition.chain_id,
            vault: definition.token,
            rule_version: 0,
            rule: Some(rule.clone()),
            reward: definition.reward,
            caps: definition.caps,
            only_allowed: definition.only_allowed,
            listed: true,
        };
        Ok(Self { campaign, rule })
    }

    /// What an outcome would earn, and why: the value of every part of the rule.
    pub fn explain(
        &self,
        outcome: &GameOutcomeRecorded,
        occurred_at: DateTime<Utc>,
        got: Got,
    ) -> (Result<Amount, DeclineReason>, Explained) {
        let life = Counter { grants: got.grants, amount: got.amount, ..Counter::default() };
        let day = Counter { grants: got.grants_today, amount: got.amount_today, ..Counter::default() };
        let used = Used { life, day, list: got.list };
        let input = ActiveCampaign::input(outcome, occurred_at, &used);
        (self.decide(outcome, occurred_at, &used), self.rule.explain(&input))
    }

    fn decide(
        &self,
        outcome: &GameOutcomeRecorded,
        occurred_at: DateTime<Utc>,
        used: &Used,
    ) -> Result<Amount, DeclineReason> {
        self.campaign.decide(outcome, occurred_at, used, Amount::GRANT_MAX)
    }
}

/// Somebody who would win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// The player.
    pub player: PlayerId,
    /// How often.
    pub grants: u64,
    /// How much in all.
    pub amount: Amount,
}

/// What a definition would have decided of outcomes that there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// How many outcomes of its games were looked at.
    pub outcomes: u64,
    /// When the first of them was recorded.
    pub from: Option<DateTime<Utc>>,
    /// And the last.
    pub to: Option<DateTime<Utc>>,
    /// How many grants there would have been.
    pub granted: u64,
    /// What they would have cost.
    pub amount: Amount,
    /// How many would have been declined, by reason.
    pub declined: BTreeMap<&'static str, u64>,
    /// How many players would have won something.
    pub winners: u64,
    /// Those who would have won most, at most a hundred.
    pub most: Vec<Winner>,
}

/// Decides the last outcomes of a campaign's organisation once more, `outcomes_max` of them at the most, as if nobody had got anything before.
///
/// # Errors
/// If the journal cannot be read or the database does not answer.
pub async fn replay_outcomes(
    conn: &mut PgConnection,
    trial: &Trial,
    id: CampaignId,
    outcomes_max: i64,
) -> Result<Replayed, LedgerError> {
    let kind = EventKind::GameOutcomeRecorded;
    // Canonical JSON: its names are in order, and nothing stands between them and what they name.
    let of_the_org = format!(r#""org":{},"outcome":"#, trial.campaign.org.0);
    let outcomes_max = outcomes_max.min(REPLAYED_MAX);
    let latest = read_latest(conn, kind, of_the_org.as_bytes(), outcomes_max, POSITIONS_MAX).await?;
    let players: BTreeSet<PlayerId> = latest
        .iter()
        .filter_map(|envelope| match &envelope.event {
            Event::GameOutcomeRecorded(outcome) => Some(outcome.player),
            _ => None,
        })
        .collect();
    let lists = lists_of(conn, &[id], &Vec::from_iter(players)).await?;
    let lists = lists.into_iter().map(|((_, player), list)| (player, list)).collect();
    Ok(Replay { trial, lives: HashMap::new(), days: HashMap::new(), lists, replayed: Replayed::default() }
        .run(&latest))
}

/// A replay under way.
struct Replay<'a> {
    trial: &'a Trial,
    lives: HashMap<PlayerId, Counter>,
    days: HashMap<(PlayerId, NaiveDate), Counter>,
    lists: HashMap<PlayerId, PlayerList>,
    replayed: Replayed,
}

impl Replay<'_> {
    fn run(mut self, events: &[Envelope]) -> Replayed {
        for envelope in events {
            if let Event::GameOutcomeRecorded(outcome) = &envelope.event
                && self.trial.campaign.meets(outcome)
            {
                self.decide(envelope, outcome);
            }
        }
        let mut winners: Vec<Winner> = self
            .lives
            .into_iter()
            .map(|(player, life)| Winner { player, grants: life.grants, amount: life.amount })
            .collect();
        self.replayed.winners = winners.len() as u64;
        winners.sort_unstable_by_key(|winner| (std::cmp::Reverse(winner.amount), winner.player));
        winners.truncate(WINNERS_MAX);
        self.replayed.most = winners;
        self.replayed
    }

    fn decide(&mut self, envelope: &Envelope, outcome: &GameOutcomeRecorded) {
        let day = (outcome.player, envelope.recorded_at.date_naive());
        let used = Used {
            life: self.lives.get(&outcome.player).copied().unwrap_or_default(),
            day: self.days.get(&day).copied().unwrap_or_default(),
            list: self.lists.get(&outcome.player).copied(),
        };
        let replayed = &mut self.replayed;
        replayed.outcomes += 1;
        replayed.from.get_or_insert(envelope.recorded_at);
        replayed.to = Some(envelope.recorded_at);
        // What cannot be added up any more is more than any vault holds.
        let granted = self.trial.decide(outcome, envelope.occurred_at, &used).and_then(|amount| {
            let sum = replayed.amount.plus(amount).map_err(|_| DeclineReason::BudgetExhausted)?;
            Ok((amount, sum))
        });
        match granted {
            Ok((amount, sum)) => {
                replayed.granted += 1;
                replayed.amount = sum;
                for counter in
                    [self.lives.entry(outcome.player).or_default(), self.days.entry(day).or_default()]
                {
                    counter.grants += 1;
                    counter.amount =
                        counter.amount.plus(amount).expect("it is a part of a sum that was added up before");
                }
            }
            Err(reason) => *replayed.declined.entry(reason.code()).or_default() += 1,
        }
    }
}
