//! Numbers that a stranger may have chosen. A JSON number is a double (RFC 8785), which carries whole numbers up to 2^53: beyond, they
//! are decimal strings.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The largest number up to which a double carries all (RFC 7493).
const EXACT_MAX: u64 = (1 << 53) - 1;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field so")]
pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *number <= EXACT_MAX { serializer.serialize_u64(*number) } else { serializer.collect_str(number) }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::canonical_json;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Wide {
        #[serde(with = "super")]
        number: u64,
    }

    #[test]
    fn every_number_comes_back() {
        for (number, text) in [
            (0, "0"),
            (EXACT_MAX, "9007199254740991"),
            (EXACT_MAX + 1, "\"9007199254740992\""),
            (EXACT_MAX + 2, "\"9007199254740993\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            let written = canonical_json(&Wide { number }).unwrap();
            assert_eq!(String::from_utf8(written.clone()).unwrap(), format!("{{\"number\":{text}}}"));
            assert_eq!(serde_json::from_slice::<Wide>(&written).unwrap(), Wide { number });
        }
        let wrong = serde_json::from_str::<Wide>("{\"number\":\"-1\"}").unwrap_err();
        assert!(wrong.to_string().contains("invalid digit"), "{wrong}");
    }
}
