//! Grants that nobody is at work on: what a lost row leaves behind.

use std::collections::HashSet;

use laurel_events::{CampaignId, GrantId};

use super::{
    Met,
    load::{Held, Place, Segment},
};
use crate::{
    AuditError,
    finding::Code,
    snapshot::{Campaign, Snapshot},
};

/// How many grants without a place are looked up together.
const GRANTS_MAX: usize = 10_000;

/// Looks for holds without a place that wait for nothing either.
pub(super) async fn find_stranded(
    snapshot: &mut Snapshot<'_>,
    campaign: &Campaign,
    met: &Met,
) -> Result<(), AuditError> {
    if met.gaps {
        return Ok(());
    }
    let id = campaign.id;
    let without: Vec<i64> = met.others(campaign.grants).collect();
    for numbers in without.chunks(GRANTS_MAX) {
        let accounted: Vec<i64> = sqlx::query_scalar!(
            r#"
            SELECT number AS "number!" FROM exceptions WHERE campaign = $1 AND number = ANY ($2)
            UNION ALL SELECT number FROM standing_voids WHERE campaign = $1 AND number = ANY ($2)
            "#,
            id.number(),
            numbers,
        )
        .fetch_all(&mut *snapshot.conn)
        .await?;
        let accounted: HashSet<i64> = accounted.into_iter().collect();
        for number in numbers.iter().filter(|number| !accounted.contains(number)) {
            let grant = GrantId { campaign: id, number: number.cast_unsigned() };
            if snapshot.pending.unstarted.contains(&grant) || snapshot.known.missing.contains(&(id, *number))
            {
                continue;
            }
            let detail = "it is held, has no place, waits for no wallet, and was not given back".to_owned();
            snapshot.findings.add(Code::GrantStranded, format!("grant:{grant}"), Some(id), detail);
        }
    }
    Ok(())
}

/// A place that the chain has not paid and that does not wait to be sent is in a batch that may still pay it. `segment` is the
/// one that counts of those that it was sent in.
pub(super) fn check_stranded(
    snapshot: &mut Snapshot<'_>,
    id: CampaignId,
    (seq, place): (i64, &Place),
    held: &Held,
    segment: Option<&Segment>,
) {
    let is_over = match (held.state.as_deref(), segment) {
        (None | Some("queued" | "held"), None) => true,
        (None | Some("queued" | "held"), Some(segment)) if segment.is_over(seq) => !segment.pending,
        (Some("held"), Some(segment)) => segment.posted && !segment.pending,
        _ => false,
    };
    if !is_over {
        return;
    }
    let last = segment.map_or_else(
        || "it was in no batch".to_owned(),
        |last| format!("batch {} did not pay it", last.batch),
    );
    let detail = format!("seq {seq} is not paid: {last}, and it does not wait to be sent");
    snapshot.findings.add(Code::PlaceStranded, format!("grant:{id}-{}", place.number), Some(id), detail);
}
