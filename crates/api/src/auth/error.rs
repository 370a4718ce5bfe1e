//! What can be wrong with a credential.

use laurel_ledger::LedgerError;

use super::password::PASSWORD_CHARS_MIN;

/// A credential that cannot be made, believed or kept.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The key is not 32 bytes in hexadecimal.
    #[error("a key is 32 bytes in hexadecimal; make one with: openssl rand -hex 32")]
    Key,
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The token is forged, malformed or over.
    #[error("the token is not valid")]
    Token(#[source] jsonwebtoken::errors::Error),
    /// The password is too short or too long.
    #[error("a password has {PASSWORD_CHARS_MIN} characters or more, and not more than a few lines")]
    Password,
    /// A password could not be hashed, or its hash is none.
    #[error("a password could not be hashed or compared")]
    Hash,
    /// Too many passwords are being compared.
    #[error("too many passwords are being compared")]
    Busy,
    /// A secret in the database cannot be opened.
    #[error("a secret in the database cannot be opened: it was encrypted with another key, or changed")]
    Sealed,
    /// Somebody of that name is there already.
    #[error("there is somebody called {0} already")]
    NameTaken(String),
    /// There is nobody of that name.
    #[error("there is nobody called {0}")]
    Nobody(String),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<sqlx::Error> for AuthError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}
