//! Tests of rules and rewards through the crate's public surface.

mod reward;
mod rule;
mod sample;
