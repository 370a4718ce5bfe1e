//! Passwords of people who work here: argon2id (RFC 9106).

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash,
};
use rand::RngCore;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::AuthError;

/// The fewest characters (NIST SP 800-63B asks for 8 where a second factor can be had, and for no other rules).
pub(super) const PASSWORD_CHARS_MIN: usize = 12;

/// The longest one, in bytes: any passphrase fits, and nobody can have us hash a book.
const PASSWORD_BYTES_MAX: usize = 512;

/// What OWASP's Password Storage Cheat Sheet recommends: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// As long as RFC 9106 recommends.
const SALT_BYTES: usize = 16;

/// How many are hashed at a time: each takes a processor and 19 MiB, and whoever reports outcomes needs processors as well.
const HASHING_MAX: usize = 2;

/// How many may wait for that: the last of them waits for half a second.
const WAITING_MAX: usize = 32;

/// Whoever has a place here has a turn, or waits for one.
static PLACES: Semaphore = Semaphore::const_new(HASHING_MAX + WAITING_MAX);

/// Waits for a turn to hash.
static HASHING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(HASHING_MAX)));

/// A password as somebody typed it. Never shown.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// A password that may be chosen.
    ///
    /// # Errors
    /// If it is too short or too long.
    pub fn choose(text: String) -> Result<Self, AuthError> {
        if text.chars().count() < PASSWORD_CHARS_MIN || text.len() > PASSWORD_BYTES_MAX {
            return Err(AuthError::Password);
        }
        Ok(Self(text))
    }

    /// A password that somebody came with, good or not; `None` if nobody can have chosen it.
    pub(crate) fn given(text: String) -> Option<Self> {
        (text.len() <= PASSWORD_BYTES_MAX).then_some(Self(text))
    }

    /// Its hash, with a salt of its own, as a PHC string.
    ///
    /// # Errors
    /// If it cannot be hashed.
    pub async fn hash(self, rng: &mut (dyn RngCore + Send)) -> Result<String, AuthError> {
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        in_turn(move || {
            let hash = argon2()?.hash_password_with_salt(self.0.as_bytes(), &salt);
            Ok(hash.map_err(|_| AuthError::Hash)?.to_string())
        })
        .await?
    }

    /// Whether it is the one of that hash. Where there is none the answer takes as long.
    ///
    /// # Errors
    /// If it cannot be told.
    pub(crate) async fn matches(self, hash: Option<String>) -> Result<bool, AuthError> {
        in_turn(move || {
            let Some(hash) = hash else {
                argon2()?
                    .hash_password_with_salt(self.0.as_bytes(), &[0; SALT_BYTES])
                    .map_err(|_| AuthError::Hash)?;
                return Ok(false);
            };
            let hash = PasswordHash::new(&hash).map_err(|_| AuthError::Hash)?;
            Ok(argon2()?.verify_password(self.0.as_bytes(), &hash).is_ok())
        })
        .await?
    }
}

fn argon2() -> Result<Argon2<'static>, AuthError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| AuthError::Hash)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Does it where it keeps nobody else waiting, unless too many wait for it.
async fn in_turn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
) -> Result<Result<T, AuthError>, AuthError> {
    let _place = PLACES.try_acquire().map_err(|_| AuthError::Busy)?;
    let turn = HASHING.clone().acquire_owned().await.map_err(|_| AuthError::Hash)?;
    // Whoever asked may be gone before it is done: the turn is over when the work is.
    let worked = spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    worked.await.map_err(|_| AuthError::Hash)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let mut rng = StdRng::from_seed([1; 32]);
        let password = || Password::choose("correct horse battery".to_owned()).unwrap();
        let hash = password().hash(&mut rng).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(password().matches(Some(hash.clone())).await.unwrap());
        let other = Password::given("correct horse batterx".to_owned()).unwrap();
        assert!(!other.clone().matches(Some(hash.clone())).await.unwrap());
        assert!(!other.matches(None).await.unwrap());
        assert_ne!(password().hash(&mut rng).await.unwrap(), hash);
        assert_eq!(format!("{:?}", password()), "Password(…)");
    }

    /// All places are asked for at once: a runtime of one thread asks for every one before any is given back.
    #[tokio::test]
    async fn only_so_many_wait_to_be_hashed() {
        let crowd = (0..HASHING_MAX + WAITING_MAX + 3)
            .map(|_| Password::given("correct horse battery".to_owned()).unwrap().matches(None));
        let answers = futures::future::join_all(crowd).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(AuthError::Busy))).count();
        assert!(busy >= 3, "{busy}");
        assert!(answers.iter().any(Result::is_ok));
    }

    #[test]
    fn short_ones_and_books_cannot_be_chosen() {
        assert!(Password::choose("elevenchars".to_owned()).is_err());
        assert!(Password::choose("zwölfzeichen".to_owned()).is_ok());
        assert!(Password::choose("x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
        assert!(Password::given("x".repeat(PASSWORD_BYTES_MAX + 1)).is_none());
        assert!(Password::given(String::new()).is_some());
    }
}
