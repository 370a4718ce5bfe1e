//! A node is asked, and what it answers is checked, on a real Anvil.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod endpoints;
mod funding;
mod identity;
mod keys;
mod nonces;
mod receipts;
mod refusals;
mod sending;
mod world;
