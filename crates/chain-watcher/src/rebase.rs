//! The way out for a chain that has taken back what was final: an operator has the ledger follow it.
//!
//! ```text
//!   halted ──► plan: the last block in common ──► begin: the view goes back, what was told of ──► (stages undo it) ──► end
//!                                                 final blocks above it is told as undone
//! ```
//!
//! Each step is one transaction and may be taken again, also after it was killed. The chain stays halted until the last one, so
//! nothing of the new branch is told before all of the old one is undone.

mod lost;
mod plan;
mod unread;

use std::{collections::HashMap, sync::Arc};

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_chain::{ChainError, ChainNode, Finality};
use laurel_events::{ChainRebased, Event, NewEvent, alert::CHAIN_HALTED};
use laurel_ledger::{Context, LedgerError, append, clear_alert, commit, forget_release, list_vaults};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

pub use self::{
    lost::Lost,
    plan::RebasePlan,
    unread::{Reading, Unread},
};
use crate::{
    store::{add_block, end_halt, load_view, remove_block, save_view, take_finals},
    telling::{reorged, undone},
};

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// The chain is followed as it is.
    #[error("chain {0} is not halted: there is nothing to do")]
    NotHalted(u64),
    /// Our final block is the chain's.
    #[error(
        "the chain has block {number} {hash}, the last that is final here: nothing is to be undone; if the endpoints that \
         contradicted it are gone, have the chain go on with --resume"
    )]
    NothingDiffers {
        /// The block's number.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// Our final block is not the chain's.
    #[error("the chain does not have what is final here: rebase without --resume")]
    Differs,
    /// The endpoints agree on less.
    #[error(
        "the last block in common is {common}, and the endpoints call nothing final beyond {last_final:?}: wait, and try again"
    )]
    NotFinal {
        /// The last block in common.
        common: u64,
        /// What they agree on.
        last_final: Option<u64>,
    },
    /// A recovery has explained what was paid by it.
    #[error(
        "transaction {0} was recovered after the database was restored, and the chain has taken it back: this has to be looked \
         into by those who build Laurel"
    )]
    Recovered(B256),
    /// Somebody else has done it meanwhile.
    #[error("the chain was rebased meanwhile: look again")]
    Moved,
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<sqlx::Error> for RebaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Rebases one chain.
#[derive(Clone, Debug)]
pub struct Rebase {
    pool: PgPool,
    node: Arc<dyn ChainNode>,
    chain_id: u64,
    finality: Finality,
}

impl Rebase {
    /// Of the database behind `pool` onto what `node` tells of the chain.
    pub fn new(pool: PgPool, node: Arc<dyn ChainNode>, chain_id: u64, finality: Finality) -> Self {
        Self { pool, node, chain_id, finality }
    }

