//! What it takes to evaluate a rule.

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::DateTime;
use laurel_campaign::rule::{OutcomeFacts, PlayerFacts, Rule, RuleInput};
use laurel_events::{Amount, Attribute};

use crate::figures::{Bound, Figure, Figures};

/// What one evaluation may take.
const BOUND_US: f64 = 5.0;

/// How often each rule is evaluated for a figure, and how many figures the median is of.
const EVALUATIONS: u32 = 20_000;
const ROUNDS: usize = 25;

/// Rules as campaigns have them, from the plainest to one that uses most of what there is.
const RULES: &[&str] = &[
    "outcome.score >= 1000",
    "outcome.score >= 1000 && has(outcome.rank) && outcome.rank <= 3 && player.amount < amount('5000000')",
    "outcome.game in ['quiz', 'battle', 'quiz-17'] && outcome.attributes.tier == 'gold' && player.grants < 10",
    "outcome.occurred_at.getDayOfWeek() in [0, 6] || outcome.score > {'easy': 500, 'gold': 100}[outcome.attributes.tier]",
    "outcome.game.matches('^quiz-[0-9]+$')",
    "outcome.attributes.exists(name, name.startsWith('bonus_')) || player.grants == 2",
];

pub(crate) fn run() -> anyhow::Result<Figures> {
    let mut attributes: BTreeMap<String, Attribute> =
        (0..6).map(|at| (format!("level_{at}"), Attribute::Int(at))).collect();
    attributes.insert("tier".to_owned(), Attribute::Text("gold".to_owned()));
    let input = RuleInput {
        outcome: OutcomeFacts {
            score: 4_200,
            rank: Some(3),
            game: "quiz-17",
            attributes: &attributes,
            occurred_at: DateTime::from_timestamp_secs(1_790_000_000).context("a moment")?,
        },
        player: PlayerFacts { grants: 2, amount: Amount::from(12_000_u64) },
    };
    let mut figures = Figures::new();
    for source in RULES {
        let rule = Rule::compile(source)?;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            for _ in 0..EVALUATIONS {
                black_box(rule.eval(black_box(&input)))?;
            }
            rounds.push(begun.elapsed() / EVALUATIONS);
        }
        rounds.sort_unstable();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        figures.figures.push(Figure {
            what: format!("a rule of {} steps", rule.cost()),
            value: micros(rounds[ROUNDS / 2]),
            unit: "us",
            bound: Some(Bound::AtMost(BOUND_US)),
            detail: format!("slowest of {ROUNDS} rounds {:.2}; {source}", micros(rounds[ROUNDS - 1])),
        });
    }
    Ok(figures)
}
