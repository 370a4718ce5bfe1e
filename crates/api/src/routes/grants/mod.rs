//! Grants.

pub(crate) mod get;
pub(crate) mod list;
mod out;
mod query;

pub(crate) use self::out::{GrantOut, STATES, show_all};
