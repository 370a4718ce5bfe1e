//! How long a reconciliation takes, and what memory: `cargo run --release -p laurel-audit --example million -- GRANTS [ledger]`.
//!
//! A real Anvil pays the grants, 500 in a transaction; the ledger's rows are written as the stages would have. Then all is
//! compared from the first block, and once more with nothing new. With `ledger` nothing is paid: what the chain would have
//! said is written beside the ledger, and what is measured is all but its reading.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::{sync::Arc, time::Instant};

use alloy::{
    primitives::{Address, U256, keccak256},
    sol_types::SolCall,
};
use chrono::{DateTime, TimeDelta};
use laurel_audit::{AuditedChain, Request, reconcile};
use laurel_chain::{
    Block, BlockRef, ChainNode, Deployed, Erc20, GrantWord, HttpNode, LaneSigner, LocalKey, NonceAt,
    RewardVault, Settlement, SettlementSegment, SignedTx, Terms, TxRequest, deploy_contracts,
};
use laurel_devnet::{
    Anvil, AnvilOptions, Mining, chain_control::ChainControl, dev_keys::DEV_KEYS, testing::TestDatabase,
};
use laurel_events::{GameOutcomeRecorded, NewEvent, OrgId, OutcomeKey, PlayerId, SystemClock};
use laurel_ledger::{Context, MIGRATOR, VaultIdentity, append, pin_vault};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use uuid::Uuid;

const CAMPAIGN: u64 = 7;
const BATCH: u64 = 500;
const PLAYERS: u64 = 1_000;
/// The outcomes of a request.
const REQUEST: u64 = 100;
const GAS_SETTLE: u64 = 16_000_000;
const GAS_ELSE: u64 = 1_000_000;

struct World {
    /// Nothing is paid: the ledger alone is measured, with the chain read before.
    offline: bool,
    node: Arc<dyn ChainNode>,
    deployed: Deployed,
    pool: PgPool,
}

impl World {
    /// Sends a transaction and waits until it is mined.
    async fn send(&self, key: &LocalKey, to: Address, data: Vec<u8>, gas_limit: u64) -> (SignedTx, Block) {
        let fees = self.node.fees().await.unwrap();
        let nonce = self.node.nonce(key.address(), NonceAt::Latest).await.unwrap();
        let request = TxRequest {
            chain_id: self.deployed.chain_id,
            nonce,
            to: Some(to),
            data: data.into(),
            gas_limit,
            max_fee_per_gas: fees.base_fee * 2 + fees.priority_fee,
            max_priority_fee_per_gas: fees.priority_fee,
        };
        let signed = key.sign(&request).unwrap();
        self.node.send(signed.raw.clone()).await.unwrap();
        loop {
            let latest = self.node.block(BlockRef::Latest).await.unwrap().unwrap();
            if latest.transactions.contains(&signed.hash) {
                return (signed, latest);
            }
        }
    }

    fn sign(&self, key: &LocalKey, nonce: u64, data: Vec<u8>) -> SignedTx {
        let request = TxRequest {
            chain_id: self.deployed.chain_id,
            nonce,
            to: Some(self.deployed.vault),
            data: data.into(),
            gas_limit: GAS_SETTLE,
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 1,
        };
        key.sign(&request).unwrap()
    }

