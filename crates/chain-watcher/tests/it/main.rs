//! The watcher on a real Anvil and a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod chain;
mod endpoints;
mod finality;
mod following;
mod funding;
mod interrupted;
mod journal;
mod lying;
mod rebase;
mod recorded;
mod reorganisations;
mod replicas;
mod restarts;
mod silence;
mod world;
