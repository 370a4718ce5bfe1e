//! The stage that turns outcomes into holds and declines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{
    BudgetReserved, CampaignDue, CampaignId, Envelope, Event, EventKind, GameOutcomeRecorded, GrantId,
    NewEvent, PlayerId, RewardDeclined, TokenGrantRequested,
};
use laurel_ledger::{
    Balances, Counter, CounterKey, Decline, Hold, Period, hold, insert_declines, load_counters,
    lock_accounts, planted, save_counters,
};
use sqlx::PgConnection;

use crate::{
    ActiveCampaign, PlayerList, RuleCache,
    counters::Kept,
    decide::Used,
    lists::lists_of,
    meeting::{campaigns_that_meet, load_active},
    notices::note_budget,
    schedule::handle_due,
};

/// Turns outcomes into holds and declines.
#[derive(Debug, Default)]
pub struct DecisionStage {
    rules: RuleCache,
}

#[async_trait]
impl Stage for DecisionStage {
    fn name(&self) -> &'static str {
        "campaign"
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[EventKind::GameOutcomeRecorded, EventKind::CampaignDue]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let outcomes: Vec<(&Envelope, &GameOutcomeRecorded)> = events
            .iter()
            .filter_map(|envelope| match &envelope.event {
                Event::GameOutcomeRecorded(outcome) => Some((envelope, outcome)),
                _ => None,
            })
            .collect();
        let dues: Vec<&CampaignDue> = events
            .iter()
            .filter_map(|envelope| match &envelope.event {
                Event::CampaignDue(due) => Some(due),
                _ => None,
            })
            .collect();
        // A game server's clock may be ahead: what occurred in a campaign's time is decided by it.
        let reached = outcomes.iter().map(|(envelope, _)| envelope.occurred_at).fold(now, DateTime::max);
        let candidates = campaigns_that_meet(conn, reached, &outcomes).await?;
        let locked: BTreeSet<CampaignId> =
            candidates.iter().copied().chain(dues.iter().map(|due| due.campaign)).collect();
        let books = lock_accounts(conn, &Vec::from_iter(locked)).await?;
        let mut moved = Vec::new();
        for due in dues {
            moved.extend(handle_due(conn, now, due).await?.map(NewEvent::from));
        }
        // Read again: whoever changes a campaign holds its books, so from here on nothing about it changes.
        let (campaigns, paused) = load_active(conn, (now, reached), &self.rules, &candidates).await?;
        let before = books.clone();
        let mut round = Round::new(&campaigns, books);
        round.counters = load_counters(conn, &round.counter_keys(&outcomes)).await?;
        round.lists = round.load_lists(conn, &outcomes).await?;
        for (envelope, outcome) in outcomes {
            round.decide(envelope, outcome)?;
        }
        save_counters(conn, &round.changed_counters()).await?;
        hold(conn, now, &round.holds).await?;
        insert_declines(conn, now, &round.declines).await?;
        let mut noticed = Vec::new();
        for (campaign, after) in &round.books {
            noticed.extend(note_budget(conn, now, *campaign, &before[campaign], after).await?);
        }
        let mut events = moved;
        events.extend(round.into_events()?);
        events.extend(noticed.into_iter().map(NewEvent::from));
        events.extend(paused.into_iter().map(NewEvent::from));
        Ok(events)
    }
}

/// The decisions over one batch of outcomes.
struct Round<'a> {
    campaigns: &'a [ActiveCampaign],
    books: BTreeMap<CampaignId, Balances>,
    counters: HashMap<CounterKey, Counter>,
    lists: HashMap<(CampaignId, PlayerId), PlayerList>,
    changed: BTreeSet<CounterKey>,
    holds: Vec<Hold>,
    declines: Vec<Decline>,
}

impl<'a> Round<'a> {
    fn new(campaigns: &'a [ActiveCampaign], books: BTreeMap<CampaignId, Balances>) -> Self {
        Self {
            campaigns,
            books,
            counters: HashMap::new(),
            lists: HashMap::new(),
            changed: BTreeSet::new(),
            holds: Vec::new(),
            declines: Vec::new(),
        }
    }

    fn counter_keys(&self, outcomes: &[(&Envelope, &GameOutcomeRecorded)]) -> Vec<CounterKey> {
        let mut keys = BTreeSet::new();
        for (envelope, outcome) in outcomes {
            for campaign in self.campaigns.iter().filter(|campaign| campaign.meets(outcome)) {
                keys.extend(counters_of(campaign, envelope, outcome).into_iter().flatten());
            }
        }
        keys.into_iter().collect()
    }

    /// The lists that the players are on, of campaigns that have any.
    async fn load_lists(
        &self,
        conn: &mut PgConnection,
        outcomes: &[(&Envelope, &GameOutcomeRecorded)],
    ) -> Result<HashMap<(CampaignId, PlayerId), PlayerList>, StageError> {
        let campaigns: Vec<CampaignId> =
            self.campaigns.iter().filter(|campaign| campaign.listed).map(|campaign| campaign.id).collect();
        if campaigns.is_empty() {
            return Ok(HashMap::new());
        }
        let players: BTreeSet<PlayerId> = outcomes.iter().map(|(_, outcome)| outcome.player).collect();
        Ok(lists_of(conn, &campaigns, &Vec::from_iter(players)).await?)
    }

