//! Whether an outcome earns something of a campaign: pure.

use alloy_primitives::Address;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, CampaignId, GameOutcomeRecorded, OrgId};
use laurel_ledger::Counter;

use crate::{
    CampaignState, Caps, PlayerList, Recurrence,
    reward::{NoReward, Reward},
    rule::{OutcomeFacts, PlayerFacts, Rule, RuleFault, RuleInput},
};

/// A campaign that meets outcomes.
#[derive(Clone, Debug)]
pub struct ActiveCampaign {
    /// Its id.
    pub id: CampaignId,
    /// Whose it is.
    pub org: OrgId,
    /// The games whose outcomes it meets.
    pub games: Vec<String>,
    /// Active or paused.
    pub state: CampaignState,
    /// The beginning of its window.
    pub starts_at: Option<DateTime<Utc>>,
    /// The end of its window.
    pub ends_at: Option<DateTime<Utc>>,
    /// What is open again and again within that.
    pub windows: Option<Recurrence>,
    /// How long a player has to link a wallet.
    pub wallet_deadline_hours: u32,
    /// The chain that pays.
    pub chain_id: u64,
    /// The vault that pays.
    pub vault: Address,
    /// The version of rule, reward and caps.
    pub rule_version: i32,
    /// Which outcomes earn; `None` if the stored rule does not compile, which pauses the campaign.
    pub rule: Option<Rule>,
    /// What they earn.
    pub reward: Reward,
    /// What one player may get at most.
    pub caps: Caps,
    /// Whether only players may earn something whom its list allows.
    pub only_allowed: bool,
    /// Whether it treats some players apart, or did.
    pub listed: bool,
}

/// What a player is to a campaign, and has got of it so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) life: Counter,
    pub(crate) day: Counter,
    /// The list that the player is on.
    pub(crate) list: Option<PlayerList>,
}

/// Why an outcome earns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclineReason {
    /// The campaign is paused.
    #[error("the campaign is paused")]
    Paused,
    /// The outcome occurred outside of the campaign's window.
    #[error("the outcome occurred outside of the campaign's window")]
    OutsideWindow,
    /// The player is on the list of those who may not.
    #[error("the player is one of those who may not earn anything here")]
    PlayerDenied,
    /// The player is not on the list of those who may.
    #[error("the player is none of those who may earn something here")]
    PlayerNotAllowed,
    /// The rule says no.
    #[error("the rule does not hold")]
    RuleNotMet,
    /// The rule has no answer.
    #[error(transparent)]
    RuleFault(#[from] RuleFault),
    /// The reward has nothing for it.
    #[error(transparent)]
    NoReward(#[from] NoReward),
    /// The player has as many grants as the campaign allows.
    #[error("the player has as many grants as the campaign allows")]
    GrantsCap,
    /// The player has as many grants today as the campaign allows.
    #[error("the player has as many grants today as the campaign allows")]
    GrantsPerDayCap,
    /// The grant would pass what the campaign allows a player.
    #[error("the grant would pass what the campaign allows a player")]
    AmountCap,
    /// The grant would pass what the campaign allows a player on one day.
    #[error("the grant would pass what the campaign allows a player on one day")]
    AmountPerDayCap,
    /// The campaign has not enough left.
    #[error("the campaign has not enough left")]
    BudgetExhausted,
}

impl DeclineReason {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Paused => "campaign_paused",
            Self::OutsideWindow => "outside_window",
            Self::PlayerDenied => "player_denied",
            Self::PlayerNotAllowed => "player_not_allowed",
            Self::RuleNotMet => "rule_not_met",
            Self::RuleFault(fault) => fault.code(),
            Self::NoReward(no_reward) => no_reward.code(),
            Self::GrantsCap => "grants_cap_reached",
            Self::GrantsPerDayCap => "grants_per_day_cap_reached",
            Self::AmountCap => "amount_cap_reached",
            Self::AmountPerDayCap => "amount_per_day_cap_reached",
            Self::BudgetExhausted => "budget_exhausted",
        }
    }
}

impl ActiveCampaign {
    /// Whether the campaign meets the outcome at all.
    pub(crate) fn meets(&self, outcome: &GameOutcomeRecorded) -> bool {
        self.org == outcome.org && self.games.contains(&outcome.game)
    }

    /// What the outcome earns, given what the player has got so far and what the campaign has left.
    pub(crate) fn decide(
        &self,
        outcome: &GameOutcomeRecorded,
        occurred_at: DateTime<Utc>,
        used: &Used,
        available: Amount,
    ) -> Result<Amount, DeclineReason> {
        let (CampaignState::Active, Some(rule)) = (self.state, &self.rule) else {
            return Err(DeclineReason::Paused);
        };
        let early = self.starts_at.is_some_and(|starts_at| occurred_at < starts_at);
        let late = self.ends_at.is_some_and(|ends_at| occurred_at >= ends_at);
        let closed = self.windows.as_ref().is_some_and(|windows| !windows.is_open(occurred_at));
        if early || late || closed {
            return Err(DeclineReason::OutsideWindow);
        }
        match used.list {
            Some(PlayerList::Deny) => return Err(DeclineReason::PlayerDenied),
            None if self.only_allowed => return Err(DeclineReason::PlayerNotAllowed),
            Some(PlayerList::Allow) | None => {}
        }
        let input = Self::input(outcome, occurred_at, used);
        if !rule.eval(&input)? {
            return Err(DeclineReason::RuleNotMet);
        }
        let amount = self.reward.amount(&input)?;
        self.check_caps(used, amount)?;
        if amount > available {
            return Err(DeclineReason::BudgetExhausted);
        }
        Ok(amount)
    }

    /// What a rule reads.
    pub(crate) fn input<'o>(
        outcome: &'o GameOutcomeRecorded,
        occurred_at: DateTime<Utc>,
        used: &Used,
    ) -> RuleInput<'o> {
        RuleInput {
            outcome: OutcomeFacts {
                score: outcome.score,
                rank: outcome.rank,
                game: &outcome.game,
                attributes: &outcome.attributes,
                occurred_at,
            },
            player: PlayerFacts { grants: used.life.grants, amount: used.life.amount },
        }
    }

    fn check_caps(&self, used: &Used, amount: Amount) -> Result<(), DeclineReason> {
        if self.caps.grants_per_player.is_some_and(|cap| used.life.grants >= cap) {
            return Err(DeclineReason::GrantsCap);
        }
        if self.caps.grants_per_player_per_day.is_some_and(|cap| used.day.grants >= cap) {
            return Err(DeclineReason::GrantsPerDayCap);
        }
        let sum = used.life.amount.plus(amount).map_err(|_| DeclineReason::AmountCap)?;
        if self.caps.amount_per_player.is_some_and(|cap| sum > cap) {
            return Err(DeclineReason::AmountCap);
        }
        let sum = used.day.amount.plus(amount).map_err(|_| DeclineReason::AmountPerDayCap)?;
        if self.caps.amount_per_player_per_day.is_some_and(|cap| sum > cap) {
            return Err(DeclineReason::AmountPerDayCap);
        }
        Ok(())
    }
}
