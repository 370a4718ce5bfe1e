//! Access tokens: JWT (RFC 7519) signed with EdDSA over Ed25519 (RFC 8037).

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode_header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AuthError, Role};

/// How long an access token is good.
pub(crate) const ACCESS_LIFETIME: TimeDelta = TimeDelta::minutes(15);

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
    /// The sign-in that it came of: it ends with that, too. One that was minted on the command line has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
}

/// The public part of a key (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Jwk {
    /// OKP.
    kty: &'static str,
    /// Ed25519.
    crv: &'static str,
    /// EdDSA.
    alg: &'static str,
    /// sig: it checks signatures.
    #[serde(rename = "use")]
    usage: &'static str,
    /// Its thumbprint (RFC 7638), which tokens name in their header.
    kid: String,
    /// The public key, in base64url.
    x: String,
}

/// A key that signs and checks tokens. Never shown.
#[derive(Clone)]
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: Jwk,
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
        let public = key.verifying_key();
        Ok(Self {
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
            decoding: DecodingKey::from_ed_der(public.as_bytes()),
            public: Jwk::new(public.as_bytes()),
        })
    }

    /// Its public part.
    pub const fn jwk(&self) -> &Jwk {
        &self.public
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
        let subject = subject.to_owned();
        self.sign(&Claims::new(now, lifetime, role, org.to_owned(), subject, None))
    }

    /// The token that says so.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, AuthError> {
        let header = Header { kid: Some(self.public.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(AuthError::Sign)
    }

    /// What `token` says, if it is ours and still good at `now`.
    ///
    /// # Errors
    /// [`AuthError::Token`] if it is not.
    pub fn check(&self, now: DateTime<Utc>, token: &str) -> Result<Claims, AuthError> {
        let named = decode_header(token).map_err(AuthError::Token)?.kid;
        if named.is_some_and(|kid| kid != self.public.kid) {
            return Err(AuthError::Token(jsonwebtoken::errors::ErrorKind::InvalidSignature.into()));
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // The library would ask the machine's clock.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(AuthError::Token)?
            .claims;
        if !claims.are_good_at(now) {
            return Err(AuthError::Token(jsonwebtoken::errors::ErrorKind::ExpiredSignature.into()));
        }
        Ok(claims)
    }
}

impl Claims {
    /// Whether a token that says so is not over.
    pub(super) fn are_good_at(&self, now: DateTime<Utc>) -> bool {
        let leeway = TimeDelta::seconds(LEEWAY_SECONDS.cast_signed());
        (now - leeway).timestamp() < self.exp
    }

    pub(crate) fn new(
        now: DateTime<Utc>,
        lifetime: TimeDelta,
        role: Role,
        org: String,
        sub: String,
        sid: Option<Uuid>,
    ) -> Self {
        let (iat, exp) = (now.timestamp(), (now + lifetime).timestamp());
        Self { iss: ISSUER.to_owned(), sub, role, org, iat, exp, sid }
    }
}

impl Jwk {
    fn new(public: &[u8; 32]) -> Self {
        let x = BASE64_URL_SAFE_NO_PAD.encode(public);
        // What RFC 7638 has hashed: the required members in the order of their names.
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let kid = BASE64_URL_SAFE_NO_PAD.encode(thumbprint);
        Self { kty: "OKP", crv: "Ed25519", alg: "EdDSA", usage: "sig", kid, x }
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

    /// The key of RFC 8037, appendix A, with its public part and its thumbprint there.
    #[test]
    fn a_key_is_published_as_the_rfc_has_it() {
        let jwk = key().jwk().clone();
        assert_eq!(jwk.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_token_names_its_key_and_is_good_for_no_other() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let token = key().mint(now, TimeDelta::minutes(15), Role::Manager, "acme", "ada").unwrap();
        assert_eq!(decode_header(&token).unwrap().kid.unwrap(), key().jwk().kid);
        let claims = Claims { sid: None, ..key().check(now, &token).unwrap() };
        let header = Header { kid: Some("another".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, &key().encoding).unwrap();
        assert!(key().check(now, &token).is_err());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key().encoding).unwrap();
        assert!(key().check(now, &token).is_ok());
    }

    #[test]
    fn a_key_is_32_bytes_and_is_not_shown() {
        assert!(TokenKey::from_hex(&KEY[2..]).is_err());
        assert!(!format!("{:?}", key()).contains("9d61"));
    }
}
