//! A database with players, and where it takes one a chain with a contract wallet.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::{Address, Bytes, hex};
use chrono::{DateTime, TimeDelta, Utc};
use laurel_chain::{ChainNode, HttpNode, LaneSigner, LocalKey, NonceAt, TxRequest};
use laurel_devnet::{
    Anvil, Mining,
    chain_control::ChainControl,
    dev_keys::DEV_KEYS,
    testing::{CONTRACT_WALLET, TestDatabase, anvil},
};
use laurel_events::{Clock, MockClock, OrgId, PlayerId, WalletLinked};
use laurel_ledger::{Context, MIGRATOR};
use laurel_players::{
    Challenge, ChallengeRequest, LinkError, Proof, ProvenWallet, Purpose, issue_challenge, link_wallet,
    prove_wallet, put_player,
};
use rand::{SeedableRng, rngs::StdRng};

pub(crate) const CHAIN: u64 = 31_337;

/// So that no two nonces are drawn from the same seed.
static SEED: AtomicU64 = AtomicU64::new(1);

/// A node that nobody listens at: who asks it gets an error.
pub(crate) fn no_node() -> HttpNode {
    HttpNode::new("http://127.0.0.1:1").unwrap()
}

pub(crate) fn key(number: usize) -> LocalKey {
    LocalKey::from_hex(DEV_KEYS[number].secret).unwrap()
}

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) clock: MockClock,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self { database: TestDatabase::create(&MIGRATOR).await, clock: MockClock::default() }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) async fn player(&self, name: &str) -> PlayerId {
        let mut tx = self.database.pool().begin().await.unwrap();
        let context = Context::at(self.now());
        let (player, _) = put_player(&mut tx, &context, &mut rng(), OrgId(1), name).await.unwrap();
        tx.commit().await.unwrap();
        player.id
    }

    pub(crate) async fn challenge(&self, player: PlayerId, address: Address) -> Challenge {
        let request = ChallengeRequest {
            purpose: Purpose::Link,
            player,
            address,
            chain_id: CHAIN,
            domain: "laurel.example",
            uri: "https://laurel.example",
        };
        let mut conn = self.database.pool().acquire().await.unwrap();
        issue_challenge(&mut conn, self.now(), &mut rng(), request).await.unwrap()
    }

    pub(crate) async fn prove(
        &self,
        node: &dyn ChainNode,
        player: PlayerId,
        message: &str,
        signature: Bytes,
    ) -> Result<ProvenWallet, LinkError> {
        let mut conn = self.database.pool().acquire().await.unwrap();
        prove_wallet(&mut conn, node, self.now(), player, Proof { message: message.to_owned(), signature })
            .await
    }

    pub(crate) async fn link(
        &self,
        player: PlayerId,
        wallet: &ProvenWallet,
    ) -> Result<WalletLinked, LinkError> {
        let mut tx = self.database.pool().begin().await.unwrap();
        let linked = link_wallet(&mut tx, &Context::at(self.now()), player, wallet).await;
        if linked.is_ok() {
            tx.commit().await.unwrap()
        } else {
            tx.rollback().await.unwrap()
        }
        linked
    }

    /// A player with the wallet of a key, linked.
    pub(crate) async fn linked(&self, name: &str, key: &LocalKey) -> PlayerId {
        let player = self.player(name).await;
        let challenge = self.challenge(player, key.address()).await;
        let signature = key.sign_message(challenge.message.as_bytes()).unwrap();
        let wallet = self.prove(&no_node(), player, &challenge.message, signature).await.unwrap();
        self.link(player, &wallet).await.unwrap();
        player
    }

    pub(crate) fn pass(&self, by: TimeDelta) {
        self.clock.advance(by);
    }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(SEED.fetch_add(1, Ordering::SeqCst))
}

/// A chain with a contract wallet on it.
pub(crate) struct Chain {
    _anvil: Anvil,
    pub(crate) node: HttpNode,
    control: ChainControl,
    pub(crate) wallet: Address,
}

impl Chain {
    pub(crate) async fn new() -> Self {
        let anvil = anvil(Mining::OnDemand).await.unwrap();
        let node = HttpNode::new(anvil.rpc_url()).unwrap();
        let control = ChainControl::new(anvil.rpc_url()).unwrap();
        let deployer = key(0);
        let wallet = deployer.address().create(0);
        let chain = Self { _anvil: anvil, node, control, wallet };
        chain.send(None, hex::decode(CONTRACT_WALLET).unwrap().into()).await;
        assert!(!chain.node.code(wallet).await.unwrap().is_empty());
        chain
    }

    /// The contract wallet accepts nothing from now on, or accepts again.
    pub(crate) async fn toggle(&self) {
        self.send(Some(self.wallet), Bytes::new()).await;
    }

    async fn send(&self, to: Option<Address>, data: Bytes) {
        let deployer = key(0);
        let request = TxRequest {
            chain_id: CHAIN,
            nonce: self.node.nonce(deployer.address(), NonceAt::Latest).await.unwrap(),
            to,
            data,
            gas_limit: 300_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1,
        };
        self.node.send(deployer.sign(&request).unwrap().raw).await.unwrap();
        self.control.mine(1).await.unwrap();
    }
}
