//! Rules without an answer, and those that have one all the same.

use laurel_campaign::rule::{Position, Rule, RuleFault, limits};
use laurel_events::Attribute;
use rstest::rstest;

use crate::sample::Sample;

fn eval(source: &str, sample: &Sample) -> Result<bool, RuleFault> {
    let rule = Rule::compile(source).expect("a rule");
    let answer = rule.eval(&sample.input());
    assert_eq!(answer, rule.eval(&sample.input()), "the same input, the same answer");
    answer
}

#[rstest]
#[case::rank("outcome.rank <= 3", "rule_rank_missing")]
#[case::attribute("outcome.attributes.none == 1", "rule_attribute_missing")]
#[case::attribute_by_key("outcome.attributes['none'] != 1", "rule_attribute_missing")]
#[case::type_equal("outcome.attributes.tier == 1", "rule_attribute_type")]
#[case::type_not_equal("outcome.attributes.tier != 1", "rule_attribute_type")]
#[case::type_ordered("outcome.attributes.level < '8'", "rule_attribute_type")]
#[case::bools_ordered("outcome.attributes.vip < outcome.attributes.vip", "rule_attribute_type")]
#[case::type_in("outcome.attributes.level in ['7', '8']", "rule_attribute_type")]
#[case::type_in_map("outcome.attributes.level in {'7': 1}", "rule_attribute_type")]
#[case::type_calculated("outcome.attributes.tier * 2 == 1", "rule_attribute_type")]
#[case::type_negated("-outcome.attributes.tier == 1", "rule_attribute_type")]
#[case::type_condition("outcome.attributes.level ? true : false", "rule_attribute_type")]
#[case::type_and("outcome.attributes.level && true", "rule_attribute_type")]
#[case::type_text("outcome.attributes.level.startsWith('7')", "rule_attribute_type")]
#[case::type_pattern("outcome.attributes.vip.matches('true')", "rule_attribute_type")]
#[case::zero("outcome.score / 0 == 1", "rule_division_by_zero")]
#[case::remainder("outcome.score % (player.grants - 2) == 1", "rule_division_by_zero")]
#[case::overflow("outcome.score * 9223372036854775807 > 0", "rule_overflow")]
#[case::overflow_add("9223372036854775807 + outcome.score > 0", "rule_overflow")]
#[case::overflow_subtract("-9223372036854775808 - outcome.score < 0", "rule_overflow")]
#[case::overflow_divide("-9223372036854775808 / (1 - player.grants) > 0", "rule_overflow")]
#[case::overflow_remainder("-9223372036854775808 % (1 - player.grants) == 0", "rule_overflow")]
#[case::overflow_negate("-(outcome.score - 4200 - 9223372036854775807 - 1) > 0", "rule_overflow")]
#[case::overflow_time(
    "outcome.occurred_at + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') + duration('2500000h') + duration('2500000h') \
    + duration('2500000h') + duration('2500000h') > outcome.occurred_at",
    "rule_overflow"
)]
#[case::index("[1, 2][outcome.score] == 1", "rule_index_out_of_range")]
#[case::index_negative("[1, 2][-1] == 1", "rule_index_out_of_range")]
#[case::key("{'a': 1}[outcome.game] == 1", "rule_key_missing")]
#[case::exists_one("[0, 1].exists_one(x, 4 / x == 4)", "rule_division_by_zero")]
#[case::filter("size([0, 1].filter(x, 4 / x == 4)) == 1", "rule_division_by_zero")]
#[case::all("[1, 0, 2].all(x, 4 / x > 0)", "rule_division_by_zero")]
#[case::a_list_is_evaluated_whole("1 in [1, 1 / 0]", "rule_division_by_zero")]
#[case::the_left_fault_wins("outcome.rank == 1 && outcome.score / 0 == 1", "rule_rank_missing")]
#[case::the_left_fault_wins_or("outcome.score / 0 == 1 || outcome.rank == 1", "rule_division_by_zero")]
fn declines(#[case] source: &str, #[case] code: &str) {
    let sample = Sample { rank: None, ..Sample::new() };
    assert_eq!(eval(source, &sample).map_err(RuleFault::code), Err(code), "{source}");
}

/// `false && x` and `true || x` need no `x`, on either side.
#[rstest]
#[case("outcome.rank <= 3 && false", false)]
#[case("false && outcome.rank <= 3", false)]
#[case("outcome.rank <= 3 || true", true)]
#[case("true || outcome.rank <= 3", true)]
#[case("has(outcome.rank) ? outcome.rank <= 3 : outcome.score > 4000", true)]
#[case("!has(outcome.rank) || outcome.rank <= 3", true)]
#[case("[0, 1].exists(x, 4 / x == 4)", true)]
#[case("[0, 1].all(x, 4 / x == 2)", false)]
#[case("outcome.attributes.level in ['7'] || outcome.attributes.level in [7]", true)]
fn a_fault_that_does_not_matter(#[case] source: &str, #[case] answer: bool) {
    let sample = Sample { rank: None, ..Sample::new() };
    assert_eq!(eval(source, &sample), Ok(answer), "{source}");
}

#[test]
fn a_fault_says_where() {
    let sample = Sample { rank: None, ..Sample::new() };
    let fault = eval("outcome.game == 'ü' ||\n  outcome.rank < 2", &sample).unwrap_err();
    assert_eq!(fault.at, Position { line: 2, column: 11 });
    insta::assert_snapshot!(fault, @"line 2, column 11: the outcome has no rank; ask has(outcome.rank) first");
}

#[rstest]
#[case(i64::MAX as u64, Ok(true))]
#[case(i64::MAX as u64 + 1, Err("rule_overflow"))]
fn a_score_beyond_an_int(#[case] score: u64, #[case] answer: Result<bool, &str>) {
    let sample = Sample { score, ..Sample::new() };
    assert_eq!(eval("outcome.score > 0", &sample).map_err(RuleFault::code), answer);
}

/// The bound of a rule's cost assumes inputs of limited size, so larger ones have no answer.
#[test]
fn inputs_beyond_the_limits() {
    let text = |bytes| Attribute::Text("x".repeat(bytes));
    let long =
        |bytes| eval("outcome.attributes.long.contains('y')", &Sample::new().with("long", text(bytes)));
    assert_eq!(long(limits::TEXT_BYTES_MAX), Ok(false));
    assert_eq!(long(limits::TEXT_BYTES_MAX + 1).map_err(RuleFault::code), Err("rule_input_too_large"));

    let many = |count: usize| {
        let mut sample = Sample::new();
        sample.attributes = (0..count).map(|n| (format!("k{n}"), Attribute::Bool(true))).collect();
        eval("outcome.attributes.all(k, outcome.attributes[k])", &sample)
    };
    assert_eq!(many(limits::ATTRIBUTES_MAX), Ok(true));
    assert_eq!(many(limits::ATTRIBUTES_MAX + 1).map_err(RuleFault::code), Err("rule_input_too_large"));
}
