//! Campaigns: which outcomes earn a reward, how much, and what becomes of the campaign's money.
//!
//! ```text
//!   outcome + player --> rule (CEL: yes or no) --yes--> reward (exact integers) --> caps, budget --> hold
//!                          |                              |                             |
//!                          no, or a fault                 nothing to pay                not enough left
//!                          v                              v                             v
//!                        declined, with a stable code
//! ```
//!
//! Two stages: [`DecisionStage`] turns outcomes into holds and declines, [`BooksStage`] turns what the chain did
//! into postings, fundings and voids.

mod books;
mod caps;
mod change;
mod closing;
mod counters;
mod decide;
mod decisions;
mod definition;
mod funding;
mod lists;
mod meeting;
mod notices;
mod overdrafts;
mod recovered;
pub mod reward;
pub mod rule;
mod rules;
mod schedule;
mod state;
mod store;
mod trial;
mod undoing;
mod unexplained;
mod versions;
mod why;
mod windows;

pub use self::{
    books::BooksStage,
    caps::Caps,
    change::{change_campaign, lock_campaign, move_campaign, require_funded},
    closing::{PendingClosing, close_campaign, pending_closing},
    decide::{ActiveCampaign, DeclineReason},
    decisions::DecisionStage,
    definition::{CAMPAIGN_NAME_MAX, Definition, DefinitionError, GAME_NAME_MAX, GAMES_MAX},
    funding::{PendingFunding, Sent, pending_funding, request_funding},
    lists::{
        LISTED_MAX, ListedPlayer, PlayerList, PlayersListed, change_lists, list_players, lists_of_player,
        unlist_player,
    },
    notices::{BudgetNotice, NOTICED, list_notices},
    recovered::judge_payments,
    rules::RuleCache,
    schedule::REPORTED_WITHIN,
    state::{CampaignState, IllegalTransition, Move},
    store::{Campaign, CampaignError, create_campaign, find_campaign, list_campaigns},
    trial::{Got, REPLAYED_MAX, Replayed, Trial, Winner, replay_outcomes},
    unexplained::acknowledge_alert,
    versions::{CampaignVersion, campaign_at, list_versions},
    why::{By, REASON_MAX, Reason},
    windows::{Recurrence, Windows},
};
