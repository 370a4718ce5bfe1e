//! What was exported.

pub(crate) mod get;
pub(crate) mod list;
