//! Who does something to a campaign, and why.

use alloy_primitives::B256;
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::DefinitionError;

/// The longest reason, in characters: some sentences.
pub const REASON_MAX: usize = 500;

/// How much is hashed with a reason, so that nobody finds out what it was once it is erased.
const SALT_BYTES: usize = 16;

/// Why somebody did something, in their own words. The journal has only its salted hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub(crate) words: String,
    pub(crate) salt: [u8; SALT_BYTES],
}

impl Reason {
    /// A reason.
    ///
    /// # Errors
    /// If it says nothing, or too much.
    pub fn new(words: String, rng: &mut (dyn RngCore + Send)) -> Result<Self, DefinitionError> {
        let plain = |c: char| !c.is_control() || c == '\n';
        if words.trim().is_empty() || words.chars().count() > REASON_MAX || !words.chars().all(plain) {
            let problem = format!("1 to {REASON_MAX} characters, no control characters but line breaks");
            return Err(DefinitionError::of("reason", problem));
        }
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        Ok(Self { words, salt })
    }

    /// SHA-256 of salt and words.
    pub(crate) fn commitment(&self) -> B256 {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        hash.update(self.words.as_bytes());
        B256::new(hash.finalize().into())
    }
}

/// Who does something, and why.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Their id; `laurel` where nobody does.
    pub who: &'a str,
    /// Why, if they said so.
    pub why: Option<&'a Reason>,
}

impl<'a> By<'a> {
    /// Somebody who says no reason.
    pub const fn somebody(who: &'a str) -> Self {
        Self { who, why: None }
    }
}

/// Laurel itself.
pub(crate) const LAUREL: By<'static> = By::somebody("laurel");
