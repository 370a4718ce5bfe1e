//! A lane's nonces: dense in the ledger, and as many as the chain has counted.

use alloy::primitives::Address;
use laurel_chain::NonceAt;

use crate::{
    AuditError,
    error::{inconsistent, with_causes},
    finding::{Code, Findings},
    follow::AuditedChain,
    snapshot::{Snapshot, hash_of},
    store::BlockAt,
};

/// What the chain should have counted of a lane in the ledger's final block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneNonce {
    lane: i32,
    chain_id: u64,
    address: Address,
    block: BlockAt,
    /// The first nonce that is in no final block.
    expected: u64,
}

/// Looks for gaps. Returns what is to be asked of the chains once the snapshot is closed: a node may take its time.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<Vec<LaneNonce>, AuditError> {
    if snapshot.only.is_some() {
        return Ok(Vec::new());
    }
    find_gaps(snapshot).await?;
    let unsettled: Vec<&[u8]> = snapshot.pending.unsettled.iter().map(|tx| tx.as_slice()).collect();
    // A batch whose final transaction its stage has not handled counts as final: the snapshot's block holds it.
    let rows = sqlx::query!(
        r#"
        SELECT l.id, l.address, l.next_nonce, v.chain_id,
               (SELECT min(b.nonce) FROM batches b
                WHERE b.lane = l.id AND b.state NOT IN ('confirmed', 'reverted')
                  AND NOT EXISTS (SELECT FROM attempts a WHERE a.batch = b.id AND a.tx = ANY ($1))
                  AND NOT (b.adopted AND b.mined_tx = ANY ($1))) AS open
        FROM lanes l JOIN vaults v ON v.id = l.vault
        "#,
        &unsettled as &[&[u8]],
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    let mut nonces = Vec::new();
    for row in rows {
        let chain_id = row.chain_id.cast_unsigned();
        let explained = snapshot.known.lanes.contains(&row.id)
            || snapshot.known.lost.iter().any(|(lane, _)| *lane == row.id);
        let Some(block) = snapshot.finals.get(&chain_id).copied().filter(|_| !explained) else { continue };
        nonces.push(LaneNonce {
            lane: row.id,
            chain_id,
            address: Address::try_from(row.address.as_slice())
                .map_err(|_| inconsistent("lanes", "address", row.id))?,
            block,
            expected: row.open.unwrap_or(row.next_nonce).cast_unsigned(),
        });
    }
    Ok(nonces)
}

async fn find_gaps(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let gaps = sqlx::query!(
        r#"
        SELECT lane AS "lane!", nonce + 1 AS "first!", next - 1 AS "last!", tx
        FROM (
            SELECT b.lane, b.nonce, b.tx,
                   coalesce(lead(b.nonce) OVER (PARTITION BY b.lane ORDER BY b.nonce), l.next_nonce) AS next
            FROM (
                SELECT DISTINCT ON (lane, nonce) lane, nonce, mined_tx AS tx FROM (
                    SELECT lane, nonce, mined_tx FROM batches
                    UNION ALL
                    SELECT s.lane, n.nonce, NULL::bytea
                    FROM skipped_nonces s CROSS JOIN LATERAL generate_series(s.first, s.first + s.count - 1) AS n (nonce)
                ) n
                ORDER BY lane, nonce, tx
            ) b
            JOIN lanes l ON l.id = b.lane
        ) n
        WHERE next <> nonce + 1
        "#,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for gap in gaps {
        let lost = |nonce| snapshot.known.lost.contains(&(gap.lane, nonce));
        if gap.first <= gap.last && (gap.first..=gap.last).all(lost) {
            continue;
        }
        let before = gap.tx.as_deref().map(|tx| hash_of(tx, "batches", "mined_tx")).transpose()?;
        let after = before.map_or_else(String::new, |tx| format!(", after transaction {tx}"));
        let detail = format!("the ledger has no batch for the nonces {} to {}{after}", gap.first, gap.last);
        snapshot.known.lanes.insert(gap.lane);
        snapshot.findings.add(Code::LaneNonceGap, format!("lane:{}", gap.lane), None, detail);
    }
    Ok(())
}

/// Asks the chains how many transactions the lanes have sent.
pub(crate) async fn compare_nonces(chains: &[AuditedChain], nonces: &[LaneNonce], findings: &mut Findings) {
    for nonce in nonces {
        let Some(chain) = chains.iter().find(|chain| chain.chain_id == nonce.chain_id) else { continue };
        let about = format!("lane:{}", nonce.lane);
        let number = nonce.block.number;
        match chain.node.nonce(nonce.address, NonceAt::Block(number)).await {
            Ok(found) if found == nonce.expected => {}
            Ok(found) => {
                let detail = format!(
                    "in block {number} account {} has sent {found} transactions; the ledger says {}",
                    nonce.address, nonce.expected,
                );
                findings.add(Code::LaneNonceDiffers, about, None, detail);
            }
            Err(error) => {
                let detail = format!("the node does not say it of block {number}: {}", with_causes(&error));
                findings.add(Code::LaneNotCompared, about, None, detail);
            }
        }
    }
}
