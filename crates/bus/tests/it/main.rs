//! The bus on a real PostgreSQL.

mod delivery;
mod letters;
mod timers;
mod wakes;
mod world;
