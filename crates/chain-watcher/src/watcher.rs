//! The watcher's step: ask the node, compare, commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::Wakes;
use laurel_chain::{Block, BlockRef, ChainError, ChainNode};
use laurel_events::{
    Clock, NewEvent, OperatorAlertRaised,
    alert::{CHAIN_HALTED, CHAIN_NOT_FOLLOWED},
};
use laurel_ledger::{
    Context, LedgerError, Vault, acquire_lease, answered, append, clear_alert, commit, list_vaults,
    raise_alert,
};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::{
    BlockId, FinalBlock, Finality, FinalityConflict, ReconcileError, Reconciled, WatcherError,
    WatcherMetrics,
    advance::{Advance, Read},
    facts::{Fact, read_facts},
    finality::last_final_of,
    reconcile,
    store::{View, add_block, find_attempts, halt, load_view, save_view},
};

/// How many blocks one step reads at the most: a backfill commits as it goes.
const BLOCKS_MAX: u64 = 64;

/// How long the lease of a chain lasts without being renewed: a holder that died is replaced within seconds. Two that read the same
/// blocks because one is slow do no harm: the second one to commit finds them there.
const LEASE: TimeDelta = TimeDelta::seconds(2);

/// How long a step may take before it is given up: all its blocks from a node that answers no sooner than it must.
const STEP_TIMEOUT: Duration = Duration::from_secs(600);

/// How long it may take to note how a step went: some statements.
const NOTE_TIMEOUT: Duration = Duration::from_secs(30);

/// After so many steps in a row whose blocks did not fit together it is the node's doing: a chain that changed while it was read is
/// read in the next step.
const MISFITS_MAX: u32 = 2;

/// How long a chain may not be followed before people are told.
const NOT_FOLLOWED: TimeDelta = TimeDelta::seconds(60);

/// Below that a chain may have no final block yet: several times what the slowest in wide use takes.
const YOUNG: u64 = 1_000;

/// How long to rest after an error.
const ERROR_REST: Duration = Duration::from_secs(1);

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
    step_timeout: Duration,
    /// Steps in a row whose blocks did not fit together.
    misfits: AtomicU32,
    /// Whether it was noted that the chain is not followed, when that was looked at last.
    noted: AtomicBool,
}

impl Watcher {
    /// A watcher of the chain `chain_id` under the name `holder`, which no other replica has.
    pub fn new(
        chain_id: u64,
        finality: Finality,
        parts: WatcherParts,
        holder: String,
        poll: Duration,
    ) -> Self {
        Self {
            chain_id,
            finality,
            parts,
            holder,
            poll,
            step_timeout: STEP_TIMEOUT,
            misfits: AtomicU32::new(0),
            noted: AtomicBool::new(false),
        }
    }

    /// The same, but a step that takes longer than that is given up.
    pub const fn giving_up_after(mut self, step_timeout: Duration) -> Self {
        self.step_timeout = step_timeout;
        self
    }

