//! What the books must never pass over: a vault that was not asked, and money that went to a stranger.

use std::time::Duration;

use alloy::primitives::{B256, U256, keccak256};
use chrono::{DateTime, Utc};
use laurel_chain::{
    BlockRef, Deployed, Erc20, GrantWord, HttpNode, LaneSigner, LocalKey, NonceAt, Settlement,
    SettlementSegment, Terms, TxRequest, deploy_contracts,
};
use laurel_devnet::{Anvil, AnvilOptions, Mining, dev_keys::DEV_KEYS, testing::TestDatabase};
use laurel_events::{SettledSegment, Sighting};
use laurel_ledger::{Funding, MIGRATOR, VaultIdentity, fund, open_account, pin_vault, record_suspense};
use tokio::time::{sleep, timeout};

use super::*;

const CHAIN_ID: u64 = 31_337;

/// The campaign that this ledger knows, one that only the vault knows, and a draft.
const OURS: u64 = 7;
const STRANGE: u64 = 9;
const DRAFT: u64 = 8;

const CAP: u64 = 1_000;

/// How long a block may take, and how often it is looked for.
const MINED_WITHIN: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(5);

/// Above what any of these transactions uses.
const GAS: u64 = 4_000_000;

/// A chain with both campaigns open, and a database that knows one of them.
struct World {
    database: TestDatabase,
    _anvil: Anvil,
    node: Arc<dyn ChainNode>,
    owner: LocalKey,
    lane: LocalKey,
    deployed: Deployed,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let anvil = Anvil::start(AnvilOptions::new(Mining::EachTransaction)).await.unwrap();
        let node: Arc<dyn ChainNode> = Arc::new(HttpNode::new(anvil.rpc_url()).unwrap());
        let [owner, lane] = [0, 1].map(|number: usize| LocalKey::from_hex(DEV_KEYS[number].secret).unwrap());
        let deployed = deploy_contracts(&*node, &owner, &[lane.address()]).await.unwrap();
        let world = Self { database, _anvil: anvil, node, owner, lane, deployed };
        let to = deployed.vault;
        let transfer = Erc20::transferCall { to, value: U256::from(4 * CAP) };
        world.send(&world.owner, deployed.token, transfer.abi_encode()).await;
        for campaign in [OURS, STRANGE] {
            world.open(campaign).await;
        }
        world.pin(deployed.vault, deployed.block).await;
        world.know(OURS, deployed.vault).await;
        world.fund(OURS).await;
        world
    }

    /// Sends a transaction and waits until it is mined.
    async fn send(&self, key: &LocalKey, to: Address, data: Vec<u8>) {
        let fees = self.node.fees().await.unwrap();
        let nonce = async || self.node.nonce(key.address(), NonceAt::Latest).await.unwrap();
        let used = nonce().await;
        let request = TxRequest {
            chain_id: CHAIN_ID,
            nonce: used,
            to: Some(to),
            data: data.into(),
            gas_limit: GAS,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        self.node.send(key.sign(&request).unwrap().raw).await.unwrap();
        let mined = async {
            while nonce().await == used {
                sleep(AGAIN).await;
            }
        };
        timeout(MINED_WITHIN, mined).await.expect("it is mined in time");
    }

    async fn open(&self, campaign: u64) {
        let terms = Terms {
            token: self.deployed.token,
            batch: true,
            grantGas: 100_000,
            cap: U256::from(CAP).to(),
            windowLimit: U256::ZERO.to(),
            window: 0,
        };
        let open = RewardVault::openCall { campaign, terms };
        self.send(&self.owner, self.deployed.vault, open.abi_encode()).await;
    }

    async fn pin(&self, vault: Address, deploy_block: u64) {
        let identity = VaultIdentity {
            chain_id: CHAIN_ID,
            genesis_hash: B256::ZERO,
            vault,
            code_hash: keccak256("code"),
            deploy_block,
        };
        pin_vault(&mut self.database.pool().acquire().await.unwrap(), &identity).await.unwrap();
    }

    /// A campaign of ours, as a draft, paid from `vault`.
    async fn know(&self, campaign: u64, vault: Address) {
        sqlx::query(
            "INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version,
                                    version, created_at)
             SELECT $1, 1, id, $2, 'c', '{quiz}', 'draft', 1, 1, 1, $3 FROM vaults WHERE address = $4",
        )
        .bind(CampaignId::from(campaign).number())
        .bind(self.deployed.token.as_slice())
        .bind(DateTime::<Utc>::UNIX_EPOCH)
        .bind(vault.as_slice())
        .execute(self.database.pool())
        .await
        .unwrap();
        open_account(&mut self.database.pool().acquire().await.unwrap(), campaign.into()).await.unwrap();
    }

    async fn fund(&self, campaign: u64) {
        let funding = Funding {
            campaign: campaign.into(),
            block_number: 1,
            log_index: 0,
            tx: B256::ZERO,
            cap: Amount::from(CAP),
        };
        let mut conn = self.database.pool().begin().await.unwrap();
        fund(&mut conn, DateTime::UNIX_EPOCH, &funding).await.unwrap();
        conn.commit().await.unwrap();
    }

    /// Whoever has the lane's key pays a stranger.
    async fn pay_a_stranger(&self, campaign: u64, amount: u64) {
        let latest = self.node.block(BlockRef::Latest).await.unwrap().unwrap();
        let word = GrantWord::new(Address::repeat_byte(0x55), Amount::from(amount)).unwrap().encode();
        let segment = SettlementSegment { campaign: campaign.into(), first_seq: 0, words: vec![word] };
        let settlement = Settlement { deadline: latest.header.timestamp + 600, segments: vec![segment] };
        self.send(&self.lane, self.deployed.vault, settlement.calldata().to_vec()).await;
    }

    /// The books' stage has seen it and found no hold.
    async fn suspend(&self, campaign: u64, amount: u64) {
        let sighting = Sighting {
            chain_id: CHAIN_ID,
            vault: self.deployed.vault,
            transition: 1,
            tx: keccak256(campaign.to_be_bytes()),
            batch: None,
            block_number: 1,
            block_hash: B256::ZERO,
        };
        let settled = SettledSegment {
            campaign: campaign.into(),
            first_seq: 0,
            count: 1,
            total: Amount::from(amount),
            words_hash: B256::ZERO,
            paid: Vec::new(),
            log_index: 0,
        };
        let mut conn = self.database.pool().acquire().await.unwrap();
        record_suspense(&mut conn, DateTime::UNIX_EPOCH, &sighting, &settled).await.unwrap();
    }

    /// The watcher calls this block final; `None` for the latest.
    async fn final_at(&self, block: Option<u64>) -> u64 {
        let latest = self.node.block(BlockRef::Latest).await.unwrap().unwrap();
        let block = block.unwrap_or(latest.header.number);
        sqlx::query("UPDATE chains SET final_number = $1, final_hash = $2, head_number = $1, head_hash = $2")
            .bind(block.cast_signed())
            .bind(B256::ZERO.as_slice())
            .execute(self.database.pool())
            .await
            .unwrap();
        block
    }

    async fn check(&self) -> BooksReport {
        check_books(self.database.pool(), &Nodes::from([(CHAIN_ID, self.node.clone())])).await.unwrap()
    }

    async fn check_without_a_node(&self) -> BooksReport {
        check_books(self.database.pool(), &Nodes::new()).await.unwrap()
    }
}

