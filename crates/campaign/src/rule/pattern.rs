//! Regular expressions whose search takes one step for each byte of the text, whatever the pattern and the text.
//!
//! The whole automaton is made when the rule is compiled, and a pattern whose automaton grows too large is
//! refused. An engine that makes states as it searches was 500 times slower on a text chosen to need them all.

use std::error::Error;

use regex_automata::{
    Input,
    dfa::{Automaton, StartKind, dense},
    nfa::thompson,
    util::syntax,
};

use super::limits;

/// A pattern that is looked for anywhere in a text.
#[derive(Debug)]
pub(super) struct Pattern {
    automaton: dense::DFA<Vec<u32>>,
    source: Box<str>,
}

impl Pattern {
    /// Makes the automaton of `source`, or says why there is none.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.len() > limits::PATTERN_BYTES_MAX {
            return Err(format!(
                "it is {} bytes long, {} are allowed",
                source.len(),
                limits::PATTERN_BYTES_MAX
            ));
        }
        let automaton = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(limits::PATTERN_AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(limits::PATTERN_AUTOMATON_BYTES_MAX));
        let program = thompson::Config::new().nfa_size_limit(Some(limits::PATTERN_PROGRAM_BYTES_MAX));
        dense::Builder::new()
            .configure(automaton)
            .thompson(program)
            .syntax(syntax::Config::new().nest_limit(limits::PATTERN_NESTING_MAX))
            .build(source)
            .map(|automaton| Self { automaton, source: source.into() })
            .map_err(|error| reason(&error))
    }

    /// The pattern as it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the pattern is somewhere in `text`; none if the search gave up, which only happens to
    /// automata with quit bytes, and these have none.
    pub(super) fn is_in(&self, text: &str) -> Option<bool> {
        self.automaton.try_search_fwd(&Input::new(text).earliest(true)).ok().map(|found| found.is_some())
    }
}

fn reason(error: &dense::BuildError) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let text = innermost.to_string();
    if error.is_size_limit_exceeded() || text.contains("exceeded limit") {
        return "it needs too many states; use fewer or smaller repetitions such as {20}".to_owned();
    }
    if text.contains("Unicode word boundaries") {
        return r"write a word boundary as (?-u:\b)".to_owned();
    }
    // A syntax error draws the pattern first and says what is wrong in its last line.
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
