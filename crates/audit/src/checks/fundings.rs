//! Fundings, against the caps that the vaults told.

use alloy::primitives::Address;
use bigdecimal::BigDecimal;

use crate::{
    AuditError,
    error::inconsistent,
    finding::Code,
    snapshot::{Snapshot, any_campaign, hash_of},
};

/// Names campaigns that stand on another vault than the one whose cap was booked. What else is odd about them follows
/// from that.
pub(crate) async fn find_foreign(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (c.id) c.id, v.address, v.chain_id, l.vault, l.block_number
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        JOIN fundings f ON f.campaign = c.id
        JOIN audit_logs l ON l.campaign = c.id AND l.kind = 'capped' AND l.block_number = f.block_number
            AND l.log_index = f.log_index AND l.tx = f.tx
        WHERE (l.vault <> v.address OR l.chain_id <> v.chain_id) AND ($1::bigint IS NULL OR c.id = $1)
        ORDER BY c.id, l.block_number
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let id = any_campaign(row.id);
        let address =
            |bytes: &[u8]| Address::try_from(bytes).map_err(|_| inconsistent("vaults", "address", id));
        let detail = format!(
            "the ledger has it on vault {} of chain {}; vault {} opened it in block {}",
            address(&row.address)?,
            row.chain_id,
            address(&row.vault)?,
            row.block_number,
        );
        snapshot.known.foreign.insert(id);
        snapshot.findings.add(Code::ForeignVault, format!("campaign:{id}"), Some(id), detail);
    }
    Ok(())
}

struct Row {
    campaign: i64,
    block: i64,
    log_index: i32,
    tx: Vec<u8>,
    // what the chain says: the cap, and by how much it is above all before
    cap: Option<BigDecimal>,
    rise: Option<BigDecimal>,
    // what the books say
    booked: Option<BigDecimal>,
    added: Option<BigDecimal>,
}

/// Compares them, both ways.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let foreign: Vec<i64> = snapshot.known.foreign.iter().map(|id| id.number()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH capped AS (
            SELECT l.campaign, l.block_number, l.log_index, l.tx, l.cap,
                   greatest(l.cap - coalesce(max(l.cap) OVER (
                       PARTITION BY l.campaign ORDER BY l.block_number, l.log_index
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0) AS rise
            FROM unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number)
            JOIN audit_logs l ON l.chain_id = f.chain_id AND l.block_number <= f.number AND l.kind = 'capped'
                AND l.cap > 0
            JOIN campaigns c ON c.id = l.campaign AND c.token = l.token
            JOIN vaults v ON v.id = c.vault AND v.chain_id = l.chain_id AND v.address = l.vault
        ), booked AS (
            SELECT b.*, EXISTS (SELECT FROM fundings u WHERE u.campaign = b.campaign AND u.turn > 0) AS undone
            FROM fundings b JOIN campaigns c ON c.id = b.campaign JOIN vaults v ON v.id = c.vault
            WHERE v.chain_id = ANY ($1) AND b.turn % 2 = 0
              AND NOT EXISTS (SELECT FROM fundings u
                              WHERE u.campaign = b.campaign AND u.block_number = b.block_number
                                AND u.log_index = b.log_index AND u.turn > b.turn)
        )
        SELECT coalesce(l.campaign, b.campaign) AS "campaign!", coalesce(l.block_number, b.block_number) AS "block!",
               coalesce(l.log_index, b.log_index) AS "log_index!", coalesce(l.tx, b.tx) AS "tx!", l.cap AS "cap?",
               l.rise AS "rise?", b.cap AS "booked?", b.added AS "added?"
        FROM capped l
        FULL JOIN booked b ON b.campaign = l.campaign AND b.block_number = l.block_number AND b.log_index = l.log_index
        WHERE (l.cap IS NULL OR b.cap IS NULL OR l.cap <> b.cap
               -- where one was undone, only what they sum up to can be compared
               OR (l.rise <> b.added AND NOT b.undone))
          AND ($3::bigint IS NULL OR coalesce(l.campaign, b.campaign) = $3)
          AND coalesce(l.campaign, b.campaign) <> ALL ($4)
        ORDER BY 1, 2, 3
        "#,
        &snapshot.chains(),
        &snapshot.blocks(),
        snapshot.only(),
        &foreign,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        compare_row(snapshot, row)?;
    }
    compare_sums(snapshot).await
}

/// Where fundings were undone: what is left of them, against the highest cap that the vault told.
async fn compare_sums(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.id, coalesce(sum(b.added), 0) AS "booked!", coalesce(
                   (SELECT max(l.cap) FROM unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number)
                    JOIN audit_logs l ON l.chain_id = f.chain_id AND l.block_number <= f.number AND l.kind = 'capped'
                    WHERE l.campaign = c.id AND l.token = c.token AND l.vault = v.address AND l.chain_id = v.chain_id),
                   0) AS "cap!"
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        JOIN fundings b ON b.campaign = c.id
        WHERE v.chain_id = ANY ($1) AND ($3::bigint IS NULL OR c.id = $3)
        GROUP BY c.id, v.address, v.chain_id
        HAVING max(b.turn) > 0
        ORDER BY c.id
        "#,
        &snapshot.chains(),
        &snapshot.blocks(),
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let id = any_campaign(row.id);
        if row.booked == row.cap || snapshot.pending.unfunded.iter().any(|(campaign, ..)| *campaign == id) {
            continue;
        }
        let about = format!("campaign:{id}");
        let detail = format!("the books are funded with {}; the vault's cap is {}", row.booked, row.cap);
        if !snapshot.findings.has(Code::FundingMissing, &about) {
            snapshot.known.deltas(id).funded += &row.cap - &row.booked;
            snapshot.findings.add(Code::FundingDiffers, about, Some(id), detail);
        }
    }
    Ok(())
}

fn compare_row(snapshot: &mut Snapshot<'_>, row: Row) -> Result<(), AuditError> {
    let id = any_campaign(row.campaign);
    let tx = hash_of(&row.tx, "fundings", "tx")?;
    let about = format!("campaign:{id}");
    let place = format!("transaction {tx} in block {}, log {}", row.block, row.log_index);
    let at = (id, row.block.cast_unsigned(), row.log_index.cast_unsigned());
    match (row.cap.zip(row.rise), row.booked.zip(row.added)) {
        (Some(_), None) if snapshot.pending.unfunded.contains(&at) => {}
        (Some((cap, rise)), None) => {
            let detail = format!("{place} gave it the cap {cap}; the books have no funding of that");
            snapshot.known.deltas(id).funded += rise;
            snapshot.findings.add(Code::FundingMissing, about, Some(id), detail);
        }
        (None, Some(_)) if snapshot.pending.unfunded.contains(&at) => {}
        (None, Some((booked, added))) => {
            let detail =
                format!("the books have a cap of {booked} by {place}; the vault told no such cap there");
            snapshot.known.deltas(id).funded -= added;
            snapshot.findings.add(Code::FundingUnfounded, about, Some(id), detail);
        }
        (Some((cap, rise)), Some((booked, added))) => {
            let detail =
                format!("{place} gave it the cap {cap}, {rise} more; the books have {booked}, {added} more");
            snapshot.known.deltas(id).funded += rise - added;
            snapshot.findings.add(Code::FundingDiffers, about, Some(id), detail);
        }
        (None, None) => {}
    }
    Ok(())
}
