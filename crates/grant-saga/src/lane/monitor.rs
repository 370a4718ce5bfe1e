//! The transaction monitor: what is in no block is sent again, what is stuck is outbid, what can never be paid any more makes
//! room. Only the lowest nonce is judged: the others wait for it.

use chrono::{DateTime, Utc};
use laurel_chain::{
    BlockRef, ChainError, Fees, NextStep, NonceAt, NonceUse, NonceUser, Refusal, find_nonce_use,
};
use laurel_events::{
    NewEvent, OperatorAlertRaised,
    alert::{
        self, FEE_ABOVE_CAP, LANE_ABANDONED, LANE_FAILING, LANE_REJECTED, NONCE_USED_ELSEWHERE,
        NONCE_USER_UNKNOWN, OUT_OF_GAS_MONEY,
    },
};
#[cfg(feature = "faults")]
use laurel_ledger::planted;
use laurel_ledger::{Context, append, clear_alerts, commit, has_alert_of};

use super::{
    LaneDriver, LaneError,
    replace::Replacement,
    send::delta,
    unmined::{Unmined, attempt_bytes, attempt_hashes, list_unmined},
};
use crate::{
    LaneState,
    fees::{Price, Raise},
    lanes::{Lease, stop_lane, unpark_lane},
};

/// The alerts about a lane that end when it is resumed.
pub(crate) const LANE_ALERTS: [&str; 6] =
    [FEE_ABOVE_CAP, OUT_OF_GAS_MONEY, NONCE_USED_ELSEWHERE, NONCE_USER_UNKNOWN, LANE_REJECTED, LANE_FAILING];

/// Why a lane cannot go on, until that has passed.
pub(super) struct Trouble {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// How many blocks are read for the user of a nonce where nobody keeps their states: many more than are made until it is looked for,
/// and no more than a lease allows for.
const BLOCKS_READ_MAX: u64 = 256;

/// What came of looking for the user of a nonce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Searched {
    nonce: u64,
    at: DateTime<Utc>,
    user: Option<NonceUser>,
    /// It was used, and nobody can tell by what.
    in_vain: bool,
}

/// What is wrong with the lowest nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ailment {
    /// A node wants more for it.
    Underpriced,
    /// No node will ever take it.
    Unsendable(Refusal),
    /// The vault will refuse it.
    Expired,
    /// Blocks were made for long enough, without it.
    Stuck {
        /// For twice as long as that.
        still: bool,
    },
}

impl LaneDriver {
    /// Sees to what is in no block. Returns how many batches that are, or `None` if the lane stands now.
    pub(super) async fn monitor(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
    ) -> Result<Option<usize>, LaneError> {
        let mut conn = self.pool.acquire().await?;
        let unmined = list_unmined(&mut conn, self.lane).await?;
        drop(conn);
        self.measure(now, lease, &unmined);
        if self.check_at.is_some_and(|check_at| now < check_at) {
            return Ok(Some(unmined.len()));
        }
        self.check_at = Some(now + delta(self.settings.monitor_interval));
        self.tell_of_abandoned(now).await?;
        self.tries.retain(&unmined);
        for batch in &unmined {
            if self.tries.is_due(batch, now) {
                let raw = attempt_bytes(&mut *self.pool.acquire().await?, batch.attempt).await?;
                self.send(batch.batch, batch.attempt, batch.tx, raw.into()).await?;
            }
        }
        self.clear(now, &[LANE_ABANDONED.to_owned()]).await?;
        let trouble = match unmined.first() {
            Some(lowest) => self.treat(now, lease, lowest).await?,
            None => None,
        };
        let trouble = match trouble {
            Some(trouble) => Some(trouble),
            None => self.shortage(lease, &unmined).await?,
        };
        if let Some(trouble) = trouble {
            self.park(lease, trouble).await?;
            return Ok(None);
        }
        self.end_alerts(now, lease, &unmined).await?;
        Ok(Some(unmined.len()))
    }

    fn measure(&self, now: DateTime<Utc>, lease: Lease, unmined: &[Unmined]) {
        let lane = self.lane.to_string();
        let oldest = unmined.first().map_or(0, |batch| (now - batch.created_at).num_seconds());
        self.metrics.unmined.with_label_values(&[&lane]).set(unmined.len() as i64);
        self.metrics.oldest_unmined_seconds.with_label_values(&[&lane]).set(oldest);
        self.metrics.active.with_label_values(&[&lane]).set((lease.state == LaneState::Active).into());
    }

