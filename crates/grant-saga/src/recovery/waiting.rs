//! What has to be true before the chain's word is taken for all there is.

use std::fmt;

use alloy::{
    primitives::{Address, B256},
    sol_types::SolCall as _,
};
use chrono::{DateTime, Utc};
use laurel_chain::{
    BlockRef, Call, ChainError, ChainNode, NonceAt, NonceUse, NonceUser, RewardVault, find_nonce_use,
};
use laurel_ledger::{JournalHeads, LedgerError, Vault, journal_heads, partitions_behind};

use super::{RecoverError, Recovery};
use crate::{
    Lane, LaneState, list_lanes,
    operate::{BLOCKS_READ_MAX, unknown_user},
};

/// The stages that have to have read what the watcher told.
const STAGES: [&str; 2] = ["books", "settlements"];

/// What our vault takes: nobody's word makes the wait shorter.
const LIFETIME_MIN_S: u64 = 3_600;

/// Longer than any settlement should wait, and short enough that a wrong word can be waited for.
const LIFETIME_MAX_S: u64 = 24 * 3_600;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nobody has followed the chain yet.
    NoFinalBlock {
        /// The chain.
        chain_id: u64,
    },
    /// Somebody else may still have what was signed before.
    Deadlines {
        /// The chain.
        chain_id: u64,
        /// Up to this block time, in seconds since 1970.
        until: u64,
        /// The last final block that the watcher has told of.
        final_number: u64,
        /// Its time.
        final_time: u64,
    },
    /// A lane's last transaction is in a block that is not final here.
    Lane {
        /// Its account.
        address: Address,
        /// The transaction.
        tx: B256,
        /// Its block.
        block_number: u64,
    },
    /// A stage has not read everything.
    Stage {
        /// Which.
        stage: &'static str,
        /// In how many partitions.
        partitions: usize,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFinalBlock { chain_id } => {
                write!(f, "chain {chain_id}: no block is final here yet; does `laurel chain-watcher` run?")
            }
            Self::Deadlines { chain_id, until, final_number, final_time } => write!(
                f,
                "chain {chain_id}: what was signed before may settle for {} s more of the chain's time (final block \
                 {final_number})",
                (until + 1).saturating_sub(*final_time)
            ),
            Self::Lane { address, tx, block_number } => {
                write!(
                    f,
                    "lane {address}: its last transaction {tx} is in block {block_number}, which is not final here"
                )
            }
            Self::Stage { stage, partitions } => {
                write!(
                    f,
                    "stage {stage}: {partitions} partitions have not read everything; does its role run?"
                )
            }
        }
    }
}

impl Recovery {
    /// What of the chains is still waited for.
    ///
    /// # Errors
    /// If database or chain do not answer.
    pub async fn wait_for_chains(&self, now: DateTime<Utc>) -> Result<Vec<Waiting>, RecoverError> {
        let mut waiting = Vec::new();
        for (vault, node) in &self.chains {
            waiting.extend(self.wait_for_chain(now, vault, &**node).await?);
        }
        Ok(waiting)
    }

