//! Whether everything that was acknowledged came to its end, and to no other.

use std::time::Duration;

use alloy::primitives::U256;
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use laurel_chain::HttpNode;
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    AGAIN,
    door::Door,
    story::{Played, REWARD, Story},
    world::World,
};

/// How long it may take until nothing moves any more: batches expire after ten minutes, but nothing here has to wait for that.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// Questions at a time.
const AT_ONCE: usize = 16;

/// What keeps a world from being settled, though everybody may have been paid: after whatever was killed, nothing of this lasts.
const OPEN: &str = "
    SELECT 'batch ' || id || ', which is ' || state FROM batches WHERE state IN ('submitted', 'mined')
    UNION ALL SELECT 'alert ' || code || ' about ' || about || ': ' || detail FROM alerts
    UNION ALL SELECT 'lane ' || id || ', which is ' || state FROM lanes WHERE state <> 'active'
    UNION ALL SELECT 'letter ' || id || ' of ' || stage || ', which is ' || state FROM dead_letters
              WHERE state IN ('retrying', 'dead', 'blocked')";

/// Waits until all that is owed is paid, all that waits for a wallet is reserved, no transaction is under way, and nothing is amiss.
pub(super) async fn settled(world: &World, story: &Story) -> anyhow::Result<()> {
    let (linked, unlinked) = story.owed();
    let (paid, reserved) = ((linked * REWARD).to_string(), (unlinked * REWARD).to_string());
    let declined = story.outcomes - linked - unlinked;
    let path = format!("/campaigns/{}/statistics", story.campaign);
    let wanted = |found: &Value| {
        let reasons = found["declined"].as_object();
        let reasons: u64 = reasons.map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum());
        found["paid"] == *paid
            && found["reserved"] == *reserved
            && found["grants"] == linked + unlinked
            && found["completed"] == linked
            && found["compensated"] == 0
            && reasons == declined
    };
    let owed = || {
        format!("owed: {paid} paid, {reserved} reserved, {linked} + {unlinked} grants, {declined} declined")
    };
    world.door.until(&path, SETTLED_WITHIN, wanted).await.with_context(owed)?;
    let began = Instant::now();
    let mut session = world.session().await?;
    loop {
        let open: Vec<String> = sqlx::query_scalar(OPEN).fetch_all(&mut session).await?;
        if open.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < SETTLED_WITHIN, "there is still {}", open.join(", "));
        sleep(AGAIN).await;
    }
}

/// The ledger's own audits find nothing, and the chain says the same of every wallet.
pub(super) async fn books(world: &World, story: &Story) -> anyhow::Result<()> {
    tokio::try_join!(
        world.finds_nothing(&["audit", "books"]),
        world.finds_nothing(&["audit", "reconcile"]),
        wallets(world, story),
    )?;
    Ok(())
}

async fn wallets(world: &World, story: &Story) -> anyhow::Result<()> {
    let node = HttpNode::new(world.rpc_url())?;
    for player in story.players.values() {
        let Some(wallet) = player.wallet else { continue };
        let (has, earned) = (world.balance(&node, wallet).await?, U256::from(player.grants * REWARD));
        ensure!(has == earned, "{} ({wallet}) has {has} and earned {earned}", player.name);
    }
    Ok(())
}

/// Every one of these outcomes is decided as it has to be.
pub(super) async fn decided(door: &Door, played: &[Played]) -> anyhow::Result<()> {
    let asked = stream::iter(played).map(async |played: &Played| {
        let answer = door.must(Method::GET, &format!("/outcomes/{}", played.id), None).await?;
        let wanted = if played.is_granted() { "granted" } else { "declined" };
        ensure!(answer["state"] == wanted, "{} should be {wanted}: {answer}", played.id);
        Ok(())
    });
    asked.buffer_unordered(AT_ONCE).try_collect().await
}
