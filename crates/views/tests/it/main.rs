//! What is read, on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod books;
mod filters;
mod grants;
mod history;
mod lists;
mod stats;
mod tokens;
mod transactions;
mod world;
