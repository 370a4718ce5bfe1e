//! What auditors ask.

pub(crate) mod balances;
pub(crate) mod reconciliations;
pub(crate) mod vaults;
