//! The REST interface on a real PostgreSQL, through the real router.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod as_of;
mod audits;
mod auth;
mod bad_campaigns;
mod bad_outcomes;
mod bad_requests;
mod call;
mod campaigns;
mod chain;
mod closing;
mod document;
mod erasure;
mod examples;
mod exports;
mod faults;
mod funding;
mod idempotency;
mod limits;
mod listed;
mod lists;
mod operations;
mod outcomes;
mod players;
mod reads;
mod request_id;
mod server;
mod shapes;
mod sign_in;
mod staff_log;
mod statistics;
mod token_node;
mod trials;
mod wallets;
mod world;
