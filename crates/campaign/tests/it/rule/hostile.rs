//! Sources that are meant to hurt: they are refused soon, on a small stack, without a panic.

use std::thread;

use laurel_campaign::rule::{Rule, RuleError, limits};
use proptest::prelude::*;
use rstest::rstest;

/// Half of what a worker thread has, so that there is room for whoever calls.
const STACK_BYTES: usize = 1 << 20;

fn compile(source: String) -> Result<u32, RuleError> {
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || Rule::compile(&source).map(|rule| rule.cost()))
        .expect("a thread starts")
        .join()
        .expect("compiling does not panic")
}

fn variant(error: &RuleError) -> String {
    let debug = format!("{error:?}");
    debug.split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[rstest]
#[case::a_megabyte(" ".repeat(1 << 20) + "true", "TooLong")]
#[case::a_megabyte_of_text(format!("'{}' == ''", "a".repeat(1 << 20)), "TooLong")]
#[case::parentheses_100k("(".repeat(100_000) + "true" + &")".repeat(100_000), "TooLong")]
#[case::parentheses_1k("(".repeat(1_000) + "true" + &")".repeat(1_000), "TooManyOperators")]
#[case::parentheses_500("(".repeat(500) + "true" + &")".repeat(500), "TooDeep")]
#[case::parentheses_open("(".repeat(500), "TooDeep")]
#[case::one_level_too_deep("(".repeat(usize::from(limits::NESTING_MAX) + 1) + "true" + &")".repeat(usize::from(limits::NESTING_MAX) + 1), "TooDeep")]
#[case::brackets("[".repeat(500), "TooDeep")]
#[case::braces("{1:".repeat(500), "TooDeep")]
#[case::calls("size(".repeat(500), "TooDeep")]
#[case::indexes("outcome[".repeat(500), "TooDeep")]
#[case::conditionals("true?1:".repeat(500) + "1", "TooDeep")]
#[case::sum_of_500("1".to_owned() + &"+1".repeat(500) + " > 0", "TooDeep")]
#[case::comparisons_500("1".to_owned() + &"<1".repeat(500), "TooDeep")]
#[case::selections_500("outcome".to_owned() + &".a".repeat(500), "TooDeep")]
#[case::methods_250("outcome".to_owned() + &".f()".repeat(250), "UnknownFunction")]
#[case::keyword_chain("1".to_owned() + &" in 1".repeat(800), "TooDeep")]
#[case::list_of_10k(format!("1 in [{}1]", "1,".repeat(10_000)), "TooLong")]
#[case::list_of_257(format!("1 in [{}1]", "1,".repeat(256)), "TooManyItems")]
#[case::map_of_10k(format!("1 in {{{}}}", (0..10_000).map(|n| format!("{n}:1,")).collect::<String>()), "TooLong")]
#[case::map_of_257(format!("1 in {{{}}}", (0..257).map(|n| format!("{n}:1,")).collect::<String>()), "TooManyItems")]
#[case::lists_of_1280("1 in [1]".to_owned() + &format!(" || 1 in [{}1]", "1,".repeat(255)).repeat(5), "TooManyNodes")]
#[case::huge_integer("1".repeat(4_000) + " > 0", "Syntax")]
#[case::huge_amount(format!("player.amount < amount('{}')", "9".repeat(3_000)), "BadLiteral")]
#[case::negations("!-".repeat(250) + "1", "Syntax")]
#[case::garbage("§".repeat(2_000), "Syntax")]
#[case::nul("\0".repeat(4_000), "Syntax")]
#[case::long_pattern(format!("outcome.game.matches('{}')", "a".repeat(129)), "BadPattern")]
#[case::ten_patterns("true".to_owned() + &" && outcome.game.matches('a')".repeat(10), "TooExpensive")]
#[case::pattern_in_a_macro(format!("[{}''].all(x, outcome.game.matches('a'))", "'',".repeat(9)), "TooExpensive")]
#[case::list_in_a_macro(format!("outcome.attributes.all(k, k in [{}''])", "'',".repeat(60)), "TooExpensive")]
fn is_refused(#[case] source: String, #[case] expected: &str) {
    let error = compile(source).expect_err("a hostile source");
    assert_eq!(variant(&error), expected, "{error}");
    assert!(error.to_string().len() < 400, "a message stays readable: {error}");
}

/// Long but flat: what the limits let through needs little stack.
#[rstest]
#[case::nots("!".repeat(500) + "true")]
#[case::ands("true".to_owned() + &"&&true".repeat(250))]
#[case::sum_of_50("1".to_owned() + &"+1".repeat(50) + " > 0")]
fn is_accepted(#[case] source: String) {
    assert!(compile(source).expect("a rule") > 0);
}

const WORDS: &[&str] = &[
    "outcome",
    "player",
    ".score",
    ".rank",
    ".game",
    ".attributes",
    ".tier",
    ".amount",
    "x",
    "has",
    "size",
    "matches",
    ".all(x,",
    ".map(x,",
    ".exists(",
    "amount(",
    "timestamp(",
    "duration(",
    "'quiz'",
    "'1h'",
    "'[a'",
    "r'\\d'",
    "1",
    "0x7f",
    "9223372036854775807",
    "1.5",
    "2u",
    "null",
    "true",
    "false",
    "in",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "?",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    " ",
    "\n",
    "'",
    "\"",
    "\\",
    "//",
    "é",
    "'''",
    "b'",
    "\u{0}",
    "\u{202e}",
    "`",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_compiles_or_is_refused(source in any::<String>()) {
        if let Err(error) = Rule::compile(&source) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_words_compile_or_are_refused(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        if let Err(error) = Rule::compile(&words.concat()) {
            let lines = words.concat().lines().count().max(1) + 1;
            prop_assert!(error.at().is_none_or(|at| (1..=lines as u32).contains(&at.line)), "{}", error);
        }
    }
}