    /// Does what the lowest nonce needs; says why it cannot.
    async fn treat(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
        lowest: &Unmined,
    ) -> Result<Option<Trouble>, LaneError> {
        let chain_time = self.chain_time().await?;
        let Some(ailment) = self.ailment(lowest, chain_time) else { return Ok(None) };
        if matches!(ailment, Ailment::Expired | Ailment::Stuck { .. }) && self.is_used(lowest).await {
            // Whoever watches has not said so yet: another price would change nothing.
            self.halt_if_used_elsewhere(now, lease, lowest).await?;
            return Ok(None);
        }
        let mut to = Replacement { empty: lowest.empty, raise: Raise::Least, chain_time };
        match ailment {
            Ailment::Unsendable(refusal) if lowest.empty => {
                let detail = format!("not even an empty transaction is taken: {}", refusal.as_str());
                self.halt(lease, LANE_REJECTED, detail).await?;
                return Ok(None);
            }
            Ailment::Expired | Ailment::Unsendable(_) => to.empty = true,
            Ailment::Underpriced => to.raise = Raise::Double,
            Ailment::Stuck { still } => {
                // It was sent again just now; a node may have lost it.
                if !still && lowest.price.suffices(self.node.fees().await?) {
                    return Ok(None);
                }
            }
        }
        self.replace(now, lease, lowest, to).await
    }

    fn ailment(&self, lowest: &Unmined, chain_time: u64) -> Option<Ailment> {
        let refusal = self.tries.refusal(lowest);
        match refusal.map(|refusal| (refusal, refusal.next())) {
            Some((refusal, NextStep::Abandon)) => return Some(Ailment::Unsendable(refusal)),
            _ if !lowest.empty && chain_time > lowest.deadline => return Some(Ailment::Expired),
            Some((_, NextStep::RaiseFees)) => return Some(Ailment::Underpriced),
            _ => {}
        }
        let (age, timeout) =
            (chain_time.saturating_sub(lowest.chain_time), self.settings.monitor_timeout.as_secs());
        (age >= timeout).then_some(Ailment::Stuck { still: age >= timeout.saturating_mul(2) })
    }

    /// The latest block's time. A chain that stands still makes nothing stuck.
    pub(super) async fn chain_time(&self) -> Result<u64, LaneError> {
        Ok(self.node.chain_time().await?)
    }

    /// What keeps the lane from signing: nothing to pay for gas with, or a price above its cap.
    async fn shortage(&self, lease: Lease, unmined: &[Unmined]) -> Result<Option<Trouble>, LaneError> {
        let poor = |unmined: &Unmined| {
            self.tries.refusal(unmined).is_some_and(|refusal| refusal.next() == NextStep::Park)
        };
        if unmined.iter().any(poor) {
            let balance = self.node.balance(self.address()).await?;
            let detail =
                format!("{} has {balance} wei, too little for the gas of what it signed", self.address());
            return Ok(Some(Trouble { code: OUT_OF_GAS_MONEY, detail }));
        }
        if lease.state != LaneState::Parked {
            return Ok(None);
        }
        let market: Fees = self.node.fees().await?;
        let above = Price::at(market, self.settings.max_fee_per_gas).err();
        Ok(above.map(|above| Trouble { code: FEE_ABOVE_CAP, detail: above.to_string() }))
    }

    /// Whether a block has the nonce. Where nobody knows, it is outbid as if none had: that is refused at the worst.
    async fn is_used(&self, lowest: &Unmined) -> bool {
        match self.node.nonce(self.address(), NonceAt::Latest).await {
            Ok(next) => next > lowest.nonce,
            Err(error) => {
                tracing::warn!(lane.id = %self.lane, %error, "the node does not tell which nonces are used");
                false
            }
        }
    }

    /// Halts the lane if a final block has another transaction than ours for the lowest nonce, and no operator was told of it. A
    /// node that does not tell, or no longer knows, proves nothing.
    async fn halt_if_used_elsewhere(
        &mut self,
        now: DateTime<Utc>,
        lease: Lease,
        lowest: &Unmined,
    ) -> Result<(), LaneError> {
        let mut conn = self.pool.acquire().await?;
        let last_final = sqlx::query_scalar!(
            "SELECT final_number FROM chains WHERE id = $1",
            self.vault.identity.chain_id.cast_signed(),
        )
        .fetch_one(&mut *conn)
        .await?;
        let ours = attempt_hashes(&mut conn, lowest.batch).await?;
        drop(conn);
        let Some(last_final) = last_final.map(i64::cast_unsigned) else { return Ok(()) };
        let Some(user) = self.user_of(now, lowest.nonce).await? else { return Ok(()) };
        if ours.contains(&user.tx) {
            // Another one may have it after a reorganisation.
            self.searched = self.searched.map(|searched| Searched { user: None, ..searched });
            return Ok(());
        }
        if user.block_number > last_final || lowest.displaced_by == Some(user.tx) {
            return Ok(());
        }
        // What was found a while ago may have been in a block that is none any more.
        let block = self.node.block(BlockRef::Number(user.block_number)).await?;
        if block.is_none_or(|block| block.hash != user.block_hash) {
            self.searched = None;
            return Ok(());
        }
        let detail = format!(
            "nonce {} was used by transaction {} in block {}, which is none of ours",
            lowest.nonce, user.tx, user.block_number
        );
        self.halt(lease, NONCE_USED_ELSEWHERE, detail).await
    }

