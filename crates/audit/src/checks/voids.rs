//! Voids, against the holds that they give back and the grants that say that they were compensated.

use laurel_events::GrantId;

use crate::{
    AuditError,
    finding::Code,
    snapshot::{Snapshot, any_campaign},
};

/// Compares them, both ways. Whether a void has its proof is asked where the place is known.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT coalesce(v.campaign, e.campaign) AS "campaign!", coalesce(v.number, e.number) AS "number!",
               v.amount AS "voided?", coalesce(g.amount, e.amount) AS "held?", e.state AS "state?"
        FROM standing_voids v
        FULL JOIN (SELECT * FROM exceptions WHERE state IN ('failed', 'compensated')) e
            ON e.campaign = v.campaign AND e.number = v.number
        LEFT JOIN grants g ON g.campaign = coalesce(v.campaign, e.campaign) AND g.number = coalesce(v.number, e.number)
        WHERE (v.amount IS NULL OR v.amount IS DISTINCT FROM g.amount)
          AND ($1::bigint IS NULL OR coalesce(v.campaign, e.campaign) = $1)
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let campaign = any_campaign(row.campaign);
        let grant = GrantId { campaign, number: row.number.cast_unsigned() };
        let about = format!("grant:{grant}");
        let deltas = snapshot.known.deltas(campaign);
        match (row.voided, row.held) {
            (None, _)
                if snapshot.pending.reheld.contains(&grant) || snapshot.pending.unvoided.contains(&grant) => {
            }
            (None, _) if row.state.as_deref() == Some("failed") => {
                let detail = "it has failed; the books have no void of its hold, and nothing waits that would make one";
                snapshot.findings.add(Code::VoidMissing, about, Some(campaign), detail.to_owned());
            }
            (None, held) => {
                deltas.voids += held.unwrap_or_default();
                let detail = "it counts as compensated; the books have no void of its hold".to_owned();
                snapshot.findings.add(Code::VoidMissing, about, Some(campaign), detail);
            }
            (Some(voided), Some(held)) if voided != held => {
                deltas.voids += &held - &voided;
                let detail = format!("the hold is over {held}; the books have a void of {voided}");
                snapshot.findings.add(Code::VoidDiffers, about, Some(campaign), detail);
            }
            // A void of a hold that is missing: the hold was named.
            _ => {}
        }
    }
    Ok(())
}
