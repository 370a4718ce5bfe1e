//! The ledger on a real PostgreSQL.

mod accounts;
mod journal;
mod migrations;
mod outcomes;
mod world;