    async fn wait_for_chain(
        &self,
        now: DateTime<Utc>,
        vault: &Vault,
        node: &dyn ChainNode,
    ) -> Result<Vec<Waiting>, RecoverError> {
        let chain_id = vault.identity.chain_id;
        let until = self.until(now, vault, node).await?;
        let last =
            sqlx::query!("SELECT final_number, final_hash FROM chains WHERE id = $1", chain_id.cast_signed());
        let last = last.fetch_one(&self.pool).await?;
        let (Some(final_number), Some(hash)) = (last.final_number, last.final_hash) else {
            return Ok(vec![Waiting::NoFinalBlock { chain_id }]);
        };
        let final_number = final_number.cast_unsigned();
        let hash = B256::try_from(&*hash).map_err(|_| LedgerError::Inconsistent {
            table: "chains",
            column: "final_hash",
            id: chain_id.to_string(),
        })?;
        // By its hash, which proves the time that it tells.
        let block = node.block(BlockRef::Hash(hash)).await?.ok_or_else(|| {
            ChainError::Untrue(format!("the node lacks block {final_number}, which is final"))
        })?;
        let final_time = block.header.timestamp;
        if final_time <= until {
            return Ok(vec![Waiting::Deadlines { chain_id, until, final_number, final_time }]);
        }
        sqlx::query!(
            "UPDATE quarantine_chains SET last_block = $2 WHERE chain_id = $1 AND last_block IS NULL",
            chain_id.cast_signed(),
            final_number.cast_signed(),
        )
        .execute(&self.pool)
        .await?;
        let latest = node.block(BlockRef::Latest).await?;
        let latest = latest.map_or(final_number, |latest| latest.header.number);
        let mut waiting = Vec::new();
        let lanes = list_lanes(&mut *self.pool.acquire().await?).await?;
        // Those that are retired are given nothing more: nobody waits for whoever else has their keys.
        let counts = |lane: &Lane| lane.vault == vault.id && lane.state != LaneState::Retired;
        for lane in lanes.into_iter().filter(counts) {
            let sent = node.nonce(lane.address, NonceAt::Latest).await?;
            let Some(nonce) = sent.checked_sub(1) else { continue };
            let blocks = final_number + 1..=latest;
            match find_nonce_use(node, lane.address, nonce, blocks, BLOCKS_READ_MAX).await? {
                NonceUse::By(NonceUser { tx, block_number, .. }) => {
                    waiting.push(Waiting::Lane { address: lane.address, tx, block_number });
                }
                NonceUse::Earlier => {}
                NonceUse::Unused => return Err(unknown_user(nonce).into()),
            }
        }
        Ok(waiting)
    }

    /// Up to which block time something may settle that was signed before the quarantine. Nothing that the vault takes now has
    /// a deadline further ahead than its MAX_LIFETIME, and what is signed with a later one is refused until then. A node may be
    /// behind, and then tells of an earlier time than it is.
    async fn until(
        &self,
        now: DateTime<Utc>,
        vault: &Vault,
        node: &dyn ChainNode,
    ) -> Result<u64, RecoverError> {
        let chain_id = vault.identity.chain_id.cast_signed();
        let known = sqlx::query_scalar!("SELECT until FROM quarantine_chains WHERE chain_id = $1", chain_id);
        if let Some(known) = known.fetch_optional(&self.pool).await? {
            return Ok(known.cast_unsigned());
        }
        let data = RewardVault::MAX_LIFETIMECall {}.abi_encode().into();
        let call = Call { from: Address::ZERO, to: vault.identity.vault, data, gas: None };
        let answer =
            node.agreed_call(call).await.map_err(|error| RecoverError::Lifetime(error.to_string()))?;
        let lifetime = RewardVault::MAX_LIFETIMECall::abi_decode_returns(&answer)
            .map_err(|error| RecoverError::Lifetime(error.to_string()))?;
        if lifetime > LIFETIME_MAX_S {
            return Err(RecoverError::Lifetime(format!("{lifetime} s is no lifetime of a settlement")));
        }
        let (chain_time, machine_time) = (node.chain_time().await?, now.timestamp().unsigned_abs());
        let until = chain_time.max(machine_time).saturating_add(lifetime.max(LIFETIME_MIN_S));
        sqlx::query!(
            "INSERT INTO quarantine_chains (chain_id, until) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            chain_id,
            until.cast_signed(),
        )
        .execute(&self.pool)
        .await?;
        Ok(until)
    }

    /// How far the journal goes now.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn heads(&self) -> Result<JournalHeads, RecoverError> {
        Ok(journal_heads(&mut *self.pool.acquire().await?).await?)
    }

    /// What of the stages is still waited for, until they have read up to there.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn wait_for_stages(&self, upto: &JournalHeads) -> Result<Vec<Waiting>, RecoverError> {
        let mut waiting = Vec::new();
        for stage in STAGES {
            let partitions = partitions_behind(&mut *self.pool.acquire().await?, stage, upto).await?;
            if partitions > 0 {
                waiting.push(Waiting::Stage { stage, partitions });
            }
        }
        Ok(waiting)
    }
}
