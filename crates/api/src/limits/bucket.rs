//! Whose bucket it is.

use sha2::{Digest, Sha256};

use super::{Address, Class};
use crate::Role;

/// How much of a hash tells buckets apart: nobody finds two callers with the same 128 bits.
const KEY_BYTES: usize = 16;

/// A bucket, by a hash of the class and of who is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(super) class: Class,
    pub(super) key: [u8; KEY_BYTES],
}

impl Bucket {
    /// Of whoever calls from an address.
    pub(crate) fn of_address(class: Class, address: Address) -> Self {
        Self::new(class, &["address", &address.to_string()])
    }

    /// Of whoever has a token.
    pub(crate) fn of_subject(class: Class, org: &str, role: Option<Role>, subject: &str) -> Self {
        let role = role.map(|role| role.to_string()).unwrap_or_default();
        Self::new(class, &["subject", org, &role, subject])
    }

    /// Of whoever has an API key, by its digest.
    pub(crate) fn of_key(class: Class, digest: [u8; 32]) -> Self {
        Self::new(class, &["key", &hex::encode(digest)])
    }

    /// Of all who want to be somebody: by name, wherever they come from, where there is a password to be guessed.
    pub(crate) fn of_login(parts: &[&str]) -> Self {
        Self::new(Class::Login, parts)
    }

    /// The same caller's bucket of another class has another key.
    fn new(class: Class, parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in [class.as_str()].iter().chain(parts) {
            // With its length, so that no two lists of parts are the same text.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&digest.finalize()[..KEY_BYTES]);
        Self { class, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_and_classes_have_buckets_of_their_own() {
        let buckets = [
            Bucket::of_subject(Class::Read, "a", Some(Role::Manager), "bc"),
            Bucket::of_subject(Class::Read, "ab", Some(Role::Manager), "c"),
            Bucket::of_subject(Class::Read, "a", Some(Role::Auditor), "bc"),
            Bucket::of_subject(Class::Read, "a", None, "bc"),
            Bucket::of_subject(Class::Write, "a", Some(Role::Manager), "bc"),
            Bucket::of_key(Class::Read, [1; 32]),
            Bucket::of_key(Class::Read, [2; 32]),
            Bucket::of_login(&["bc"]),
        ];
        for (one, bucket) in buckets.iter().enumerate() {
            for other in &buckets[one + 1..] {
                assert_ne!(bucket.key, other.key, "{bucket:?} {other:?}");
            }
        }
    }
}
