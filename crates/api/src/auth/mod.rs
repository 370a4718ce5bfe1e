//! Who is calling, and what they may do.
//!
//! ```text
//!   password and code ─┐
//!   wallet (EIP-4361) ─┴► session ──► access token (JWT, 15 min) ─┐
//!                            │                                    ├─► principal ──► rights ──► route
//!                            └► refresh token (once, 7 d)         │
//!   manager ───────────────────────► API key of a game server ────┘
//! ```

mod api_keys;
mod checked;
mod error;
mod guard;
mod matrix;
mod opaque;
mod password;
mod principal;
mod reseal;
mod secrets;
mod sessions;
mod sign_in;
mod staff;
mod token;
mod totp;

use self::sessions::end_sessions_of;
pub(crate) use self::{
    api_keys::{ApiKey, NewApiKey, add_api_key, list_api_keys, revoke_api_key},
    checked::CheckedTokens,
    guard::with_principal,
    sessions::{
        Ended, Opened, Owner, Refreshed, SignedInto, end_other_sessions, end_session, end_sessions_of_player,
        forget_sessions_of_player, open_session, refresh_session, sessions_of_player, staff_of,
    },
    sign_in::{Credentials, Tokens, about_totp, fail, is_locked, secrets_key, sign_in, tokens},
    staff::{SigningIn, begin_totp, confirm_totp, lock_staff, name_of},
    totp::Codes,
};
pub use self::{
    error::AuthError,
    matrix::{EVERY_ROLE, MATRIX, Right, Who},
    password::Password,
    principal::{AuthMode, Principal, Role},
    reseal::reseal_totp,
    secrets::SecretsKey,
    staff::{Staff, add_staff, forget_totp, list_staff, set_disabled, set_password},
    token::{Claims, Jwk, TokenKey},
};