    fn decide(&mut self, envelope: &Envelope, outcome: &GameOutcomeRecorded) -> Result<(), StageError> {
        for campaign in self.campaigns.iter().filter(|campaign| campaign.meets(outcome)) {
            let [life, day] = counters_of(campaign, envelope, outcome);
            let counter = |key: Option<CounterKey>| key.and_then(|key| self.counters.get(&key)).copied();
            let used = Used {
                life: counter(life).unwrap_or_default(),
                day: counter(day).unwrap_or_default(),
                list: self.lists.get(&(campaign.id, outcome.player)).copied(),
            };
            let books = self
                .books
                .get_mut(&campaign.id)
                .ok_or_else(|| StageError::poison(format!("campaign {} has no books", campaign.id)))?;
            match campaign.decide(outcome, envelope.occurred_at, &used, books.available) {
                Ok(amount) => {
                    let grant = GrantId { campaign: campaign.id, number: books.grants };
                    books.available = books.available.minus(amount).map_err(StageError::poison)?;
                    books.grants += 1;
                    for key in [life, day].into_iter().flatten() {
                        let counter = self.counters.entry(key).or_default();
                        counter.grants += 1;
                        counter.amount = counter.amount.plus(amount).map_err(StageError::poison)?;
                        self.changed.insert(key);
                    }
                    self.holds.push(Hold {
                        grant,
                        cause: envelope.id,
                        outcome: outcome.outcome,
                        player: outcome.player,
                        amount,
                        rule_version: campaign.rule_version,
                    });
                }
                Err(reason) => {
                    self.declines.push(Decline {
                        campaign: campaign.id,
                        number: books.declines,
                        cause: envelope.id,
                        outcome: outcome.outcome,
                        player: outcome.player,
                        reason: reason.code().to_owned(),
                        rule_version: campaign.rule_version,
                    });
                    books.declines += 1;
                }
            }
        }
        Ok(())
    }

    fn changed_counters(&self) -> Vec<(CounterKey, Counter)> {
        let with_caps = |key: &CounterKey| {
            let mut counter = self.counters.get(key).copied()?;
            let caps = self.campaigns.iter().find(|campaign| campaign.id == key.campaign)?.caps;
            (counter.grants_max, counter.amount_max) = match key.period {
                Period::Life => (caps.grants_per_player, caps.amount_per_player),
                Period::Day(_) => (caps.grants_per_player_per_day, caps.amount_per_player_per_day),
            };
            Some((*key, counter))
        };
        self.changed.iter().filter_map(with_caps).collect()
    }

    fn into_events(self) -> Result<Vec<NewEvent>, StageError> {
        let mut events = Vec::new();
        let mut reserved: BTreeMap<CampaignId, BudgetReserved> = BTreeMap::new();
        let by_id: HashMap<CampaignId, &ActiveCampaign> =
            self.campaigns.iter().map(|campaign| (campaign.id, campaign)).collect();
        for hold in self.holds {
            let id = hold.grant.campaign;
            let campaign = by_id.get(&id).ok_or_else(|| StageError::poison("a hold without its campaign"))?;
            let sum = reserved.entry(id).or_insert_with(|| BudgetReserved {
                campaign: id,
                first: hold.grant.number,
                grants: 0,
                amount: laurel_events::Amount::ZERO,
            });
            sum.grants += 1;
            sum.amount = sum.amount.plus(hold.amount).map_err(StageError::poison)?;
            let requested = TokenGrantRequested {
                grant: hold.grant,
                outcome: hold.outcome,
                player: hold.player,
                amount: hold.amount,
                rule_version: hold.rule_version,
                chain_id: campaign.chain_id,
                vault: campaign.vault,
                wallet_deadline_hours: campaign.wallet_deadline_hours,
            };
            events.push(NewEvent::caused_by(hold.cause, requested));
        }
        for decline in self.declines {
            let declined = RewardDeclined {
                campaign: decline.campaign,
                outcome: decline.outcome,
                player: decline.player,
                reason: decline.reason,
            };
            events.push(NewEvent::caused_by(decline.cause, declined));
        }
        events.extend(reserved.into_values().map(NewEvent::from));
        Ok(events)
    }
}

/// The whole-life and the day's counter that a decision needs.
fn counters_of(
    campaign: &ActiveCampaign,
    envelope: &Envelope,
    outcome: &GameOutcomeRecorded,
) -> [Option<CounterKey>; 2] {
    let key = |period| CounterKey { campaign: campaign.id, player: outcome.player, period };
    // Without a rule it grants nothing.
    let Some(rule) = &campaign.rule else { return [None, None] };
    let kept = Kept::of(&campaign.caps, rule);
    let day = if planted!(DayByOccurrence) { envelope.occurred_at } else { envelope.recorded_at };
    let day = Period::Day(day.date_naive());
    [kept.life.then(|| key(Period::Life)), kept.day.then(|| key(day))]
}
