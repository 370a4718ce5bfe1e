//! A vault on an Anvil that mines when told, campaigns with money in it, and players with and without wallets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    sol_types::SolCall,
};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_bus::{BusMetrics, Runner, RunnerSettings, Stage, Wakes, fire_timers};
use laurel_chain::{
    BlockRef, Call, ChainNode, Deployed, Endpoint, EndpointMetrics, Endpoints, EndpointsParts, Erc20,
    LaneSigner, LocalKey, NonceAt, TxRequest, deploy_contracts, funding_call,
};
use laurel_devnet::{
    Anvil, AnvilOptions, Mining, chain_control::ChainControl, dev_keys::DEV_KEYS, testing::TestDatabase,
};
use laurel_events::{
    Amount, CampaignId, Clock, Envelope, EventId, EventKind, GrantId, LaneId, MockClock, NewEvent, OrgId,
    OutcomeKey, Partition, PlayerId, TokenGrantRequested, WalletKind, WalletLinked,
};
use laurel_grant_saga::{
    GrantStage, LaneDriver, LaneParts, LaneSettings, Progress, SagaMetrics, SettlementStage, register_lane,
};
use laurel_ledger::{
    Context, Funding, Hold, MIGRATOR, Vault, VaultIdentity, append, fund, hold, open_account, pin_vault, read,
};
use prometheus::Registry;
use sqlx::PgPool;
use uuid::Uuid;

use crate::faulty_node::{FaultyNode, Line};

/// After that a holder that has not renewed its lease has lost its lane.
pub(crate) const LEASE_IS_OVER: TimeDelta = TimeDelta::seconds(3);

/// Money in every campaign.
pub(crate) const CAP: u128 = 1_000_000;

/// How long the vault takes a settlement after its signature.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

/// Batches of a lane that may be in no block.
pub(crate) const UNMINED_MAX: usize = 3;

/// The most that a unit of gas may cost, in wei.
pub(crate) const MAX_FEE_PER_GAS: u128 = 200 * GWEI;

/// Wei in a gwei.
pub(crate) const GWEI: u128 = 1_000_000_000;

/// How long a batch may be in no block.
pub(crate) const MONITOR_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a refused grant is tried again.
pub(crate) const GIVE_UP_REFUSED: Duration = Duration::from_secs(86_400);

/// Grants in a batch.
pub(crate) const GRANTS_MAX: u32 = 4;

