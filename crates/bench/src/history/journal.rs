//! A journal as game servers and the campaign stage would have written it: one event in a row, as when each is reported alone.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{CampaignId, GameOutcomeRecorded, NewEvent, OrgId, OutcomeKey, PlayerId, RewardDeclined};
use laurel_ledger::{Context, append_each};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{PgPool, types::Uuid};

/// How many rows a transaction appends.
const ROWS_AT_ONCE: u64 = 1_000;

/// How many rows there are in a second.
const ROWS_PER_SECOND: u64 = 100;

/// One of so many outcomes is declined.
const DECLINED_OF: u64 = 10;

/// The moment of a row.
pub(super) fn recorded_at(row: u64) -> DateTime<Utc> {
    // The first of 2026, as the grants.
    let begin = DateTime::from_timestamp_secs(1_767_225_600).unwrap_or_default();
    begin + TimeDelta::milliseconds((row * 1000 / ROWS_PER_SECOND).cast_signed())
}

/// Appends so many rows behind all places that grants name.
pub(super) async fn append_rows(
    pool: &PgPool,
    rows: u64,
    campaigns: u64,
    players: u64,
) -> anyhow::Result<()> {
    let rng = &mut StdRng::seed_from_u64(2);
    for first in (0..rows).step_by(ROWS_AT_ONCE as usize) {
        let events: Vec<(Context, [NewEvent; 1])> = (first..rows.min(first + ROWS_AT_ONCE))
            .map(|row| (Context::at(recorded_at(row)), [event(row, rng, campaigns, players)]))
            .collect();
        let requests: Vec<(&Context, &[NewEvent])> =
            events.iter().map(|(context, events)| (context, events.as_slice())).collect();
        let mut tx = pool.begin().await?;
        append_each(&mut tx, &requests).await.context("appending to the journal")?;
        tx.commit().await?;
    }
    Ok(())
}

fn event(row: u64, rng: &mut StdRng, campaigns: u64, players: u64) -> NewEvent {
    let player = PlayerId::from(Uuid::from_u128(rng.random_range(0..players).into()));
    let outcome_id = format!("match-{row}");
    let outcome = OutcomeKey::derive(OrgId(1), "server-1", &outcome_id);
    if row.is_multiple_of(DECLINED_OF) {
        let campaign = CampaignId::from(rng.random_range(1..=campaigns));
        let reason = "rule_not_met".to_owned();
        return NewEvent::from(RewardDeclined { campaign, outcome, player, reason });
    }
    NewEvent::from(GameOutcomeRecorded {
        org: OrgId(1),
        issuer: "server-1".to_owned(),
        outcome,
        outcome_id,
        game: "quiz".to_owned(),
        player,
        score: rng.random_range(0..100),
        rank: None,
        attributes: BTreeMap::new(),
    })
}
