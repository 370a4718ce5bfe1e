//! Every place of every campaign: who has it, with which word, and what the chain made of it.
//!
//! ```text
//!   runs ──► place ◄── settlements (words, bits)
//!              ▲
//!   holds ─────┴───── exceptions, voids, segments
//! ```
//!
//! Places are looked at window by window, so that memory does not grow with them, and each window is a handful of
//! statements.

mod judge;
mod load;
mod stranded;

use self::{judge::judge, load::load, stranded::find_stranded};
use crate::{
    AuditError,
    finding::Code,
    snapshot::{Campaign, Snapshot},
};

/// How many places are looked at together.
const WINDOW: i64 = 65_536;

/// Which places, and whether the chain can be compared with them.
#[derive(Clone, Copy, Debug)]
struct Span {
    campaign: Campaign,
    /// The first place.
    from: i64,
    /// The place behind the last one.
    to: i64,
    /// The last block that counts; nothing if the chain cannot be compared.
    block: Option<i64>,
}

/// Looks at all places.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let campaigns: Vec<Campaign> = snapshot.campaigns.values().copied().collect();
    for campaign in campaigns {
        let block = snapshot.finals.get(&campaign.chain_id).map(|block| block.number.cast_signed());
        let block = block.filter(|_| !snapshot.known.foreign.contains(&campaign.id));
        let end = end_of(snapshot, &campaign).await?;
        // By the numbers of grants: which of them were met.
        let mut met = Met::of(campaign.grants);
        let mut from = 0;
        while from < end {
            let span = Span { campaign, from, to: end.min(from + WINDOW), block };
            let window = load(snapshot, &span).await?;
            judge(snapshot, &span, &window, &mut met)?;
            snapshot.known.places += window.count(&span);
            from = span.to;
        }
        find_stranded(snapshot, &campaign, &met).await?;
    }
    Ok(())
}

/// The place behind a campaign's last one, as the queue or the runs say.
async fn end_of(snapshot: &mut Snapshot<'_>, campaign: &Campaign) -> Result<i64, AuditError> {
    let end = sqlx::query_scalar!(
        "SELECT max(first_seq + count) FROM runs WHERE campaign = $1",
        campaign.id.number()
    )
    .fetch_one(&mut *snapshot.conn)
    .await?
    .unwrap_or(0);
    if end > campaign.next_seq {
        let detail = format!(
            "places up to {} were given to grants; the queue gives {} next",
            end - 1,
            campaign.next_seq
        );
        let about = format!("campaign:{}", campaign.id);
        snapshot.findings.add(Code::SeqGivenTwice, about, Some(campaign.id), detail);
    }
    Ok(end.max(campaign.next_seq))
}

/// Which grants of a campaign were met in a run: a bit a grant.
#[derive(Debug)]
struct Met {
    words: Vec<u64>,
    /// Whether there are places that no run has, so that nobody knows whose they were.
    gaps: bool,
}

impl Met {
    fn of(grants: i64) -> Self {
        let words = usize::try_from(grants).unwrap_or(0).div_ceil(64);
        Self { words: vec![0; words], gaps: false }
    }

    /// Those of the first `grants` that were not.
    fn others(&self, grants: i64) -> impl Iterator<Item = i64> {
        (0..grants).filter(|number| {
            let word = usize::try_from(number / 64).ok().and_then(|at| self.words.get(at));
            word.is_some_and(|word| word & 1 << (number % 64) == 0)
        })
    }

    /// Notes a grant. Says whether it was met before; of one that cannot be, nothing is known.
    fn again(&mut self, number: i64) -> bool {
        let Ok(number) = usize::try_from(number) else { return false };
        let Some(word) = self.words.get_mut(number / 64) else { return false };
        let bit = 1 << (number % 64);
        let again = *word & bit != 0;
        *word |= bit;
        again
    }
}
