//! What the chain has taken back.

use alloy::primitives::{Address, B256};
use laurel_chain::VaultLog;
use laurel_events::{Amount, BatchId, BlockchainTxUndone, Sighting};
use laurel_ledger::LedgerError;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    facts::settled_segments,
    store::{Seen, hash},
};

/// What was final and is undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Batches that had settled.
    pub settlements: u64,
    /// Grants that they had paid.
    pub grants: u64,
    /// How much these were, of whatever tokens.
    pub amount: Amount,
    /// Batches that had ended unpaid, and go again.
    pub reverted: u64,
    /// Settlements that nobody here had signed.
    pub strangers: u64,
    /// Caps of campaigns.
    pub fundings: u64,
    /// Logs that burned places.
    pub cancels: u64,
    /// Campaigns that were released.
    pub releases: u64,
}

impl Lost {
    pub(super) fn of(seen: &[Seen], displaced: usize) -> Self {
        let mut lost = Self { reverted: displaced as u64, ..Self::default() };
        for seen in seen {
            for indexed in &seen.logs {
                match &indexed.log {
                    VaultLog::Capped { .. } => lost.fundings += 1,
                    VaultLog::Cancelled { .. } => lost.cancels += 1,
                    VaultLog::Released { .. } => lost.releases += 1,
                    VaultLog::Settled { .. } | VaultLog::Refused { .. } => {}
                }
            }
            let segments = settled_segments(&seen.logs);
            match seen.sighting.batch {
                Some(_) if !seen.succeeded || seen.empty => lost.reverted += 1,
                Some(_) => {
                    lost.settlements += 1;
                    for segment in segments {
                        lost.grants += u64::from(segment.count);
                        lost.amount = lost.amount.plus(segment.total).unwrap_or(lost.amount);
                    }
                }
                None if !segments.is_empty() => lost.strangers += 1,
                None => {}
            }
        }
        lost
    }
}

/// A batch that ended because something else than a transaction of ours had its nonce, in a block that is gone.
pub(super) struct Displaced {
    sighting: Sighting,
}

impl Displaced {
    pub(super) fn undone(self, transition: u64) -> BlockchainTxUndone {
        BlockchainTxUndone { sighting: Sighting { transition, ..self.sighting }, segments: Vec::new() }
    }
}

/// The batches that are final in blocks above `number`, and of which `seen` knows nothing.
pub(super) async fn displaced(
    conn: &mut PgConnection,
    chain_id: u64,
    number: u64,
    seen: &[Seen],
) -> Result<Vec<Displaced>, LedgerError> {
    let known: Vec<Uuid> = seen.iter().filter_map(|seen| seen.sighting.batch).map(BatchId::uuid).collect();
    let rows = sqlx::query!(
        r#"
        SELECT b.id, b.mined_tx AS "tx!", b.block_number AS "block_number!", b.block_hash AS "block_hash!", v.address
        FROM batches b JOIN lanes l ON l.id = b.lane JOIN vaults v ON v.id = l.vault
        WHERE v.chain_id = $1 AND b.state IN ('confirmed', 'reverted') AND b.block_number > $2 AND b.id <> ALL ($3)
          AND NOT b.adopted
        ORDER BY b.block_number DESC, b.nonce DESC
        "#,
        chain_id.cast_signed(),
        number.cast_signed(),
        &known,
    );
    let rows = rows.fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            let wrong =
                |_| LedgerError::Inconsistent { table: "vaults", column: "address", id: row.id.to_string() };
            let sighting = Sighting {
                chain_id,
                vault: Address::try_from(row.address.as_slice()).map_err(wrong)?,
                transition: 0,
                tx: hash(&row.tx, "batches", "mined_tx")?,
                batch: Some(row.id.into()),
                block_number: row.block_number.cast_unsigned(),
                block_hash: hash(&row.block_hash, "batches", "block_hash")?,
            };
            Ok(Displaced { sighting })
        })
        .collect()
}

/// One of the transactions that a recovery has explained.
pub(super) async fn recovered_among(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
    number: u64,
) -> Result<Option<B256>, LedgerError> {
    let txs: Vec<&[u8]> = seen.iter().map(|seen| seen.sighting.tx.as_slice()).collect();
    let found = sqlx::query_scalar!(
        "SELECT tx FROM recovered_txs WHERE chain_id = $1 AND (tx = ANY ($2) OR block_number > $3) LIMIT 1",
        chain_id.cast_signed(),
        &txs as &[&[u8]],
        number.cast_signed(),
    );
    found.fetch_optional(conn).await?.map(|tx| hash(&tx, "recovered_txs", "tx")).transpose()
}
