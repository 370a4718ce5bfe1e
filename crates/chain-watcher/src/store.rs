//! The canonical chain as the database has it.

use std::collections::HashMap;

use alloy::primitives::B256;
use laurel_events::{Amount, BatchId, Sighting, VaultId};
use laurel_ledger::{LedgerError, Vault, amount_from_sql, amount_to_sql, planted};
use sqlx::PgConnection;

use crate::{
    BlockId,
    facts::{Fact, IndexedLog, OurAttempt, OurAttempts},
};

/// Where the watcher stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// From the last final block to the head, oldest first.
    pub(crate) blocks: Vec<BlockId>,
    /// How many changes of the head there were.
    pub(crate) transition: u64,
    /// Why nothing goes on.
    pub(crate) halted: Option<String>,
    /// Whether it was noted that nobody could follow.
    pub(crate) unfollowed: bool,
}

impl View {
    pub(crate) fn head(&self) -> Option<BlockId> {
        self.blocks.last().copied()
    }

    pub(crate) fn last_final(&self) -> Option<BlockId> {
        self.blocks.first().copied()
    }
}

pub(crate) fn hash(bytes: &[u8], table: &'static str, column: &'static str) -> Result<B256, LedgerError> {
    B256::try_from(bytes).map_err(|_| LedgerError::Inconsistent { table, column, id: "a block".to_owned() })
}

/// Reads where the watcher of a chain stands; with `lock`, until the transaction ends nobody else moves it.
pub(crate) async fn load_view(
    conn: &mut PgConnection,
    chain_id: u64,
    lock: bool,
) -> Result<View, LedgerError> {
    if lock {
        sqlx::query!("SELECT FROM chains WHERE id = $1 FOR NO KEY UPDATE", chain_id.cast_signed())
            .execute(&mut *conn)
            .await?;
    }
    let chain = sqlx::query!(
        r#"SELECT transition, halted, unfollowed_since IS NOT NULL AS "unfollowed!" FROM chains WHERE id = $1"#,
        chain_id.cast_signed()
    )
    .fetch_one(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        "SELECT number, hash, parent FROM blocks WHERE chain_id = $1 ORDER BY number",
        chain_id.cast_signed()
    )
    .fetch_all(conn)
    .await?;
    let blocks = rows
        .into_iter()
        .map(|row| {
            Ok(BlockId {
                number: row.number.cast_unsigned(),
                hash: hash(&row.hash, "blocks", "hash")?,
                parent: hash(&row.parent, "blocks", "parent")?,
            })
        })
        .collect::<Result<_, LedgerError>>()?;
    Ok(View {
        blocks,
        transition: chain.transition.cast_unsigned(),
        halted: chain.halted,
        unfollowed: chain.unfollowed,
    })
}

/// Our attempts among `txs`.
pub(crate) async fn find_attempts(conn: &mut PgConnection, txs: &[B256]) -> Result<OurAttempts, LedgerError> {
    let txs: Vec<&[u8]> = txs.iter().map(B256::as_slice).collect();
    let rows = sqlx::query!(
        r#"
        SELECT a.tx, a.batch, a.empty, l.vault
        FROM attempts a JOIN batches b ON b.id = a.batch JOIN lanes l ON l.id = b.lane
        WHERE a.tx = ANY ($1)
        "#,
        &txs as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let ours = OurAttempt { batch: row.batch.into(), vault: VaultId(row.vault), empty: row.empty };
            Ok((hash(&row.tx, "attempts", "tx")?, ours))
        })
        .collect()
}

