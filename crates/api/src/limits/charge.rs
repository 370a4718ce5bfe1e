//! What a request is charged for.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{DateTime, Utc};

use super::{Bucket, Limiter, headers::refused, limiter::Standing};
use crate::Problem;

/// What a request has been charged for so far. Routes whose body tells how much it is charge for the rest.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    limiter: Limiter,
    now: DateTime<Utc>,
    caller: Bucket,
    standings: Arc<Mutex<Vec<Standing>>>,
}

impl Charge {
    /// A request of `caller`, charged for nothing yet.
    pub(crate) fn new(limiter: &Limiter, now: DateTime<Utc>, caller: Bucket) -> Self {
        Self { limiter: limiter.clone(), now, caller, standings: Arc::default() }
    }

    /// Charges the caller for one.
    ///
    /// # Errors
    /// 429 if there is none.
    pub(crate) async fn caller(&self) -> Result<(), Problem> {
        self.take(&self.caller, 1).await
    }

    /// Charges a caller who was charged for one, and comes with `count`, for the rest. More than a full bucket counts as that.
    ///
    /// # Errors
    /// 429 if that is more than there is.
    pub(crate) async fn rest(&self, count: usize) -> Result<(), Problem> {
        match count.min(self.limiter.quota(&self.caller)) {
            0 | 1 => Ok(()),
            count => self.take(&self.caller, count - 1).await,
        }
    }

    /// Charges a bucket for one.
    ///
    /// # Errors
    /// 429 if it is empty.
    pub(crate) async fn bucket(&self, bucket: &Bucket) -> Result<(), Problem> {
        self.take(bucket, 1).await
    }

    /// Refuses if a bucket is known to be empty, and charges nothing.
    ///
    /// # Errors
    /// 429.
    pub(crate) async fn unless_empty(&self, bucket: &Bucket) -> Result<(), Problem> {
        match self.limiter.is_empty(self.now, bucket).await {
            Some(standing) => self.keep(standing),
            None => Ok(()),
        }
    }

    async fn take(&self, bucket: &Bucket, count: usize) -> Result<(), Problem> {
        let standing = self.limiter.take(self.now, bucket, count).await;
        self.keep(standing)
    }

    fn keep(&self, standing: Standing) -> Result<(), Problem> {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        standings.retain(|known| known.class != standing.class);
        standings.push(standing);
        match standing.refused_for_s {
            Some(wait) => Err(refused(&standing, wait)),
            None => Ok(()),
        }
    }

    /// How the caller stands with every bucket that was asked.
    pub(super) fn standings(&self) -> Vec<Standing> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Charge {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a request without a charge"))
    }
}
