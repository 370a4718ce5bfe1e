//! Texts that are worth something to whoever has them, and mean nothing.

use std::fmt;

use alloy_primitives::hex;
use rand::RngCore;
use sha2::{Digest, Sha256};

/// How random one is: more than anybody can guess, so that a plain hash of it is as good as it.
const RANDOM_BYTES: usize = 32;

/// How many of its last characters may be shown, for people who have to tell several apart.
const SHOWN_CHARS: usize = 4;

/// A prefix, by which people and scanners of leaked secrets know what it is, and 256 random bits in hexadecimal. Shown once.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Opaque(String);

impl Opaque {
    /// A new one.
    pub(crate) fn generate(prefix: &str, rng: &mut (dyn RngCore + Send)) -> Self {
        let mut random = [0; RANDOM_BYTES];
        rng.fill_bytes(&mut random);
        Self(format!("{prefix}{}", hex::encode(random)))
    }

    /// One that somebody sent, if it has that form.
    pub(crate) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let random = text.strip_prefix(prefix)?;
        let well_formed = random.len() == 2 * RANDOM_BYTES && random.bytes().all(|b| b.is_ascii_hexdigit());
        well_formed.then(|| Self(text.to_owned()))
    }

    /// What is kept of it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// How it ends.
    pub(crate) fn ends_with(&self) -> &str {
        &self.0[self.0.len() - SHOWN_CHARS..]
    }

    /// The text itself: for the one answer that holds it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque(…)")
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn it_is_found_again_by_its_digest_and_never_shown() {
        let mut rng = StdRng::from_seed([1; 32]);
        let made = Opaque::generate("lrr_", &mut rng);
        let sent = Opaque::parse("lrr_", made.reveal()).unwrap();
        assert_eq!(sent.digest(), made.digest());
        assert_ne!(Opaque::generate("lrr_", &mut rng).digest(), made.digest());
        assert_eq!(format!("{made:?}"), "Opaque(…)");
        assert_eq!(made.ends_with().len(), 4);
        assert!(made.reveal().ends_with(made.ends_with()));
    }

    #[test]
    fn what_has_another_form_is_none() {
        let good = format!("lrr_{}", "a1".repeat(32));
        assert!(Opaque::parse("lrr_", &good).is_some());
        for text in ["", "lrr_", &good[1..], &good[..good.len() - 1], &good.replace('a', "g"), "lrk_a1"] {
            assert!(Opaque::parse("lrr_", text).is_none(), "{text}");
        }
    }
}
