//! What has to be read before a rebase may go on.

use std::fmt;

use laurel_events::CampaignId;
use laurel_ledger::{JournalHeads, LedgerError, journal_heads, list_reholds, partitions_behind, planted};

use super::{Rebase, RebaseError};

/// The stages that undo, and those that follow from what they do: what one of them writes, another one reads. After as many rounds
/// as they are, whatever undoes something has been read; what fails again by that follows by itself.
const STAGES: [&str; 3] = ["books", "settlements", "grant-saga"];

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A stage has not read everything.
    Stage {
        /// Which.
        stage: &'static str,
        /// In how many partitions.
        partitions: usize,
    },
    /// A stage has set events aside that it could not handle, and what came after them about the same.
    Letters {
        /// The stage.
        stage: &'static str,
        /// How many.
        letters: u64,
    },
    /// The grants of a released campaign fail, some after the others.
    Release(CampaignId),
    /// The holds of a campaign are made again, some after the others.
    Rehold(CampaignId),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage { stage, partitions } => {
                write!(f, "stage {stage} has not read {partitions} partitions; does its role run?")
            }
            Self::Letters { stage, letters } => {
                write!(f, "stage {stage} could not handle {letters} events; see `laurel dlq list`")
            }
            Self::Release(campaign) => {
                write!(f, "the grants of campaign {campaign}, which was released, fail")
            }
            Self::Rehold(campaign) => write!(f, "the holds of campaign {campaign} are made again"),
        }
    }
}

fn campaign_of(number: i64) -> Result<CampaignId, LedgerError> {
    let wrong = |_| LedgerError::Inconsistent { table: "campaigns", column: "id", id: number.to_string() };
    CampaignId::try_from(number).map_err(wrong)
}

/// Up to where it has to be read, and how often that has to be asked for still.
#[derive(Clone, Debug)]
pub struct Reading {
    upto: JournalHeads,
    rounds: usize,
}

impl Rebase {
    /// Begins to wait for what is written by now, and for what follows from it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn reading(&self) -> Result<Reading, RebaseError> {
        Ok(Reading { upto: self.heads().await?, rounds: STAGES.len() })
    }

    /// What is still waited for. To be asked again, with the same `reading`, until it is nothing.
    ///
    /// # Errors
    /// If a row is inconsistent or the database does not answer.
    pub async fn unread(&self, reading: &mut Reading) -> Result<Vec<Unread>, RebaseError> {
        while reading.rounds > 0 {
            let unread = self.unread_upto(&reading.upto).await?;
            if !unread.is_empty() {
                return Ok(unread);
            }
            *reading = Reading { upto: self.heads().await?, rounds: reading.rounds - 1 };
        }
        Ok(Vec::new())
    }

    async fn heads(&self) -> Result<JournalHeads, RebaseError> {
        Ok(journal_heads(&mut *self.pool.acquire().await?).await?)
    }

    async fn unread_upto(&self, upto: &JournalHeads) -> Result<Vec<Unread>, RebaseError> {
        let mut unread = Vec::new();
        if planted!(RebaseEndsUnread) {
            return Ok(unread);
        }
        let mut conn = self.pool.acquire().await?;
        for stage in STAGES {
            let partitions = partitions_behind(&mut conn, stage, upto).await?;
            if partitions > 0 {
                unread.push(Unread::Stage { stage, partitions });
            }
            let letters = sqlx::query_scalar!(
                r#"
                SELECT count(*) AS "letters!" FROM dead_letters
                WHERE stage = $1 AND state IN ('retrying', 'dead', 'blocked')
                "#,
                stage,
            );
            let letters = letters.fetch_one(&mut *conn).await?.unsigned_abs();
            if letters > 0 {
                unread.push(Unread::Letters { stage, letters });
            }
        }
        let failing = sqlx::query_scalar!(
            r#"
            SELECT q.campaign FROM queues q JOIN vaults v ON v.id = q.vault
            WHERE v.chain_id = $1 AND q.released_tx IS NOT NULL
              AND (q.batched_to < q.next_seq OR EXISTS (SELECT FROM requeues r WHERE r.campaign = q.campaign))
              AND NOT EXISTS (SELECT FROM segments s JOIN batches b ON b.id = s.batch
                              WHERE s.campaign = q.campaign AND s.posted_at IS NULL AND b.state <> 'reverted')
              AND NOT EXISTS (SELECT FROM cancels c JOIN batches b ON b.id = c.batch
                              WHERE c.campaign = q.campaign AND b.state IN ('submitted', 'mined'))
            ORDER BY q.campaign
            "#,
            self.chain_id.cast_signed(),
        );
        for campaign in failing.fetch_all(&mut *conn).await? {
            unread.push(Unread::Release(campaign_of(campaign)?));
        }
        let reheld = list_reholds(&mut conn, self.chain_id).await?;
        unread.extend(reheld.into_iter().map(Unread::Rehold));
        Ok(unread)
    }
}
