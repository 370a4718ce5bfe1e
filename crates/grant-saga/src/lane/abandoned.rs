//! Lanes that nobody drives any more, as when a key was taken out of the configuration: what they have signed and no block has
//! waits for them alone, so whoever drives another lane of the vault tells.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{LaneId, OperatorAlertRaised, VaultId, alert::LANE_ABANDONED};
use laurel_ledger::{LedgerError, commit};
use sqlx::PgConnection;

use super::{LaneDriver, LaneError};

/// How long a lane may be without a holder before somebody is told: longer than a restart of everything takes.
const ABANDONED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// How long this driver has to have seen to its own lane before it tells: where nobody could renew a lease, as without the database,
/// the others come back in that time.
const AWAKE_MIN: TimeDelta = TimeDelta::minutes(1);

/// Longer than a step of a driver to which database and chain answer.
const PAUSE_MAX: TimeDelta = TimeDelta::seconds(15);

/// Since when a driver has seen to its lane without a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awake {
    since: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Awake {
    /// It does so now, and did so before as it says.
    fn again(before: Option<Self>, now: DateTime<Utc>) -> Self {
        let since = before.filter(|before| now - before.last <= PAUSE_MAX).map_or(now, |before| before.since);
        Self { since, last: now }
    }
}

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
        let awake = Awake::again(self.awake, now);
        self.awake = Some(awake);
        if now - awake.since < AWAKE_MIN {
            return Ok(());
        }
        let abandoned = list_abandoned(&mut *self.pool.acquire().await?, self.vault.id, now).await?;
        for Abandoned { lane, since, unmined } in abandoned {
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
