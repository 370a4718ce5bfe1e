//! The ledger on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod accounts;
mod errors;
mod journal;
mod migrations;
mod outcomes;
mod ranges;
mod stops;
mod transfers;
mod world;