    /// Whether a rebase has begun that is to be ended.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_open(&self) -> Result<bool, RebaseError> {
        Ok(is_open(&mut *self.pool.acquire().await?, self.chain_id).await?)
    }

    /// Moves the view back to the last block in common, and tells that what was final above it is undone. The chain stays
    /// halted.
    ///
    /// # Errors
    /// If somebody has moved the view since the plan, or the database does not answer.
    pub async fn begin(
        &self,
        now: DateTime<Utc>,
        id: Uuid,
        plan: &RebasePlan,
    ) -> Result<ChainRebased, RebaseError> {
        let chain_id = self.chain_id;
        let mut tx = self.pool.begin().await?;
        let view = load_view(&mut tx, chain_id, true).await?;
        if view != plan.view || is_open(&mut tx, chain_id).await? {
            return Err(RebaseError::Moved);
        }
        let vaults = list_vaults(&mut tx, chain_id).await?;
        let vaults: HashMap<_, _> = vaults.into_iter().map(|vault| (vault.id.0, vault)).collect();
        let mut transition = view.transition;
        let mut events: Vec<NewEvent> = Vec::new();
        for block in view.blocks.iter().rev() {
            transition += 1;
            let seen = remove_block(&mut tx, chain_id, block, &vaults).await?;
            events.extend(seen.into_iter().filter_map(|seen| reorged(seen, transition)));
        }
        let mut finals = take_finals(&mut tx, chain_id, plan.to.number + 1, &vaults).await?;
        let displaced = lost::displaced(&mut tx, chain_id, plan.to.number, &finals).await?;
        let undone_facts = (finals.len() + displaced.len()) as u64;
        finals.reverse();
        for seen in finals {
            transition += 1;
            events.extend(undone(seen, transition).into_iter().map(NewEvent::from));
        }
        for batch in displaced {
            transition += 1;
            events.push(batch.undone(transition).into());
        }
        forget_proofs(&mut tx, &events).await?;
        add_block(&mut tx, chain_id, &plan.to, &[]).await?;
        save_view(&mut tx, chain_id, &plan.to, &plan.to, transition).await?;
        let rebased = ChainRebased {
            rebase: id,
            chain_id,
            reason: plan.reason.clone(),
            from_number: plan.from.number,
            from_hash: plan.from.hash,
            to_number: plan.to.number,
            to_hash: plan.to.hash,
            undone: undone_facts,
        };
        insert_rebase(&mut tx, now, &rebased).await?;
        events.push(rebased.clone().into());
        append(&mut tx, &Context::at(now), &events).await?;
        commit(tx, "chain_rebased").await?;
        Ok(rebased)
    }

    /// Ends a rebase whose undoing every stage has read: the watcher goes on, along the new branch.
    ///
    /// # Errors
    /// If none has begun, or the database does not answer.
    pub async fn end(&self, now: DateTime<Utc>) -> Result<(), RebaseError> {
        let mut tx = self.pool.begin().await?;
        load_view(&mut tx, self.chain_id, true).await?;
        let ended = sqlx::query!(
            "UPDATE rebases SET ended_at = $2 WHERE chain_id = $1 AND ended_at IS NULL",
            self.chain_id.cast_signed(),
            now,
        )
        .execute(&mut *tx)
        .await?;
        if ended.rows_affected() == 0 {
            return Err(RebaseError::Moved);
        }
        self.go_on(&mut tx, now).await?;
        commit(tx, "rebase_ended").await?;
        Ok(())
    }

    /// Has a chain go on that has what is final here after all: the endpoints that contradicted it are gone.
    ///
    /// # Errors
    /// If it is not halted, or does not have it, or database or chain do not answer.
    pub async fn resume(&self, now: DateTime<Utc>) -> Result<(), RebaseError> {
        let last_final = self.node.last_final(self.finality).await?;
        let mut tx = self.pool.begin().await?;
        let view = load_view(&mut tx, self.chain_id, true).await?;
        if view.halted.is_none() {
            return Err(RebaseError::NotHalted(self.chain_id));
        }
        if is_open(&mut tx, self.chain_id).await? {
            return Err(RebaseError::Differs);
        }
        let Some(ours) = view.last_final() else { return Err(RebaseError::Differs) };
        if !self.has(last_final, &ours).await? {
            return Err(RebaseError::Differs);
        }
        self.go_on(&mut tx, now).await?;
        commit(tx, "halt_ended").await?;
        Ok(())
    }

    async fn go_on(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), RebaseError> {
        end_halt(conn, self.chain_id).await?;
        let cleared = clear_alert(conn, CHAIN_HALTED, &format!("chain:{}", self.chain_id)).await?;
        let events: Vec<NewEvent> = cleared.into_iter().map(NewEvent::from).collect();
        append(conn, &Context::at(now), &events).await?;
        Ok(())
    }
}

/// Has nobody fail a grant with a proof that is undone. Every stage has read what proved it, and none is told anything new of the
/// chain before the rebase has ended.
async fn forget_proofs(conn: &mut PgConnection, undone: &[NewEvent]) -> Result<(), LedgerError> {
    for undone in undone {
        if let Event::CampaignReleaseUndone(event) = &undone.event {
            forget_release(conn, event.undone.campaign, event.undone.tx).await?;
        }
    }
    Ok(())
}

async fn is_open(conn: &mut PgConnection, chain_id: u64) -> Result<bool, LedgerError> {
    let open = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM rebases WHERE chain_id = $1 AND ended_at IS NULL) AS "open!""#,
        chain_id.cast_signed(),
    );
    Ok(open.fetch_one(conn).await?)
}

async fn insert_rebase(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    rebased: &ChainRebased,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO rebases (id, chain_id, reason, from_number, from_hash, to_number, to_hash, began_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        rebased.rebase,
        rebased.chain_id.cast_signed(),
        rebased.reason,
        rebased.from_number.cast_signed(),
        rebased.from_hash.as_slice(),
        rebased.to_number.cast_signed(),
        rebased.to_hash.as_slice(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
