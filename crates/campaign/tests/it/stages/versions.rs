//! A grant names the version of the rule that granted it.

use chrono::TimeDelta;
use laurel_campaign::{
    By, CampaignError, CampaignState, Caps, Definition, Move, change_campaign, list_versions,
};
use laurel_events::{Amount, EventKind};
use laurel_ledger::MIGRATOR;

use crate::world::{ORG, World, definition, drain, fixed, outcome};

/// The migration before versions were kept.
const BEFORE_VERSIONS: i64 = 13;

#[tokio::test]
async fn an_edited_rule_applies_from_then_on_only() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    let undecided = outcome(1);
    world.record(std::slice::from_ref(&undecided)).await;
    world
        .change(campaign, |definition| {
            definition.rule = "outcome.score > 100".to_owned();
            definition.reward = fixed(33);
        })
        .await;
    // Recorded before the change, decided after it: by the rule that is in force then.
    world.run_decisions().await;
    assert_eq!(world.verdicts(undecided.outcome).await, ["rule_not_met"]);
    let mut better = outcome(1);
    better.score = 101;
    assert_eq!(world.decide(better).await, ["granted 33"]);
    assert_eq!(world.grant(campaign, 0).await.rule_version, 1);
    assert_eq!(world.grant(campaign, 1).await.rule_version, 2);
    assert_eq!(world.number("SELECT rule_version::bigint FROM declines").await, 2);
    world.finish().await;
}

#[tokio::test]
async fn a_change_of_anything_else_is_no_new_rule() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    world.change(campaign, |definition| definition.name = "another".to_owned()).await;
    world.decide(outcome(1)).await;
    assert_eq!(world.grant(campaign, 0).await.rule_version, 1);
    world.change(campaign, |definition| definition.caps.grants_per_player = Some(9)).await;
    world.decide(outcome(1)).await;
    assert_eq!(world.grant(campaign, 1).await.rule_version, 2);
    world.finish().await;
}

#[tokio::test]
async fn a_rule_that_does_not_compile_changes_nothing() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    let before = world.fingerprint().await;
    let mut tx = world.pool().begin().await.unwrap();
    let refused = change_campaign(
        &mut tx,
        &world.context(),
        ORG,
        campaign,
        None,
        By::somebody("manager"),
        |definition| {
            definition.rule = "outcome.score".to_owned();
        },
    )
    .await;
    tx.commit().await.unwrap();
    assert!(matches!(refused, Err(CampaignError::Definition(_))), "{refused:?}");
    assert_eq!(world.fingerprint().await, before);
    world.finish().await;
}

#[tokio::test]
async fn a_change_of_what_somebody_else_changed_is_refused() {
    let world = World::new().await;
    let campaign = world.draft(ORG, &definition()).await;
    world.change(campaign, |definition| definition.name = "first".to_owned()).await;
    let mut tx = world.pool().begin().await.unwrap();
    let late = change_campaign(
        &mut tx,
        &world.context(),
        ORG,
        campaign,
        Some(1),
        By::somebody("manager"),
        |definition| {
            definition.name = "second".to_owned();
        },
    )
    .await;
    assert!(matches!(late, Err(CampaignError::Changed { wanted: 1, found: 2 })), "{late:?}");
    drop(tx);
    world.finish().await;
}

/// A rule that an earlier version of the program took and this one does not: its campaign is paused, and others go on.
#[tokio::test]
async fn a_stored_rule_that_does_not_compile_pauses_its_campaign_only() {
    let mut world = World::new().await;
    let caps = Caps { grants_per_player: Some(3), ..Caps::default() };
    let broken = world.campaign(&Definition { caps, ..definition() }, 1_000).await;
    let fine = world.campaign(&definition(), 1_000).await;
    world.decide(outcome(1)).await;
    for statement in [
        "ALTER TABLE campaign_rules DISABLE TRIGGER campaign_rules_change",
        "UPDATE campaign_rules SET rule = 'outcome.gone == 1' WHERE grants_per_player = 3",
    ] {
        sqlx::query(statement).execute(world.pool()).await.unwrap();
    }
    // A replica that has not compiled it before.
    let mut decider = world.another_decider();
    for _ in 0..2 {
        let met = outcome(1);
        world.record(std::slice::from_ref(&met)).await;
        drain(&mut decider).await;
        let mut expected = [(broken, "campaign_paused"), (fine, "granted 10")];
        expected.sort_unstable();
        assert_eq!(world.verdicts(met.outcome).await, expected.map(|(_, verdict)| verdict));
    }
    let alerts: Vec<(String, String)> =
        sqlx::query_as("SELECT code, about FROM alerts").fetch_all(world.pool()).await.unwrap();
    assert_eq!(alerts, [("rule_does_not_compile".to_owned(), format!("campaign:{broken}"))]);
    assert_eq!(world.events(EventKind::OperatorAlertRaised).await.len(), 1);
    let reason: Option<String> = sqlx::query_scalar("SELECT state_reason FROM campaigns WHERE id = $1")
        .bind(broken.number())
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(reason.as_deref(), Some("rule_does_not_compile"));

    // Its manager mends the rule; what was granted before still counts.
    world.change(broken, |definition| definition.rule = "true".to_owned()).await;
    world.transition(broken, Move::Resume).await;
    assert_eq!(world.number("SELECT count(*) FROM alerts").await, 0);
    for expected in ["granted 10", "granted 10", "grants_cap_reached"] {
        let verdicts = world.decide(outcome(1)).await;
        let mut expected = [(broken, expected), (fine, "granted 10")];
        expected.sort_unstable();
        assert_eq!(verdicts, expected.map(|(_, verdict)| verdict));
    }
    world.finish().await;
}

#[tokio::test]
async fn campaigns_that_were_there_before_have_a_version() {
    let mut world = World::new().await;
    let now = world.now();
    let before = Definition {
        starts_at: Some(now - TimeDelta::hours(1)),
        ends_at: Some(now + TimeDelta::milliseconds(3_600_120)),
        caps: Caps {
            grants_per_player: Some(3),
            amount_per_player: Some(Amount::from(70_u64)),
            ..Caps::default()
        },
        ..definition()
    };
    let campaign = world.campaign(&before, 1_000).await;
    let timers =
        "SELECT kind || ' ' || subject || ' ' || due_at || ' ' || convert_from(data, 'UTF8') FROM timers
                  WHERE subject LIKE '%/ends/%'";
    let timer: String = sqlx::query_scalar(timers).fetch_one(world.pool()).await.unwrap();
    sqlx::query("DELETE FROM timers").execute(world.pool()).await.unwrap();
    MIGRATOR.undo(world.pool(), BEFORE_VERSIONS).await.unwrap();
    MIGRATOR.run(world.pool()).await.unwrap();
    let mut conn = world.pool().acquire().await.unwrap();
    let versions = list_versions(&mut conn, campaign, None, 10).await.unwrap();
    let told: Vec<_> = versions.iter().map(|v| (v.version, v.state, v.by.as_str(), &v.definition)).collect();
    assert_eq!(told, [(2, CampaignState::Active, "manager", &before)]);
    drop(conn);
    let again: String = sqlx::query_scalar(timers).fetch_one(world.pool()).await.unwrap();
    assert_eq!(again, timer, "it ends as if it had always been known");
    world.finish().await;
}
