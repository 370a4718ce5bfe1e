//! Committing, at places that have names.
//!
//! What happens when a process dies between two commits is what a simulation asks. It has to know where they are, and to
//! be asked before and after each.

use sqlx::{Postgres, Transaction};

/// Commits `tx`. `at` names the place in the program, for simulations.
///
/// # Errors
/// If the database does not answer: whether the transaction was committed is not known then.
pub async fn commit(tx: Transaction<'_, Postgres>, at: &'static str) -> sqlx::Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::reach(at, crate::faults::Side::Before).await?;
    tx.commit().await?;
    #[cfg(feature = "faults")]
    crate::faults::reach(at, crate::faults::Side::After).await?;
    #[cfg(not(feature = "faults"))]
    let _ = at;
    Ok(())
}
