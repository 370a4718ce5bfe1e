//! An API key as it is shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::ApiKey;

#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyOut {
    /// Its id, by which it is revoked.
    pub(super) id: Uuid,
    /// The game server, as its outcomes name it.
    subject: String,
    /// The games that it may report of; null if of all.
    games: Option<Vec<String>>,
    /// How the key ends.
    ends_with: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Who made it.
    created_by: String,
    /// When it ends by itself.
    expires_at: Option<DateTime<Utc>>,
    /// Since when it is good no more.
    revoked_at: Option<DateTime<Utc>>,
    /// Who revoked it.
    revoked_by: Option<String>,
}

impl From<ApiKey> for ApiKeyOut {
    fn from(key: ApiKey) -> Self {
        let ApiKey {
            id,
            subject,
            games,
            ends_with,
            created_at,
            created_by,
            expires_at,
            revoked_at,
            revoked_by,
        } = key;
        Self { id, subject, games, ends_with, created_at, created_by, expires_at, revoked_at, revoked_by }
    }
}
