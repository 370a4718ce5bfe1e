//! The simulator: the real stages on a real database and a simulated chain, with faults, all of it from a seed.
//!
//! ```text
//!   seed ──► dice ──► scheduler ──► one actor moves, to its next fault point ──► auditor looks
//!              │                      (a stage, a lane, the watcher …, of either replica)
//!              └────► trouble: blocks, reorganisations, fees, pauses, clocks
//! ```
//!
//! One thread, and nobody moves but whom the scheduler polls. So the same seed tells the same story, and a story that ends
//! badly can be told again.

mod actors;
mod audit;
mod chain;
mod cli;
mod clients;
mod database;
mod dice;
mod fleet;
mod genesis;
mod kill;
mod machine;
mod moments;
mod owner;
mod plan;
mod planted;
mod points;
mod poison;
mod reconciled;
mod releases;
mod rest;
mod restore;
mod retold;
mod run;
mod scheduler;
mod stories;
mod summary;
mod taken_back;
mod trace;
mod trouble;
mod world;

pub use self::{
    cli::main,
    run::{Outcome, Wanted, Worker},
};
