//! `/v1/audit/journal`

pub(crate) mod list;
mod query;
mod sheet;
