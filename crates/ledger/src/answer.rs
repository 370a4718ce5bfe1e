//! Nobody waits for ever.
//!
//! The server's own time-outs end a statement that runs too long. They are no help when the server hangs, or when the
//! connection leads to one that is gone: the driver then waits until the machine's TCP gives up, which can be hours.

use std::time::Duration;

use crate::LedgerError;

/// What `step` comes to, if that is within `limit`. A step that is not is given up: whatever it has not committed is undone, and
/// its connection is closed when it comes back to the pool.
///
/// # Errors
/// Those of `step`, and [`LedgerError::Unanswered`].
pub async fn answered<T, E: From<LedgerError>>(
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done,
        Err(_) => Err(LedgerError::Unanswered { after: limit }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_comes_is_given_up_and_may_succeed_later() {
        let limit = Duration::from_millis(1);
        let never = std::future::pending::<Result<(), LedgerError>>();
        let error = answered(limit, never).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unanswered { after } if after == limit), "{error}");
        assert!(error.is_infrastructure());
        let soon = std::future::ready(Ok::<_, LedgerError>(7));
        assert_eq!(answered(limit, soon).await.unwrap(), 7);
    }
}
