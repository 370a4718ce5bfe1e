//! Rules that compile, and their answers for [`Sample::new`].

use laurel_campaign::rule::{Rule, limits};
use rstest::rstest;

use crate::sample::Sample;

#[rstest]
#[case::literal("true", true)]
#[case::score("outcome.score >= 4200", true)]
#[case::score_below("outcome.score > 4200", false)]
#[case::rank("has(outcome.rank) && outcome.rank <= 3", true)]
#[case::game("outcome.game == 'quiz-17'", true)]
#[case::game_order("outcome.game < 'quiz-2'", true)]
#[case::double_quotes("outcome.game != \"battle\"", true)]
#[case::attribute_text("outcome.attributes.tier == 'gold'", true)]
#[case::attribute_int("outcome.attributes.level * 2 == 14", true)]
#[case::attribute_bool("outcome.attributes.vip == true", true)]
#[case::attribute_bool_negated("!outcome.attributes.vip", false)]
#[case::attribute_by_key("outcome.attributes['land-code'] == 'DE'", true)]
#[case::attribute_by_computed_key("outcome.attributes[has(outcome.rank) ? 'tier' : 'none'] == 'gold'", true)]
#[case::attribute_present("has(outcome.attributes.tier)", true)]
#[case::attribute_absent("has(outcome.attributes.none)", false)]
#[case::attribute_in("'land-code' in outcome.attributes", true)]
#[case::attribute_named_like_a_function("has(outcome.attributes.size)", false)]
#[case::attributes_compared("outcome.attributes.level != outcome.attributes.level", false)]
#[case::attribute_count("outcome.attributes.size() == 4 && size(outcome.attributes) == 4", true)]
#[case::known_field("has(outcome.score) && has(player.amount) && has(outcome.attributes)", true)]
#[case::grants("player.grants < 3", true)]
#[case::amount_beyond_u64("player.amount == amount('5000000000000000000001')", true)]
#[case::amount_one_less("player.amount > amount('5000000000000000000000')", true)]
#[case::amount_max(
    "player.amount < amount('115792089237316195423570985008687907853269984665640564039457584007913129639935')",
    true
)]
#[case::saturday("outcome.occurred_at.getDayOfWeek() == 6", true)]
#[case::calendar(
    "[outcome.occurred_at.getFullYear(), outcome.occurred_at.getMonth(), outcome.occurred_at.getDate(),
      outcome.occurred_at.getDayOfMonth(), outcome.occurred_at.getDayOfYear()]
      .filter(x, x in [2026, 2, 14, 13, 72]).size() == 5",
    true
)]
#[case::time_of_day(
    "outcome.occurred_at.getHours() == 15 && outcome.occurred_at.getMinutes() == 9
      && outcome.occurred_at.getSeconds() == 26 && outcome.occurred_at.getMilliseconds() == 535",
    true
)]
#[case::after("outcome.occurred_at > timestamp('2026-03-14T15:09:26Z')", true)]
#[case::offset("outcome.occurred_at > timestamp('2026-03-14T17:09:26+02:00')", true)]
#[case::window("outcome.occurred_at - timestamp('2026-03-13T00:00:00Z') < duration('48h')", true)]
#[case::durations("duration('1h30m') + duration('-30m') == duration('3600s')", true)]
#[case::time_plus("outcome.occurred_at + duration('250ms') - duration('1us') > outcome.occurred_at", true)]
#[case::arithmetic("(outcome.score - 200) / 1000 == 4 && -7 / 2 == -3 && -7 % 2 == -1", true)]
#[case::negated("-outcome.score < 0", true)]
#[case::least_int("-9223372036854775808 < 9223372036854775807", true)]
#[case::hexadecimal("outcome.score == 0x1068", true)]
#[case::conditional("(outcome.score > 9000 ? 1 : 2) == 2", true)]
#[case::conditional_lists("outcome.game in (outcome.score > 1 ? ['quiz-17'] : [])", true)]
#[case::in_ints("outcome.rank in [1, 2, 3]", true)]
#[case::in_nothing("outcome.game in []", false)]
#[case::in_mixed_with_attributes("7 in [1, outcome.attributes.level]", true)]
#[case::in_map("outcome.attributes.tier in {'gold': 3, 'silver': 2}", true)]
#[case::map_lookup("outcome.score >= {'gold': 1000, 'silver': 5000}[outcome.attributes.tier]", true)]
#[case::map_of_amounts("player.amount > {'quiz-17': amount('1')}[outcome.game]", true)]
#[case::list_index("[0, 300, 200, 100][outcome.rank] == 100", true)]
#[case::all("[1, 2, 3].all(x, x > 0)", true)]
#[case::all_of_none("[].all(x, x == 1)", true)]
#[case::exists("['a', 'tier'].exists(x, x in outcome.attributes)", true)]
#[case::exists_one("[1, 2, 3].exists_one(x, x > 1)", false)]
#[case::map_macro("8 in [1, outcome.rank].map(x, x + 5)", true)]
#[case::map_macro_filtered("size([1, 2, 3, 4].map(x, x % 2 == 0, x * x)) == 2", true)]
#[case::over_attributes(
    "outcome.attributes.exists(k, k.endsWith('-code') && outcome.attributes[k] == 'DE')",
    true
)]
#[case::filtered_attributes("outcome.attributes.filter(k, size(k) > 4).size() == 2", true)]
#[case::item_shadows_nothing("[1].all(score, score < outcome.score)", true)]
#[case::contains("outcome.game.contains('z-1') && !outcome.game.contains('battle')", true)]
#[case::starts_and_ends("outcome.game.startsWith('quiz') && outcome.game.endsWith('17')", true)]
#[case::size_in_characters("size('grüße') == 5", true)]
#[case::matches("outcome.game.matches('^quiz-[0-9]+$')", true)]
#[case::matches_anywhere("outcome.game.matches('iz')", true)]
#[case::matches_not("outcome.game.matches('^battle')", false)]
#[case::matches_raw(r"outcome.game.matches(r'^\w+-\d{2}$')", true)]
#[case::word_boundary(r"outcome.game.matches(r'(?-u:\b)17(?-u:\b)')", true)]
#[case::comment("outcome.score > 1 // enough", true)]
#[case::chain_of_or("outcome.rank == 1 || outcome.rank == 2 || outcome.rank == 3 || outcome.rank == 4", true)]
fn answers(#[case] source: &str, #[case] answer: bool) {
    let rule = Rule::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(rule.eval(&Sample::new().input()), Ok(answer), "{source}");
    assert_eq!(rule.source(), source);
    let explained = rule.explain(&Sample::new().input());
    assert_eq!(explained.value, Ok(answer.to_string()), "{source}");
    let again = Rule::compile(&explained.expression).unwrap_or_else(|error| panic!("{explained:?}: {error}"));
    assert_eq!(again.eval(&Sample::new().input()), Ok(answer), "{}", explained.expression);
    assert_eq!(again.explain(&Sample::new().input()).expression, explained.expression);
    assert!((1..=limits::COST_MAX).contains(&rule.cost()));
}

/// A list as long as the limits allow, in a rule nested as deep as they allow.
#[test]
fn the_limits_themselves_are_accepted() {
    let items = vec!["'quiz-17'"; limits::ITEMS_MAX].join(",");
    let nested = usize::from(limits::NESTING_MAX) - 1;
    let source = format!("{}outcome.game in [{items}]{}", "(".repeat(nested), ")".repeat(nested));
    assert_eq!(Rule::compile(&source).map(|rule| rule.eval(&Sample::new().input())), Ok(Ok(true)));
}

#[test]
fn a_rule_is_shared_between_threads() {
    let rule = Rule::compile("outcome.game.matches('^quiz')").expect("a rule");
    let sample = Sample::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let rule = rule.clone();
            let input = sample.input();
            scope.spawn(move || assert_eq!(rule.eval(&input), Ok(true)));
        }
    });
}
