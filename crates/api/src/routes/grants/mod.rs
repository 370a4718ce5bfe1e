//! Grants.

pub(crate) mod get;
pub(crate) mod list;
mod out;
mod query;
mod sheet;
pub(crate) mod totals;

pub(crate) use self::out::{GrantOut, STATES, show_all, show_named};
