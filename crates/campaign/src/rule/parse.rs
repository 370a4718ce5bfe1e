//! From source to syntax tree.

use cel::{Env, common::ast::IdedExpr, common::ast::SourceInfo};

use super::{Position, RuleError, limits};

/// Characters that make the parser recurse, or that stand for an operator which does.
const OPERATOR_BYTES: &[u8] = b"+-*/%.[({<>=!?&|";

/// How the parser says that something should not be there.
const UNEXPECTED: [&str; 4] =
    ["mismatched input", "extraneous input", "token recognition error at:", "no viable alternative at input"];

/// How many errors the parser recovers from: only the first is shown.
const RECOVERIES_MAX: u32 = 1;

/// Parses `source`, leaving macros as the calls they are written as.
///
/// The size limits come first, because the parser bounds the nesting of brackets but not the length of chains.
pub(super) fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), RuleError> {
    if source.len() > limits::SOURCE_BYTES_MAX {
        return Err(RuleError::TooLong { bytes: source.len() });
    }
    let operators = source.bytes().filter(|byte| OPERATOR_BYTES.contains(byte)).count();
    if operators > limits::OPERATORS_MAX {
        return Err(RuleError::TooManyOperators { operators });
    }
    Env::default()
        .with_optional_support(false)
        .parser()
        .max_recursion_depth(limits::NESTING_MAX)
        .error_recovery_limit(RECOVERIES_MAX)
        .parse_with_source_info(source)
        .map_err(|errors| first_error(source, &errors))
}

fn first_error(source: &str, errors: &cel::ParseErrors) -> RuleError {
    let Some(error) = errors.errors.first() else {
        return RuleError::Syntax { at: Position::of_byte(source, 0), message: "not understood".to_owned() };
    };
    let number = |value: isize| u32::try_from(value).unwrap_or(1).max(1);
    let at = Position { line: number(error.pos.0), column: number(error.pos.1) };
    if error.msg.contains("Recursion limit") {
        return RuleError::TooDeep { at };
    }
    RuleError::Syntax { at, message: readable(&error.msg) }
}

/// The parser's message in plain words, without the list of every token it knows.
fn readable(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting {").next().unwrap_or(message);
    let message = UNEXPECTED.iter().fold(message.to_owned(), |text, words| text.replace(words, "unexpected"));
    message.replace("'<EOF>'", "end").replace("<EOF>", "the end")
}
