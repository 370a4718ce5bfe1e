//! Who may do what: one row for each route.

use super::Role::{self, Auditor, GameServer, Manager, Operator, Player};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever comes, without a token: what they may do is in what they send.
    Everybody,
    /// Callers of these roles.
    Roles(&'static [Role]),
    /// A player, where the path's `player_id` is their own, and callers of these roles for everybody of their organisation.
    PlayerOr(&'static [Role]),
}

impl Who {
    /// The roles that may call the route at all.
    pub fn roles(self) -> impl Iterator<Item = Role> {
        let (player, roles) = match self {
            Self::Everybody => (None, EVERY_ROLE),
            Self::Roles(roles) => (None, roles),
            Self::PlayerOr(roles) => (Some(Player), roles),
        };
        player.into_iter().chain(roles.iter().copied())
    }
}

/// A route and who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path, as the OpenAPI document has it.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
}

const fn to(method: &'static str, path: &'static str, roles: &'static [Role]) -> Right {
    Right { method, path, who: Who::Roles(roles) }
}

const fn to_everybody(method: &'static str, path: &'static str) -> Right {
    Right { method, path, who: Who::Everybody }
}

const fn to_player_or(method: &'static str, path: &'static str, roles: &'static [Role]) -> Right {
    Right { method, path, who: Who::PlayerOr(roles) }
}

/// All of them.
pub const EVERY_ROLE: &[Role] = &[Player, Manager, Auditor, Operator, GameServer];

/// Who works here.
const STAFF: &[Role] = &[Manager, Auditor, Operator];

/// Who watches campaigns.
const READERS: &[Role] = &[Manager, Auditor];

/// Every route. One that is not here answers nobody.
pub const MATRIX: [Right; 65] = [
    to_everybody("POST", "/v1/auth/token"),
    to_everybody("POST", "/v1/auth/refresh"),
    to_everybody("POST", "/v1/auth/wallet/challenge"),
    to_everybody("POST", "/v1/auth/wallet"),
    to_everybody("GET", "/v1/auth/jwks"),
    to("GET", "/v1/auth/me", EVERY_ROLE),
    to("POST", "/v1/auth/sign-out", EVERY_ROLE),
    to("PUT", "/v1/auth/password", STAFF),
    to("POST", "/v1/auth/totp", STAFF),
    to("PUT", "/v1/auth/totp", STAFF),
    to("POST", "/v1/api-keys", &[Manager]),
    to("GET", "/v1/api-keys", READERS),
    to("DELETE", "/v1/api-keys/{key_id}", &[Manager]),
    to("POST", "/v1/outcomes", &[GameServer]),
    to("GET", "/v1/outcomes/{outcome_id}", &[GameServer, Manager, Auditor]),
    to("PUT", "/v1/players/{player_id}", &[GameServer]),
    to_player_or("GET", "/v1/players/{player_id}", &[GameServer, Manager, Auditor]),
    to_player_or("GET", "/v1/players/{player_id}/grants", &[GameServer, Manager, Auditor]),
    to_player_or("GET", "/v1/players/{player_id}/tokens", &[GameServer, Manager, Auditor]),
    to_player_or("POST", "/v1/players/{player_id}/wallet/challenge", &[GameServer]),
    to_player_or("PUT", "/v1/players/{player_id}/wallet", &[GameServer]),
    to("POST", "/v1/campaigns", &[Manager]),
    to("GET", "/v1/campaigns", READERS),
    to("GET", "/v1/campaigns/{campaign_id}", READERS),
    to("PATCH", "/v1/campaigns/{campaign_id}", &[Manager]),
    to("DELETE", "/v1/campaigns/{campaign_id}", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/clone", &[Manager]),
    to("GET", "/v1/campaigns/{campaign_id}/history", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/players", READERS),
    to("POST", "/v1/campaigns/{campaign_id}/players", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/rule/try", READERS),
    to("POST", "/v1/campaigns/{campaign_id}/rule/replay", READERS),
    to("POST", "/v1/campaigns/{campaign_id}/schedule", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/unschedule", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/fund", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/activate", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/pause", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/resume", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/end", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/close", &[Manager]),
    to("GET", "/v1/campaigns/{campaign_id}/close", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/statistics", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/statistics/live", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/statistics/hours", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/budget", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/ledger", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/grants", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/declines", READERS),
    to("GET", "/v1/grants", READERS),
    to("GET", "/v1/grants/totals", READERS),
    to("GET", "/v1/grants/{grant_id}", &[GameServer, Manager, Auditor]),
    to("GET", "/v1/transactions", READERS),
    to("GET", "/v1/transactions/totals", READERS),
    to("GET", "/v1/transactions/{hash}", READERS),
    to("GET", "/v1/exports", READERS),
    to("GET", "/v1/exports/{export_id}", READERS),
    to("GET", "/v1/audit/balances", READERS),
    to("GET", "/v1/audit/vaults", READERS),
    to("GET", "/v1/audit/reconciliations", &[Auditor, Operator]),
    to("GET", "/v1/dead-letters", &[Operator]),
    to("GET", "/v1/dead-letters/{letter_id}", &[Operator]),
    to("POST", "/v1/dead-letters/{letter_id}/redrive", &[Operator]),
    to("POST", "/v1/dead-letters/redrive", &[Operator]),
    to("GET", "/v1/lanes", &[Operator]),
    to("GET", "/v1/alerts", &[Operator]),
];

/// Who may call the route, if it is known.
pub(super) fn who_may(method: &str, path: &str) -> Option<Who> {
    MATRIX.iter().find(|right| right.path == path && right.method == method).map(|right| right.who)
}
