//! Sources that are no rules, with the message that each gets.

use laurel_campaign::rule::Rule;

const REFUSED: &[&str] = &[
    // not CEL
    "",
    "outcome.score >",
    "outcome.score => 3",
    "outcome.score >= 3 outcome.rank",
    "outcome.game == 'quiz",
    "(outcome.score > 1",
    "outcome.score > 9223372036854775808",
    "outcome.scöre > 1",
    "größe > 1",
    "outcome.attributes.`land-code` == 'DE'",
    "outcome.?rank == 1",
    "outcome.game == 'é' &&\n outcome.score > §",
    // names
    "score > 3",
    "outcome.scores > 3",
    "player.wallet == ''",
    "outcome.score.value > 3",
    "outcome.game.size > 3",
    "outcome['score'] > 3",
    "x > 3",
    ".outcome.score > 3",
    "has(outcome.none)",
    "has(player.name)",
    "has(outcome)",
    "has(outcome.attributes['tier'])",
    "has(outcome.attributes.tier.x)",
    "has('a')",
    "has(outcome.rank, outcome.score)",
    "[1].all(x, true) && x > 1",
    // not a bool
    "outcome.score",
    "outcome.game",
    "outcome.attributes.vip ? 1 : 0",
    "outcome.attributes.vip",
    "outcome",
    "outcome.attributes",
    "[true]",
    "{'a': true}",
    "[1, 2].filter(x, x > 1)",
    // fractions and other types that rules do not have
    "outcome.score > 3.5",
    "outcome.score > 1e3",
    "double(outcome.score) > 1",
    "outcome.score > 3u",
    "outcome.game == b'quiz'",
    "outcome.rank != null",
    "Outcome{score: 3}.score == 3",
    "dyn(outcome.score) == 'a'",
    "type(outcome.score) == int",
    // mixed types
    "outcome.score == 'high'",
    "outcome.game > 3",
    "outcome.score && true",
    "!outcome.score",
    "-outcome.game == 'a'",
    "outcome.score ? true : false",
    "(true ? 1 : 'a') == 1",
    "(true ? [1] : ['a']).size() == 1",
    "true < false",
    "outcome.attributes.vip < true",
    "[1] == [1]",
    "outcome == player",
    "outcome.game + 'x' == 'quizx'",
    "outcome.game * 1000000 == 'x'",
    "['a'] + ['b'] == ['a', 'b']",
    "outcome.game in ['a', 1]",
    "outcome.score in ['a', 'b']",
    "outcome.score in outcome.attributes",
    "outcome.score in outcome.game",
    "[[1], [2]].size() == 2",
    "[1, 2]['a'] == 1",
    "outcome.game[0] == 'q'",
    "{'a': 1, 'b': 'c'}['a'] == 1",
    "{'a': 1, 'a': 2}['a'] == 1",
    "{'a': outcome.score}['a'] == 1",
    "{duration('1h'): 1}[duration('1h')] == 1",
    "{'a': 1}[1] == 1",
    "{'a': 1}.a == 1",
    "size(outcome.score) == 1",
    "size(player) == 1",
    // times and amounts
    "outcome.occurred_at > '2026-01-01T00:00:00Z'",
    "outcome.occurred_at > timestamp('tomorrow')",
    "outcome.occurred_at > timestamp('10000-01-01T00:00:00Z')",
    "outcome.occurred_at > timestamp(outcome.game)",
    "outcome.occurred_at > now()",
    "outcome.occurred_at - timestamp('2026-01-01T00:00:00Z') > 3",
    "duration('1.5h') > duration('1h')",
    "duration('') > duration('h')",
    "duration('9999999999h') > duration('1h')",
    "duration('1h') * 2 > duration('1h')",
    "outcome.occurred_at.getHours('Europe/Berlin') > 3",
    "outcome.score.getHours() > 3",
    "player.amount < 5000",
    "player.amount < '5000'",
    "player.amount + amount('1') < amount('5')",
    "-player.amount < amount('5')",
    "player.amount < amount(5000)",
    "player.amount < amount('5e3')",
    "player.amount < amount('05')",
    "player.amount < amount('+5')",
    "player.amount < amount('')",
    "player.amount < amount('115792089237316195423570985008687907853269984665640564039457584007913129639936')",
    "int(player.amount) < 5000",
    "player.amount < outcome.attributes.limit",
    "outcome.attributes.limit > amount('5')",
    "outcome.attributes.day == outcome.occurred_at",
    "outcome.occurred_at in [outcome.attributes.day]",
    "amount(outcome.game) > player.amount",
    // functions and macros
    "outcome.game.lowerAscii() == 'quiz'",
    "string(outcome.score) == '1'",
    "size(outcome.game, 1) == 1",
    "outcome.game.contains() == true",
    "outcome.game.contains(1)",
    "contains(outcome.game, 'a')",
    "outcome.score.all(x, x > 1)",
    "[1].all(1, true)",
    "[1].all(x)",
    "[1].all(x, y, true, false)",
    "[1].exists(x, x)",
    "[1].map(x, [x]).size() == 1",
    "[1].all(outcome, outcome > 0)",
    "[1].exists(player, player == 1)",
    "[1].all(x, [2].all(y, x < y))",
    "[1].all(x, [2].all(x, x > 1))",
    "[1].map(x, x).all(y, y > 0)",
    "[1].filter(x, x > 0).filter(y, y > 0).size() == 1",
    // patterns
    "outcome.game.matches(outcome.attributes.tier)",
    "outcome.game.matches('[')",
    "outcome.game.matches('(a')",
    r"outcome.game.matches(r'\bquiz')",
    "outcome.game.matches('(?=a)b')",
    r"outcome.game.matches(r'(a)\1')",
    "outcome.game.matches('(?:a|b)*a(?:a|b){30}')",
    r"outcome.game.matches(r'\w{1000}')",
    "outcome.game.matches('((a{100}){100}){100}')",
    "outcome.game.matches('((((((((((((((((((a))))))))))))))))))')",
];

#[test]
fn messages() {
    let table: Vec<String> = REFUSED
        .iter()
        .map(|source| match Rule::compile(source) {
            Ok(rule) => panic!("accepted: {rule:?}"),
            Err(error) => format!("{source}\n    {error}"),
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

/// The message leads to the place: line and column in characters, not in bytes.
#[test]
fn positions() {
    let error = Rule::compile("outcome.game == 'grüße' &&\n  outcome.game == 'ä' && outcome.score > 'x'")
        .unwrap_err();
    let at = error.at().expect("a position");
    assert_eq!((at.line, at.column), (2, 40), "{error}");
}