    /// The chain's side of a batch, as its reading would have left it.
    async fn note(&self, lane: &LocalKey, batch: u64, signed: &SignedTx, block: &Block) {
        sqlx::query(
            "INSERT INTO audit_settlements
             SELECT $1, $2, $3::bigint + 10, $4, $5, $6, $7, $3, 7, s.first_seq, 500, s.total, s.words_hash, r.words,
                    m.mask, 500
             FROM segments s JOIN runs r ON r.campaign = s.campaign AND r.first_seq = s.first_seq,
                  LATERAL (SELECT string_agg(decode(repeat('ff', 32), 'hex'), '') AS mask
                           FROM generate_series(s.first_seq >> 8, (s.first_seq + 499) >> 8)) m
             WHERE s.batch = $8",
        )
        .bind(self.deployed.chain_id.cast_signed())
        .bind(block.header.number.cast_signed())
        .bind(batch.cast_signed())
        .bind(block.hash.as_slice())
        .bind(signed.hash.as_slice())
        .bind(self.deployed.vault.as_slice())
        .bind(lane.address().as_slice().to_vec())
        .bind(Uuid::from_u128(u128::from(batch)))
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Opens the campaign, pins the vault and writes what a campaign has.
    async fn open(&self, owner: &LocalKey, lane: &LocalKey, cap: u64) {
        let (vault, token) = (self.deployed.vault, self.deployed.token);
        let transfer = Erc20::transferCall { to: vault, value: U256::from(cap) };
        self.send(owner, token, transfer.abi_encode(), GAS_ELSE).await;
        let terms = Terms {
            token,
            batch: true,
            grantGas: 100_000,
            cap: U256::from(cap).to(),
            windowLimit: U256::ZERO.to(),
            window: 0,
        };
        let open = RewardVault::openCall { campaign: CAMPAIGN, terms };
        let (opened, block) = self.send(owner, vault, open.abi_encode(), GAS_ELSE).await;
        let genesis = self.node.block(BlockRef::Number(0)).await.unwrap().unwrap();
        let identity = VaultIdentity {
            chain_id: self.deployed.chain_id,
            genesis_hash: genesis.hash,
            vault,
            code_hash: keccak256(self.node.code(vault).await.unwrap()),
            deploy_block: self.deployed.block,
        };
        pin_vault(&mut self.pool.acquire().await.unwrap(), &identity).await.unwrap();
        for statement in [
            "INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version, version,
                                    created_at)
             SELECT 7, 1, id, $1, 'c', '{quiz}', 'active', 1, 1, 1, 'epoch' FROM vaults WHERE $2::bytea IS NOT NULL",
            "INSERT INTO lanes (vault, address, state, next_nonce) SELECT id, $2, 'active', 0 FROM vaults
             WHERE $1::bytea IS NOT NULL",
        ] {
            let insert = sqlx::query(statement).bind(token.as_slice()).bind(lane.address().as_slice().to_vec());
            insert.execute(&self.pool).await.unwrap();
        }
        sqlx::query("INSERT INTO fundings VALUES (7, $1, 0, $2, $3, $3, 'epoch')")
            .bind(block.header.number.cast_signed())
            .bind(opened.hash.as_slice())
            .bind(bigdecimal::BigDecimal::from(cap))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Pays a batch, and writes what the stages would have.
    async fn pay(&self, lane: &LocalKey, batch: u64) {
        let first_seq = batch * BATCH;
        let word = |seq: u64| {
            let wallet = Address::from_word(keccak256((seq / 3).to_be_bytes()));
            GrantWord::new(wallet, (seq % 7 + 1).into()).unwrap().encode()
        };
        let words = (first_seq..first_seq + BATCH).map(word).collect();
        let segment = SettlementSegment { campaign: CAMPAIGN.into(), first_seq, words };
        let latest = self.node.block(BlockRef::Latest).await.unwrap().unwrap();
        let deadline = latest.header.timestamp + 600;
        let data = Settlement { deadline, segments: vec![segment.clone()] }.calldata();
        let (signed, block) = if self.offline {
            // What the chain would have said is written, too.
            (self.sign(lane, batch, data.to_vec()), latest)
        } else {
            self.send(lane, self.deployed.vault, data.to_vec(), GAS_SETTLE).await
        };
        let total: u64 = (first_seq..first_seq + BATCH).map(|seq| seq % 7 + 1).sum();
        let id = Uuid::from_u128(u128::from(batch));
        let statement = "
            WITH batch AS (
                INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at, mined_tx, block_number, block_hash)
                VALUES ($1, 1, $2, 'confirmed', 0, 500, 'epoch', $3, $4, $5)
            ), attempt AS (
                INSERT INTO attempts (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas,
                                      max_priority_fee_per_gas, signed_at, chain_time)
                VALUES ($1, $1, 0, false, $3, $6, 1, 1, 1, 'epoch', 0)
            ), segment AS (
                INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash, posted_at)
                VALUES ($1, 7, $7, 500, $8, $9, 'epoch')
            ), run AS (
                INSERT INTO runs SELECT 7, $7, 500, array_agg(n), $10, $7, 'epoch'
                FROM generate_series($7::bigint, $7::bigint + 499) n
            ), lane AS (UPDATE lanes SET next_nonce = $2::bigint + 1)
            INSERT INTO postings VALUES ($1, 7, 500, $8, $3, 'epoch')";
        sqlx::query(statement)
            .bind(id)
            .bind(batch.cast_signed())
            .bind(signed.hash.as_slice())
            .bind(block.header.number.cast_signed())
            .bind(block.hash.as_slice())
            .bind(signed.raw.as_ref())
            .bind(first_seq.cast_signed())
            .bind(bigdecimal::BigDecimal::from(total))
            .bind(segment.words_hash().as_slice())
            .bind(segment.words.concat())
            .execute(&self.pool)
            .await
            .unwrap();
        if self.offline {
            self.note(lane, batch, &signed, &block).await;
        }
    }

    /// Outcomes from `first` on, as a request has them accepted, and their holds.
    async fn accept(&self, first: u64) {
        let numbers = first..first + REQUEST;
        let outcome = |number: u64| {
            NewEvent::from(GameOutcomeRecorded {
                org: OrgId(1),
                issuer: "quiz-server".to_owned(),
                outcome: OutcomeKey::from(Uuid::from_u128(number.into())),
                outcome_id: format!("match-{number}"),
                game: "quiz".to_owned(),
                player: PlayerId::from(Uuid::from_u128((number % PLAYERS).into())),
                score: 60,
                rank: None,
                attributes: [].into(),
            })
        };
        let events: Vec<NewEvent> = numbers.clone().map(outcome).collect();
        let mut tx = self.pool.begin().await.unwrap();
        let places =
            append(&mut tx, &Context::at(DateTime::UNIX_EPOCH + TimeDelta::days(1)), &events).await.unwrap();
        let of = |number: u64| number.cast_signed();
        sqlx::query(
            "WITH accepted AS (
                 SELECT number, lpad(to_hex(number), 32, '0')::uuid AS key, lpad(to_hex(number % $5), 32, '0')::uuid AS player,
                        part, position, idx
                 FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::integer[]) AS a (number, part, position, idx)
             ), known AS (
                 INSERT INTO outcomes SELECT key, 1, sha256(key::text::bytea), part, position, idx FROM accepted
             )
             INSERT INTO grants SELECT 7, number, part, position, idx, key, player, number % 7 + 1, 1, '1970-01-02Z' FROM accepted",
        )
        .bind(numbers.map(of).collect::<Vec<_>>())
        .bind(places.iter().map(|id| id.partition.number()).collect::<Vec<_>>())
        .bind(places.iter().map(|id| id.offset).collect::<Vec<_>>())
        .bind(places.iter().map(|id| id.index).collect::<Vec<_>>())
        .bind(PLAYERS.cast_signed())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// The other stages' chunks of the journal, the players' counters, and the balances.
    async fn finish(&self, grants: u64, cap: u64) {
        let block = self.node.block(BlockRef::Latest).await.unwrap().unwrap();
        for statement in [
            // Each request's grants were requested in one transaction; only the bytes are looked at.
            "INSERT INTO journal
             SELECT h.part, h.next + n, 'TokenGrantRequested', 1, 100, '1970-01-02Z', NULL, NULL, p, sha256(p)
             FROM heads h, generate_series(0, $1 / 100 - 1) n,
                  LATERAL (SELECT convert_to(repeat(md5(n::text), 900), 'UTF8') AS p) p
             WHERE h.part = 0",
            "UPDATE heads SET next = next + $1 / 100 WHERE part = 0",
            "INSERT INTO cursors (stage, part, next) SELECT s, part, next FROM heads,
                    unnest('{books,settlements,grant-saga}'::text[]) s WHERE $1 > 0",
            "INSERT INTO counters SELECT 7, player, p, count(*), sum(amount), NULL, NULL
             FROM grants, unnest(ARRAY[date '1970-01-01', date '1970-01-02']) p WHERE $1 > 0 GROUP BY player, p",
            "INSERT INTO queues (campaign, vault, next_seq, batched_to) SELECT 7, 1, $1, $1",
        ] {
            sqlx::query(statement).bind(grants.cast_signed()).execute(&self.pool).await.unwrap();
        }
        sqlx::query(
            "INSERT INTO accounts SELECT 7, $1, $1 - sum(amount), 0, sum(amount), 0, count(*), 0 FROM grants",
        )
        .bind(bigdecimal::BigDecimal::from(cap))
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query("UPDATE chains SET final_number = $1, final_hash = $2, head_number = $1, head_hash = $2")
            .bind(block.header.number.cast_signed())
            .bind(block.hash.as_slice())
            .execute(&self.pool)
            .await
            .unwrap();
        sqlx::query("ANALYZE").execute(&self.pool).await.unwrap();
    }
}

