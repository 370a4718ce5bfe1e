//! Every event's data, a family per file.

pub(crate) mod budget;
pub(crate) mod campaign;
pub(crate) mod grant;
pub(crate) mod operator;
pub(crate) mod outcome;
pub(crate) mod player;
pub(crate) mod staff;
pub(crate) mod tx;
