//! The REST interface.
//!
//! ```text
//!   request ──► request id ──► limits ──► principal (JWT) ──► rights ──► route ──► one transaction ──► answer, or problem+json (RFC 9457)
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
mod head;
mod idempotency;
mod limits;
mod origins;
mod parameters;
mod pointer;
mod problem;
mod request_id;
mod routes;
mod server;
mod shape;
mod staff_log;
mod state;
mod statistics;
mod together;

pub use self::{
    auth::{
        AuthError, AuthMode, Claims, EVERY_ROLE, Jwk, MATRIX, Password, Principal, Right, Role, SecretsKey,
        Staff, TokenKey, Who, add_staff, forget_totp, list_staff, reseal_totp, set_disabled, set_password,
    },
    breaking::breaking_changes,
    export::break_overdue_exports,
    limits::{Class, Intake, LimitMetrics, Rate, Rates, class_of, follow_intake, sweep_buckets},
    problem::Problem,
    routes::{openapi, router},
    server::{CertificateError, Certificates, ServerSettings, serve},
    staff_log::Origin,
    state::{ApiParts, ApiState, LimitParts},
    statistics::follow_statistics,
};
