//! Parts for tests: a database of its own for each, and a chain of its own.

mod contract_wallet;
mod database;
mod line;

pub use contract_wallet::{CONTRACT_WALLET, CONTRACT_WALLET_SIGNATURE};
pub use database::TestDatabase;
pub use line::{Line, LineState};

use crate::{Anvil, AnvilOptions, DevnetError, Mining};

/// A fresh Anvil that mines as told.
///
/// # Errors
///
/// When it cannot be had or does not answer in time.
pub async fn anvil(mining: Mining) -> Result<Anvil, DevnetError> {
    Anvil::start(AnvilOptions::new(mining)).await
}
