//! Rows as the stages write them.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{BusMetrics, Runner, RunnerSettings, Stage, Wakes};
use laurel_chain::GrantWord;
use laurel_devnet::testing::TestDatabase;
use laurel_events::{
    Amount, BatchId, CampaignId, Clock, EventId, GrantId, MockClock, NewEvent, OrgId, OutcomeKey, Partition,
    PlayerId,
};
use laurel_ledger::{
    Context, Funding, Hold, MIGRATOR, VaultIdentity, add_organisation, append, find_balances, fund, hold,
    open_account, pin_vault,
};
use prometheus::Registry;
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) const CHAIN: u64 = 31_337;
pub(crate) const ORG: OrgId = OrgId(1);
pub(crate) const TOKEN: Address = Address::repeat_byte(9);
pub(crate) const WALLET: Address = Address::repeat_byte(0xaa);

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Arc<MockClock>,
    pub(crate) other: OrgId,
}

/// A batch, as it is in the end.
pub(crate) struct Batch<'a> {
    pub(crate) id: u128,
    pub(crate) campaign: CampaignId,
    pub(crate) first_seq: i64,
    pub(crate) count: i32,
    pub(crate) state: &'a str,
    pub(crate) posted: bool,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let mut conn = database.pool().acquire().await.unwrap();
        let identity = VaultIdentity {
            chain_id: CHAIN,
            genesis_hash: B256::repeat_byte(1),
            vault: Address::repeat_byte(2),
            code_hash: B256::repeat_byte(3),
            deploy_block: 1,
        };
        let vault = pin_vault(&mut conn, &identity).await.unwrap();
        let other = add_organisation(&mut conn, "other").await.unwrap();
        sqlx::query("INSERT INTO lanes (vault, address, state, next_nonce) VALUES ($1, $2, 'active', 0)")
            .bind(vault.id.0)
            .bind(Address::repeat_byte(4).as_slice())
            .execute(&mut *conn)
            .await
            .unwrap();
        drop(conn);
        Self { database, clock: Arc::default(), other }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Another moment, so that times can be told apart.
    pub(crate) fn pass(&self) -> DateTime<Utc> {
        self.clock.advance(TimeDelta::seconds(1));
        self.now()
    }

    pub(crate) async fn campaign(&self, number: u64, org: OrgId, token: Address) -> CampaignId {
        let id = CampaignId::from(number);
        let mut conn = self.pool().acquire().await.unwrap();
        sqlx::query(
            "INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version,
                                    version, created_at)
             SELECT $1, $2, id, $3, 'c', '{quiz}', 'active', 1, 1, 1, $4 FROM vaults",
        )
        .bind(id.number())
        .bind(org.0)
        .bind(token.as_slice())
        .bind(self.now())
        .execute(&mut *conn)
        .await
        .unwrap();
        open_account(&mut conn, id).await.unwrap();
        let cap = Amount::from(1_000_000_u64);
        let funding = Funding { campaign: id, block_number: 1, log_index: 0, tx: B256::ZERO, cap };
        fund(&mut conn, self.now(), &funding).await.unwrap();
        id
    }

    /// The next grant of a campaign.
    pub(crate) async fn grant(&self, campaign: CampaignId, player: u128, amount: u64) -> GrantId {
        let mut tx = self.pool().begin().await.unwrap();
        let number = find_balances(&mut tx, campaign).await.unwrap().unwrap().grants;
        let grant = GrantId { campaign, number };
        let cause =
            EventId { partition: Partition::all().next().unwrap(), offset: number.cast_signed(), index: 0 };
        let hold_of = Hold {
            grant,
            cause,
            outcome: OutcomeKey::derive(ORG, "test", &grant.to_string()),
            player: player_of(player),
            amount: Amount::from(amount),
            rule_version: 3,
        };
        hold(&mut tx, self.now(), &[hold_of]).await.unwrap();
        tx.commit().await.unwrap();
        grant
    }

    /// A run of places that all pay [`WALLET`].
    pub(crate) async fn run(&self, campaign: CampaignId, first_seq: i64, numbers: &[i64], straight: bool) {
        let word = GrantWord::new(WALLET, Amount::from(1_u64)).unwrap().encode();
        sqlx::query(
            "INSERT INTO runs (campaign, first_seq, count, numbers, words, first_number, queued_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(campaign.number())
        .bind(first_seq)
        .bind(numbers.len() as i32)
        .bind(numbers)
        .bind(word.repeat(numbers.len()))
        .bind(numbers.first().filter(|_| straight))
        .bind(self.now())
        .execute(self.pool())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO queues (campaign, vault, next_seq) SELECT id, vault, $2 FROM campaigns WHERE id = $1
             ON CONFLICT (campaign) DO UPDATE SET next_seq = EXCLUDED.next_seq",
        )
        .bind(campaign.number())
        .bind(first_seq + numbers.len() as i64)
        .execute(self.pool())
        .await
        .unwrap();
    }

    pub(crate) async fn batch(&self, batch: Batch<'_>) {
        let id = Uuid::from_u128(batch.id);
        let placed = batch.state != "submitted";
        sqlx::query(
            "INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at, mined_tx, block_number)
             SELECT $1, l.id, (SELECT count(*) FROM batches), $2, 1, $3, $4, $5, $6 FROM lanes l",
        )
        .bind(id)
        .bind(batch.state)
        .bind(batch.count)
        .bind(self.now())
        .bind(placed.then(|| tx_of(batch.id).to_vec()))
        .bind(placed.then_some(12_i64))
        .execute(self.pool())
        .await
        .unwrap();
        self.segment(&batch).await;
        self.attempt(batch.id, batch.id, 100).await;
    }

    /// What a batch settles of a campaign.
    pub(crate) async fn segment(&self, batch: &Batch<'_>) {
        sqlx::query(
            "INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash, posted_at)
             VALUES ($1, $2, $3, $4, 1, $5, $6)",
        )
        .bind(Uuid::from_u128(batch.id))
        .bind(batch.campaign.number())
        .bind(batch.first_seq)
        .bind(batch.count)
        .bind(B256::ZERO.as_slice())
        .bind(batch.posted.then(|| self.now()))
        .execute(self.pool())
        .await
        .unwrap();
        sqlx::query(
            "UPDATE queues SET batched_to = least(next_seq, greatest(batched_to, $2)) WHERE campaign = $1",
        )
        .bind(batch.campaign.number())
        .bind(batch.first_seq + i64::from(batch.count))
        .execute(self.pool())
        .await
        .unwrap();
        if batch.state == "reverted" {
            sqlx::query(
                "INSERT INTO requeues (campaign, first_seq, count, queued_at) VALUES ($1, $2, $3, $4)",
            )
            .bind(batch.campaign.number())
            .bind(batch.first_seq)
            .bind(batch.count)
            .bind(self.now())
            .execute(self.pool())
            .await
            .unwrap();
        }
    }

    /// A signed transaction of a batch.
    pub(crate) async fn attempt(&self, id: u128, batch: u128, fee: u64) {
        sqlx::query(
            "INSERT INTO attempts (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
                                   signed_at, chain_time)
             SELECT $1, $2, (SELECT count(*) FROM attempts WHERE batch = $2), false, $3, '', 21000, $4, 1, $5, 0",
        )
        .bind(Uuid::from_u128(id))
        .bind(Uuid::from_u128(batch))
        .bind(tx_of(id).as_slice())
        .bind(BigDecimal::from(fee))
        .bind(self.now())
        .execute(self.pool())
        .await
        .unwrap();
    }

    /// A grant that does not go the plain way.
    pub(crate) async fn exception(
        &self,
        grant: GrantId,
        state: &str,
        reason: Option<&str>,
        seq: Option<i64>,
    ) {
        sqlx::query(
            "INSERT INTO exceptions (campaign, number, state, reason, player, chain_id, amount, wallet_until, seq, updated_at)
             SELECT campaign, number, $3, $4, player, 31337, amount, $5, $6, $7 FROM grants
             WHERE campaign = $1 AND number = $2",
        )
        .bind(grant.campaign.number())
        .bind(grant.number.cast_signed())
        .bind(state)
        .bind(reason)
        .bind((state == "awaiting_wallet").then(|| self.now() + TimeDelta::hours(1)))
        .bind(seq)
        .bind(self.now())
        .execute(self.pool())
        .await
        .unwrap();
    }

    pub(crate) fn replica(&self, stage: Arc<dyn Stage>) -> Runner {
        let metrics = BusMetrics::register(&Registry::new()).unwrap();
        let settings =
            RunnerSettings { poll_interval: Duration::from_millis(10), ..RunnerSettings::default() };
        let (wakes, _) = Wakes::new();
        Runner::new(stage, self.pool().clone(), self.clock.clone(), wakes, metrics, settings, 1)
    }

    /// Gives a stage all that it has not seen.
    pub(crate) async fn drain(&self, stage: Arc<dyn Stage>) {
        drain(&mut self.replica(stage)).await;
    }

    pub(crate) async fn append(&self, events: &[NewEvent]) {
        self.append_at(self.now(), events).await;
    }

    /// What somebody records whose clock says `now`.
    pub(crate) async fn append_at(&self, now: DateTime<Utc>, events: &[NewEvent]) {
        let mut tx = self.pool().begin().await.unwrap();
        append(&mut tx, &Context::at(now), events).await.unwrap();
        tx.commit().await.unwrap();
    }
}

pub(crate) async fn drain(replica: &mut Runner) {
    while replica.round().await.unwrap() {}
}

pub(crate) fn player_of(number: u128) -> PlayerId {
    PlayerId::from(Uuid::from_u128(number))
}

pub(crate) fn batch_of(number: u128) -> BatchId {
    BatchId::from(Uuid::from_u128(number))
}

pub(crate) fn tx_of(attempt: u128) -> B256 {
    B256::from(alloy_primitives::U256::from(attempt))
}
