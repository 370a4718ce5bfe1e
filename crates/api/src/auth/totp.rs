//! Codes of an authenticator (RFC 6238): six digits, SHA-1, 30 seconds, which is what every such program shows.

use chrono::{DateTime, Utc};
use rand::RngCore;
use totp_rs::{Builder, Secret, Totp};

use super::AuthError;

/// As long as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// Who asks, as an authenticator shows it.
const ISSUER: &str = "Laurel";

/// A secret that codes are made of.
pub(crate) struct Codes(Totp);

impl Codes {
    /// Of a new secret.
    pub(crate) fn generate(rng: &mut (dyn RngCore + Send), name: &str) -> Result<Self, AuthError> {
        let mut secret = [0; SECRET_BYTES];
        rng.fill_bytes(&mut secret);
        Self::of(secret.to_vec(), name)
    }

    /// Of a secret that is known.
    pub(crate) fn of(secret: Vec<u8>, name: &str) -> Result<Self, AuthError> {
        let builder = Builder::new().with_secret(Secret::new(secret.into_boxed_slice()));
        // An authenticator's name of it stands in a URI whose parts a colon divides.
        let built = builder.with_issuer(Some(ISSUER)).with_account_name(name.replace(':', " ")).build();
        Ok(Self(built.map_err(|_| AuthError::Sealed)?))
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.0.secret().as_bytes()
    }

    /// What an authenticator reads, as a QR code or by hand.
    pub(crate) fn uri(&self) -> Result<String, AuthError> {
        self.0.to_url().map_err(|_| AuthError::Sealed)
    }

    /// The step whose code that is, if it is good at `now` and later than `last`: none is good twice.
    pub(crate) fn check(&self, now: DateTime<Utc>, code: &str, last: Option<i64>) -> Option<i64> {
        let step = self.0.check(code, now.timestamp().cast_unsigned())?.cast_signed();
        last.is_none_or(|last| step > last).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// RFC 6238, appendix B, for SHA-1: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let codes = Codes::of(b"12345678901234567890".to_vec(), "ada").unwrap();
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
            assert_eq!(codes.check(now, code, None), Some(second / 30));
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute_or_so() {
        let codes = Codes::of(b"12345678901234567890".to_vec(), "ada").unwrap();
        let at = |second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let step = codes.check(at(59), "287082", None).unwrap();
        assert_eq!(codes.check(at(59), "287082", Some(step - 1)), Some(step));
        assert_eq!(codes.check(at(59), "287082", Some(step)), None);
        assert_eq!(codes.check(at(85), "287082", None), Some(step));
        assert_eq!(codes.check(at(125), "287082", None), None);
        assert_eq!(codes.check(at(59), "287083", None), None);
        assert_eq!(codes.check(at(59), "", None), None);
    }

    #[test]
    fn an_authenticator_can_read_it() {
        let codes = Codes::of(b"12345678901234567890".to_vec(), "ada:acme").unwrap();
        let uri = codes.uri().unwrap();
        assert!(
            uri.starts_with("otpauth://totp/Laurel:ada%20acme?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            "{uri}"
        );
    }
}
