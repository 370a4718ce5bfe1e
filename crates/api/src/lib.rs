//! The REST interface.
//!
//! ```text
//!   request ──► request id ──► principal (JWT) ──► route ──► one transaction ──► answer, or problem+json (RFC 9457)
//! ```
//!
//! A route's path tells its file: `POST /v1/outcomes` is `routes/outcomes/post.rs`. The OpenAPI document is generated
//! from the same routes, so that it cannot differ from them.

mod address;
mod auth;
mod docs;
mod extract;
mod idempotency;
mod problem;
mod request_id;
mod routes;
mod shape;
mod state;

pub use self::{
    auth::{AuthError, AuthMode, Claims, Principal, Role, TokenKey},
    problem::Problem,
    routes::{openapi, router},
    state::{ApiParts, ApiState},
};
