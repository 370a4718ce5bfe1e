//! The vocabulary that every other crate speaks.
