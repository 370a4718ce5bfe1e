//! What the demo measured.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use laurel_audit::BooksReport;
use laurel_events::{Amount, BatchId};
use serde::Serialize;
use sqlx::PgPool;

use super::probe::Probe;
use crate::pipeline::Pipeline;

/// The figures, in the shape of `--json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    outcomes: u64,
    declined: u64,
    grants: u64,
    completed: u64,
    compensated: u64,
    awaiting_wallet: u64,
    transactions: u64,
    gas_used: u64,
    gas_per_grant: f64,
    seconds: f64,
    settled_per_s: f64,
    latency_ms: Latency,
    overhead_ms: Latency,
    books: Books,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Latency {
    mean: i64,
    p50: i64,
    p99: i64,
}

/// The sums over all campaigns.
#[derive(Clone, Copy, Debug, Serialize)]
struct Books {
    funded: Amount,
    available: Amount,
    reserved: Amount,
    paid: Amount,
    returned: Amount,
    suspense: Amount,
    paid_on_chain: Amount,
    balanced: bool,
}

impl Latency {
    fn of(mut sample: Vec<i64>) -> Self {
        sample.sort_unstable();
        let at = |share: f64| {
            let index = (sample.len() as f64 * share) as usize;
            sample.get(index.min(sample.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let mean = sample.iter().sum::<i64>() / i64::try_from(sample.len()).unwrap_or(1).max(1);
        Self { mean, p50: at(0.5), p99: at(0.99) }
    }
}

impl Figures {
    /// The figures of a run that took `seconds`.
    pub(crate) async fn new(
        last: &Pipeline,
        probe: &Probe,
        pool: &PgPool,
        seconds: f64,
        books: &BooksReport,
    ) -> anyhow::Result<Self> {
        let seen = probe.seen();
        let accepted = accepted_by_node(pool).await?;
        let mut latency = Vec::with_capacity(seen.completed.len());
        let mut overhead = Vec::with_capacity(seen.completed.len());
        for (grant, (completed_at, batch)) in &seen.completed {
            let outcome_at = seen.grants.get(grant).and_then(|outcome| seen.accepted.get(outcome));
            let Some(outcome_at) = outcome_at else { continue };
            let whole = (*completed_at - *outcome_at).num_milliseconds();
            latency.push(whole);
            if let (Some(sent), Some((is_final, _))) = (accepted.get(batch), seen.confirmed.get(batch)) {
                overhead.push(whole - (*is_final - *sent).num_milliseconds());
            }
        }
        let gas_used: u64 = seen.confirmed.values().map(|(_, gas)| gas).sum();
        let sum = books.available.plus(books.reserved)?.plus(books.paid)?.plus(books.returned)?;
        Ok(Self {
            outcomes: last.outcomes,
            declined: last.declined,
            grants: last.grants,
            completed: last.completed,
            compensated: last.compensated,
            awaiting_wallet: last.waiting,
            transactions: last.transactions,
            gas_used,
            gas_per_grant: gas_used as f64 / last.completed.max(1) as f64,
            seconds,
            settled_per_s: last.completed as f64 / seconds,
            latency_ms: Latency::of(latency),
            overhead_ms: Latency::of(overhead),
            books: Books {
                funded: books.funded,
                available: books.available,
                reserved: books.reserved,
                paid: books.paid,
                returned: books.returned,
                suspense: books.suspense,
                paid_on_chain: books.paid_on_chain,
                balanced: books.findings.is_empty()
                    && sum == books.funded
                    && books.paid == books.paid_on_chain,
            },
        })
    }

    /// What the run comes to.
    pub(crate) const fn verdict(&self) -> Verdict {
        Verdict::of(self.outcomes, self.books.balanced)
    }

    /// The table, for people.
    pub(crate) fn table(&self, report: &BooksReport) -> String {
        let books = [
            ("funded", tokens(self.books.funded)),
            ("= available", tokens(self.books.available)),
            ("+ reserved", tokens(self.books.reserved)),
            ("+ paid", tokens(self.books.paid)),
            ("+ returned", tokens(self.books.returned)),
            ("in suspense", tokens(self.books.suspense)),
            ("paid on chain", tokens(self.books.paid_on_chain)),
        ];
        let mut text = rows(&self.run()) + &rows(&books);
        for finding in &report.findings {
            text += &format!("\n  FINDING: {finding}");
        }
        format!("{text}\n  {}", self.verdict().text())
    }

    fn run(&self) -> [(&'static str, String); 14] {
        [
            ("outcomes", self.outcomes.to_string()),
            ("declined, by a campaign", self.declined.to_string()),
            ("granted, by a campaign", self.grants.to_string()),
            ("completed", self.completed.to_string()),
            ("compensated", self.compensated.to_string()),
            ("awaiting a wallet", self.awaiting_wallet.to_string()),
            ("transactions", self.transactions.to_string()),
            ("gas per grant", format!("{:.0}", self.gas_per_grant)),
            ("seconds", format!("{:.1}", self.seconds)),
            ("settled grants per second", format!("{:.0}", self.settled_per_s)),
            ("outcome to completed, p50", format!("{} ms", self.latency_ms.p50)),
            ("outcome to completed, p99", format!("{} ms", self.latency_ms.p99)),
            ("without the chain, p50", format!("{} ms", self.overhead_ms.p50)),
            ("without the chain, p99", format!("{} ms", self.overhead_ms.p99)),
        ]
    }
}

fn rows(rows: &[(&str, String)]) -> String {
    let lines = rows.iter().map(|(name, value)| format!("\n  {name:<28}{value:>28}"));
    lines.collect::<String>() + "\n"
}

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The books balance, also when every outcome was declined.
    Balanced,
    /// They do not.
    Unbalanced,
    /// Books of nothing balance and show nothing.
    NothingAccepted,
}

impl Verdict {
    const fn of(outcomes: u64, balanced: bool) -> Self {
        match (outcomes, balanced) {
            (0, _) => Self::NothingAccepted,
            (_, true) => Self::Balanced,
            (_, false) => Self::Unbalanced,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Balanced => "The books balance.",
            Self::Unbalanced => "THE BOOKS DO NOT BALANCE.",
            Self::NothingAccepted => "NO OUTCOME WAS ACCEPTED.",
        }
    }
}

/// When a node first took each batch.
async fn accepted_by_node(pool: &PgPool) -> anyhow::Result<HashMap<BatchId, DateTime<Utc>>> {
    let rows = sqlx::query!(
        r#"SELECT id, accepted_at AS "accepted_at!" FROM batches WHERE accepted_at IS NOT NULL"#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id.into(), row.accepted_at)).collect())
}

/// An amount of a token with 18 decimals, for people.
fn tokens(amount: Amount) -> String {
    let digits = format!("{:0>19}", amount.to_string());
    let (whole, fraction) = digits.split_at(digits.len() - 18);
    format!("{whole}.{}", &fraction[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_shown_with_four_decimals() {
        assert_eq!(tokens(Amount::from(1_500_000_000_000_000_000_u128)), "1.5000");
        assert_eq!(tokens(Amount::ZERO), "0.0000");
        assert_eq!(tokens(Amount::from(123_456_789_000_000_000_000_u128)), "123.4567");
    }

    #[test]
    fn books_without_a_payment_balance_and_a_run_without_outcomes_fails() {
        assert_eq!(Verdict::of(3, true), Verdict::Balanced);
        assert_eq!(Verdict::of(3, false), Verdict::Unbalanced);
        assert_eq!(Verdict::of(0, true), Verdict::NothingAccepted);
    }

    #[test]
    fn percentiles_of_few_and_none() {
        assert_eq!(Latency::of(vec![]), Latency::default());
        let latency = Latency::of((1..=100).collect());
        assert_eq!((latency.p50, latency.p99, latency.mean), (51, 100, 50));
    }
}
