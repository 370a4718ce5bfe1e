//! The watcher's step: ask the node, compare, commit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::Wakes;
use laurel_chain::{Block, BlockRef, ChainError, ChainNode, VaultLog};
use laurel_events::{
    BlockchainTxConfirmed, BlockchainTxMined, BlockchainTxReorged, BlockchainTxReverted, CampaignFunded,
    CampaignId, Clock, Event, NewEvent, OperatorAlertRaised,
};
use laurel_ledger::{Context, LedgerError, Vault, acquire_lease, append, list_vaults, raise_alert};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::{
    BlockId, Finality, ReconcileError, Reconciled, WatcherMetrics,
    facts::{Fact, read_facts, settled_segments},
    reconcile,
    store::{Seen, View, add_block, finalise, find_attempts, halt, load_view, remove_block, save_view},
};

/// How many blocks one step reads at the most: a backfill commits as it goes.
const BLOCKS_MAX: u64 = 64;

/// How long the lease of a chain lasts without being renewed.
const LEASE: TimeDelta = TimeDelta::seconds(5);

/// How long to rest after an error.
const ERROR_REST: Duration = Duration::from_secs(1);

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What was read does not fit together.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// The chain is halted.
    #[error("the chain is halted: {0}")]
    Halted(String),
}

impl From<sqlx::Error> for WatcherError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// What a watcher works with.
#[derive(Clone, Debug)]
pub struct WatcherParts {
    /// The chain.
    pub node: Arc<dyn ChainNode>,
    /// The database.
    pub pool: PgPool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Wakes.
    pub wakes: Wakes,
    /// Metrics.
    pub metrics: WatcherMetrics,
}

/// Watches one chain on one replica.
#[derive(Debug)]
pub struct Watcher {
    chain_id: u64,
    finality: Finality,
    parts: WatcherParts,
    holder: String,
    poll: Duration,
}

/// A block that was read, with what concerns us in it.
type Read = (BlockId, Vec<Fact>);

impl Watcher {
    /// A watcher of the chain `chain_id` under the name `holder`, which no other replica has.
    pub fn new(
        chain_id: u64,
        finality: Finality,
        parts: WatcherParts,
        holder: String,
        poll: Duration,
    ) -> Self {
        Self { chain_id, finality, parts, holder, poll }
    }

