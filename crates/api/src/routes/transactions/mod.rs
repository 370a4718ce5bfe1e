//! Transactions.

pub(crate) mod get;
pub(crate) mod list;
mod out;

pub(crate) use self::out::STATES;
