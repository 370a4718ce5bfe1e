//! Outcomes of games.

pub(crate) mod get;
pub(crate) mod post;
mod validate;
