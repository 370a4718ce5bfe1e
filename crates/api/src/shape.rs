//! The shape of a JSON body, beyond what serde asks for.
//!
//! Serde takes `["a", 1]` for an object whose first two fields are those, which would let unknown fields in by their
//! place, and the last of two fields of one name.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::Track;

/// Where a body may hold lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lists {
    /// The names of the fields that are lists; everything else that is not plain is an object.
    pub(crate) fields: &'static [&'static str],
    /// Whether the items of lists are looked at when each is parsed, by themselves.
    pub(crate) items_apart: bool,
}

impl Lists {
    /// Nowhere.
    pub(crate) const NONE: Self = Self::of(&[]);

    /// In these fields.
    pub(crate) const fn of(fields: &'static [&'static str]) -> Self {
        Self { fields, items_apart: false }
    }
}

/// Checks that lists are only where they belong and that no object has two fields of one name.
///
/// # Errors
/// If it is not so, or this is no JSON.
pub(crate) fn check_shape(
    json: &[u8],
    lists: Lists,
) -> Result<(), serde_path_to_error::Error<serde_json::Error>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    Shape { lists, list: false }
        .deserialize(tracked)
        .and_then(|()| deserializer.end())
        .map_err(|error| serde_path_to_error::Error::new(track.path(), error))
}

/// What a value may be.
#[derive(Clone, Copy)]
struct Shape {
    lists: Lists,
    /// Whether it may be a list.
    list: bool,
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if !self.list {
            return Err(A::Error::custom(
                "a list stands where there can be none: name the fields, {\"name\": …}",
            ));
        }
        if self.lists.items_apart {
            while items.next_element::<IgnoredAny>()?.is_some() {}
        } else {
            while items.next_element_seed(Self { list: false, ..self })?.is_some() {}
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            let list = self.lists.fields.contains(&name.as_str());
            if seen.contains(&name) {
                return fields.next_value_seed(Twice(&name));
            }
            seen.insert(name);
            fields.next_value_seed(Self { list, ..self })?;
        }
        Ok(())
    }
}

/// Refuses the value of a field that was there before: in its place, so that the path of the error leads to it.
struct Twice<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Twice<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(D::Error::custom(format_args!("the field `{}` is there twice", self.0)))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"a":{"b":[1,{"c":null}]},"d":"x"}"#, "")]
    #[case(r#"[1]"#, "a list stands where")]
    #[case(r#"{"a":[1]}"#, "a list stands where")]
    #[case(r#"{"b":[[1]]}"#, "a list stands where")]
    #[case(r#"{"b":[{"x":[1]}]}"#, "a list stands where")]
    #[case(r#"{"a":1,"a":1}"#, "the field `a` is there twice")]
    #[case(r#"{"x":{"a":1,"\u0061":2}}"#, "the field `a` is there twice")]
    #[case(r#"{"b":[{"a":1,"a":2}]}"#, "the field `a` is there twice")]
    #[case(r#"{"a":1} x"#, "trailing characters")]
    fn the_shape_is_checked(#[case] json: &str, #[case] problem: &str) {
        let found = check_shape(json.as_bytes(), Lists::of(&["b"]));
        let found = found.map_or_else(|error| error.inner().to_string(), |()| String::new());
        assert!(found.starts_with(problem) && problem.is_empty() == found.is_empty(), "{found}");
    }

    #[test]
    fn items_can_be_looked_at_by_themselves() {
        let lists = Lists { fields: &["b"], items_apart: true };
        assert!(check_shape(br#"{"b":[[1],{"a":1,"a":2}]}"#, lists).is_ok());
        assert!(check_shape(br#"[{"b":[]}]"#, lists).is_err());
    }
}