#[track_caller]
fn assert_findings(report: &BooksReport, wanted: &[&[&str]]) {
    let found = &report.findings;
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (finding, parts) in found.iter().zip(wanted) {
        parts.iter().for_each(|part| assert!(finding.contains(part), "{part:?} is not in {finding:?}"));
    }
}

#[tokio::test]
async fn books_that_fit_say_which_block_was_compared() {
    let world = World::new().await;
    let block = world.final_at(None).await;
    let report = world.check().await;
    assert_findings(&report, &[]);
    let vault = world.deployed.vault;
    assert_eq!(report.compared, BTreeSet::from([Compared { chain_id: CHAIN_ID, vault, block }]));
    assert_eq!((report.funded, report.suspense), (Amount::from(CAP), Amount::ZERO));
}

#[tokio::test]
async fn a_chain_that_is_not_configured_is_a_finding() {
    let world = World::new().await;
    world.final_at(None).await;
    let report = world.check_without_a_node().await;
    assert_findings(&report, &[&["campaign 7: not compared", "chain 31337 is not configured", "[[chains]]"]]);
    assert!(report.compared.is_empty());
}

#[tokio::test]
async fn a_chain_that_nobody_followed_is_a_finding() {
    let world = World::new().await;
    assert_findings(
        &world.check().await,
        &[&["campaign 7: not compared", "no block of chain 31337 is final"]],
    );
    world.final_at(Some(world.deployed.block - 1)).await;
    assert_findings(&world.check().await, &[&["campaign 7: not compared", "before the vault's first"]]);
}

