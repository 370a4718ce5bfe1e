//! Pages, wherever the list is and whatever is asked for.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::SecondsFormat;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{Arguments, journal::recorded_at};
use crate::{figures::Figures, server::Server};

/// What a page may take.
const BOUND_MS: f64 = 50.0;

/// What statistics may take that are kept.
const STATISTICS: &str = "statistics";
const STATISTICS_MS: f64 = 1.0;

/// A page that is asked for, with random places.
type Ask = fn(&mut StdRng, &Arguments) -> String;

fn place(rng: &mut StdRng, of: &Arguments) -> String {
    let campaign = rng.random_range(1..=of.campaigns);
    format!("{campaign}-{}", rng.random_range(0..of.grants / of.campaigns))
}

fn number(rng: &mut StdRng, of: &Arguments) -> u64 {
    rng.random_range(0..of.grants / of.campaigns)
}

/// A moment in which there were grants, in tenths of a second since the first.
fn moment(tenths: u64) -> String {
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (day, second) = (seconds / 86_400 + 1, seconds % 86_400);
    format!("2026-01-{day:02}T{:02}:{:02}:{:02}.{tenth}Z", second / 3600, second / 60 % 60, second % 60)
}

/// A moment in which the journal had rows.
fn row_moment(rng: &mut StdRng, of: &Arguments) -> String {
    recorded_at(rng.random_range(0..of.journal_rows)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

const PAGES: &[(&str, Ask)] = &[
    ("grants, anywhere", |rng, of| format!("/grants?cursor={}", place(rng, of))),
    ("grants, anywhere, 500 a page", |rng, of| format!("/grants?limit=500&cursor={}", place(rng, of))),
    ("grants of a campaign", |rng, of| {
        let campaign = rng.random_range(1..=of.campaigns);
        format!("/grants?campaign_id={campaign}&cursor={campaign}-{}", number(rng, of))
    }),
    ("grants of a player", |rng, of| format!("/grants?player_id=player-{}", rng.random_range(0..of.players))),
    ("grants to a wallet", |rng, of| {
        format!("/grants?wallet=0x{:a>40}", format!("{:x}", rng.random_range(0..of.players)))
    }),
    ("grants of a token", |rng, of| format!("/grants?token=0x{}&cursor={}", "08".repeat(20), place(rng, of))),
    ("grants that await a wallet", |rng, of| {
        format!("/grants?state=awaiting_wallet&cursor={}", place(rng, of))
    }),
    ("grants that were compensated", |rng, of| {
        format!("/grants?state=compensated&cursor={}", place(rng, of))
    }),
    ("grants that are submitted", |_, _| "/grants?state=submitted".to_owned()),
    ("grants that are requested", |_, _| "/grants?state=requested".to_owned()),
    ("grants that are queued", |_, _| "/grants?state=queued".to_owned()),
    ("completed grants, anywhere", |rng, of| format!("/grants?state=completed&cursor={}", place(rng, of))),
    ("grants of a second", |rng, of| {
        let tenths = number(rng, of) / 500;
        format!("/grants?granted_from={}&granted_until={}", moment(tenths), moment(tenths + 10))
    }),
    ("grants of a second that failed", |rng, of| {
        let tenths = number(rng, of) / 500;
        format!("/grants?state=failed&granted_from={}&granted_until={}", moment(tenths), moment(tenths + 10))
    }),
    ("grants of an amount", |rng, of| format!("/grants?amount_min=700&cursor={}", place(rng, of))),
    ("grants of an amount that there is not", |rng, of| {
        format!("/grants?amount_min=701&cursor={}", place(rng, of))
    }),
    ("grants of a block", |rng, of| {
        let block = rng.random_range(1..of.grants / 5000);
        format!("/grants?block_min={block}&block_max={block}")
    }),
    ("grants of half of all blocks", |rng, of| {
        let blocks = of.grants / 5000;
        format!("/grants?block_min={}&block_max={}&cursor={}", blocks / 4, blocks * 3 / 4, place(rng, of))
    }),
    ("a grant with its way", |rng, of| format!("/grants/{}", place(rng, of))),
    ("a grant as it was", |rng, of| {
        format!("/grants/{}?as_of={}", place(rng, of), moment(of.grants / of.campaigns / 500 + 1000))
    }),
    ("a budget as it was", |rng, of| {
        format!(
            "/campaigns/{}/budget?as_of={}",
            rng.random_range(1..=of.campaigns),
            moment(number(rng, of) / 500)
        )
    }),
    ("transactions, anywhere", |rng, of| {
        format!("/transactions?cursor=01900000-0000-7000-8000-{:012x}", rng.random_range(0..of.grants / 500))
    }),
    ("transfers of a campaign", |rng, of| {
        format!("/campaigns/{}/ledger", rng.random_range(1..=of.campaigns))
    }),
    ("the journal from a moment on", |rng, of| {
        format!("/audit/journal?recorded_from={}", row_moment(rng, of))
    }),
    ("the journal, 500 a page", |rng, of| {
        format!("/audit/journal?limit=500&recorded_from={}", row_moment(rng, of))
    }),
    ("the journal of a kind", |rng, of| {
        format!("/audit/journal?kind=RewardDeclined&recorded_from={}", row_moment(rng, of))
    }),
    ("the journal of a kind that there is not", |rng, of| {
        format!("/audit/journal?kind=WalletLinked&recorded_from={}", row_moment(rng, of))
    }),
    ("the journal of a player", |rng, of| {
        format!("/audit/journal?player_id=player-{}", rng.random_range(0..of.players))
    }),
    ("the journal of a campaign", |rng, of| {
        let campaign = rng.random_range(1..=of.campaigns);
        format!("/audit/journal?campaign_id={campaign}&recorded_from={}", row_moment(rng, of))
    }),
    ("a player's tokens", |rng, of| format!("/players/player-{}/tokens", rng.random_range(0..of.players))),
    (STATISTICS, |rng, of| format!("/campaigns/{}/statistics", rng.random_range(1..=of.campaigns))),
];

pub(crate) async fn measure(server: &Server, of: &Arguments, figures: &mut Figures) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    for (what, ask) in PAGES {
        let rng = &mut StdRng::seed_from_u64(1);
        let (mut times, mut items): (Vec<Duration>, usize) = (Vec::new(), 0);
        // The first ones are for the plans that PostgreSQL makes, and for what it keeps in memory.
        for at in 0..of.requests + of.requests / 10 {
            let path = ask(rng, of);
            let begun = Instant::now();
            let answer = client.get(format!("{}{path}", server.api)).send().await?;
            let status = answer.status();
            let body = answer.text().await?;
            let took = begun.elapsed();
            ensure!(status.is_success(), "{path}: {status}: {body}");
            if at >= of.requests / 10 {
                times.push(took);
                let body: Value = serde_json::from_str(&body).with_context(|| path.clone())?;
                items += body["items"].as_array().map_or(1, Vec::len);
            }
        }
        let bound = if *what == STATISTICS { STATISTICS_MS } else { BOUND_MS };
        figures.p95(what, times, bound, &format!("{} items", items));
    }
    Ok(())
}
