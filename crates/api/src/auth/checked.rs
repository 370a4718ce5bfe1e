//! Tokens whose signature was checked not long ago: checking one again costs as much as a small statement.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Claims, TokenKey};

/// How many are remembered; some 300 bytes each.
const TOKENS_MAX: u64 = 50_000;

/// For how long. A key that is taken out of the configuration is gone with the process that knew it.
const REMEMBERED: Duration = Duration::from_secs(900);

/// What tokens said whose signature was good, by the token's hash: no token is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CheckedTokens(Cache<[u8; 32], Arc<Claims>>);

impl Default for CheckedTokens {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(TOKENS_MAX).time_to_live(REMEMBERED).build())
    }
}

impl CheckedTokens {
    /// What `token` says, if one of `keys` signed it and it is still good at `now`.
    pub(super) fn check(&self, now: DateTime<Utc>, keys: &[TokenKey], token: &str) -> Option<Claims> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.0.get(&digest) {
            return claims.are_good_at(now).then(|| Claims::clone(&claims));
        }
        let claims = keys.iter().find_map(|key| key.check(now, token).ok())?;
        self.0.insert(digest, Arc::new(claims.clone()));
        Some(claims)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::Role;

    #[test]
    fn a_token_that_was_good_ends_all_the_same() {
        let key = |digit: &str| TokenKey::from_hex(&digit.repeat(64)).unwrap();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let token = key("1").mint(now, TimeDelta::minutes(15), Role::Manager, "acme", "ada").unwrap();
        let checked = CheckedTokens::default();
        assert!(checked.check(now, &[key("2")], &token).is_none());
        let keys = [key("2"), key("1")];
        let claims = checked.check(now, &keys, &token).unwrap();
        assert!(checked.0.contains_key(&<[u8; 32]>::from(Sha256::digest(&token))));
        assert_eq!(checked.check(now + TimeDelta::minutes(14), &keys, &token), Some(claims));
        assert!(checked.check(now + TimeDelta::minutes(16), &keys, &token).is_none());
    }
}