    /// Which transaction has used a nonce, as was seen when it was looked for last: that is soon after it was used, when that is near.
    async fn user_of(&mut self, now: DateTime<Utc>, nonce: u64) -> Result<Option<NonceUser>, LaneError> {
        let pause = delta(self.settings.monitor_timeout);
        if let Some(searched) = self.searched.filter(|searched| searched.nonce == nonce)
            && (searched.user.is_some() || now - searched.at < pause)
        {
            return Ok(searched.user);
        }
        let Some(latest) = self.node.block(BlockRef::Latest).await? else { return Ok(None) };
        let blocks = 0..=latest.header.number;
        let mut in_vain = false;
        let user = match find_nonce_use(&*self.node, self.address(), nonce, blocks, BLOCKS_READ_MAX).await {
            Ok(NonceUse::By(user)) => Some(user),
            Ok(NonceUse::Unused | NonceUse::Earlier) => None,
            Err(error @ ChainError::TooFarBack { .. }) => {
                self.tell(NONCE_USER_UNKNOWN, error.to_string()).await?;
                in_vain = true;
                None
            }
            Err(error) => {
                tracing::warn!(lane.id = %self.lane, %error, "the node cannot tell who used a nonce");
                None
            }
        };
        self.searched = Some(Searched { nonce, at: now, user, in_vain });
        Ok(user)
    }

    /// Stops the lane until an operator has looked.
    pub(super) async fn halt(
        &self,
        lease: Lease,
        code: &'static str,
        detail: String,
    ) -> Result<(), LaneError> {
        self.stop(lease, LaneState::Halted, Trouble { code, detail }).await
    }

    /// Stops the lane until its trouble is over.
    pub(super) async fn park(&self, lease: Lease, trouble: Trouble) -> Result<(), LaneError> {
        self.stop(lease, LaneState::Parked, trouble).await
    }

    async fn stop(&self, lease: Lease, state: LaneState, trouble: Trouble) -> Result<(), LaneError> {
        let mut tx = self.pool.begin().await?;
        #[cfg(feature = "faults")]
        let lease = if planted!(LaneFenceDropped) {
            Lease { fence: crate::planted::fence_of(&mut tx, self.lane).await?, ..lease }
        } else {
            lease
        };
        if !stop_lane(&mut tx, self.lane, lease, state, trouble.code).await? {
            // What looked like trouble is the work of whoever took the lane over while the chain was asked.
            return Ok(tx.rollback().await?);
        }
        self.metrics.active.with_label_values(&[&self.lane.to_string()]).set(0);
        let Trouble { code, detail } = trouble;
        let about = format!("lane:{}", self.lane);
        self.raise(&mut tx, OperatorAlertRaised { code: code.to_owned(), about, detail }).await?;
        commit(tx, "lane_stopped").await?;
        Ok(())
    }

    /// Raises an alert about the lane, which goes on.
    pub(super) async fn tell(&self, code: &str, detail: String) -> Result<(), LaneError> {
        let about = format!("lane:{}", self.lane);
        let mut tx = self.pool.begin().await?;
        self.raise(&mut tx, OperatorAlertRaised { code: code.to_owned(), about, detail }).await?;
        commit(tx, "lane_alerted").await?;
        Ok(())
    }

    /// Takes back what was said of troubles that are over, and has a parked lane go on.
    async fn end_alerts(
        &self,
        now: DateTime<Utc>,
        lease: Lease,
        unmined: &[Unmined],
    ) -> Result<(), LaneError> {
        let all_mined = unmined.is_empty();
        let mut over: Vec<String> = Vec::new();
        let in_vain = |lowest: &Unmined| {
            self.searched.is_some_and(|searched| searched.nonce == lowest.nonce && searched.in_vain)
        };
        if !unmined.first().is_some_and(in_vain) {
            over.push(NONCE_USER_UNKNOWN.to_owned());
        }
        if all_mined {
            let lasting = Refusal::ALL.into_iter().filter(|refusal| refusal.lasts());
            over.extend(lasting.map(|refusal| format!("{}{}", alert::SEND, refusal.as_str())));
        }
        if lease.state == LaneState::Parked || all_mined {
            over.extend([FEE_ABOVE_CAP, OUT_OF_GAS_MONEY].map(str::to_owned));
        }
        if lease.state == LaneState::Parked {
            let mut tx = self.pool.begin().await?;
            if unpark_lane(&mut tx, self.lane, lease).await? {
                tracing::info!(lane.id = %self.lane, "a parked lane goes on");
            }
            commit(tx, "lane_unparked").await?;
        }
        self.clear(now, &over).await
    }

    /// Takes back alerts of these codes about the lane.
    pub(super) async fn clear(&self, now: DateTime<Utc>, codes: &[String]) -> Result<(), LaneError> {
        let about = format!("lane:{}", self.lane);
        // Most of the time there is none, and a look is cheaper than a transaction.
        if codes.is_empty() || !has_alert_of(&mut *self.pool.acquire().await?, codes, &about).await? {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        let cleared = clear_alerts(&mut tx, codes, &about).await?;
        let cleared: Vec<NewEvent> = cleared.into_iter().map(NewEvent::from).collect();
        if !cleared.is_empty() {
            append(&mut tx, &Context::at(now), &cleared).await?;
        }
        commit(tx, "lane_alerts_cleared").await?;
        Ok(())
    }
}