#[tokio::main]
async fn main() {
    let grants: u64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().unwrap());
    let database = TestDatabase::create(&MIGRATOR).await;
    let anvil = Anvil::start(AnvilOptions::new(Mining::EachTransaction)).await.unwrap();
    let node: Arc<dyn ChainNode> = Arc::new(HttpNode::new(anvil.rpc_url()).unwrap());
    let [owner, lane] = [0, 1].map(|number: usize| LocalKey::from_hex(DEV_KEYS[number].secret).unwrap());
    let deployed = deploy_contracts(&*node, &owner, &[lane.address()]).await.unwrap();
    let offline = std::env::args().nth(2).is_some_and(|text| text == "ledger");
    let world = World { offline, node: node.clone(), deployed, pool: database.pool().clone() };
    let cap = grants * 8;
    world.open(&owner, &lane, cap).await;
    let began = Instant::now();
    for batch in 0..grants / BATCH {
        world.pay(&lane, batch).await;
    }
    for first in (0..grants).step_by(REQUEST as usize) {
        world.accept(first).await;
    }
    if offline {
        let control = ChainControl::new(anvil.rpc_url()).unwrap();
        control.set_nonce(&lane.address().to_string(), grants / BATCH).await.unwrap();
        control.mine(1).await.unwrap();
    }
    world.finish(grants, cap).await;
    if offline {
        // The chain up to here; then the settlements that it would have had are put beside it.
        sqlx::query("INSERT INTO audit_checkpoints SELECT id, final_number, final_hash FROM chains")
            .execute(&world.pool)
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO audit_logs SELECT v.chain_id, f.block_number, f.log_index, f.tx, v.address, 'capped', 7, c.token,
                    f.cap, NULL, NULL FROM fundings f, campaigns c, vaults v",
        )
        .execute(&world.pool)
        .await
        .unwrap();
    }
    let written = began.elapsed().as_secs_f64();
    let journal: i64 = sqlx::query_scalar("SELECT sum(length(payload)) / 1000000 FROM journal")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    println!("{grants} grants paid and written in {written:.1} s, {journal} MB of journal");
    let chain = AuditedChain { chain_id: deployed.chain_id, node, vault: deployed.vault };
    let mut rng = StdRng::seed_from_u64(1);
    let runs = [("from the first block", !offline), ("with nothing new", false)];
    for (name, whole) in runs {
        let began = Instant::now();
        let request = Request { whole, campaign: None };
        let made = reconcile(&world.pool, std::slice::from_ref(&chain), &SystemClock, &mut rng, request)
            .await
            .unwrap();
        println!(
            "{name}: {:.1} s, {} places, {} settled segments, {} MiB at most so far",
            began.elapsed().as_secs_f64(),
            made.places,
            made.settlements,
            peak_mib(),
        );
        assert!(made.findings.is_empty(), "{:?}", &made.findings[..made.findings.len().min(3)]);
    }
}

/// The most memory that this process has had.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1_024
}
