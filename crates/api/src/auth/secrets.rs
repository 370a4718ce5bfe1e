//! Secrets that have to be read again, encrypted before they reach the database: XChaCha20-Poly1305 under one configured key. Those
//! that were the key before still open what they have sealed.

use std::fmt;

use alloy_primitives::B256;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::RngCore;

use super::AuthError;

/// As many random bytes as there can never be the same ones twice.
const NONCE_BYTES: usize = 24;

/// The key, and those that were the key before. Never shown.
#[derive(Clone)]
pub struct SecretsKey {
    key: XChaCha20Poly1305,
    former: Vec<XChaCha20Poly1305>,
}

impl SecretsKey {
    /// The key whose 32 bytes `text` spells in hexadecimal.
    ///
    /// # Errors
    /// [`AuthError::Key`] if it does not.
    pub fn from_hex(text: &str) -> Result<Self, AuthError> {
        let key: B256 = text.trim().parse().map_err(|_| AuthError::Key)?;
        Ok(Self { key: XChaCha20Poly1305::new(&key.0.into()), former: Vec::new() })
    }

    /// This key, with which also what `former` has sealed is opened.
    #[must_use]
    pub fn or(mut self, former: Self) -> Self {
        self.former.push(former.key);
        self.former.extend(former.former);
        self
    }

    /// `secret`, so that only the key opens it, and only as what it is: `about` is its table, column and row.
    ///
    /// # Errors
    /// [`AuthError::Sealed`], if it is too long for the algorithm.
    pub(crate) fn seal(
        &self,
        rng: &mut (dyn RngCore + Send),
        about: &str,
        secret: &[u8],
    ) -> Result<Vec<u8>, AuthError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let payload = Payload { msg: secret, aad: about.as_bytes() };
        let sealed = self.key.encrypt(&XNonce::from(nonce), payload).map_err(|_| AuthError::Sealed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// What was sealed.
    ///
    /// # Errors
    /// [`AuthError::Sealed`] with another key, about something else, or if it was changed.
    pub(crate) fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, AuthError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(AuthError::Sealed)?;
        let open = |key: &XChaCha20Poly1305| {
            key.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: about.as_bytes() }).ok()
        };
        open(&self.key).or_else(|| self.former.iter().find_map(open)).ok_or(AuthError::Sealed)
    }
}

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretsKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn only_the_key_opens_it_and_only_as_what_it_is() {
        let mut rng = StdRng::from_seed([1; 32]);
        let key = SecretsKey::from_hex(&"5a".repeat(32)).unwrap();
        let sealed = key.seal(&mut rng, "staff.totp_secret:1", b"seed").unwrap();
        assert!(!sealed.windows(4).any(|bytes| bytes == b"seed"));
        assert_eq!(key.open("staff.totp_secret:1", &sealed).unwrap(), b"seed");
        assert!(key.open("staff.totp_secret:2", &sealed).is_err());
        assert!(
            SecretsKey::from_hex(&"5b".repeat(32)).unwrap().open("staff.totp_secret:1", &sealed).is_err()
        );
        let mut changed = sealed.clone();
        changed[30] ^= 1;
        assert!(key.open("staff.totp_secret:1", &changed).is_err());
        assert!(key.open("staff.totp_secret:1", &sealed[..20]).is_err());
        assert_ne!(key.seal(&mut rng, "staff.totp_secret:1", b"seed").unwrap(), sealed);
        assert!(!format!("{key:?}").contains("5a"));
    }
    #[test]
    fn a_new_key_opens_what_the_one_before_has_sealed() {
        let mut rng = StdRng::from_seed([1; 32]);
        let key = |text: &str| SecretsKey::from_hex(&text.repeat(32)).unwrap();
        let old = key("5a").seal(&mut rng, "about", b"seed").unwrap();
        let both = key("5b").or(key("5a")).or(key("5c"));
        assert_eq!(both.open("about", &old).unwrap(), b"seed");
        let new = both.seal(&mut rng, "about", b"seed").unwrap();
        assert_eq!(key("5b").open("about", &new).unwrap(), b"seed");
        assert!(key("5a").open("about", &new).is_err());
        assert!(key("5d").or(key("5c")).open("about", &old).is_err());
    }
}
