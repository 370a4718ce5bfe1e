//! A lane whose every step fails: nothing of it is signed or sent, and only the log would tell.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::alert::LANE_FAILING;
use laurel_ledger::has_alert_of;

use super::{LaneDriver, LaneError, Progress, send::delta};

/// How long every step of a lane may fail before people are told: longer than a restart of a node or of the database takes.
const FAILING_AFTER: TimeDelta = TimeDelta::seconds(60);

/// How a lane's steps go.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// When the first one began of those that failed without one in between that did not.
    since: Option<DateTime<Utc>>,
    /// When it is looked next whether there is an alert to end; another replica may have raised it.
    look_at: Option<DateTime<Utc>>,
}

impl LaneDriver {
    /// Notes how a step went that began at `began`. An alert of a replica that has lost the lane meanwhile is ended by the one that has it,
    /// if that does better: where each keeps the lane until its step has failed, none would ever tell else.
    pub(super) async fn note(
        &mut self,
        began: DateTime<Utc>,
        done: &Result<Progress, LaneError>,
    ) -> Result<(), LaneError> {
        let now = self.clock.now();
        let error = match done {
            Err(error) => error,
            Ok(_) => {
                self.failing.since = None;
                // Without the lease nothing was tried.
                if self.fence.is_some() && self.failing.look_at.is_none_or(|look_at| look_at <= now) {
                    self.clear(now, &[LANE_FAILING.to_owned()]).await?;
                    self.failing.look_at = Some(now + delta(self.settings.monitor_interval));
                }
                return Ok(());
            }
        };
        // What was seen to in vain is seen to again: a step in between that has nothing to do would pass for one that succeeds.
        self.check_at = None;
        let since = *self.failing.since.get_or_insert(began);
        if now - since < FAILING_AFTER {
            return Ok(());
        }
        let (codes, about) = ([LANE_FAILING.to_owned()], format!("lane:{}", self.lane));
        if !has_alert_of(&mut *self.pool.acquire().await?, &codes, &about).await? {
            self.tell(LANE_FAILING, format!("every step has failed since {since}: {}", error.in_short()))
                .await?;
        }
        Ok(())
    }
}