    /// Watches until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        // What was logged last: an error that lasts is told once.
        let mut told: Option<String> = None;
        while !shutdown.is_cancelled() {
            let rest = match self.step().await {
                Ok(moved) => {
                    if told.take().is_some() {
                        tracing::info!(chain.id = self.chain_id, "the watcher goes on");
                    }
                    if moved {
                        continue;
                    }
                    self.poll
                }
                Err(error) => {
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        tracing::warn!(chain.id = self.chain_id, error = ?error, "the watcher tries again: {text}");
                        told = Some(text);
                    }
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
    /// If the node or the database does not answer, or not in time, the chain changed while it was read, or it is halted.
    /// Nothing is half done then.
    pub async fn step(&self) -> Result<bool, WatcherError> {
        let began = self.parts.clock.now();
        let done = answered(self.step_timeout, self.follow_if_leased(began)).await;
        if let Err(error) = answered(NOTE_TIMEOUT, self.note(began, &done)).await
            // Else the step's own error tells.
            && !matches!(done, Err(WatcherError::Ledger(_)))
        {
            tracing::warn!(chain.id = self.chain_id, %error, "whether the chain is followed could not be noted");
        }
        Ok(done?.unwrap_or(false))
    }

    /// `None` if another replica follows the chain.
    async fn follow_if_leased(&self, now: DateTime<Utc>) -> Result<Option<bool>, WatcherError> {
        if !self.holds_lease(now).await? {
            return Ok(None);
        }
        Ok(Some(self.follow(now).await?))
    }

    /// Notes how a step went that began at `began`, however it ended: one that was given up has followed nothing, nor has one to
    /// which the database did not answer.
    async fn note(
        &self,
        began: DateTime<Utc>,
        done: &Result<Option<bool>, WatcherError>,
    ) -> Result<(), LedgerError> {
        match done {
            Err(error) if error.is_misfit() => {
                if self.misfits.fetch_add(1, Ordering::Relaxed) + 1 >= MISFITS_MAX {
                    self.misfits.store(0, Ordering::Relaxed);
                    self.parts.node.doubt(&error.to_string());
                }
            }
            Err(_) => {}
            Ok(None) => {}
            Ok(Some(_)) => self.misfits.store(0, Ordering::Relaxed),
        }
        let now = self.parts.clock.now();
        match done {
            // Whoever has the lease notes it.
            Ok(None) => Ok(()),
            Ok(Some(_)) => match self.parts.node.held_up() {
                Some(why) => self.note_not_followed(now, &why).await,
                None => self.note_followed(began).await,
            },
            // Told already.
            Err(WatcherError::Halted(_)) => Ok(()),
            Err(error @ WatcherError::Ledger(LedgerError::Unanswered { .. })) => {
                self.note_not_followed(began, &error.to_string()).await
            }
            Err(error) => self.note_not_followed(now, &error.to_string()).await,
        }
    }

    async fn holds_lease(&self, now: DateTime<Utc>) -> Result<bool, LedgerError> {
        let mut conn = self.parts.pool.acquire().await?;
        let lease = format!("watcher:{}", self.chain_id);
        acquire_lease(&mut conn, now, &lease, &self.holder, LEASE).await
    }

    /// Forgets that the chain was not followed, and ends the alert.
    async fn note_followed(&self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        if !self.noted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut tx = self.parts.pool.begin().await?;
        sqlx::query!("UPDATE chains SET unfollowed_since = NULL WHERE id = $1", self.chain_id.cast_signed())
            .execute(&mut *tx)
            .await?;
        let cleared = clear_alert(&mut tx, CHAIN_NOT_FOLLOWED, &self.about()).await?;
        let events: Vec<NewEvent> = cleared.into_iter().map(NewEvent::from).collect();
        append(&mut tx, &Context::at(now), &events).await?;
        commit(tx, "chain_followed").await?;
        self.parts.wakes.committed(events.iter().map(|new| new.event.kind())).await;
        Ok(())
    }

    /// Notes that the chain is not followed since then, or since earlier, and raises an alert if that lasts. Whoever has the lease by now
    /// sees for itself.
    async fn note_not_followed(&self, then: DateTime<Utc>, why: &str) -> Result<(), LedgerError> {
        let now = self.parts.clock.now();
        if !self.holds_lease(now).await? {
            return Ok(());
        }
        let mut tx = self.parts.pool.begin().await?;
        let since = sqlx::query_scalar!(
            r#"
            UPDATE chains SET unfollowed_since = coalesce(unfollowed_since, $2) WHERE id = $1
            RETURNING unfollowed_since AS "since!"
            "#,
            self.chain_id.cast_signed(),
            then,
        )
        .fetch_one(&mut *tx)
        .await?;
        let mut events: Vec<NewEvent> = Vec::new();
        if now - since >= NOT_FOLLOWED {
            let alert = OperatorAlertRaised {
                code: CHAIN_NOT_FOLLOWED.to_owned(),
                about: self.about(),
                detail: format!("since {since}: {why}"),
            };
            events.extend(raise_alert(&mut tx, now, alert).await?.map(NewEvent::from));
        }
        append(&mut tx, &Context::at(now), &events).await?;
        commit(tx, "chain_not_followed").await?;
        self.parts.wakes.committed(events.iter().map(|new| new.event.kind())).await;
        Ok(())
    }

    /// What alerts of the chain are about.
    fn about(&self) -> String {
        format!("chain:{}", self.chain_id)
    }

    async fn follow(&self, now: DateTime<Utc>) -> Result<bool, WatcherError> {
        let mut conn = self.parts.pool.acquire().await?;
        let vaults = list_vaults(&mut conn, self.chain_id).await?;
        let view = self.view(&mut conn).await?;
        // In this order: what is final when the blocks are read was final before, so they cannot leave it behind.
        let latest = self.parts.node.block(BlockRef::Latest).await?;
        let latest = latest.ok_or_else(|| ChainError::Untrue("the node has no latest block".to_owned()))?;
        let told = match self.parts.node.last_final(self.finality).await {
            Err(error @ ChainError::Disagreement { .. }) => {
                drop(conn);
                return self.halt(now, &view, error).await;
            }
            told => told?,
        };
        let final_seen_at = self.parts.clock.now();
        let (Some(head), Some(before)) = (view.head(), view.last_final()) else {
            drop(conn);
            return self.begin(&vaults, &latest, told).await;
        };
        if latest.header.number < before.number {
            return Err(WatcherError::Behind { head: latest.header.number, last_final: before.number });
        }
        // What was asked about what is final may be younger than the head, and know better: the head is read again then.
        let beyond = told.is_some_and(|told| told.number > head.number);
        let read = if latest.hash == head.hash && !beyond {
            Vec::new()
        } else {
            self.read_blocks(&mut conn, &view, &vaults, &latest).await?
        };
        drop(conn);
        self.require_known(&read).await?;
        let ids: Vec<BlockId> = read.iter().map(|(block, _)| *block).collect();
        let reconciled = match reconcile(&view.blocks, &ids) {
            Err(error @ ReconcileError::DeeperThanFinal { .. }) => {
                self.require_other(before).await?;
                return self.halt(now, &view, error).await;
            }
            reconciled => reconciled?,
        };
        let blocks = reconciled.applied_to(&view.blocks);
        let told = self.told_of(&blocks, told).await?;
        let last_final = match last_final_of(&blocks, told) {
            Err(conflict) => return self.judge(now, &view, conflict).await,
            Ok(last_final) => last_final.unwrap_or(before),
        };
        let advance = Advance {
            chain_id: self.chain_id,
            now,
            vaults: &vaults,
            view: &view,
            reconciled: &reconciled,
            read: &read,
            head: blocks.last().copied().unwrap_or(before),
            final_to: Some(last_final).filter(|last_final| *last_final != before),
            final_seen_at,
        };
        if reconciled == Reconciled::default() && advance.final_to.is_none() {
            return Ok(false);
        }
        self.take(&advance, last_final).await?;
        Ok(true)
    }

    /// What was seen of the chain so far.
    async fn view(&self, conn: &mut PgConnection) -> Result<View, WatcherError> {
        let view = load_view(conn, self.chain_id, false).await?;
        self.noted.store(view.unfollowed, Ordering::Relaxed);
        self.parts.metrics.halted(self.chain_id, view.halted.is_some());
        match view.halted {
            Some(reason) => Err(WatcherError::Halted(reason)),
            None => Ok(view),
        }
    }

    /// Refuses to take a final block for another than the chain's while it is in the chain.
    async fn require_other(&self, last_final: BlockId) -> Result<(), WatcherError> {
        let BlockId { number, hash, .. } = last_final;
        let canonical = self.canonical(number).await?;
        if canonical.hash == hash { Err(ReconcileError::Torn { number }.into()) } else { Ok(()) }
    }

    /// Refuses a block with a settlement or a burn that nobody here has signed while only one node has that block: payouts stop for a
    /// settlement, the vault is paused, and people are told of both. A real one is with all of them within a second.
    async fn require_known(&self, read: &[Read]) -> Result<(), WatcherError> {
        for (block, facts) in read {
            if facts.iter().any(Fact::is_foreign) && !self.parts.node.has_block(block.hash).await? {
                let alone = format!(
                    "block {} settles or burns what was not signed here, and one node has it",
                    block.number
                );
                return Err(ChainError::Untrue(alone).into());
            }
        }
        Ok(())
    }

    /// Commits what was seen and wakes whoever waits for it.
    async fn take(&self, advance: &Advance<'_>, last_final: BlockId) -> Result<(), WatcherError> {
        let Some(events) = advance.commit(&self.parts.pool).await? else { return Ok(()) };
        let removed = advance.reconciled.removed.len();
        self.parts.metrics.moved(self.chain_id, advance.head.number, last_final.number, removed);
        self.parts.wakes.committed(events.iter().map(|new| new.event.kind())).await;
        Ok(())
    }

    /// Begins a chain at the block before the first vault, or at the last final block while that is further back: where
    /// a view begins nothing may be reorganised.
    async fn begin(
        &self,
        vaults: &[Vault],
        latest: &Block,
        told: Option<FinalBlock>,
    ) -> Result<bool, WatcherError> {
        let Some(first) = vaults.iter().map(|vault| vault.identity.deploy_block).min() else {
            return Ok(false);
        };
        let Some(told) = told else {
            // On a young chain nothing is final yet; on another one too few have said what is.
            return if latest.header.number < YOUNG { self.begin_at(0).await } else { Ok(false) };
        };
        self.begin_at(first.saturating_sub(1).min(told.number)).await
    }

    async fn begin_at(&self, number: u64) -> Result<bool, WatcherError> {
        let lacks = || ChainError::Untrue(format!("the node lacks block {number}, which it calls final"));
        let block = self.parts.node.block(BlockRef::Number(number)).await?.ok_or_else(lacks)?;
        let agreed = if number == 0 { None } else { Some(self.canonical(number).await?) };
        if agreed.is_some_and(|agreed| agreed.hash != block.hash) {
            return Err(ReconcileError::Torn { number }.into());
        }
        let block = block_id(&block);
        let mut tx = self.parts.pool.begin().await?;
        let view = load_view(&mut tx, self.chain_id, true).await?;
        if view.head().is_some() {
            return Ok(true);
        }
        add_block(&mut tx, self.chain_id, &block, &[]).await?;
        save_view(&mut tx, self.chain_id, &block, &block, view.transition).await?;
        commit(tx, "watcher_begins").await?;
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
        let mut read: Vec<Read> = Vec::new();
        for number in from..=to {
            let Some(block) = node.block(BlockRef::Number(number)).await? else {
                if read.iter().any(|(block, _)| !view.blocks.contains(block)) {
                    break;
                }
                // Nothing new was read, so blocks of the view that the node has replaced would stay, and be final.
                let lacks = format!("the node lacks block {number}, and has block {to}");
                return Err(ChainError::Untrue(lacks).into());
            };
            let ours = find_attempts(conn, &block.transactions).await?;
            let facts = read_facts(node, &block, vaults, &ours).await?;
            read.push((block_id(&block), facts));
        }
        Ok(read)
    }

    /// Decides about a final block that is not ours. If the node has it in its chain by now, the chain has changed while
    /// it was read, and the next step sees how. If not, or if ours was final, there are two truths: halt.
    async fn judge(
        &self,
        now: DateTime<Utc>,
        view: &View,
        conflict: FinalityConflict,
    ) -> Result<bool, WatcherError> {
        let was_final = view.last_final().is_some_and(|block| block.number == conflict.number);
        let canonical = self.canonical(conflict.number).await?;
        if !was_final && canonical.hash == conflict.theirs {
            return Err(ReconcileError::Torn { number: conflict.number }.into());
        }
        self.halt(now, view, conflict).await
    }

    /// What is final as far as the view goes. A block does not become final by its number, because a later one is: it may have been
    /// replaced since it was read, or be one that nobody but the node has.
    async fn told_of(
        &self,
        blocks: &[BlockId],
        told: Option<FinalBlock>,
    ) -> Result<Option<FinalBlock>, ChainError> {
        match blocks.last() {
            Some(head) if told.is_some_and(|told| told.number > head.number) => {
                self.parts.node.final_at(self.finality, head.number).await
            }
            _ => Ok(told),
        }
    }

    /// The final block of that number, asked for anew before anything is halted for it.
    async fn canonical(&self, number: u64) -> Result<FinalBlock, ChainError> {
        let block = self.parts.node.final_at(self.finality, number).await?;
        // Whoever lacks it proves nothing.
        block.ok_or_else(|| ChainError::Untrue(format!("the node lacks block {number}, which is final")))
    }

    /// Halts the chain, which is an error. Where another replica has moved the view there may be no reason to: look again.
    async fn halt(
        &self,
        now: DateTime<Utc>,
        view: &View,
        error: impl Into<WatcherError>,
    ) -> Result<bool, WatcherError> {
        let error = error.into();
        let mut tx = self.parts.pool.begin().await?;
        if load_view(&mut tx, self.chain_id, true).await? != *view {
            return Ok(true);
        }
        halt(&mut tx, self.chain_id, &error.to_string()).await?;
        let alert = OperatorAlertRaised {
            code: CHAIN_HALTED.to_owned(),
            about: self.about(),
            detail: error.to_string(),
        };
        let raised = raise_alert(&mut tx, now, alert).await?;
        let events: Vec<NewEvent> = raised.into_iter().map(NewEvent::from).collect();
        append(&mut tx, &Context::at(now), &events).await?;
        commit(tx, "chain_halted").await?;
        self.parts.metrics.halted(self.chain_id, true);
        self.parts.wakes.committed(events.iter().map(|new| new.event.kind())).await;
        Err(error)
    }
}

fn block_id(block: &Block) -> BlockId {
    BlockId { number: block.header.number, hash: block.hash, parent: block.header.parent_hash }
}
