//! Times rules: nanoseconds for one evaluation, and for one step of the static bound.
//!
//! `cargo run --release -p laurel-campaign --example rule_cost`
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a stopwatch that prints")]

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use chrono::{TimeZone, Utc};
use laurel_campaign::rule::{OutcomeFacts, PlayerFacts, Rule, RuleInput, limits};
use laurel_events::{Amount, Attribute};

/// Evaluations that one figure is the mean of.
const ROUNDS: u32 = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut attributes: BTreeMap<String, Attribute> =
        (0..limits::ATTRIBUTES_MAX - 2).map(|n| (format!("key{n:03}"), Attribute::Int(n as i64))).collect();
    // A text without a period: it leads a pattern's automaton through as many states as there are.
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 63 == 0 { 'a' } else { 'b' }
    };
    let long: String = (0..limits::TEXT_BYTES_MAX).map(|_| letter()).collect();
    attributes.insert("long".to_owned(), Attribute::Text(long));
    attributes.insert("tier".to_owned(), Attribute::Text("gold".to_owned()));
    let input = RuleInput {
        outcome: OutcomeFacts {
            score: 4_200,
            rank: Some(3),
            game: "quiz-17",
            attributes: &attributes,
            occurred_at: Utc.timestamp_opt(1_790_000_000, 0).single().ok_or("no such time")?,
        },
        player: PlayerFacts { grants: 2, amount: Amount::from(12_000_u64) },
    };
    println!("{:>10} {:>7} {:>8}  rule", "ns/eval", "steps", "ns/step");
    for source in sources() {
        let rule = Rule::compile(&source)?;
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(rule.eval(black_box(&input)))?;
        }
        let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
        let shown: String = source.chars().take(90).collect();
        println!(
            "{nanoseconds:>10.0} {:>7} {:>8.2}  {shown}",
            rule.cost(),
            nanoseconds / f64::from(rule.cost())
        );
    }
    Ok(())
}

/// Common rules first, then the worst that the limits let through.
fn sources() -> Vec<String> {
    let names: Vec<String> = (0..limits::ITEMS_MAX).map(|n| format!("'key{n}'")).collect();
    let names = names.join(", ");
    let mut sources: Vec<String> = [
        "outcome.score >= 1000",
        "outcome.score >= 1000 && has(outcome.rank) && outcome.rank <= 3 && player.amount < amount('5000000')",
        "outcome.game in ['quiz', 'battle', 'quiz-17'] && outcome.attributes.tier == 'gold' && player.grants < 10",
        "outcome.occurred_at.getDayOfWeek() in [0, 6] || outcome.score > {'easy': 500, 'gold': 100}[outcome.attributes.tier]",
        "outcome.game.matches('^quiz-[0-9]+$')",
        "outcome.attributes.all(k, size(k) < 20)",
        "outcome.attributes.all(k, k.startsWith('key') || k in ['tier', 'long'])",
        "!outcome.attributes.long.matches('(?:a|b)*a(?:a|b){11}c')",
        "!outcome.attributes.long.matches('(?i)[a-z]{1,9}[0-9]')",
        r"!outcome.attributes.long.matches('^\\w+$') || true",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    sources.push(format!("!(outcome.game in [{names}])"));
    sources.push(format!("[{names}].all(x, !outcome.attributes.long.contains(x))"));
    sources
}
