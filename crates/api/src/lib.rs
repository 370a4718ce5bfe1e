//! The REST interface.
//!
//! ```text
//!   request ──► request id ──► principal (JWT) ──► rights ──► route ──► one transaction ──► answer, or problem+json (RFC 9457)
//! ```
//!
//! A route's path tells its file: `POST /v1/outcomes` is `routes/outcomes/post.rs`. Who may call it tells its row in
//! `auth/matrix.rs`; a route without one answers nobody. The OpenAPI document is generated from the same routes, so that
//! it cannot differ from them.

mod address;
mod auth;
mod breaking;
mod docs;
mod document;
mod export;
mod extract;
mod idempotency;
mod pointer;
mod problem;
mod request_id;
mod routes;
mod shape;
mod staff_log;
mod state;
mod statistics;

pub use self::{
    auth::{
        AuthError, AuthMode, Claims, EVERY_ROLE, Jwk, MATRIX, Password, Principal, Right, Role, SecretsKey,
        Staff, TokenKey, Who, add_staff, forget_totp, list_staff, set_disabled, set_password,
    },
    breaking::breaking_changes,
    problem::Problem,
    routes::{openapi, router},
    staff_log::Origin,
    state::{ApiParts, ApiState},
    statistics::follow_statistics,
};
