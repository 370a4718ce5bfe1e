//! A database, a chain with the contracts, and a configuration for as many replicas as a story needs.

use std::{fmt::Write, net::TcpListener, path::PathBuf, time::Duration};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use laurel_chain::{
    Call, ChainNode, Erc20, HttpNode, LaneSigner, LocalKey, NonceAt, RewardVault, TxRequest, TxStatus,
};
use laurel_devnet::{Anvil, AnvilOptions, Mining, dev_keys::DEV_KEYS, testing::TestDatabase};
use laurel_ledger::MIGRATOR;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    process::{Running, laurel, output},
    rest::Rest,
};

/// How often a block is made: more often than on any real chain, so that a story has many of them.
const BLOCK_TIME: Duration = Duration::from_millis(250);

/// How long a transaction may take to be in a block.
const MINED_WITHIN: Duration = Duration::from_secs(30);

/// The environment variables of the keys, by the development account that they hold.
const KEYS: [&str; 3] = ["LAUREL_TREASURY", "LAUREL_LANE_0", "LAUREL_LANE_1"];

/// Enough for a token's deployment.
const GAS_LIMIT: u64 = 3_000_000;

/// Who has sent a transaction, and its nonce.
struct Sent {
    from: Address,
    nonce: u64,
}

/// What everything in a story stands on.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    /// The database's address, unless a story has moved to another one.
    pub(crate) database_url: String,
    /// Whether the database keeps what it acknowledges.
    pub(crate) durable: bool,
    /// Gone once a story has ended it.
    pub(crate) anvil: Option<Anvil>,
    pub(crate) rpc_url: String,
    pub(crate) folder: TempDir,
    pub(crate) chain_id: u64,
    pub(crate) vault: Address,
    pub(crate) token: Address,
}

