//! Which grants may be on a page: found where what is wanted lives, not by deriving the state of every grant.
//!
//! ```text
//!   a player's, a wallet's ──────────────────────► those players' grants
//!   awaiting_wallet, held, failed, compensated ──► exceptions            exactly those
//!   submitted, mined, confirmed ─────────────────► segments under way    and a few that went on
//!   queued ──────────────────────────────────────► the end of queues, requeues
//!   requested ───────────────────────────────────► numbers that no run and no exception holds, a window at a time
//!   in some blocks ──────────────────────────────► the segments of batches in them, by place
//!   completed, any ──────────────────────────────► grants, a window at a time
//! ```
//!
//! What of campaigns and of time is wanted decides first which numbers are looked at ([`scope`]).

mod blocks;
mod numbers;
mod players;
mod scope;
mod states;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_events::OrgId;
use laurel_ledger::{LedgerError, amount_to_sql};
use sqlx::PgConnection;

pub(crate) use self::scope::Scope;
pub use self::scope::Span;
use crate::GrantFilter;

/// A grant's campaign and number.
pub(crate) type Key = (i64, i64);

/// How many grants are looked at together at least where not all of them will be wanted: some ten milliseconds of deriving states.
const SUPERSET: i64 = 250;

/// Grants that may be on the page.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) keys: Vec<Key>,
    /// Behind which there may be more.
    pub(crate) next: Option<Key>,
}

impl Candidates {
    fn of(keys: Vec<Key>, limit: i64) -> Self {
        let full = i64::try_from(keys.len()).is_ok_and(|found| found >= limit);
        Self { next: keys.last().filter(|_| full).copied(), keys }
    }
}

/// What a grant's own row can be asked, once it is read.
#[derive(Clone, Debug)]
struct Own {
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    amount_min: Option<BigDecimal>,
    amount_max: Option<BigDecimal>,
    rule_version: Option<i32>,
}

impl Own {
    fn is_asked(&self) -> bool {
        self.from.is_some()
            || self.until.is_some()
            || self.amount_min.is_some()
            || self.amount_max.is_some()
            || self.rule_version.is_some()
    }
}

/// Whether grants in this state have a row that says so.
fn is_exceptional(state: &str) -> bool {
    matches!(state, "awaiting_wallet" | "held" | "failed" | "compensated")
}

/// A search for the grants of one page.
pub(crate) struct Search<'a> {
    org: OrgId,
    filter: &'a GrantFilter<'a>,
    own: Own,
    scope: Scope,
    after: Key,
    limit: i64,
    rounds: u32,
}

impl<'a> Search<'a> {
    /// A search behind `after` for `limit` grants at a time.
    pub(crate) async fn begin(
        conn: &mut PgConnection,
        org: OrgId,
        filter: &'a GrantFilter<'a>,
        after: Key,
        limit: i64,
    ) -> Result<Self, LedgerError> {
        let own = Own {
            from: filter.granted.0,
            until: filter.granted.1,
            amount_min: filter.amount_min.map(amount_to_sql),
            amount_max: filter.amount_max.map(amount_to_sql),
            rule_version: filter.rule_version,
        };
        // What a page needs of campaigns before the one that it goes on in is nothing, but for places: those are in another order.
        let scope =
            Scope::load(conn, org, filter, if filter.by_place() { (after.0, -1) } else { after }).await?;
        // Who passes all that a row can be asked passes everything, unless more is wanted.
        let exact = filter.state.is_none_or(is_exceptional) && filter.wallet.is_none() && !filter.by_place();
        let limit = if exact { limit } else { limit.max(SUPERSET) };
        Ok(Self { org, filter, own, scope, after, limit, rounds: 0 })
    }

    /// The next grants that may pass the filter.
    pub(crate) async fn next(&mut self, conn: &mut PgConnection) -> Result<Candidates, LedgerError> {
        let found = self.round(conn).await?;
        self.rounds += 1;
        match found.next {
            Some(next) => {
                self.after = next;
                if !self.filter.by_place() {
                    self.scope.advance(next);
                }
                Ok(found)
            }
            None => match self.scope.more {
                Some(more) => {
                    self.after = more;
                    self.scope = Scope::load(conn, self.org, self.filter, more).await?;
                    Ok(Candidates { next: Some(more), ..found })
                }
                None => Ok(found),
            },
        }
    }

    async fn round(&self, conn: &mut PgConnection) -> Result<Candidates, LedgerError> {
        if self.scope.ranges.is_empty() {
            return Ok(Candidates::default());
        }
        if let Some(players) = self.filter.players {
            return self.of_players(conn, players).await;
        }
        match self.filter.state {
            Some(state) if is_exceptional(state) => self.exceptional(conn, state).await,
            Some(state @ ("submitted" | "mined" | "confirmed")) => self.under_way(conn, state).await,
            Some("queued") => self.queued(conn).await,
            Some("requested") => self.requested(conn).await,
            _ if self.filter.by_place() => self.in_blocks(conn).await,
            _ => self.numbered(conn).await,
        }
    }
}
