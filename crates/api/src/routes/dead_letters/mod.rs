//! Dead letters. They belong to the system, not to an organisation: an operator sees all of them.

pub(crate) mod get;
pub(crate) mod list;
mod out;
pub(crate) mod redrive;
pub(crate) mod redrive_many;

pub(crate) use self::out::STATES;
