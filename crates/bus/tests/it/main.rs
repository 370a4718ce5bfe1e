//! The bus on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod delivery;
mod halts;
mod letters;
mod timers;
mod wakes;
mod world;
