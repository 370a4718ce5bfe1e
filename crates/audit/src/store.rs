//! What was read of the chains, as the database keeps it for the next time.

use alloy::primitives::{Address, B256};
use bigdecimal::BigDecimal;
use laurel_ledger::{amount_to_sql, commit};
use sqlx::{PgConnection, PgPool};

use crate::{
    AuditError,
    error::inconsistent,
    reading::{Logged, ReadBlock, ReadLog},
};

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockAt {
    pub(crate) number: u64,
    pub(crate) hash: B256,
}

fn block_at(number: i64, hash: &[u8], table: &'static str) -> Result<BlockAt, AuditError> {
    let hash = B256::try_from(hash).map_err(|_| inconsistent(table, "hash", number))?;
    Ok(BlockAt { number: number.cast_unsigned(), hash })
}

/// The last block of a chain that is final in the ledger.
pub(crate) async fn last_final(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Option<BlockAt>, AuditError> {
    let row = sqlx::query!(
        r#"
        SELECT final_number AS "number!", final_hash AS "hash!" FROM chains
        WHERE id = $1 AND final_number IS NOT NULL AND final_hash IS NOT NULL
        "#,
        chain_id.cast_signed(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| block_at(row.number, &row.hash, "chains")).transpose()
}

/// Up to where a chain was read.
pub(crate) async fn checkpoint(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Option<BlockAt>, AuditError> {
    let row = sqlx::query!(
        "SELECT number, hash FROM audit_checkpoints WHERE chain_id = $1",
        chain_id.cast_signed()
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| block_at(row.number, &row.hash, "audit_checkpoints")).transpose()
}

/// Forgets what was read of a chain.
pub(crate) async fn forget(pool: &PgPool, chain_id: u64) -> Result<(), AuditError> {
    let mut tx = pool.begin().await?;
    let id = chain_id.cast_signed();
    sqlx::query!("DELETE FROM audit_settlements WHERE chain_id = $1", id).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM audit_logs WHERE chain_id = $1", id).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM audit_checkpoints WHERE chain_id = $1", id).execute(&mut *tx).await?;
    commit(tx, "audit_forgotten").await?;
    Ok(())
}

/// Keeps blocks that follow the checkpoint, and moves it to the last of them. Says whether it was still there: another
/// audit may have read the same.
pub(crate) async fn keep(
    pool: &PgPool,
    chain_id: u64,
    before: Option<BlockAt>,
    blocks: &[ReadBlock],
) -> Result<bool, AuditError> {
    let Some(last) = blocks.last() else { return Ok(true) };
    let mut tx = pool.begin().await?;
    let (number, hash) = (last.number.cast_signed(), last.hash.as_slice());
    let moved = match before {
        None => sqlx::query!(
            "INSERT INTO audit_checkpoints (chain_id, number, hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            chain_id.cast_signed(),
            number,
            hash,
        ),
        Some(before) => sqlx::query!(
            "UPDATE audit_checkpoints SET number = $2, hash = $3 WHERE chain_id = $1 AND number = $4 AND hash = $5",
            chain_id.cast_signed(),
            number,
            hash,
            before.number.cast_signed(),
            before.hash.as_slice(),
        ),
    };
    if moved.execute(&mut *tx).await?.rows_affected() != 1 {
        return Ok(false);
    }
    for block in blocks {
        insert_settlements(&mut tx, chain_id, block).await?;
        for log in &block.logs {
            insert_log(&mut tx, chain_id, block, log).await?;
        }
    }
    commit(tx, "audit_block").await?;
    Ok(true)
}

/// The settlements of a block, in one statement.
async fn insert_settlements(
    conn: &mut PgConnection,
    chain_id: u64,
    block: &ReadBlock,
) -> Result<(), AuditError> {
    let settled: Vec<_> = block
        .logs
        .iter()
        .filter_map(|log| match &log.logged {
            Logged::Settled(settled) => Some((log, settled)),
            _ => None,
        })
        .collect();
    if settled.is_empty() {
        return Ok(());
    }
    let indexes: Vec<i32> = settled.iter().map(|(log, _)| log.log_index.cast_signed()).collect();
    let txs: Vec<&[u8]> = settled.iter().map(|(log, _)| log.tx.as_slice()).collect();
    let vaults: Vec<&[u8]> = settled.iter().map(|(log, _)| log.vault.as_slice()).collect();
    let senders: Vec<&[u8]> = settled.iter().map(|(_, settled)| settled.sender.as_slice()).collect();
    let nonces: Vec<i64> = settled.iter().map(|(_, settled)| settled.nonce.cast_signed()).collect();
    let campaigns: Vec<i64> = settled.iter().map(|(_, settled)| settled.campaign.cast_signed()).collect();
    let firsts: Vec<i64> = settled.iter().map(|(_, settled)| settled.first_seq.cast_signed()).collect();
    let counts: Vec<i32> = settled.iter().map(|(_, settled)| settled.words.len() as i32).collect();
    let totals: Vec<BigDecimal> = settled.iter().map(|(_, settled)| amount_to_sql(settled.total)).collect();
    let hashes: Vec<&[u8]> = settled.iter().map(|(_, settled)| settled.words_hash.as_slice()).collect();
    let words: Vec<Vec<u8>> = settled.iter().map(|(_, settled)| settled.words.concat()).collect();
    let paid: Vec<Vec<u8>> = settled
        .iter()
        .map(|(_, settled)| settled.paid.iter().flat_map(|bits| bits.to_be_bytes::<32>()).collect())
        .collect();
    let paid_counts: Vec<i32> = settled.iter().map(|(_, settled)| settled.paid_count() as i32).collect();
    sqlx::query!(
        r#"
        INSERT INTO audit_settlements
            (chain_id, block_number, block_hash, log_index, tx, vault, sender, nonce, campaign, first_seq, count, total,
             words_hash, words, paid, paid_count)
        SELECT $1, $2, $3, s.*
        FROM unnest($4::integer[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[],
                    $11::integer[], $12::numeric[], $13::bytea[], $14::bytea[], $15::bytea[], $16::integer[]) AS s
        "#,
        chain_id.cast_signed(),
        block.number.cast_signed(),
        block.hash.as_slice(),
        &indexes,
        &txs as &[&[u8]],
        &vaults as &[&[u8]],
        &senders as &[&[u8]],
        &nonces,
        &campaigns,
        &firsts,
        &counts,
        &totals,
        &hashes as &[&[u8]],
        &words,
        &paid,
        &paid_counts,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A log that is no settlement; there are a handful for a campaign.
async fn insert_log(
    conn: &mut PgConnection,
    chain_id: u64,
    block: &ReadBlock,
    log: &ReadLog,
) -> Result<(), AuditError> {
    let (kind, campaign, token, cap, word, mask) = match &log.logged {
        Logged::Settled(_) => return Ok(()),
        Logged::Capped { campaign, token, cap } => {
            ("capped", campaign, Some(token), Some(amount_to_sql(*cap)), None, None)
        }
        Logged::Cancelled { campaign, word, mask } => {
            ("cancelled", campaign, None, None, Some(word.cast_signed()), Some(mask.to_be_bytes::<32>()))
        }
        Logged::Released { campaign } => ("released", campaign, None, None, None, None),
    };
    sqlx::query!(
        r#"
        INSERT INTO audit_logs (chain_id, block_number, log_index, tx, vault, kind, campaign, token, cap, word, mask)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        chain_id.cast_signed(),
        block.number.cast_signed(),
        log.log_index.cast_signed(),
        log.tx.as_slice(),
        log.vault.as_slice(),
        kind,
        campaign.cast_signed(),
        token.map(|token: &Address| token.as_slice()),
        cap,
        word,
        mask.as_ref().map(<[u8; 32]>::as_slice),
    )
    .execute(conn)
    .await?;
    Ok(())
}
