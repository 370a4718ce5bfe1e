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
mod counters;
mod decide;
mod decisions;
mod definition;
pub mod reward;
pub mod rule;
mod rules;
mod state;
mod store;

pub use self::{
    books::BooksStage,
    caps::Caps,
    decide::{ActiveCampaign, DeclineReason},
    decisions::DecisionStage,
    definition::{CAMPAIGN_NAME_MAX, Definition, DefinitionError, GAME_NAME_MAX, GAMES_MAX},
    rules::RuleCache,
    state::{CampaignState, IllegalTransition, Move},
    store::{
        Campaign, CampaignError, change_campaign, create_campaign, find_campaign, list_campaigns,
        move_campaign, request_funding,
    },
};
