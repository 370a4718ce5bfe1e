//! An outcome and a player for tests to vary.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use laurel_campaign::rule::{OutcomeFacts, PlayerFacts, RuleInput};
use laurel_events::{Amount, Attribute};

/// What a [`RuleInput`] borrows from.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) score: u64,
    pub(crate) rank: Option<u32>,
    pub(crate) game: String,
    pub(crate) attributes: BTreeMap<String, Attribute>,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) grants: u64,
    pub(crate) amount: Amount,
}

impl Sample {
    /// A score of 4,200, third place in quiz-17 on a Saturday; the player has two grants of more than 2^64 units.
    pub(crate) fn new() -> Self {
        let attributes = [
            ("tier", Attribute::Text("gold".to_owned())),
            ("level", Attribute::Int(7)),
            ("vip", Attribute::Bool(true)),
            ("land-code", Attribute::Text("DE".to_owned())),
        ];
        Self {
            score: 4_200,
            rank: Some(3),
            game: "quiz-17".to_owned(),
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            occurred_at: "2026-03-14T15:09:26.535Z".parse().expect("an RFC 3339 time"),
            grants: 2,
            amount: "5000000000000000000001".parse().expect("a decimal amount"),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn input(&self) -> RuleInput<'_> {
        RuleInput {
            outcome: OutcomeFacts {
                score: self.score,
                rank: self.rank,
                game: &self.game,
                attributes: &self.attributes,
                occurred_at: self.occurred_at,
            },
            player: PlayerFacts { grants: self.grants, amount: self.amount },
        }
    }
}
