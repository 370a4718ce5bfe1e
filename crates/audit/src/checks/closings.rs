//! What was given back of campaigns, against what the vaults released.

use crate::{
    AuditError,
    finding::Code,
    snapshot::{Snapshot, any_campaign},
};

/// Compares them, both ways. A vault releases what its cap is above all that it paid; what it paid without a hold is in suspense, and so not
/// given back.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.id, b.amount AS "returned?", a.reserved, a.overdrawn, l.tx IS NOT NULL AS "released!",
               (SELECT coalesce(max(k.cap), 0) FROM audit_logs k
                WHERE k.campaign = c.id AND k.kind = 'capped' AND k.chain_id = v.chain_id AND k.vault = v.address
                  AND k.token = c.token AND k.block_number <= f.number)
               - (SELECT coalesce(sum(s.total), 0) FROM audit_settlements s
                  WHERE s.campaign = c.id AND s.chain_id = v.chain_id AND s.vault = v.address
                    AND s.block_number <= f.number) AS "left!"
        FROM campaigns c
        JOIN vaults v ON v.id = c.vault
        JOIN accounts a ON a.campaign = c.id
        JOIN unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number) ON f.chain_id = v.chain_id
        LEFT JOIN LATERAL (SELECT tx FROM audit_logs l
                           WHERE l.campaign = c.id AND l.kind = 'released' AND l.chain_id = v.chain_id
                             AND l.vault = v.address AND l.block_number <= f.number
                           LIMIT 1) l ON true
        LEFT JOIN LATERAL (SELECT sum(t.amount) AS amount, max(t.turn) AS turn FROM returns t
                           WHERE t.campaign = c.id) b ON b.turn % 2 = 0
        WHERE (l.tx IS NOT NULL OR b.turn IS NOT NULL) AND ($3::bigint IS NULL OR c.id = $3) AND c.state <> 'deleted'
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
        if snapshot.pending.unreturned.contains(&id) || snapshot.known.foreign.contains(&id) {
            continue;
        }
        let about = format!("campaign:{id}");
        match row.returned {
            None if row.reserved == 0 && row.overdrawn == 0 => {
                let detail = format!(
                    "the vault released what was left, {}; nothing is held any more, and the books gave nothing back",
                    row.left
                );
                snapshot.findings.add(Code::ReturnMissing, about, Some(id), detail);
            }
            Some(returned) if !row.released || returned != row.left => {
                let chain = if row.released {
                    format!("released {}", row.left)
                } else {
                    "released nothing".to_owned()
                };
                let detail = format!("the books gave back {returned}; the vault {chain}");
                snapshot.findings.add(Code::ReturnDiffers, about, Some(id), detail);
            }
            _ => {}
        }
    }
    Ok(())
}
