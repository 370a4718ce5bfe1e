//! Keys of game servers.

pub(crate) mod delete;
pub(crate) mod list;
mod out;
pub(crate) mod post;
