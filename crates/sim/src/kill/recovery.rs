//! How soon it settles again after everything was killed.

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    check, say,
    story::{Played, Player, Story, link, register, tell},
    summary::{Recovery, Summary},
    troubles::{kill_everything, start_everything},
    world::World,
};

/// Outcomes that are told of just before the end of everything: all are granted, and most are not even queued then.
const OUTCOMES: usize = 3_000;

/// Outcomes of a message: the most that the API takes.
const BATCH: usize = 1_000;

/// Players whose they are.
const PLAYERS: usize = 20;

/// How often the database is asked whether it settles again.
const LOOK: Duration = Duration::from_millis(10);

/// After that, it does not settle again.
const GIVE_UP: Duration = Duration::from_secs(120);

/// Kills everything so many times with work under way, and looks when the next settlement is confirmed.
pub(super) async fn measure(
    world: &mut World,
    mut story: Story,
    times: u32,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    if times == 0 {
        return Ok(());
    }
    let names: Vec<String> = (0..PLAYERS).map(|number| format!("survivor-{number}")).collect();
    for name in &names {
        register(&world.door, name).await?;
        let wallet = Some(link(&world.door, name, world.chain_id).await?);
        story.players.insert(name.clone(), Player { name: name.clone(), wallet, grants: 0 });
    }
    for time in 1..=times {
        let played: Vec<Played> = (0..OUTCOMES)
            .map(|number| Played {
                id: format!("last-{time}-{number}"),
                player: names[number % PLAYERS].clone(),
                score: 99,
            })
            .collect();
        for some in played.chunks(BATCH) {
            let told: Vec<_> = some.iter().map(|played| played.told(&*world.clock)).collect();
            tell(&world.door, &json!({ "outcomes": told })).await?;
        }
        story.note(&played)?;
        kill_everything(world).await?;
        let recovery = recover(world).await?;
        say(&format!("recovery {time}: {recovery}"));
        summary.recoveries.push(recovery);
        check::settled(world, &story).await?;
        check::decided(&world.door, &played).await?;
        check::books(world, &story).await?;
    }
    summary.told(&story);
    Ok(())
}

/// Starts everything again, and waits for settlements that were not confirmed before.
async fn recover(world: &mut World) -> anyhow::Result<Recovery> {
    let (began, began_at): (_, DateTime<Utc>) = (Instant::now(), world.clock.now());
    start_everything(world).await?;
    let database = began.elapsed();
    let mut session = world.session().await?;
    let confirmed: Vec<sqlx::types::Uuid> =
        sqlx::query_scalar("SELECT id FROM batches WHERE state = 'confirmed'")
            .fetch_all(&mut session)
            .await?;
    let mut first = None;
    loop {
        let (any, signed_since): (bool, bool) = sqlx::query_as(
            "SELECT count(*) > 0, count(*) FILTER (WHERE created_at >= $2) > 0 FROM batches
             WHERE state = 'confirmed' AND grants > 0 AND NOT id = ANY ($1)",
        )
        .bind(&confirmed)
        .bind(began_at)
        .fetch_one(&mut session)
        .await?;
        if any {
            first.get_or_insert_with(|| began.elapsed());
        }
        if let (Some(first), true) = (first, signed_since) {
            return Ok(Recovery { database, first, signed_since: began.elapsed() });
        }
        ensure!(began.elapsed() < GIVE_UP, "nothing is settled {GIVE_UP:?} after the restart");
        sleep(LOOK).await;
    }
}
