//! Tests of rules and rewards through the crate's public surface, and of the stages on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod reward;
mod rule;
mod sample;
mod stages;
mod world;
