//! Where something stands in a body: a JSON pointer (RFC 6901) as a URI fragment, as RFC 9457 has it in problems.

use std::fmt::Write;

use serde_path_to_error::{Path, Segment};

/// The pointer to what a deserializer has refused.
///
/// A field that is missing is named by the message only: the path ends at the object around it. So it may with one that nobody knows.
pub(crate) fn pointer(path: &Path, message: &str) -> String {
    let mut pointer = String::from("#");
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Map { key } => push(&mut pointer, key),
            // Neither stands in the JSON.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let last = path.iter().next_back().filter(|_| !message.starts_with("missing"));
    match named(message) {
        Some(field) if !matches!(last, Some(Segment::Map { key }) if key == field) => {
            push(&mut pointer, field)
        }
        _ => {}
    }
    pointer
}

/// The pointer to a field that is given as `games` or `caps.amount_per_player`.
pub(crate) fn pointer_to(field: &str) -> String {
    let mut pointer = String::from("#");
    field.split('.').for_each(|name| push(&mut pointer, name));
    pointer
}

/// The field that serde's message names.
pub(crate) fn named(message: &str) -> Option<&str> {
    let kinds = ["missing field `", "unknown field `", "duplicate field `"];
    let rest = kinds.iter().find_map(|kind| message.strip_prefix(kind))?;
    rest.split_once('`').map(|(field, _)| field)
}

/// Adds a name, with what pointers and fragments write otherwise (RFC 6901, sections 3 and 6).
fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    for byte in name.replace('~', "~0").replace('/', "~1").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@".contains(&byte) {
            pointer.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(pointer, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("games", "#/games")]
    #[case("caps.amount_per_player", "#/caps/amount_per_player")]
    #[case("a/b~c", "#/a~1b~0c")]
    #[case("ä \"%", "#/%C3%A4%20%22%25")]
    fn names_are_written_as_fragments_have_them(#[case] field: &str, #[case] expected: &str) {
        assert_eq!(pointer_to(field), expected);
    }

    #[rstest]
    #[case("missing field `rule` at line 1 column 2", Some("rule"))]
    #[case("unknown field `colour`, expected `name`", Some("colour"))]
    #[case("invalid type: null, expected a string", None)]
    fn a_message_names_a_field(#[case] message: &str, #[case] expected: Option<&str>) {
        assert_eq!(named(message), expected);
    }
}
