//! Rules give the answers that CEL gives: held against the interpreter of the `cel` crate.

use std::{collections::HashMap, sync::LazyLock};

use cel::{Context, Env, Value};
use laurel_campaign::rule::{Rule, RuleError};
use laurel_events::Attribute;
use proptest::prelude::*;

use super::grammar;
use crate::sample::Sample;

static CEL: LazyLock<std::sync::Arc<Env>> = LazyLock::new(|| std::sync::Arc::new(Env::stdlib()));

/// The interpreter's answer; none if it has none.
fn reference(source: &str, sample: &Sample) -> Option<bool> {
    let program = CEL.compile(source).expect("what a rule may say is CEL");
    let int = |number: u64| Value::Int(i64::try_from(number).expect("below 2^63"));
    let attributes: HashMap<String, Value> = sample
        .attributes
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Attribute::Bool(flag) => Value::Bool(*flag),
                Attribute::Int(number) => Value::Int(*number),
                Attribute::Text(text) => Value::from(text.as_str()),
            };
            (name.clone(), value)
        })
        .collect();
    let mut outcome = HashMap::from([
        ("score".to_owned(), int(sample.score)),
        ("game".to_owned(), Value::from(sample.game.as_str())),
        ("attributes".to_owned(), Value::from(attributes)),
        ("occurred_at".to_owned(), Value::Timestamp(sample.occurred_at.fixed_offset())),
    ]);
    outcome.extend(sample.rank.map(|rank| ("rank".to_owned(), int(rank.into()))));
    let player = HashMap::from([("grants".to_owned(), int(sample.grants))]);
    let mut context = Context::with_env(CEL.clone());
    context.add_variable_from_value("outcome", outcome);
    context.add_variable_from_value("player", player);
    let value = program.execute(&context).ok()?;
    Some(value == Value::Bool(true)).filter(|_| matches!(value, Value::Bool(_)))
}

fn is_limit(error: &RuleError) -> bool {
    matches!(
        error,
        RuleError::TooLong { .. }
            | RuleError::TooManyOperators { .. }
            | RuleError::TooDeep { .. }
            | RuleError::TooExpensive { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    /// Well-typed rules compile unless they are too large, never panic, and agree with CEL also on having no answer.
    #[test]
    fn rules_agree_with_cel(source in grammar::bools(), sample in grammar::samples()) {
        let rule = match Rule::compile(&source) {
            Ok(rule) => rule,
            Err(error) => {
                prop_assert!(is_limit(&error), "{}: {}", source, error);
                return Err(TestCaseError::reject("too large"));
            }
        };
        let answer = rule.eval(&sample.input());
        prop_assert_eq!(answer.ok(), reference(&source, &sample), "{} for {:?}: {:?}", source, sample, answer);
    }

    /// Inputs of any types and sizes never panic a rule.
    #[test]
    fn any_input_has_an_answer_or_a_fault(
        source in grammar::bools(),
        names in prop::collection::btree_map("[itb][01]", attribute(), 0..8),
        score in any::<u64>(),
        rank in any::<Option<u32>>(),
        seconds in any::<i64>(),
        grants in any::<u64>(),
    ) {
        let Ok(rule) = Rule::compile(&source) else { return Err(TestCaseError::reject("too large")) };
        let mut sample = Sample { score, rank, grants, attributes: names, ..Sample::new() };
        if let Some(time) = chrono::DateTime::from_timestamp(seconds % 9_000_000_000_000, 999_999_999) {
            sample.occurred_at = time;
        }
        let first = rule.eval(&sample.input());
        prop_assert_eq!(first, rule.eval(&sample.input()));
        if let Err(fault) = first {
            prop_assert!(fault.code().starts_with("rule_"));
        }
    }
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<bool>().prop_map(Attribute::Bool),
        any::<i64>().prop_map(Attribute::Int),
        ".{0,20}".prop_map(Attribute::Text),
        Just(Attribute::Text("x".repeat(2_000))),
    ]
}
