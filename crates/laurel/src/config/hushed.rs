//! What is wrong with a configuration, without its values: any of them may be an address with a key in it, in the wrong place.

use figment::error::{Actual, Error, Kind};

/// The error without what was found.
pub(super) fn hushed(mut error: Error) -> anyhow::Error {
    let string = || Actual::Other("a string".to_owned());
    error.kind = match error.kind {
        Kind::InvalidType(Actual::Str(_), expected) => Kind::InvalidType(string(), expected),
        Kind::InvalidValue(Actual::Str(_), expected) => Kind::InvalidValue(string(), expected),
        Kind::Message(message) => Kind::Message(without_source(&message)),
        kind => kind,
    };
    error.into()
}

/// A parser's message without the lines of the file that it points at.
fn without_source(message: &str) -> String {
    let quotes = |line: &str| {
        let line = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        line.trim_start().starts_with('|')
    };
    message.lines().filter(|line| !quotes(line)).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use figment::{
        Figment,
        providers::{Format, Toml},
    };
    use rstest::rstest;

    use super::*;
    use crate::config::Config;

    #[rstest]
    #[case::another_type("[[chains]]\nid = 1\nrpc_urls = \"http://node/secret\"", &["rpc_urls", "a string", "a sequence"])]
    #[case::no_number("[database]\nurl = \"x\"\nconnections_max = \"secret\"", &["connections_max", "a string"])]
    #[case::no_table("database = \"postgres://me:secret@db\"", &["database", "a string"])]
    #[case::no_quote("[database]\nurl = \"postgres://me:secret@db", &["line 2"])]
    fn no_value_is_told(#[case] toml: &str, #[case] tells: &[&str]) {
        let error = Figment::from(Toml::string(toml)).extract::<Config>().map_err(hushed).unwrap_err();
        let text = format!("{error:#} {error:?}");
        assert!(!text.contains("secret"), "{text}");
        for told in tells {
            assert!(text.contains(told), "{text}");
        }
    }
}
