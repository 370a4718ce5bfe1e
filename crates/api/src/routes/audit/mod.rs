//! What audits found.

pub(crate) mod reconciliations;
