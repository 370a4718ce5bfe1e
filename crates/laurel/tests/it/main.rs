//! The binary as its users run it: processes, a real PostgreSQL, a real Anvil.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod audit;
mod campaign_life;
mod commands;
mod connections;
mod crashes;
mod documents;
mod ended;
mod endpoints;
mod histories;
mod hung;
mod lanes;
mod letters;
mod lifetimes;
mod pausing;
mod pipes;
mod process;
mod rebase;
mod reconciliation;
mod recovery;
mod refusals;
mod refusing;
mod rest;
mod roles;
mod typescript;
mod unrecovered;
mod users;
mod world;
mod zombie;
