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
    /// What the OpenAPI document calls the operation.
    pub operation: &'static str,
    /// Who may call it.
    pub who: Who,
    /// Whether it answers what is known of players: it is logged then when people who work here ask.
    pub is_personal: bool,
}

const fn right(method: &'static str, path: &'static str, operation: &'static str, who: Who) -> Right {
    Right { method, path, operation, who, is_personal: false }
}

const fn to(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    roles: &'static [Role],
) -> Right {
    right(method, path, operation, Who::Roles(roles))
}

const fn to_everybody(method: &'static str, path: &'static str, operation: &'static str) -> Right {
    right(method, path, operation, Who::Everybody)
}

const fn to_player_or(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    roles: &'static [Role],
) -> Right {
    right(method, path, operation, Who::PlayerOr(roles))
}

const fn personal(right: Right) -> Right {
    Right { is_personal: true, ..right }
}

/// All of them.
pub const EVERY_ROLE: &[Role] = &[Player, Manager, Auditor, Operator, GameServer];

/// Who works here.
const STAFF: &[Role] = &[Manager, Auditor, Operator];

/// Who watches campaigns.
const READERS: &[Role] = &[Manager, Auditor];

/// Every route. One that is not here answers nobody.
pub const MATRIX: [Right; 71] = [
    to_everybody("POST", "/v1/auth/token", "sign_in"),
    to_everybody("POST", "/v1/auth/refresh", "refresh"),
    to_everybody("POST", "/v1/auth/wallet/challenge", "post_sign_in_challenge"),
    to_everybody("POST", "/v1/auth/wallet", "sign_in_with_wallet"),
    to_everybody("GET", "/v1/auth/jwks", "list_keys"),
    to("GET", "/v1/auth/me", "who_am_i", EVERY_ROLE),
    to("POST", "/v1/auth/sign-out", "sign_out", EVERY_ROLE),
    to("PUT", "/v1/auth/password", "put_password", STAFF),
    to("POST", "/v1/auth/totp", "begin_totp", STAFF),
    to("PUT", "/v1/auth/totp", "confirm_totp", STAFF),
    to("POST", "/v1/api-keys", "post_api_key", &[Manager]),
    to("GET", "/v1/api-keys", "list_api_keys", READERS),
    to("DELETE", "/v1/api-keys/{key_id}", "revoke_api_key", &[Manager]),
    to("POST", "/v1/outcomes", "post_outcomes", &[GameServer]),
    to("GET", "/v1/outcomes/{outcome_id}", "get_outcome", &[GameServer, Manager, Auditor]),
    to("PUT", "/v1/players/{player_id}", "put_player", &[GameServer]),
    personal(to_player_or("GET", "/v1/players/{player_id}", "get_player", &[GameServer, Manager, Auditor])),
    personal(to_player_or("GET", "/v1/players/{player_id}/data", "export_player", READERS)),
    to("DELETE", "/v1/players/{player_id}", "erase_player", &[Manager]),
    personal(to_player_or(
        "GET",
        "/v1/players/{player_id}/grants",
        "list_player_grants",
        &[GameServer, Manager, Auditor],
    )),
    personal(to_player_or(
        "GET",
        "/v1/players/{player_id}/tokens",
        "list_player_tokens",
        &[GameServer, Manager, Auditor],
    )),
    to_player_or("POST", "/v1/players/{player_id}/wallet/challenge", "post_wallet_challenge", &[GameServer]),
    to_player_or("PUT", "/v1/players/{player_id}/wallet", "put_wallet", &[GameServer]),
    to("POST", "/v1/campaigns", "post_campaign", &[Manager]),
    to("GET", "/v1/campaigns", "list_campaigns", READERS),
    to("GET", "/v1/campaigns/{campaign_id}", "get_campaign", READERS),
    to("PATCH", "/v1/campaigns/{campaign_id}", "patch_campaign", &[Manager]),
    to("DELETE", "/v1/campaigns/{campaign_id}", "delete_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/clone", "clone_campaign", &[Manager]),
    to("GET", "/v1/campaigns/{campaign_id}/history", "get_campaign_history", READERS),
    personal(to("GET", "/v1/campaigns/{campaign_id}/players", "list_campaign_players", READERS)),
    to("POST", "/v1/campaigns/{campaign_id}/players", "change_campaign_players", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/rule/try", "try_rule", READERS),
    personal(to("POST", "/v1/campaigns/{campaign_id}/rule/replay", "replay_rule", READERS)),
    to("POST", "/v1/campaigns/{campaign_id}/schedule", "schedule_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/unschedule", "unschedule_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/fund", "fund_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/activate", "activate_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/pause", "pause_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/resume", "resume_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/end", "end_campaign", &[Manager]),
    to("POST", "/v1/campaigns/{campaign_id}/close", "close_campaign", &[Manager]),
    to("GET", "/v1/campaigns/{campaign_id}/close", "get_campaign_closing", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/statistics", "get_campaign_statistics", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/statistics/live", "watch_campaign_statistics", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/statistics/hours", "list_campaign_hours", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/budget", "get_campaign_budget", READERS),
    to("GET", "/v1/campaigns/{campaign_id}/ledger", "list_campaign_transfers", READERS),
    personal(to("GET", "/v1/campaigns/{campaign_id}/grants", "list_campaign_grants", READERS)),
    personal(to("GET", "/v1/campaigns/{campaign_id}/declines", "list_campaign_declines", READERS)),
    personal(to("GET", "/v1/grants", "list_grants", READERS)),
    to("GET", "/v1/grants/totals", "get_grant_totals", READERS),
    personal(to("GET", "/v1/grants/{grant_id}", "get_grant", &[GameServer, Manager, Auditor])),
    to("GET", "/v1/transactions", "list_transactions", READERS),
    to("GET", "/v1/transactions/totals", "get_transaction_totals", READERS),
    to("GET", "/v1/transactions/{hash}", "get_transaction", READERS),
    to("GET", "/v1/exports", "list_exports", READERS),
    to("GET", "/v1/exports/{export_id}", "get_export", READERS),
    to("GET", "/v1/audit/balances", "list_balances", READERS),
    to("GET", "/v1/audit/vaults", "list_vaults", READERS),
    personal(to("GET", "/v1/audit/journal", "list_journal", &[Auditor])),
    personal(to("GET", "/v1/audit/journal/{partition}/{offset}/{index}", "get_event", &[Auditor])),
    to("GET", "/v1/audit/log", "list_audit_log", &[Auditor]),
    to("GET", "/v1/audit/reconciliations", "list_reconciliations", &[Auditor, Operator]),
    to("GET", "/v1/dead-letters", "list_dead_letters", &[Operator]),
    personal(to("GET", "/v1/dead-letters/{letter_id}", "get_dead_letter", &[Operator])),
    to("POST", "/v1/dead-letters/{letter_id}/redrive", "redrive_dead_letter", &[Operator]),
    to("POST", "/v1/dead-letters/redrive", "redrive_dead_letters", &[Operator]),
    to("GET", "/v1/lanes", "list_lanes", &[Operator]),
    to("GET", "/v1/alerts", "list_alerts", &[Operator]),
    to("GET", "/v1/views", "list_views", STAFF),
];

/// The row of a route, if it is known.
pub(super) fn find_right(method: &str, path: &str) -> Option<&'static Right> {
    MATRIX.iter().find(|right| right.path == path && right.method == method)
}
