//! The saga on a real PostgreSQL and a real Anvil: the test plays campaign and watcher.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod batching;
mod closing;
mod compensation;
mod faulty_node;
mod guardian;
mod lanes;
mod lying;
mod monitor;
mod recovering;
mod sending;
mod setbacks;
mod settling;
mod treasury;
mod undoing;
mod wallet_checks;
mod wallets;
mod world;
