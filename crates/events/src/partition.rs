//! Where an event is filed: every subject has one partition for life.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The number of journal partitions. Fixed when the database is made: a subject must never move.
pub const PARTITIONS: u8 = 16;

/// One of the journal's [`PARTITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(u8);

impl Partition {
    /// The partition of that number, if there is one.
    pub fn new(number: i16) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| *number < PARTITIONS).map(Self)
    }

    /// Every partition, in ascending order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// Its number as the database stores it.
    pub fn number(self) -> i16 {
        i16::from(self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an event is about, as `kind:id`. Events of one subject are handled in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject(String);

impl Subject {
    /// The subject `kind:id`.
    pub fn new(kind: &str, id: impl fmt::Display) -> Self {
        Self(format!("{kind}:{id}"))
    }

    /// The subject that was stored as `text`.
    pub const fn from_text(text: String) -> Self {
        Self(text)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that holds all its events: the first eight bytes of the text's SHA-256, modulo [`PARTITIONS`].
    pub fn partition(&self) -> Partition {
        let digest = Sha256::digest(self.0.as_bytes());
        let (head, _) = digest.split_first_chunk::<8>().expect("a SHA-256 digest has 32 bytes");
        let number = u64::from_be_bytes(*head) % u64::from(PARTITIONS);
        Partition(folded(u8::try_from(number).expect("a remainder of 16 fits a byte")))
    }
}

#[cfg(not(feature = "simulation"))]
const fn folded(number: u8) -> u8 {
    number
}

#[cfg(feature = "simulation")]
pub use self::simulation::fold_partitions;
#[cfg(feature = "simulation")]
use self::simulation::folded;

/// Most of what a stage does in a small world is to look at sixteen partitions in which next to nothing happens. A simulation
/// has fewer of them.
#[cfg(feature = "simulation")]
mod simulation {
    use std::cell::Cell;

    use super::PARTITIONS;

    thread_local! {
        static FOLDED: Cell<u8> = const { Cell::new(PARTITIONS) };
    }

    /// Has this thread file everything in the first `partitions`, of [`PARTITIONS`] at the most.
    pub fn fold_partitions(partitions: u8) {
        FOLDED.set(partitions.clamp(1, PARTITIONS));
    }

    pub(super) fn folded(number: u8) -> u8 {
        number % FOLDED.get()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filing is part of the stored data: if this test changes, existing journals are unreadable.
    #[test]
    fn the_filing_never_changes() {
        let filed: Vec<_> = ["campaign:1", "campaign:2", "player:a", "player:b", "lane:7", "vault:1"]
            .map(|text| Subject(text.to_owned()).partition().number())
            .into();
        insta::assert_compact_json_snapshot!(filed, @r#"[2, 14, 11, 3, 13, 13]"#);
    }
}
