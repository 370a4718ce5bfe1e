//! Roles: what a process does. Any number of processes may have the same one.

pub(crate) mod api;
pub(crate) mod campaign;
pub(crate) mod chain_watcher;
pub(crate) mod grant_saga;
pub(crate) mod views;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serves REST.
    Api,
    /// Decides on outcomes and keeps the books.
    Campaign,
    /// Queues, signs and sends.
    GrantSaga,
    /// Follows chains.
    ChainWatcher,
    /// Keeps projections.
    Views,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: &'static [Self] =
        &[Self::Api, Self::Campaign, Self::GrantSaga, Self::ChainWatcher, Self::Views];
}
