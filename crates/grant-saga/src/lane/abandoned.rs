//! Lanes that nobody drives any more, as when a key was taken out of the configuration: what they have signed and no block has
//! waits for them alone, so whoever drives another lane of the vault tells.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{LaneId, OperatorAlertRaised, VaultId, alert::LANE_ABANDONED};
use laurel_ledger::{LedgerError, commit};
use sqlx::PgConnection;

use super::{LaneDriver, LaneError};

/// How long a lane may be without a holder before somebody is told: longer than a restart of everything takes.
const ABANDONED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// How much later it has to be so still: where nobody could renew a lease, as without the database, the others come back in that time.
const LOOKED_AT_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Lanes without holders: since when each has none, and when that was seen first.
pub(super) type Suspects = HashMap<LaneId, (DateTime<Utc>, DateTime<Utc>)>;

/// A lane without a holder.
struct Abandoned {
    lane: LaneId,
    since: DateTime<Utc>,
    /// How many of its batches are in no block.
    unmined: i64,
}

impl LaneDriver {
    /// Tells of the vault's other lanes that have unmined batches, and whom nobody sees to.
    pub(super) async fn tell_of_abandoned(&mut self, now: DateTime<Utc>) -> Result<(), LaneError> {
        let abandoned = list_abandoned(&mut *self.pool.acquire().await?, self.vault.id, now).await?;
        let suspects = std::mem::take(&mut self.suspects);
        for Abandoned { lane, since, unmined } in abandoned {
            let known = suspects.get(&lane).filter(|(before, _)| *before == since);
            let seen_at = known.map_or(now, |(_, seen_at)| *seen_at);
            self.suspects.insert(lane, (since, seen_at));
            if now - seen_at < LOOKED_AT_AGAIN {
                continue;
            }
            let alert = OperatorAlertRaised {
                code: LANE_ABANDONED.to_owned(),
                about: format!("lane:{lane}"),
                detail: format!(
                    "nobody has driven it since {since}, and {unmined} of its batches are in no block"
                ),
            };
            let mut tx = self.pool.begin().await?;
            self.raise(&mut tx, alert).await?;
            commit(tx, "lane_abandoned").await?;
        }
        Ok(())
    }
}

async fn list_abandoned(
    conn: &mut PgConnection,
    vault: VaultId,
    now: DateTime<Utc>,
) -> Result<Vec<Abandoned>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT l.id, l.lease_until AS "since!", count(*) AS "unmined!"
        FROM lanes l JOIN batches b ON b.lane = l.id AND b.state = 'submitted'
        WHERE l.vault = $1 AND l.state <> 'halted' AND l.lease_until < $2
          AND NOT EXISTS (SELECT FROM alerts WHERE code = $3 AND about = 'lane:' || l.id)
        GROUP BY l.id
        ORDER BY l.id
        "#,
        vault.0,
        now - ABANDONED_AFTER,
        LANE_ABANDONED,
    );
    let rows = rows.fetch_all(conn).await?;
    let abandoned = rows.into_iter().map(|row| Abandoned {
        lane: LaneId(row.id),
        since: row.since,
        unmined: row.unmined,
    });
    Ok(abandoned.collect())
}
