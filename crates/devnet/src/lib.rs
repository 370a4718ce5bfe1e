//! Throw-away PostgreSQL and Anvil for the demo and the tests: started by us, gone with us.

pub mod anvil;
pub mod chain_control;
pub mod dev_keys;
pub mod postgres;
pub mod surroundings;
pub mod testing;

mod account;
mod detached;
mod error;
mod keeper;
mod npm;
mod rpc;

pub use anvil::{Anvil, AnvilOptions, Mining};
pub use error::DevnetError;
pub use postgres::{Postgres, PostgresOptions};
pub use surroundings::Surroundings;
