//! A database that belongs to a chain, and watchers on both.

use std::{sync::Arc, time::Duration};

use alloy::primitives::B256;
use laurel_bus::Wakes;
use laurel_chain::{ChainNode, SignedTx};
use laurel_chain_watcher::{Finality, Watcher, WatcherError, WatcherMetrics, WatcherParts};
use laurel_devnet::testing::TestDatabase;
use laurel_events::{BatchId, Clock, MockClock, VaultId};
use laurel_ledger::{MIGRATOR, VaultIdentity, pin_vault};
use prometheus::Registry;
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgPool;

use crate::chain::{CHAIN_ID, Chain};

/// More steps than any of these tests takes: only what never ends is reported.
const STEPS_MAX: usize = 1_000;

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Arc<MockClock>,
    lane: i32,
}

impl World {
    /// A fresh database with the chain's vault and its lane.
    pub(crate) async fn new(chain: &Chain) -> Self {
        Self::of(chain, &chain.identity().await).await
    }

    pub(crate) async fn of(chain: &Chain, identity: &VaultIdentity) -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let mut conn = database.pool().acquire().await.unwrap();
        let VaultId(vault) = pin_vault(&mut conn, identity).await.unwrap().id;
        let lane = sqlx::query_scalar(
            "INSERT INTO lanes (vault, address, state, next_nonce) VALUES ($1, $2, 'active', 0) RETURNING id",
        )
        .bind(vault)
        .bind(laurel_chain::LaneSigner::address(&chain.lane).as_slice())
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        drop(conn);
        Self { database, clock: Arc::default(), lane }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// A watcher of this database, as a process that was just started has it.
    pub(crate) fn watcher(&self, node: Arc<dyn ChainNode>) -> Watcher {
        self.replica("replica", node, Finality::Finalized, self.clock.clone())
    }

    /// A watcher with connections of its own.
    pub(crate) fn watcher_on(&self, pool: PgPool, node: Arc<dyn ChainNode>) -> Watcher {
        Self::build("replica", pool, node, Finality::Finalized, self.clock.clone())
    }

    pub(crate) fn replica(
        &self,
        holder: &str,
        node: Arc<dyn ChainNode>,
        finality: Finality,
        clock: Arc<dyn Clock>,
    ) -> Watcher {
        Self::build(holder, self.pool().clone(), node, finality, clock)
    }

    fn build(
        holder: &str,
        pool: PgPool,
        node: Arc<dyn ChainNode>,
        finality: Finality,
        clock: Arc<dyn Clock>,
    ) -> Watcher {
        let (wakes, _) = Wakes::new();
        let metrics = WatcherMetrics::register(&Registry::new()).unwrap();
        let parts = WatcherParts { node, pool, clock, wakes, metrics };
        Watcher::new(CHAIN_ID, finality, parts, holder.to_owned(), Duration::from_millis(10))
    }

    /// Commits a signed transaction as a batch of ours, as a lane does before it sends.
    pub(crate) async fn submit(&self, signed: &SignedTx) -> BatchId {
        let seed = u64::from_be_bytes(signed.hash[..8].try_into().unwrap());
        let batch = BatchId::generate(self.clock.now(), &mut StdRng::seed_from_u64(seed));
        let mut tx = self.pool().begin().await.unwrap();
        sqlx::query(
            "INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at)
             SELECT $1, $2, count(*), 'submitted', 0, 1, $3 FROM batches WHERE lane = $2",
        )
        .bind(batch.uuid())
        .bind(self.lane)
        .bind(self.clock.now())
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO attempts
                 (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, signed_at,
                  chain_time)
             VALUES ($1, $1, 0, false, $2, $3, 1, 1, 1, $4, 0)",
        )
        .bind(batch.uuid())
        .bind(signed.hash.as_slice())
        .bind(signed.raw.as_ref())
        .bind(self.clock.now())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        batch
    }

    /// Commits another attempt of a batch, which settles nothing.
    pub(crate) async fn submit_empty(&self, batch: BatchId, signed: &SignedTx) {
        sqlx::query(
            "INSERT INTO attempts
                 (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, signed_at,
                  chain_time)
             SELECT gen_random_uuid(), batch, number + 1, true, $2, $3, 1, 1, 1, $4, 0 FROM attempts WHERE batch = $1",
        )
        .bind(batch.uuid())
        .bind(signed.hash.as_slice())
        .bind(signed.raw.as_ref())
        .bind(self.clock.now())
        .execute(self.pool())
        .await
        .unwrap();
    }

    /// Signs, commits and sends a settlement of `count` grants from `first_seq` on.
    pub(crate) async fn settle(&self, chain: &Chain, first_seq: u64, count: u64) -> (BatchId, SignedTx) {
        let signed = chain.settlement(first_seq, count).await;
        let batch = self.submit(&signed).await;
        chain.node.send(signed.raw.clone()).await.unwrap();
        (batch, signed)
    }

    /// Head and last final block as the database has them.
    pub(crate) async fn position(&self) -> Position {
        let (head, head_hash, last_final, halted): (
            Option<i64>,
            Option<Vec<u8>>,
            Option<i64>,
            Option<String>,
        ) = sqlx::query_as("SELECT head_number, head_hash, final_number, halted FROM chains")
            .fetch_one(self.pool())
            .await
            .unwrap();
        Position {
            head: head.map(i64::cast_unsigned),
            head_hash: head_hash.map(|hash| B256::from_slice(&hash)),
            last_final: last_final.map(i64::cast_unsigned),
            halted,
        }
    }
}

/// Where a watcher stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) head: Option<u64>,
    pub(crate) head_hash: Option<B256>,
    pub(crate) last_final: Option<u64>,
    pub(crate) halted: Option<String>,
}

/// Steps until nothing changes any more.
pub(crate) async fn catch_up(watcher: &Watcher) {
    try_catch_up(watcher).await.unwrap();
}

pub(crate) async fn try_catch_up(watcher: &Watcher) -> Result<(), WatcherError> {
    for _ in 0..STEPS_MAX {
        if !watcher.step().await? {
            return Ok(());
        }
    }
    panic!("no end after {STEPS_MAX} steps");
}