/// Age of a batch.
pub(crate) const AGE_MAX: Duration = Duration::from_millis(500);

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Arc<MockClock>,
    pub(crate) control: ChainControl,
    pub(crate) node: Arc<FaultyNode>,
    pub(crate) deployed: Deployed,
    pub(crate) vault: Vault,
    pub(crate) grants: Runner,
    pub(crate) settlements: Runner,
    numbers: AtomicU64,
    anvil: Anvil,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(AnvilOptions::new(Mining::EachTransaction)).await
    }

    pub(crate) async fn on(options: AnvilOptions) -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let anvil = Anvil::start(options).await.unwrap();
        let control = ChainControl::new(anvil.rpc_url()).unwrap();
        let node = Arc::new(FaultyNode::new(anvil.rpc_url()));
        let lanes = [1, 2].map(|lane| DEV_KEYS[lane].address.parse().unwrap());
        let deployed = deploy_contracts(&*node, &key(0), &lanes).await.unwrap();
        let genesis = node.block(BlockRef::Number(0)).await.unwrap().unwrap();
        let identity = VaultIdentity {
            chain_id: deployed.chain_id,
            genesis_hash: genesis.hash,
            vault: deployed.vault,
            code_hash: keccak256(node.code(deployed.vault).await.unwrap()),
            deploy_block: deployed.block,
        };
        let vault = pin_vault(&mut database.pool().acquire().await.unwrap(), &identity).await.unwrap();
        let clock = Arc::<MockClock>::default();
        let pool = database.pool().clone();
        Self {
            grants: runner(GrantStage, &pool, &clock),
            settlements: runner(SettlementStage, &pool, &clock),
            database,
            clock,
            control,
            node,
            deployed,
            vault,
            numbers: AtomicU64::new(0),
            anvil,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A lane of the second or third development account, driven by the replica `holder`.
    pub(crate) async fn driver(&self, account: usize, holder: &str) -> LaneDriver {
        self.driver_on(self.node.clone(), account, holder).await
    }

    /// The same, with another way to the chain.
    pub(crate) async fn driver_on(
        &self,
        node: Arc<dyn ChainNode>,
        account: usize,
        holder: &str,
    ) -> LaneDriver {
        let signer: Arc<dyn LaneSigner> = Arc::new(key(account));
        let nonce = self.node.nonce(signer.address(), NonceAt::Latest).await.unwrap();
        let mut conn = self.pool().acquire().await.unwrap();
        let lane: LaneId =
            register_lane(&mut conn, self.vault.id, signer.address(), None, nonce).await.unwrap();
        let settings = LaneSettings {
            grants_max: GRANTS_MAX,
            age_max: AGE_MAX,
            unmined_max: UNMINED_MAX,
            settlement_lifetime: LIFETIME,
            max_fee_per_gas: MAX_FEE_PER_GAS,
            monitor_timeout: MONITOR_TIMEOUT,
            monitor_interval: Duration::from_secs(1),
            give_up_refused: GIVE_UP_REFUSED,
        };
        let parts = LaneParts {
            signer,
            node,
            pool: self.pool().clone(),
            clock: self.clock.clone(),
            wakes: Wakes::new().0,
            metrics: SagaMetrics::register(&Registry::new()).unwrap(),
        };
        let seed = self.numbers.fetch_add(1, Ordering::Relaxed);
        LaneDriver::new(lane, self.vault, parts, settings, holder.to_owned(), seed)
    }

    /// Three endpoints of the chain, of which two have to agree.
    pub(crate) async fn endpoints(&self) -> (Arc<Endpoints>, [Arc<FaultyNode>; 3]) {
        let nodes = [(); 3].map(|()| Arc::new(FaultyNode::new(self.anvil.rpc_url())));
        let endpoint = |node: &Arc<FaultyNode>| Endpoint { host: "127.0.0.1".to_owned(), node: node.clone() };
        let endpoints = Endpoints::new(EndpointsParts {
            chain_id: self.deployed.chain_id,
            endpoints: nodes.iter().map(endpoint).collect(),
            final_quorum: 2,
            clock: self.clock.clone(),
            seed: 7,
            metrics: EndpointMetrics::register(&Registry::new()).unwrap(),
        });
        endpoints.identify(None).await.unwrap();
        (Arc::new(endpoints), nodes)
    }

    /// A campaign that is open in the vault and funded in the books.
    pub(crate) async fn campaign(&self, id: u64) -> CampaignId {
        let campaign = CampaignId::from(id);
        let cap = Amount::from(CAP);
        let transfer = Erc20::transferCall { to: self.deployed.vault, value: U256::from(CAP) };
        self.owner_sends(self.deployed.token, transfer.abi_encode().into()).await;
        let open =
            funding_call(&*self.node, self.deployed.vault, campaign, self.deployed.token, cap).await.unwrap();
        self.owner_sends(self.deployed.vault, open).await;
        let mut conn = self.pool().acquire().await.unwrap();
        sqlx::query(
            "INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version, version,
                                    created_at)
             VALUES ($1, 1, $2, $3, 'Story', '{quiz}', 'active', 1, 1, 1, $4)",
        )
        .bind(campaign.number())
        .bind(self.vault.id.0)
        .bind(self.deployed.token.as_slice())
        .bind(self.now())
        .execute(&mut *conn)
        .await
        .unwrap();
        open_account(&mut conn, campaign).await.unwrap();
        let funding = Funding { campaign, block_number: 1, log_index: 0, tx: B256::ZERO, cap };
        fund(&mut conn, self.now(), &funding).await.unwrap();
        campaign
    }

    /// A player without a wallet.
    pub(crate) async fn player(&self) -> PlayerId {
        let id = Uuid::from_u128(u128::from(self.next_number()));
        sqlx::query("INSERT INTO players (id, org, external_id, created_at) VALUES ($1, 1, $2, $3)")
            .bind(id)
            .bind(id.to_string())
            .bind(self.now())
            .execute(self.pool())
            .await
            .unwrap();
        id.into()
    }

    /// A player with a wallet.
    pub(crate) async fn player_with_wallet(&self) -> (PlayerId, Address) {
        let player = self.player().await;
        (player, self.link(player).await)
    }

    /// Links a wallet of the player's own.
    pub(crate) async fn link(&self, player: PlayerId) -> Address {
        let mut tx = self.pool().begin().await.unwrap();
        let wallet = self.link_in(&mut tx, player).await;
        tx.commit().await.unwrap();
        wallet
    }

    /// The same in a transaction of the caller's.
    pub(crate) async fn link_in(&self, conn: &mut sqlx::PgConnection, player: PlayerId) -> Address {
        let wallet = Address::from_word(keccak256(player.uuid()));
        sqlx::query(
            "INSERT INTO wallets (player, chain_id, address, kind, version, linked_at) VALUES ($1, $2, $3, 'key', 1, $4)
             ON CONFLICT (player, chain_id) DO UPDATE
             SET address = EXCLUDED.address, kind = 'key', version = wallets.version + 1, linked_at = EXCLUDED.linked_at",
        )
        .bind(player.uuid())
        .bind(self.deployed.chain_id.cast_signed())
        .bind(wallet.as_slice())
        .bind(self.now())
        .execute(&mut *conn)
        .await
        .unwrap();
        let chain_id = self.deployed.chain_id;
        let linked = WalletLinked { player, chain_id, wallet, kind: WalletKind::Key, version: 1 };
        append(conn, &Context::at(self.now()), &[linked.into()]).await.unwrap();
        wallet
    }

    /// Holds and requests grants of one unit more each, as the campaign's stage does.
    pub(crate) async fn request(&self, campaign: CampaignId, players: &[PlayerId]) -> Vec<GrantId> {
        let mut conn = self.pool().begin().await.unwrap();
        let mut holds = Vec::new();
        let mut requests: Vec<NewEvent> = Vec::new();
        // The numbers of a campaign's grants have no holes.
        let before: i64 = sqlx::query_scalar("SELECT grants FROM accounts WHERE campaign = $1 FOR UPDATE")
            .bind(campaign.number())
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        for (player, number) in players.iter().zip(before.unsigned_abs()..) {
            let grant = GrantId { campaign, number };
            let outcome = OutcomeKey::derive(OrgId(1), "test", &grant.to_string());
            let cause =
                EventId { partition: Partition::all().next().unwrap(), offset: 0, index: number as i32 };
            let amount = amount_of(grant);
            holds.push(Hold { grant, cause, outcome, player: *player, amount, rule_version: 1 });
            requests.push(
                TokenGrantRequested {
                    grant,
                    outcome,
                    player: *player,
                    amount,
                    rule_version: 1,
                    chain_id: self.deployed.chain_id,
                    vault: self.deployed.vault,
                    wallet_deadline_hours: 1,
                }
                .into(),
            );
        }
        hold(&mut conn, self.now(), &holds).await.unwrap();
        append(&mut conn, &Context::at(self.now()), &requests).await.unwrap();
        conn.commit().await.unwrap();
        holds.into_iter().map(|hold| hold.grant).collect()
    }

    /// Grants of new players with wallets, queued.
    pub(crate) async fn queue(&mut self, campaign: CampaignId, count: usize) -> Vec<GrantId> {
        let mut players = Vec::with_capacity(count);
        for _ in 0..count {
            players.push(self.player_with_wallet().await.0);
        }
        let grants = self.request(campaign, &players).await;
        drain(&mut self.grants).await;
        grants
    }

    /// New grants in a batch that was sent and that no node has, with the replica that sent it.
    pub(crate) async fn swallowed(&mut self, count: usize) -> (LaneDriver, Vec<GrantId>) {
        let campaign = self.campaign(7).await;
        let grants = self.queue(campaign, count).await;
        let mut driver = self.driver(1, "a").await;
        self.node.set_line(Line::Swallows);
        assert_eq!(driver.step().await.unwrap(), Progress::Sent);
        self.node.set_line(Line::Good);
        (driver, grants)
    }

    /// Until when the lane is leased.
    pub(crate) async fn lease_until(&self) -> DateTime<Utc> {
        sqlx::query_scalar("SELECT lease_until FROM lanes").fetch_one(self.pool()).await.unwrap()
    }

    /// The ledger learns that every block there is is final.
    pub(crate) async fn everything_is_final(&self) {
        sqlx::query("UPDATE chains SET final_number = $1")
            .bind(self.control.block_number().await.unwrap().cast_signed())
            .execute(self.pool())
            .await
            .unwrap();
    }

    /// Fires the timers that are due and has the saga handle them.
    pub(crate) async fn fire_timers(&mut self) {
        fire_timers(self.pool(), &Wakes::new().0, self.now()).await.unwrap();
        drain(&mut self.grants).await;
    }

    /// All events of some kinds, in the order of their partitions.
    pub(crate) async fn events(&self, kinds: &[EventKind]) -> Vec<Envelope> {
        let mut conn = self.pool().acquire().await.unwrap();
        let mut events = Vec::new();
        for partition in Partition::all() {
            events
                .extend(read(&mut conn, partition, 0, i64::MAX, kinds, i64::from(u16::MAX)).await.unwrap().0);
        }
        events
    }

    /// What a wallet has of the token.
    pub(crate) async fn balance(&self, wallet: Address) -> u128 {
        let data = Erc20::balanceOfCall { owner: wallet }.abi_encode().into();
        let call = Call { from: wallet, to: self.deployed.token, data, gas: None };
        let answer = self.node.call(call).await.unwrap();
        Erc20::balanceOfCall::abi_decode_returns(&answer).unwrap().to()
    }

    /// A transaction of the vault's owner.
    pub(crate) async fn owner_sends(&self, to: Address, data: Bytes) {
        self.sends(0, to, data).await;
    }

    /// A transaction of a development account, in a block.
    pub(crate) async fn sends(&self, account: usize, to: Address, data: Bytes) {
        let signer = key(account);
        let fees = self.node.fees().await.unwrap();
        let request = TxRequest {
            chain_id: self.deployed.chain_id,
            nonce: self.node.nonce(signer.address(), NonceAt::Latest).await.unwrap(),
            to: Some(to),
            data,
            gas_limit: 500_000,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        self.node.send(signer.sign(&request).unwrap().raw).await.unwrap();
        self.control.mine(1).await.unwrap();
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What a grant pays: no two of a campaign the same.
pub(crate) fn amount_of(grant: GrantId) -> Amount {
    Amount::from(u128::from(grant.number) + 1)
}

/// A development account's key.
pub(crate) fn key(account: usize) -> LocalKey {
    LocalKey::from_hex(DEV_KEYS[account].secret).unwrap()
}

fn runner(stage: impl Stage, pool: &PgPool, clock: &Arc<MockClock>) -> Runner {
    let (wakes, _) = Wakes::new();
    let metrics = BusMetrics::register(&Registry::new()).unwrap();
    Runner::new(Arc::new(stage), pool.clone(), clock.clone(), wakes, metrics, RunnerSettings::default(), 1)
}

/// Has a stage handle everything that there is.
pub(crate) async fn drain(runner: &mut Runner) {
    while runner.round().await.unwrap() {}
}