impl World {
    /// Starts the parts and deploys the contracts with `laurel deploy`.
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::create(&MIGRATOR).await;
        let options =
            AnvilOptions { gas_limit: Some(200_000_000), ..AnvilOptions::new(Mining::Every(BLOCK_TIME)) };
        let anvil = Anvil::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let json = folder.path().join("deployed.json");
        let mut deploy = laurel(&["deploy", "--rpc-url", anvil.rpc_url(), "--lane"]);
        deploy.args([DEV_KEYS[1].address, DEV_KEYS[2].address]).arg("--json").arg(&json);
        deploy.env("LAUREL_DEPLOYER_KEY", DEV_KEYS[0].secret);
        let deployed = output(deploy).await;
        assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        let deployed: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        let address = |name: &str| deployed[name].as_str().unwrap().parse().unwrap();
        let chain_id = deployed["chain_id"].as_u64().unwrap();
        Self {
            vault: address("vault"),
            token: address("token"),
            chain_id,
            database_url: database.url().to_owned(),
            durable: false,
            database,
            rpc_url: anvil.rpc_url().to_owned(),
            anvil: Some(anvil),
            folder,
        }
    }

    /// The configuration of a replica whose API is on `port`.
    pub(crate) fn config(&self, port: u16) -> PathBuf {
        let file = self.folder.path().join(format!("laurel-{port}.toml"));
        if file.exists() {
            // Somebody may be reading it.
            return file;
        }
        let mut toml = String::new();
        write!(
            toml,
            "[database]\nurl = \"{}\"\nconnections_max = 12\ndurable = {}\n[api]\nbind = \"127.0.0.1:{port}\"\n\
             public_url = \"http://127.0.0.1:{port}\"\n[ops]\nbind = \"127.0.0.1:0\"\n[auth]\nmode = \"none\"\n\
             [[chains]]\nid = {}\nrpc_urls = [\"{}\"]\nvault = \"{}\"\npoll_interval_ms = 50\n\
             lane_keys = [\"env:LAUREL_LANE_0\", \"env:LAUREL_LANE_1\"]\ntreasury_key = \"env:LAUREL_TREASURY\"\n\
             [batch]\ngrants_max = 100\n",
            self.database_url,
            self.durable,
            self.chain_id,
            self.rpc_url,
            self.vault,
        )
        .unwrap();
        std::fs::write(&file, toml).unwrap();
        file
    }

    /// A command with the configuration of `port` and the development keys.
    pub(crate) fn laurel(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = laurel(arguments);
        command
            .arg("--config")
            .arg(self.config(port))
            .envs(KEYS.into_iter().zip(DEV_KEYS.map(|key| key.secret)));
        command
    }

    /// `laurel all` with its API on `port`.
    pub(crate) fn start_all(&self, port: u16) -> Running {
        Running::start(self.laurel(port, &["all"]), &self.folder.path().join(format!("laurel-{port}.log")))
    }

    /// Moves the chain's time ahead, so far that nothing signed before is taken any more.
    pub(crate) async fn let_deadlines_pass(&self) {
        self.warp(3_700).await;
    }

    /// Moves the chain's time ahead.
    pub(crate) async fn warp(&self, seconds: u64) {
        let seconds = seconds.to_string();
        let warped = output(laurel(&["chain", "--rpc-url", &self.rpc_url, "warp", &seconds])).await;
        assert!(warped.status.success(), "{}", String::from_utf8_lossy(&warped.stderr));
    }

    /// A campaign that pays one token for a score of 50 or more, funded and active.
    pub(crate) async fn campaign(&self, rest: &Rest, cap: &str) -> String {
        self.campaign_with(rest, cap, json!({})).await
    }

    /// The same with caps for each player.
    pub(crate) async fn campaign_with(&self, rest: &Rest, cap: &str, caps: Value) -> String {
        self.campaign_of(rest, cap, "Story", caps).await
    }

    /// The same of another name.
    pub(crate) async fn campaign_named(&self, rest: &Rest, cap: &str, name: &str) -> String {
        self.campaign_of(rest, cap, name, json!({})).await
    }

    async fn campaign_of(&self, rest: &Rest, cap: &str, name: &str, caps: Value) -> String {
        let definition = json!({
            "name": name, "chain_id": self.chain_id, "token": self.token.to_checksum(None), "games": ["quiz"],
            "rule": "outcome.score >= 50", "reward": { "kind": "fixed", "amount": REWARD.to_string() },
            "caps": caps, "wallet_deadline_hours": 1,
        });
        let made = rest.must(Method::POST, "/campaigns", Some(definition)).await;
        let id = made["id"].as_str().unwrap().to_owned();
        rest.must(Method::POST, &format!("/campaigns/{id}/fund"), Some(json!({ "cap": cap }))).await;
        rest.until(&format!("/campaigns/{id}/statistics"), |statistics| statistics["funded"] == cap).await;
        rest.must(Method::POST, &format!("/campaigns/{id}/activate"), None).await;
        id
    }

    /// A transaction of the vault's owner to the vault, in a block.
    pub(crate) async fn owner_calls(&self, call: impl SolCall) {
        self.sends(0, self.vault, call.abi_encode()).await;
    }

    /// Whether the vault pays nothing to anybody.
    pub(crate) async fn vault_is_paused(&self) -> bool {
        let node = HttpNode::new(&self.rpc_url).unwrap();
        let data = RewardVault::pausedCall {}.abi_encode().into();
        let call = Call { from: self.vault, to: self.vault, data, gas: None };
        RewardVault::pausedCall::abi_decode_returns(&node.call(call).await.unwrap()).unwrap()
    }

    /// Waits until it is so.
    pub(crate) async fn until_paused(&self) {
        let paused = async {
            while !self.vault_is_paused().await {
                tokio::time::sleep(BLOCK_TIME / 4).await;
            }
        };
        tokio::time::timeout(MINED_WITHIN, paused).await.expect("the guardian pauses the vault");
    }

    /// A contract of the vault's owner, in a block.
    pub(crate) async fn deploys(&self, bytecode: Vec<u8>) -> Address {
        let sent = self.mined(0, None, bytecode).await;
        sent.from.create(sent.nonce)
    }

    /// A transaction of a development account, in a block.
    pub(crate) async fn sends(&self, account: usize, to: Address, data: Vec<u8>) {
        self.mined(account, Some(to), data).await;
    }

    async fn mined(&self, account: usize, to: Option<Address>, data: Vec<u8>) -> Sent {
        let node = HttpNode::new(&self.rpc_url).unwrap();
        let signer = LocalKey::from_hex(DEV_KEYS[account].secret).unwrap();
        let fees = node.fees().await.unwrap();
        let nonce = node.nonce(signer.address(), NonceAt::Pending).await.unwrap();
        let request = TxRequest {
            chain_id: self.chain_id,
            nonce,
            to,
            data: data.into(),
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        let sent = node.send(signer.sign(&request).unwrap().raw).await.unwrap();
        let mined = async {
            while !matches!(node.transaction(sent).await.unwrap(), TxStatus::Mined(_)) {
                tokio::time::sleep(BLOCK_TIME / 4).await;
            }
        };
        tokio::time::timeout(MINED_WITHIN, mined).await.expect("blocks are made");
        Sent { from: signer.address(), nonce }
    }

    /// What a wallet has of the token.
    pub(crate) async fn balance(&self, wallet: Address) -> U256 {
        let node = HttpNode::new(&self.rpc_url).unwrap();
        let data = Erc20::balanceOfCall { owner: wallet }.abi_encode().into();
        let answer = node.call(Call { from: wallet, to: self.token, data, gas: None }).await.unwrap();
        Erc20::balanceOfCall::abi_decode_returns(&answer).unwrap()
    }

    /// `laurel audit reconcile` finds nothing.
    pub(crate) async fn assert_reconciled(&self, port: u16) {
        let audit = output(self.laurel(port, &["audit", "reconcile"])).await;
        let printed = String::from_utf8_lossy(&audit.stdout).into_owned();
        assert_eq!(audit.status.code(), Some(0), "{printed}{}", String::from_utf8_lossy(&audit.stderr));
    }

    /// `laurel audit books` finds nothing.
    pub(crate) async fn assert_books_balance(&self, port: u16) {
        let audit = output(self.laurel(port, &["audit", "books"])).await;
        let printed = String::from_utf8_lossy(&audit.stdout).into_owned();
        assert_eq!(audit.status.code(), Some(0), "{printed}{}", String::from_utf8_lossy(&audit.stderr));
    }
}

/// Makes a copied database one that cannot be told from what it is a copy of.
pub(crate) const UNTOLD: &str = "UPDATE identity SET database_id = (SELECT oid::bigint FROM pg_database WHERE datname = current_database())";

/// What a grant of a story's campaign pays.
pub(crate) const REWARD: u64 = 1_000;

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for World {
    /// What the processes said is all there is to go by when a story ends badly.
    #[expect(clippy::print_stdout, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let files = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        for file in
            files.map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "log"))
        {
            let log = std::fs::read_to_string(&file).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
            println!("--- {}", file.display());
            last.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

/// How much of a log a failed story shows.
const LOG_LINES_SHOWN: usize = 40;