#[tokio::test]
async fn a_vault_that_does_not_answer_is_a_finding() {
    let world = World::new().await;
    world.final_at(Some(1_000_000)).await;
    assert_findings(&world.check().await, &[&["campaign 7: vault", "could not be asked at block 1000000"]]);
}

#[tokio::test]
async fn a_campaign_that_no_money_has_touched_needs_no_chain() {
    let world = World::new().await;
    world.know(DRAFT, world.deployed.vault).await;
    world.final_at(None).await;
    assert_findings(&world.check().await, &[]);
    let report = world.check_without_a_node().await;
    assert_findings(&report, &[&["campaign 7: not compared"]]);
}

#[tokio::test]
async fn money_that_went_to_a_stranger_is_a_finding_before_and_after_it_is_in_suspense() {
    let world = World::new().await;
    world.pay_a_stranger(OURS, 5).await;
    world.final_at(None).await;
    let before = world.check().await;
    assert_findings(&before, &[&["campaign 7: in block", "has paid 5", "the books have 0"]]);
    world.suspend(OURS, 5).await;
    let after = world.check().await;
    assert_findings(&after, &[&["campaign 7: vault", "paid 5 that no hold", "in suspense"]]);
    assert_eq!((after.suspense, after.paid, after.paid_on_chain), (5_u64.into(), Amount::ZERO, 5_u64.into()));
}

#[tokio::test]
async fn money_of_a_campaign_that_only_the_vault_knows_is_a_finding() {
    let world = World::new().await;
    world.pay_a_stranger(STRANGE, 11).await;
    world.final_at(None).await;
    world.suspend(STRANGE, 4).await;
    let report = world.check().await;
    let strange: &[&[&str]] = &[
        &["campaign 9: vault", "paid 4 that no hold"],
        &["campaign 9: vault", "this ledger does not know it"],
        &["campaign 9: in block", "has paid 11", "the books have 4 paid or in suspense"],
    ];
    assert_findings(&report, strange);
    assert_eq!((report.suspense, report.paid_on_chain), (4_u64.into(), 11_u64.into()));
}

#[tokio::test]
async fn the_vault_that_pays_a_campaign_is_asked_about_it() {
    let world = World::new().await;
    let first = world.deployed.vault;
    // Pinned before anybody followed the chain; its campaign is of the same number range, and it has paid nothing.
    let second = deploy_contracts(&*world.node, &world.owner, &[]).await.unwrap();
    world.pin(second.vault, second.block).await;
    world.know(STRANGE, second.vault).await;
    world.fund(STRANGE).await;
    world.pay_a_stranger(STRANGE, 3).await;
    let block = world.final_at(None).await;
    let report = world.check().await;
    assert_findings(&report, &[]);
    let asked = |vault| Compared { chain_id: CHAIN_ID, vault, block };
    assert_eq!(report.compared, BTreeSet::from([asked(first), asked(second.vault)]));
}
