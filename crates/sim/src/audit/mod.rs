//! The auditor: looks at the tables and at the chain with eyes of its own, and says what is not as it has to be.
//!
//! It calls no function of the code that it watches. Its statements are its own, and it reads the chain from transactions
//! and logs. The numbers in what it says are those of the invariants in docs/SIMULATION.md.

mod books;
mod chain;
mod ends;

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use chrono::{DateTime, Utc};
use laurel_events::CampaignId;
use sqlx::PgConnection;

/// A place on the chain: a campaign and a sequence number of it.
pub(crate) type PlaceId = (u64, u64);

/// What the final chain paid for a place.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    recipient: Address,
    amount: U256,
    block: u64,
}

/// What the final chain released of a campaign.
#[derive(Clone, Debug)]
struct Release {
    amount: U256,
    block: u64,
}

/// What an auditor remembers.
#[derive(Clone, Debug)]
pub(crate) struct Auditor {
    vault: Address,
    /// Up to which block the chain was read.
    read_to: u64,
    paid: BTreeMap<PlaceId, Payment>,
    /// Places that were burned without payment, and in which block.
    cancelled: BTreeMap<PlaceId, u64>,
    /// What has come to an end, and must not leave it, and the block that ended it.
    ended: BTreeMap<String, i64>,
    /// The quarantine, and how much was signed when it was seen first.
    quarantine: Option<(String, i64)>,
    /// Who was ever paid or is to be: whom a token can be made to refuse.
    recipients: Vec<Address>,
    /// Whether the database was set back: the chain may have paid what it knows nothing of, until that is recovered.
    restored: bool,
    /// Whether the chain has ever taken back what was final.
    taken_back: bool,
    /// Whether it has, and the books may not know: what they say of it is then what was.
    being_undone: bool,
    /// The campaigns that the vault has released.
    released: BTreeMap<u64, Release>,
    /// What was wrong with the chain itself.
    seen: Vec<String>,
}

impl Auditor {
    pub(crate) fn new(vault: Address) -> Self {
        Self {
            vault,
            read_to: 0,
            paid: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            ended: BTreeMap::new(),
            quarantine: None,
            recipients: Vec::new(),
            restored: false,
            taken_back: false,
            being_undone: false,
            released: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    /// The database is as it was when the auditor was this one; the chain is not.
    pub(crate) fn set_back(&mut self, was: &Self) {
        self.ended.clone_from(&was.ended);
        self.quarantine = None;
        self.restored = true;
    }

    /// The final chain goes no further than `to` any more.
    pub(crate) fn take_back(&mut self, to: u64) {
        self.read_to = self.read_to.min(to);
        self.paid.retain(|_, payment| payment.block <= to);
        self.cancelled.retain(|_, block| *block <= to);
        self.released.retain(|_, release| release.block <= to);
        self.ended.retain(|_, block| u64::try_from(*block).is_ok_and(|block| block <= to));
        (self.taken_back, self.being_undone) = (true, true);
    }

    /// Notes when the books have followed a chain that took back what was final.
    async fn follow(&mut self, conn: &mut PgConnection) -> anyhow::Result<()> {
        let followed = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM rebases WHERE ended_at IS NOT NULL)
                    AND NOT EXISTS (SELECT FROM chains WHERE halted IS NOT NULL)",
        );
        if self.being_undone && followed.fetch_one(&mut *conn).await? {
            self.being_undone = false;
        }
        Ok(())
    }

    /// Whether a final block has released a campaign.
    pub(crate) fn is_released(&self, campaign: CampaignId) -> bool {
        self.released.contains_key(&campaign.on_chain())
    }

    /// Who was paid so far, in the order of their first payment.
    pub(crate) fn recipients(&self) -> &[Address] {
        &self.recipients
    }

    /// What has to be true at any time. Says what is not; `closely` asks for what takes longer, too.
    pub(crate) async fn look(
        &mut self,
        conn: &mut PgConnection,
        closely: bool,
    ) -> anyhow::Result<Vec<String>> {
        let mut findings = std::mem::take(&mut self.seen);
        findings.extend(books::balances(&mut *conn).await?);
        self.follow(&mut *conn).await?;
        if !self.being_undone {
            findings.extend(self.voids(&mut *conn).await?);
        }
        if !closely {
            return Ok(findings);
        }
        findings.extend(books::findings(&mut *conn, self.restored).await?);
        findings.extend(books::places(&mut *conn, self.taken_back).await?);
        findings.extend(self.quarantine(&mut *conn).await?);
        if !self.being_undone {
            findings.extend(self.chain_and_books(&mut *conn, false).await?);
            findings.extend(self.terminal(&mut *conn).await?);
        }
        Ok(findings)
    }

    /// What has to be true when everything has come to rest. Says what is not.
    pub(crate) async fn conclude(
        &mut self,
        conn: &mut PgConnection,
        outcomes: usize,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<String>> {
        self.follow(&mut *conn).await?;
        // Where nobody had seen what was taken back there was nothing to be followed.
        self.being_undone = false;
        let mut findings = self.look(&mut *conn, true).await?;
        findings.extend(self.chain_and_books(&mut *conn, true).await?);
        findings.extend(self.words(&mut *conn).await?);
        findings.extend(self.sent_again(&mut *conn).await?);
        findings.extend(ends::journal(&mut *conn).await?);
        findings.extend(ends::outcomes(&mut *conn, outcomes).await?);
        findings.extend(ends::deadlines(&mut *conn, now).await?);
        findings.extend(self.ends(&mut *conn).await?);
        Ok(findings)
    }
}
