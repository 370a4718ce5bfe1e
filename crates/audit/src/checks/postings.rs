//! Postings, against what the settlements paid.

use alloy::primitives::B256;
use bigdecimal::BigDecimal;
use laurel_events::CampaignId;
use uuid::Uuid;

use crate::{
    AuditError,
    finding::Code,
    snapshot::{Snapshot, any_campaign, hash_of},
};

struct Row {
    tx: Vec<u8>,
    campaign: i64,
    // what the chain says
    block: Option<i64>,
    total: Option<BigDecimal>,
    paid: Option<i64>,
    // what the books say
    posting: Option<Uuid>,
    amount: Option<BigDecimal>,
    grants: Option<i32>,
    batch: Option<Uuid>,
}

/// Compares them, both ways.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH settled AS (
            SELECT s.tx, s.campaign, min(s.block_number) AS block, sum(s.total) AS total, sum(s.paid_count) AS paid
            FROM unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number)
            JOIN audit_settlements s ON s.chain_id = f.chain_id AND s.block_number <= f.number
            WHERE s.total > 0 AND NOT EXISTS (SELECT FROM recovered_txs r WHERE r.chain_id = s.chain_id AND r.tx = s.tx)
            GROUP BY s.tx, s.campaign
        ), expected AS (
            SELECT tx, campaign, NULL::uuid AS adopted, block, total, paid FROM settled
            UNION ALL
            -- what was adopted of one transaction may be several batches; it was compared with the chain before
            SELECT a.tx, a.campaign, a.batch, min(r.block_number), sum(a.amount), sum(s.count)
            FROM unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number)
            JOIN recovered_txs r ON r.chain_id = f.chain_id AND r.block_number <= f.number
            JOIN adoptions a ON a.chain_id = r.chain_id AND a.tx = r.tx
            JOIN segments s ON s.batch = a.batch AND s.campaign = a.campaign AND s.first_seq = a.first_seq
            GROUP BY a.tx, a.campaign, a.batch
        ), posted AS (
            SELECT p.tx, p.campaign, p.batch, sum(p.amount) AS amount, sum(p.grants)::integer AS grants,
                   CASE WHEN EXISTS (SELECT FROM adoptions a WHERE a.batch = p.batch) THEN p.batch END AS adopted
            FROM postings p JOIN campaigns c ON c.id = p.campaign JOIN vaults v ON v.id = c.vault
            WHERE v.chain_id = ANY ($1)
            GROUP BY p.tx, p.campaign, p.batch
            -- what was undone is no posting
            HAVING sum(p.amount) <> 0
        )
        SELECT coalesce(s.tx, p.tx) AS "tx!", coalesce(s.campaign, p.campaign) AS "campaign!", s.block AS "block?",
               s.total AS "total?", s.paid AS "paid?", p.batch AS "posting?", p.amount AS "amount?", p.grants AS "grants?",
               coalesce(s.adopted, (SELECT a.batch FROM attempts a WHERE a.tx = s.tx)) AS batch
        FROM expected s
        FULL JOIN posted p ON p.tx = s.tx AND p.campaign = s.campaign
            AND coalesce(p.adopted, '00000000-0000-0000-0000-000000000000') = coalesce(s.adopted, '00000000-0000-0000-0000-000000000000')
        WHERE (p.batch IS NULL OR s.tx IS NULL OR p.amount <> s.total OR p.grants <> s.paid)
          AND ($3::bigint IS NULL OR coalesce(s.campaign, p.campaign) = $3)
        "#,
        &snapshot.chains(),
        &snapshot.blocks(),
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        compare_row(snapshot, &row)?;
    }
    find_unposted(snapshot).await
}

fn compare_row(snapshot: &mut Snapshot<'_>, row: &Row) -> Result<(), AuditError> {
    let tx: B256 = hash_of(&row.tx, "postings", "tx")?;
    let campaign = any_campaign(row.campaign);
    let owner = row.posting.or(row.batch);
    let about = owner.map_or_else(|| format!("tx:{tx}"), |batch| format!("batch:{batch}"));
    let chain = format!(
        "transaction {tx} in block {} paid {} to {} grants of campaign {campaign}",
        row.block.unwrap_or_default(),
        row.total.clone().unwrap_or_default(),
        row.paid.unwrap_or_default(),
    );
    match (&row.total, &row.amount) {
        (Some(total), None) => {
            if snapshot.known.outside.contains(&tx) || snapshot.pending.unbooked.contains(&tx) {
                return Ok(());
            }
            add(snapshot, campaign, total.clone());
            let detail = format!("{chain}; the books have no posting of it");
            snapshot.findings.add(Code::PostingMissing, about, Some(campaign), detail);
        }
        (None, Some(_)) if snapshot.pending.unbooked.contains(&tx) => {}
        (None, Some(amount)) => {
            add(snapshot, campaign, -amount.clone());
            let detail = format!(
                "the books posted {amount} of campaign {campaign} by transaction {tx}; no vault settled it there"
            );
            if !snapshot.findings.has(Code::BatchNotOnChain, &about) {
                snapshot.findings.add(Code::PostingUnfounded, about, Some(campaign), detail);
            }
        }
        (Some(total), Some(amount)) => {
            add(snapshot, campaign, total - amount);
            let detail =
                format!("{chain}; the books posted {amount} to {} grants", row.grants.unwrap_or_default());
            snapshot.findings.add(Code::PostingDiffers, about, Some(campaign), detail);
        }
        (None, None) => {}
    }
    Ok(())
}

fn add(snapshot: &mut Snapshot<'_>, campaign: CampaignId, difference: BigDecimal) {
    snapshot.known.deltas(campaign).posts += difference;
}

/// Segments whose posting the grants were never told of.
async fn find_unposted(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT p.batch, p.campaign, p.tx FROM postings p
        WHERE EXISTS (SELECT FROM segments s
                      WHERE s.batch = p.batch AND s.campaign = p.campaign AND s.posted_at IS NULL
                        AND (EXISTS (SELECT FROM adoptions a WHERE a.batch = s.batch AND a.first_seq = s.first_seq)
                             OR EXISTS (SELECT FROM audit_settlements t
                                        WHERE t.tx = p.tx AND t.campaign = s.campaign AND t.first_seq = s.first_seq
                                          AND t.total > 0)))
          AND NOT EXISTS (SELECT FROM postings u WHERE u.batch = p.batch AND u.campaign = p.campaign AND u.turn > p.turn)
          AND p.turn % 2 = 0
          AND ($1::bigint IS NULL OR p.campaign = $1)
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let campaign = any_campaign(row.campaign);
        if snapshot.pending.unposted.contains(&(row.batch.into(), campaign)) {
            continue;
        }
        let tx = hash_of(&row.tx, "postings", "tx")?;
        let detail =
            format!("the books have what transaction {tx} paid of campaign {campaign}; its grants do not");
        snapshot.findings.add(Code::SegmentNotPosted, format!("batch:{}", row.batch), Some(campaign), detail);
    }
    Ok(())
}
