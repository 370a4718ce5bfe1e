//! Players and their wallets, on a real PostgreSQL and a real Anvil.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod challenges;
mod contracts;
mod erasing;
mod reserved;
mod wallets;
mod world;
