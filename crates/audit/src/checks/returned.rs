//! Batches that count as reverted: the chain has their transaction, and it failed.

use alloy::primitives::{Address, B256};
use chrono::TimeDelta;
use laurel_chain::{BlockRef, ChainError, ChainNode};
use laurel_events::CampaignId;
use uuid::Uuid;

use crate::{
    AuditError,
    error::{inconsistent, with_causes},
    finding::{Code, Findings},
    follow::AuditedChain,
    reading::read_signed,
    snapshot::{Snapshot, any_campaign, hash_of},
};

/// How many of them one reconciliation asks the chain about: each may be a block to read. A full one asks about all.
const ASKED_MAX: i64 = 200;

/// How long before the last reconciliation a batch may have been made that reverted since: settlements expire within the
/// vault's hour.
const LIFETIME_MAX: TimeDelta = TimeDelta::hours(2);

/// A batch that the ledger has as reverted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returned {
    batch: Uuid,
    chain_id: u64,
    tx: B256,
    block: u64,
    hash: B256,
    campaign: Option<CampaignId>,
    /// Its transaction only fills a nonce, or is somebody else's: that it succeeded pays nobody.
    settles_nothing: bool,
}

/// Which batches are to be asked about, once the snapshot is closed: a node may take its time.
pub(crate) async fn list(snapshot: &mut Snapshot<'_>) -> Result<Vec<Returned>, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT b.id, v.chain_id, b.mined_tx AS "tx!", b.block_number AS "block!", b.block_hash AS "hash!",
               (SELECT min(s.campaign) FROM segments s WHERE s.batch = b.id) AS campaign, v.address,
               (SELECT a.raw FROM attempts a WHERE a.tx = b.mined_tx AND a.batch = b.id) AS raw
        FROM batches b
        JOIN lanes l ON l.id = b.lane
        JOIN vaults v ON v.id = l.vault
        WHERE b.state = 'reverted' AND v.chain_id = ANY ($1)
          AND b.mined_tx IS NOT NULL AND b.block_number IS NOT NULL AND b.block_hash IS NOT NULL
          AND ($2::timestamptz IS NULL OR b.created_at >= $2)
          AND ($3::bigint IS NULL OR EXISTS (SELECT FROM segments s WHERE s.batch = b.id AND s.campaign = $3))
        ORDER BY b.created_at DESC
        LIMIT $4
        "#,
        &snapshot.chains(),
        snapshot.since.map(|since| since - LIFETIME_MAX),
        snapshot.only(),
        snapshot.since.map(|_| ASKED_MAX),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let vault = Address::try_from(row.address.as_slice())
                .map_err(|_| inconsistent("vaults", "address", row.chain_id))?;
            let signed = row.raw.as_deref().and_then(|raw| read_signed(vault, raw));
            Ok(Returned {
                settles_nothing: signed.is_none_or(|signed| signed.segments.is_empty()),
                batch: row.id,
                chain_id: row.chain_id.cast_unsigned(),
                tx: hash_of(&row.tx, "batches", "mined_tx")?,
                block: row.block.cast_unsigned(),
                hash: hash_of(&row.hash, "batches", "block_hash")?,
                campaign: row.campaign.map(any_campaign),
            })
        })
        .collect()
}

/// Asks the chains about them.
pub(crate) async fn compare(
    chains: &[AuditedChain],
    returned: &[Returned],
    findings: &mut Findings,
) -> Result<(), AuditError> {
    for batch in returned {
        let Some(chain) = chains.iter().find(|chain| chain.chain_id == batch.chain_id) else { continue };
        let about = format!("batch:{}", batch.batch);
        // What it settled instead was told with the settlement.
        if findings.has(Code::BatchDiffers, &about) {
            continue;
        }
        let problem = match problem(&*chain.node, batch).await {
            Ok(None) => continue,
            Ok(Some(problem)) => problem,
            // What was compared is told all the same.
            Err(error) => {
                let detail = format!("a batch that reverted could not be read: {}", with_causes(&error));
                findings.add(Code::ChainNotCompared, format!("chain:{}", chain.chain_id), None, detail);
                continue;
            }
        };
        let detail = format!(
            "the ledger has it reverted in block {} by transaction {}; {problem}",
            batch.block, batch.tx
        );
        findings.add(Code::BatchNotOnChain, about, batch.campaign, detail);
    }
    Ok(())
}

/// What of it is not so. Its block is the canonical one of its number, and the receipt hashes to the header's root.
async fn problem(node: &dyn ChainNode, batch: &Returned) -> Result<Option<String>, ChainError> {
    let block = node.block(BlockRef::Number(batch.block)).await?;
    let Some(block) = block.filter(|block| block.hash == batch.hash) else {
        return Ok(Some(format!("the chain has no block {} of that number", batch.hash)));
    };
    if !block.transactions.contains(&batch.tx) {
        return Ok(Some("that block has no such transaction".to_owned()));
    }
    let receipts = node.content(&block).await?.receipts;
    let succeeded = receipts.iter().any(|receipt| receipt.tx == batch.tx && receipt.receipt.status());
    Ok((succeeded && !batch.settles_nothing).then(|| "it succeeded".to_owned()))
}
