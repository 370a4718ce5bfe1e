//! What auditors ask.

pub(crate) mod balances;
pub(crate) mod reconciliations;
