//! `/v1/audit/journal`

pub(crate) mod get;
pub(crate) mod list;
mod query;
mod sheet;