/// Appends a block to the canonical chain, with what concerns us in it.
pub(crate) async fn add_block(
    conn: &mut PgConnection,
    chain_id: u64,
    block: &BlockId,
    facts: &[Fact],
) -> Result<(), LedgerError> {
    sqlx::query!(
        "INSERT INTO blocks (chain_id, number, hash, parent) VALUES ($1, $2, $3, $4)",
        chain_id.cast_signed(),
        block.number.cast_signed(),
        block.hash.as_slice(),
        block.parent.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    for fact in facts {
        let logs = serde_json::to_value(&fact.logs).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query!(
            r#"
            INSERT INTO sightings
                (chain_id, block_number, tx_index, block_hash, tx, vault, batch, empty, succeeded, gas_used,
                 effective_gas_price, facts)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            "#,
            chain_id.cast_signed(),
            block.number.cast_signed(),
            fact.tx_index.cast_signed(),
            block.hash.as_slice(),
            fact.tx.as_slice(),
            fact.vault.id.0,
            fact.batch.map(BatchId::uuid),
            fact.empty,
            fact.succeeded,
            fact.gas_used.cast_signed(),
            amount_to_sql(fact.effective_gas_price),
            logs,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// What the database holds of a transaction in an unfinal block.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) sighting: Sighting,
    /// It has the batch's nonce and settles nothing.
    pub(crate) empty: bool,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) effective_gas_price: Amount,
    pub(crate) logs: Vec<IndexedLog>,
}

/// Takes the head block off the canonical chain. Returns what was in it and was not final.
pub(crate) async fn remove_block(
    conn: &mut PgConnection,
    chain_id: u64,
    block: &BlockId,
    vaults: &HashMap<i32, Vault>,
) -> Result<Vec<Seen>, LedgerError> {
    let removed = sqlx::query!(
        "DELETE FROM blocks WHERE chain_id = $1 AND number = $2 AND hash = $3",
        chain_id.cast_signed(),
        block.number.cast_signed(),
        block.hash.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    expect_one("remove a block", removed.rows_affected())?;
    if planted!(ReceiptWithoutBlockHash) {
        return Ok(Vec::new());
    }
    take_sightings(conn, chain_id, (block.number, block.number), vaults, Taken::Unfinal).await
}

/// Takes the sightings of the final blocks from `number` on, which are final no more. Returns what was in them.
pub(crate) async fn take_finals(
    conn: &mut PgConnection,
    chain_id: u64,
    number: u64,
    vaults: &HashMap<i32, Vault>,
) -> Result<Vec<Seen>, LedgerError> {
    take_sightings(conn, chain_id, (number, i64::MAX.cast_unsigned()), vaults, Taken::Final).await
}

/// Makes the blocks behind `before` up to `number` final. Returns what was in them, which is kept.
pub(crate) async fn finalise(
    conn: &mut PgConnection,
    chain_id: u64,
    (before, number): (u64, u64),
    vaults: &HashMap<i32, Vault>,
) -> Result<Vec<Seen>, LedgerError> {
    sqlx::query!(
        "DELETE FROM blocks WHERE chain_id = $1 AND number < $2",
        chain_id.cast_signed(),
        number.cast_signed()
    )
    .execute(&mut *conn)
    .await?;
    let seen = read_sightings(conn, chain_id, (before + 1, number), vaults, Taken::Unfinal).await?;
    sqlx::query!(
        "UPDATE sightings SET final = true WHERE chain_id = $1 AND block_number > $2 AND block_number <= $3",
        chain_id.cast_signed(),
        before.cast_signed(),
        number.cast_signed(),
    )
    .execute(conn)
    .await?;
    Ok(seen)
}

/// Which sightings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Of final blocks.
    Final,
    /// Of the others.
    Unfinal,
}

async fn take_sightings(
    conn: &mut PgConnection,
    chain_id: u64,
    (from, to): (u64, u64),
    vaults: &HashMap<i32, Vault>,
    which: Taken,
) -> Result<Vec<Seen>, LedgerError> {
    let seen = read_sightings(conn, chain_id, (from, to), vaults, which).await?;
    sqlx::query!(
        "DELETE FROM sightings WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND final = $4",
        chain_id.cast_signed(),
        from.cast_signed(),
        to.cast_signed(),
        which == Taken::Final,
    )
    .execute(conn)
    .await?;
    Ok(seen)
}

/// The sightings of some blocks, as they follow each other.
pub(crate) async fn read_sightings(
    conn: &mut PgConnection,
    chain_id: u64,
    (from, to): (u64, u64),
    vaults: &HashMap<i32, Vault>,
    which: Taken,
) -> Result<Vec<Seen>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT block_number, block_hash, tx, vault, batch, empty, succeeded, gas_used, effective_gas_price, facts
        FROM sightings
        WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND final = $4
        ORDER BY block_number, tx_index
        "#,
        chain_id.cast_signed(),
        from.cast_signed(),
        to.cast_signed(),
        which == Taken::Final,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::Inconsistent {
                table: "sightings",
                column,
                id: format!("{chain_id}/{}", row.block_number),
            };
            let vault = vaults.get(&row.vault).ok_or_else(|| wrong("vault"))?;
            Ok(Seen {
                sighting: Sighting {
                    chain_id,
                    vault: vault.identity.vault,
                    transition: 0,
                    tx: hash(&row.tx, "sightings", "tx")?,
                    batch: row.batch.map(BatchId::from),
                    block_number: row.block_number.cast_unsigned(),
                    block_hash: hash(&row.block_hash, "sightings", "block_hash")?,
                },
                empty: row.empty,
                succeeded: row.succeeded,
                gas_used: row.gas_used.cast_unsigned(),
                effective_gas_price: amount_from_sql(
                    &row.effective_gas_price,
                    "sightings",
                    "effective_gas_price",
                    chain_id,
                )?,
                logs: serde_json::from_value(row.facts).map_err(|_| wrong("facts"))?,
            })
        })
        .collect()
}

/// Writes where the watcher stands now.
pub(crate) async fn save_view(
    conn: &mut PgConnection,
    chain_id: u64,
    head: &BlockId,
    last_final: &BlockId,
    transition: u64,
) -> Result<(), LedgerError> {
    let saved = sqlx::query!(
        r#"
        UPDATE chains
        SET head_number = $2, head_hash = $3, final_number = $4, final_hash = $5, transition = $6
        WHERE id = $1
        "#,
        chain_id.cast_signed(),
        head.number.cast_signed(),
        head.hash.as_slice(),
        last_final.number.cast_signed(),
        last_final.hash.as_slice(),
        transition.cast_signed(),
    )
    .execute(conn)
    .await?;
    expect_one("save the view of a chain", saved.rows_affected())
}

/// Halts a chain, which goes on, until an operator rebases it.
pub(crate) async fn halt(conn: &mut PgConnection, chain_id: u64, reason: &str) -> Result<(), LedgerError> {
    let halted = sqlx::query!(
        "UPDATE chains SET halted = $2 WHERE id = $1 AND halted IS NULL",
        chain_id.cast_signed(),
        reason,
    )
    .execute(conn)
    .await?;
    expect_one("halt a chain", halted.rows_affected())
}

/// Has a halted chain go on.
pub(crate) async fn end_halt(conn: &mut PgConnection, chain_id: u64) -> Result<(), LedgerError> {
    let ended = sqlx::query!(
        "UPDATE chains SET halted = NULL WHERE id = $1 AND halted IS NOT NULL",
        chain_id.cast_signed(),
    )
    .execute(conn)
    .await?;
    expect_one("end a chain's halt", ended.rows_affected())
}

fn expect_one(operation: &'static str, touched: u64) -> Result<(), LedgerError> {
    if touched == 1 { Ok(()) } else { Err(LedgerError::RowCount { operation, wanted: 1, touched }) }
}
