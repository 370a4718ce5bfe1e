//! Outcomes of games.

pub(crate) mod get;
pub(crate) mod post;
mod record;
mod validate;

pub(crate) use self::record::SmallReports;
pub(crate) use self::validate::{advice, attributes, facts_of, field_of};
