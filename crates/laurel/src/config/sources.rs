//! Where keys come from.

use serde::Deserialize;

/// One source, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMore")]
pub(crate) struct Sources(pub(crate) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Sources {
    fn from(sources: OneOrMore) -> Self {
        Self(match sources {
            OneOrMore::One(source) => vec![source],
            OneOrMore::More(sources) => sources,
        })
    }
}
