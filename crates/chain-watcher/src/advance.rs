//! The commit of a step: the view moves, and the journal is told, in one transaction.

use std::collections::HashMap;

use alloy::primitives::Address;
use chrono::{DateTime, Utc};
use laurel_events::{NewEvent, OperatorAlertRaised, VaultId, alert::UNKNOWN_CANCELLATION, time_ordered};
#[cfg(feature = "faults")]
use laurel_ledger::planted;
use laurel_ledger::{
    Context, LedgerError, Vault, append, begin_quarantine, commit, in_quarantine, raise_alert,
    stop_for_unknown,
};
use rand::{SeedableRng as _, rngs::StdRng};
use sqlx::{PgConnection, PgPool};

use crate::{
    BlockId, Reconciled, WatcherError,
    facts::Fact,
    store::{View, add_block, finalise, load_view, remove_block, save_view},
    telling::{finals, mined, reorged},
};

/// A block that was read, with what concerns us in it.
pub(crate) type Read = (BlockId, Vec<Fact>);

/// What a step found.
#[derive(Debug)]
pub(crate) struct Advance<'a> {
    pub(crate) chain_id: u64,
    pub(crate) now: DateTime<Utc>,
    pub(crate) vaults: &'a [Vault],
    /// The view that it is compared with.
    pub(crate) view: &'a View,
    pub(crate) reconciled: &'a Reconciled,
    pub(crate) read: &'a [Read],
    /// The view's head afterwards.
    pub(crate) head: BlockId,
    /// The last final block, where that changed.
    pub(crate) final_to: Option<BlockId>,
    /// When the node was asked for it.
    pub(crate) final_seen_at: DateTime<Utc>,
}

impl Advance<'_> {
    /// Writes it, unless another replica has moved the view: whoever did, did all of this. Returns what was appended.
    pub(crate) async fn commit(&self, pool: &PgPool) -> Result<Option<Vec<NewEvent>>, WatcherError> {
        let chain_id = self.chain_id;
        let mut tx = pool.begin().await?;
        if load_view(&mut tx, chain_id, true).await? != *self.view {
            return Ok(None);
        }
        let vaults: HashMap<i32, Vault> = self.vaults.iter().map(|vault| (vault.id.0, *vault)).collect();
        let mut transition = self.view.transition;
        let mut events: Vec<NewEvent> = Vec::new();
        for block in &self.reconciled.removed {
            transition += 1;
            let seen = remove_block(&mut tx, chain_id, block, &vaults).await?;
            events.extend(seen.into_iter().filter_map(|seen| reorged(seen, transition)));
        }
        for block in &self.reconciled.added {
            transition += 1;
            let facts = self.facts(block);
            add_block(&mut tx, chain_id, block, facts).await?;
            events.extend(facts.iter().filter_map(|fact| mined(chain_id, fact, block, transition)));
            #[cfg(feature = "faults")]
            if planted!(VoidWithoutFinalCancel) {
                events.extend(
                    facts.iter().flat_map(|fact| crate::telling::burned(chain_id, fact, block, transition)),
                );
            }
            for fact in facts.iter().filter(|fact| fact.is_foreign() && fact.settles()) {
                events.extend(stop_for(&mut tx, self.now, chain_id, fact).await?);
            }
        }
        // Whoever stops payouts locks lanes, and alerts behind them.
        let read = self.reconciled.added.iter().flat_map(|block| self.facts(block));
        for fact in read.filter(|fact| fact.is_foreign() && fact.cancels()) {
            events.extend(tell_of_burns(&mut tx, self.now, chain_id, fact).await?);
        }
        if let Some(last_final) = self.final_to {
            transition += 1;
            let before = self.view.last_final().map_or(0, |block| block.number);
            let seen = finalise(&mut tx, chain_id, (before, last_final.number), &vaults).await?;
            let occurred_at = Some(self.final_seen_at);
            let finals = seen.into_iter().flat_map(|seen| finals(seen, transition));
            events.extend(finals.map(|event| NewEvent { event, occurred_at, cause: None }));
        }
        let last_final = self.final_to.or(self.view.last_final()).unwrap_or(self.head);
        save_view(&mut tx, chain_id, &self.head, &last_final, transition).await?;
        append(&mut tx, &Context::at(self.now), &events).await?;
        commit(tx, "watcher").await?;
        Ok(Some(events))
    }

    fn facts(&self, block: &BlockId) -> &[Fact] {
        self.read.iter().find(|(read, _)| read.hash == block.hash).map_or(&[], |(_, facts)| facts)
    }
}

/// A settlement that no journal explains: somebody else signs with an operator's key. Nothing more is signed for the chain, and
/// a guardian pauses the vault; not only when the block is final, which is too late. In quarantine all of that is so already,
/// and what is unknown is as likely our own: the recovery tells. What one of our lanes has signed and this ledger has not begins one:
/// another database signs with our keys, or this one was set back.
async fn stop_for(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    fact: &Fact,
) -> Result<Vec<NewEvent>, LedgerError> {
    if in_quarantine(conn).await? {
        return Ok(Vec::new());
    }
    let mut events = stop_for_unknown(conn, now, chain_id, fact.tx, "chain-watcher").await?;
    if let Some(signer) = fact.signer
        && has_lane(conn, fact.vault.id, signer).await?
    {
        let reason =
            format!("lane {signer} has settled in transaction {}, which this ledger does not know", fact.tx);
        let epoch = time_ordered(now, &mut StdRng::from_seed(fact.tx.0));
        events.extend(begin_quarantine(conn, now, epoch, &reason).await?.1);
    }
    Ok(events.into_iter().map(NewEvent::from).collect())
}

/// Places were burned, and no journal explains it: it is told. Their owner may do so, a vault that is paused would not prevent it, and
/// a cancellation of a lane that a restore has lost may come out at any time, for it has no deadline.
async fn tell_of_burns(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    fact: &Fact,
) -> Result<Option<NewEvent>, LedgerError> {
    let alert = OperatorAlertRaised {
        code: UNKNOWN_CANCELLATION.to_owned(),
        about: format!("chain:{chain_id}/tx:{}", fact.tx),
        detail: format!("transaction {} burns places, and this ledger has not signed it", fact.tx),
    };
    Ok(raise_alert(conn, now, alert).await?.map(NewEvent::from))
}

/// Whether an account is a lane of a vault.
async fn has_lane(conn: &mut PgConnection, vault: VaultId, account: Address) -> Result<bool, LedgerError> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM lanes WHERE vault = $1 AND address = $2) AS "known!""#,
        vault.0,
        account.as_slice(),
    );
    Ok(known.fetch_one(conn).await?)
}
