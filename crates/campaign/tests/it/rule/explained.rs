//! The value of every part of a rule, and its text.

use laurel_campaign::rule::{Explained, Rule};
use proptest::prelude::*;

use super::grammar;
use crate::sample::Sample;

/// An explanation as an indented list.
fn told(explained: &Explained, depth: usize) -> String {
    let item = explained.item.as_ref().map(|item| format!("[{item}] ")).unwrap_or_default();
    let value = explained.value.as_ref().map_or_else(|fault| format!("! {}", fault.kind), String::clone);
    let (indent, at, expression) = ("  ".repeat(depth), explained.at, &explained.expression);
    let mut lines = format!("{indent}{item}{expression}  ->  {value}  ({}:{})\n", at.line, at.column);
    for part in &explained.parts {
        lines.push_str(&told(part, depth + 1));
    }
    lines
}

fn explain(source: &str) -> String {
    told(&Rule::compile(source).unwrap().explain(&Sample::new().input()), 0)
}

#[test]
fn every_part_has_its_value() {
    insta::assert_snapshot!(explain(
        "outcome.score * 2 >= 9000 || has(outcome.rank) && outcome.rank <= 2
           || outcome.attributes.none == 'x' || !(player.grants < 3)"
    ));
}

#[test]
fn macros_tell_their_items() {
    insta::assert_snapshot!(explain(
        "[1, outcome.rank].exists(n, n > 2) && outcome.attributes.filter(k, k.endsWith('-code')).size() == 1
           && (outcome.score > 1 ? ['a'] : [outcome.game]).all(g, g in {'a': 1})"
    ));
}

#[test]
fn times_and_patterns_are_written_as_they_were() {
    insta::assert_snapshot!(explain(
        "outcome.occurred_at + duration('90m') > timestamp('2026-03-14T15:09:26.535Z')
           && outcome.game.matches(r'^\\w+-\\d{2}$') && player.amount > amount('5')
           && outcome.attributes['land-code'] != 'it\\'s' && outcome.occurred_at.getDayOfWeek() == 6"
    ));
}

#[test]
fn a_long_list_is_told_in_part() {
    let items = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let rule = Rule::compile(&format!("[{items}].all(n, n < outcome.score)")).unwrap();
    let explained = rule.explain(&Sample::new().input());
    assert_eq!((explained.value, explained.parts.len()), (Ok("true".to_owned()), 20));
}

proptest! {
    /// What a rule says of itself is a rule that answers the same.
    #[test]
    fn its_text_is_the_same_rule(source in grammar::bools(), sample in grammar::samples()) {
        let Ok(rule) = Rule::compile(&source) else { return Ok(()) };
        let explained = rule.explain(&sample.input());
        let answer = rule.eval(&sample.input());
        prop_assert_eq!(explained.value.clone().map_err(|fault| fault.kind), answer.map(|yes| yes.to_string()).map_err(|fault| fault.kind));
        let again = Rule::compile(&explained.expression);
        let again = again.map_err(|error| TestCaseError::fail(format!("{source}\n{}\n{error}", explained.expression)))?;
        let same = again.eval(&sample.input());
        prop_assert_eq!(same.map_err(|fault| fault.kind), answer.map_err(|fault| fault.kind), "{}\n{}", source, explained.expression);
    }
}