    /// Watches until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let rest = match self.step().await {
                Ok(true) => continue,
                Ok(false) => self.poll,
                Err(error) => {
                    tracing::warn!(chain.id = self.chain_id, error = ?error, "the watcher will try again");
                    ERROR_REST
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Follows the chain by some blocks. Says whether anything changed.
    ///
    /// # Errors
    /// If the node or the database does not answer, the chain changed while it was read, or it is halted. Nothing is
    /// half done then.
    pub async fn step(&self) -> Result<bool, WatcherError> {
        let now = self.parts.clock.now();
        let mut conn = self.parts.pool.acquire().await?;
        let lease = format!("watcher:{}", self.chain_id);
        if !acquire_lease(&mut conn, now, &lease, &self.holder, LEASE).await? {
            return Ok(false);
        }
        let vaults = list_vaults(&mut conn, self.chain_id).await?;
        let view = load_view(&mut conn, self.chain_id, false).await?;
        if let Some(reason) = view.halted {
            return Err(WatcherError::Halted(reason));
        }
        let Some(head) = view.head() else {
            drop(conn);
            return self.begin(&vaults).await;
        };
        let latest = self.parts.node.block(BlockRef::Latest).await?;
        let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
        let final_number = self.finality.number(&*self.parts.node, latest.header.number).await?;
        let final_seen_at = self.parts.clock.now();
        let read = if latest.hash == head.hash {
            Vec::new()
        } else {
            self.read_blocks(&mut conn, &view, &vaults, &latest).await?
        };
        drop(conn);
        let ids: Vec<BlockId> = read.iter().map(|(block, _)| *block).collect();
        let reconciled = match reconcile(&view.blocks, &ids) {
            Err(error @ ReconcileError::DeeperThanFinal { .. }) => {
                self.halt(now, &error).await?;
                return Err(error.into());
            }
            reconciled => reconciled?,
        };
        self.commit(now, &view, &vaults, reconciled, read, final_number, final_seen_at).await
    }

    /// Begins a chain at the block before the first vault.
    async fn begin(&self, vaults: &[Vault]) -> Result<bool, WatcherError> {
        let Some(first) = vaults.iter().map(|vault| vault.identity.deploy_block).min() else {
            return Ok(false);
        };
        let Some(block) = self.parts.node.block(BlockRef::Number(first.saturating_sub(1))).await? else {
            return Ok(false);
        };
        let block = block_id(&block);
        let mut tx = self.parts.pool.begin().await?;
        let view = load_view(&mut tx, self.chain_id, true).await?;
        if view.head().is_some() {
            return Ok(true);
        }
        add_block(&mut tx, self.chain_id, &block, &[]).await?;
        save_view(&mut tx, self.chain_id, &block, &block, view.transition).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Reads the canonical chain from where it leaves the view, forwards.
    async fn read_blocks(
        &self,
        conn: &mut PgConnection,
        view: &View,
        vaults: &[Vault],
        latest: &Block,
    ) -> Result<Vec<Read>, WatcherError> {
        let node = &*self.parts.node;
        let mut from = None;
        for known in view.blocks.iter().rev() {
            let block = node.block(BlockRef::Number(known.number)).await?;
            if block.is_some_and(|block| block.hash == known.hash) {
                from = Some(known.number + 1);
                break;
            }
        }
        // Without a block in common, reading begins at the final block's successor and shows that it has another parent.
        let from = from.or_else(|| view.last_final().map(|block| block.number + 1)).unwrap_or(0);
        let to = latest.header.number.min(from + BLOCKS_MAX - 1);
        let mut read = Vec::new();
        for number in from..=to {
            let Some(block) = node.block(BlockRef::Number(number)).await? else { break };
            let ours = find_attempts(conn, &block.transactions).await?;
            let facts = read_facts(node, &block, vaults, &ours).await?;
            read.push((block_id(&block), facts));
        }
        Ok(read)
    }

    #[expect(clippy::too_many_arguments, reason = "one step's findings, each used once")]
    async fn commit(
        &self,
        now: DateTime<Utc>,
        view: &View,
        vaults: &[Vault],
        reconciled: Reconciled,
        read: Vec<Read>,
        final_number: Option<u64>,
        final_seen_at: DateTime<Utc>,
    ) -> Result<bool, WatcherError> {
        let mut blocks: Vec<BlockId> = view.blocks.clone();
        blocks.truncate(blocks.len() - reconciled.removed.len());
        blocks.extend(&reconciled.added);
        let head = *blocks.last().expect("a view that has begun keeps its final block");
        let before = view.last_final().expect("a view that has begun keeps its final block");
        let last_final = final_number
            .and_then(|number| blocks.iter().rev().find(|block| block.number <= number))
            .copied()
            .filter(|block| block.number > before.number)
            .unwrap_or(before);
        if reconciled == Reconciled::default() && last_final == before {
            return Ok(false);
        }
        let mut tx = self.parts.pool.begin().await?;
        // The fence: whoever moved the view in between did all of this.
        if load_view(&mut tx, self.chain_id, true).await? != *view {
            return Ok(true);
        }
        let vaults: HashMap<i32, Vault> = vaults.iter().map(|vault| (vault.id.0, *vault)).collect();
        let mut transition = view.transition;
        let mut events: Vec<NewEvent> = Vec::new();
        for block in &reconciled.removed {
            transition += 1;
            let seen = remove_block(&mut tx, self.chain_id, block, &vaults).await?;
            events.extend(seen.into_iter().filter_map(|seen| reorged(seen, transition)));
        }
        for block in &reconciled.added {
            transition += 1;
            let facts =
                read.iter().find(|(read, _)| read.hash == block.hash).map(|(_, facts)| facts.as_slice());
            let facts = facts.unwrap_or_default();
            add_block(&mut tx, self.chain_id, block, facts).await?;
            events.extend(facts.iter().filter_map(|fact| self.mined(fact, block, transition)));
        }
        if last_final != before {
            transition += 1;
            let seen = finalise(&mut tx, self.chain_id, last_final.number, &vaults).await?;
            let finals = seen.into_iter().flat_map(|seen| final_events(seen, transition));
            events.extend(finals.map(|event| NewEvent {
                event,
                occurred_at: Some(final_seen_at),
                cause: None,
            }));
        }
        save_view(&mut tx, self.chain_id, &head, &last_final, transition).await?;
        append(&mut tx, &Context::at(now), &events).await?;
        tx.commit().await?;
        self.told(&head, &last_final, reconciled.removed.len(), &events).await;
        Ok(true)
    }

    fn mined(&self, fact: &Fact, block: &BlockId, transition: u64) -> Option<NewEvent> {
        fact.batch?;
        let sighting = laurel_events::Sighting {
            chain_id: self.chain_id,
            vault: fact.vault.identity.vault,
            transition,
            tx: fact.tx,
            batch: fact.batch,
            block_number: block.number,
            block_hash: block.hash,
        };
        Some(BlockchainTxMined { sighting }.into())
    }

    async fn told(&self, head: &BlockId, last_final: &BlockId, removed: usize, events: &[NewEvent]) {
        let chain_id = self.chain_id.to_string();
        let metrics = &self.parts.metrics;
        metrics.head.with_label_values(&[&chain_id]).set(head.number.cast_signed());
        metrics.final_block.with_label_values(&[&chain_id]).set(last_final.number.cast_signed());
        metrics.removed_blocks_total.with_label_values(&[&chain_id]).inc_by(removed as u64);
        self.parts.wakes.committed(events.iter().map(|new| new.event.kind())).await;
    }

    async fn halt(&self, now: DateTime<Utc>, error: &ReconcileError) -> Result<(), WatcherError> {
        let mut tx = self.parts.pool.begin().await?;
        halt(&mut tx, self.chain_id, &error.to_string()).await?;
        let alert = OperatorAlertRaised {
            code: "chain_halted".to_owned(),
            about: format!("chain:{}", self.chain_id),
            detail: error.to_string(),
        };
        if let Some(alert) = raise_alert(&mut tx, now, alert).await? {
            append(&mut tx, &Context::at(now), &[alert.into()]).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

fn block_id(block: &Block) -> BlockId {
    BlockId { number: block.header.number, hash: block.hash, parent: block.header.parent_hash }
}

fn reorged(seen: Seen, transition: u64) -> Option<NewEvent> {
    seen.sighting.batch?;
    let sighting = laurel_events::Sighting { transition, ..seen.sighting };
    Some(BlockchainTxReorged { sighting }.into())
}

/// What a transaction in a final block tells.
fn final_events(seen: Seen, transition: u64) -> Vec<Event> {
    let sighting = laurel_events::Sighting { transition, ..seen.sighting };
    let mut events: Vec<Event> = seen
        .logs
        .iter()
        .filter_map(|indexed| match &indexed.log {
            VaultLog::Capped { campaign, token, cap } => Some(CampaignFunded {
                campaign: CampaignId::from(*campaign),
                chain_id: sighting.chain_id,
                vault: sighting.vault,
                token: *token,
                cap: *cap,
                tx: sighting.tx,
                block_number: sighting.block_number,
                log_index: indexed.index,
            }),
            _ => None,
        })
        .map(Event::from)
        .collect();
    let segments = settled_segments(&seen.logs);
    let (gas_used, effective_gas_price) = (seen.gas_used, seen.effective_gas_price);
    if !seen.succeeded {
        events.push(BlockchainTxReverted { sighting, gas_used, effective_gas_price }.into());
    } else if sighting.batch.is_some() || !segments.is_empty() {
        events.push(BlockchainTxConfirmed { sighting, gas_used, effective_gas_price, segments }.into());
    }
    events
}
