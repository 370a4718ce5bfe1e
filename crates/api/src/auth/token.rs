//! Access tokens: JWT (RFC 7519) signed with EdDSA over Ed25519 (RFC 8037).

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::Role;

/// The issuer that tokens name.
const ISSUER: &str = "laurel";

/// How far clocks may differ.
const LEEWAY_SECONDS: u64 = 5;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Who is calling.
    pub sub: String,
    /// What they are.
    pub role: Role,
    /// Their organisation.
    pub org: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
}

/// A token that cannot be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The key is not 32 bytes in hexadecimal.
    #[error("a signing key is 32 bytes in hexadecimal; make one with: openssl rand -hex 32")]
    Key,
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The token is forged, malformed or over.
    #[error("the token is not valid")]
    Token(#[source] jsonwebtoken::errors::Error),
}

/// A key that signs and checks tokens. Never shown.
#[derive(Clone)]
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

impl TokenKey {
    /// The key whose 32 secret bytes `text` spells in hexadecimal.
    ///
    /// # Errors
    /// [`AuthError::Key`] if it does not.
    pub fn from_hex(text: &str) -> Result<Self, AuthError> {
        let secret: alloy_primitives::B256 = text.trim().parse().map_err(|_| AuthError::Key)?;
        let key = SigningKey::from_bytes(&secret.0);
        let der = key.to_pkcs8_der().map_err(|_| AuthError::Key)?;
        Ok(Self {
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
            decoding: DecodingKey::from_ed_der(key.verifying_key().as_bytes()),
        })
    }

    /// A token for `subject`, good for `lifetime` from `now`.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn mint(
        &self,
        now: DateTime<Utc>,
        lifetime: TimeDelta,
        role: Role,
        org: &str,
        subject: &str,
    ) -> Result<String, AuthError> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: subject.to_owned(),
            role,
            org: org.to_owned(),
            iat: now.timestamp(),
            exp: (now + lifetime).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding).map_err(AuthError::Sign)
    }

    /// What `token` says, if it is ours and still good at `now`.
    ///
    /// # Errors
    /// [`AuthError::Token`] if it is not.
    pub fn check(&self, now: DateTime<Utc>, token: &str) -> Result<Claims, AuthError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // The library would ask the machine's clock.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(AuthError::Token)?
            .claims;
        let leeway = TimeDelta::seconds(LEEWAY_SECONDS.cast_signed());
        if (now - leeway).timestamp() >= claims.exp {
            return Err(AuthError::Token(jsonwebtoken::errors::ErrorKind::ExpiredSignature.into()));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    fn key() -> TokenKey {
        TokenKey::from_hex(KEY).unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let token = key().mint(now, TimeDelta::minutes(15), Role::Manager, "acme", "ada").unwrap();
        let claims = key().check(now, &token).unwrap();
        assert_eq!((claims.role, claims.org.as_str(), claims.sub.as_str()), (Role::Manager, "acme", "ada"));
        assert!(key().check(now + TimeDelta::minutes(15), &token).is_ok());
        assert!(key().check(now + TimeDelta::minutes(16), &token).is_err());
    }

    #[test]
    fn a_forged_token_is_refused() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let other = TokenKey::from_hex(&KEY.replace('9', "8")).unwrap();
        let token = other.mint(now, TimeDelta::minutes(15), Role::Manager, "acme", "ada").unwrap();
        assert!(key().check(now, &token).is_err());

        let token = key().mint(now, TimeDelta::minutes(15), Role::Player, "acme", "ada").unwrap();
        let mut parts: Vec<&str> = token.split('.').collect();
        // {"alg":"none"}
        parts[0] = "eyJhbGciOiJub25lIn0";
        assert!(key().check(now, &parts.join(".")).is_err());
        assert!(key().check(now, &format!("{}.{}.", parts[0], parts[1])).is_err());
    }

    #[test]
    fn a_key_is_32_bytes_and_is_not_shown() {
        assert!(TokenKey::from_hex(&KEY[2..]).is_err());
        assert!(!format!("{:?}", key()).contains("9d61"));
    }
}
