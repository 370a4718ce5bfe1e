//! Names that come from the command line, checked where they are read.

use std::str::FromStr;

/// As many as the database takes.
const ORG_CHARS_MAX: usize = 63;

/// As many as a player's id may have, which is the longest of the subjects.
const SUBJECT_BYTES_MAX: usize = 128;

/// The name of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrgName(String);

impl OrgName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrgName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=ORG_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "use up to {ORG_CHARS_MAX} lower-case letters, digits and hyphens, with no hyphen at the beginning"
        ))
    }
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubjectName(String);

impl SubjectName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.len() > SUBJECT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(format!(
                "use 1 to {SUBJECT_BYTES_MAX} bytes, not all spaces, without control characters"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("default", true)]
    #[case("0-studio-7", true)]
    #[case(&"a".repeat(63), true)]
    #[case(&"a".repeat(64), false)]
    #[case("", false)]
    #[case("-a", false)]
    #[case("Bad Name", false)]
    #[case("stüdio", false)]
    fn organisations(#[case] text: &str, #[case] fine: bool) {
        assert_eq!(text.parse::<OrgName>().is_ok(), fine);
    }

    #[rstest]
    #[case("somebody@example.org", true)]
    #[case(&"x".repeat(128), true)]
    #[case(&"x".repeat(129), false)]
    #[case("", false)]
    #[case("  ", false)]
    #[case("a\nb", false)]
    fn subjects(#[case] text: &str, #[case] fine: bool) {
        assert_eq!(text.parse::<SubjectName>().is_ok(), fine);
    }
}
