//! Money enters from final blocks only.

use alloy_primitives::{Address, B256};
use laurel_campaign::{Move, request_funding};
use laurel_events::{Amount, CampaignFunded, CampaignId, CampaignReleased, Event, EventKind};

use crate::world::{ORG, World, data, definition, funding, outcome};

async fn alerts(world: &World) -> Vec<(String, String)> {
    data(world.events(EventKind::OperatorAlertRaised).await, |event| match event {
        Event::OperatorAlertRaised(alert) => Some((alert.code, alert.about)),
        _ => None,
    })
}

#[tokio::test]
async fn what_a_manager_asks_for_is_no_money() {
    let world = World::new().await;
    let campaign = world.draft(ORG, &definition()).await;
    world.transition(campaign, Move::Activate).await;
    let mut tx = world.pool().begin().await.unwrap();
    request_funding(&mut tx, &world.context(), ORG, campaign, Amount::from(500_u64), "manager")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut world = world;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (0, 0, 0));
    assert_eq!(world.decide(outcome(1)).await, ["budget_exhausted"]);
    world.fund(campaign, 500).await;
    assert_eq!(world.number("SELECT count(*) FROM funding_requests").await, 0);
    assert_eq!(world.money(campaign).await, (500, 0, 0));
    world.finish().await;
}

#[tokio::test]
async fn the_cap_is_the_whole_and_only_rises() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 100).await;
    world.decide(outcome(1)).await;
    world.fund(campaign, 150).await;
    assert_eq!(world.money(campaign).await, (140, 10, 0));
    world.fund(campaign, 120).await;
    assert_eq!(world.money(campaign).await, (140, 10, 0));
    world.finish().await;
}

/// Opened now, and funded later.
#[tokio::test]
async fn a_cap_of_nothing_is_no_money_and_in_nobodys_way() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 100).await;
    let other = world.draft(ORG, &definition()).await;
    world.fund(other, 0).await;
    world.fund(campaign, 150).await;
    assert_eq!((world.money(other).await, world.money(campaign).await), ((0, 0, 0), (150, 0, 0)));
    world.fund(other, 20).await;
    assert_eq!(world.money(other).await, (20, 0, 0));
    world.finish().await;
}

fn release_of(campaign: CampaignId) -> CampaignReleased {
    let CampaignFunded { chain_id, vault, .. } = funding(campaign, 1);
    CampaignReleased {
        campaign,
        chain_id,
        vault,
        spent: Amount::ZERO,
        released: Amount::from(100_u64),
        tx: B256::repeat_byte(3),
        block_number: 9,
        log_index: 0,
    }
}

/// A vault of another chain may have a campaign of the same number.
#[tokio::test]
async fn what_another_vault_released_goes_on() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 100).await;
    let released = release_of(campaign);
    let released = CampaignReleased { chain_id: released.chain_id + 1, ..released };
    world.append(&[released.into()]).await;
    world.keep_books().await;
    assert_eq!(world.decide(outcome(1)).await, ["granted 10"]);
    world.finish().await;
}

/// The vault pays nothing of it any more, so it grants nothing any more; told twice, it ends once.
#[tokio::test]
async fn a_campaign_that_the_vault_released_ends() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 100).await;
    world.decide(outcome(1)).await;
    let released = release_of(campaign);
    world.append(&[released.clone().into(), released.into()]).await;
    world.keep_books().await;
    let ended = data(world.events(EventKind::CampaignStateChanged).await, |event| match event {
        Event::CampaignStateChanged(changed) => Some((changed.to, changed.by)),
        _ => None,
    });
    assert_eq!(ended.last(), Some(&("ended".to_owned(), "laurel".to_owned())), "{ended:?}");
    assert_eq!(ended.iter().filter(|(to, _)| to == "ended").count(), 1);
    assert_eq!(world.decide(outcome(2)).await, Vec::<String>::new(), "it meets no outcomes");
    assert_eq!(world.money(campaign).await, (90, 10, 0), "what is held goes with its grants' proofs");
    world.finish().await;
}

#[tokio::test]
async fn the_same_funding_twice_is_nothing() {
    let mut world = World::new().await;
    let campaign = world.draft(ORG, &definition()).await;
    let funded = funding(campaign, 100);
    world.append(&[funded.clone().into(), funded.clone().into()]).await;
    world.keep_books().await;
    world.append(&[funded.into()]).await;
    world.keep_books().await;
    world.rewind_books().await;
    world.keep_books().await;
    assert_eq!(world.money(campaign).await, (100, 0, 0));
    assert_eq!(world.number("SELECT count(*) FROM fundings").await, 1);
    world.finish().await;
}

#[tokio::test]
async fn the_same_log_with_another_cap_halts_the_books() {
    let mut world = World::new().await;
    let campaign = world.draft(ORG, &definition()).await;
    let funded = funding(campaign, 100);
    let other = CampaignFunded { cap: Amount::from(999_u64), ..funded.clone() };
    world.append(&[funded.into()]).await;
    world.keep_books().await;
    world.append(&[other.into()]).await;
    let halted = world.books_round().await.unwrap_err();
    assert!(halted.chain().contains("exists with another cap"), "{}", halted.chain());
    assert_eq!(world.money(campaign).await, (100, 0, 0));
    world.finish().await;
}

#[tokio::test]
async fn a_cap_that_is_not_this_campaigns_is_an_alert_and_no_money() {
    let mut world = World::new().await;
    let campaign = world.draft(ORG, &definition()).await;
    let right = funding(campaign, 100);
    let wrong = [
        CampaignFunded { token: Address::repeat_byte(0x55), ..right.clone() },
        CampaignFunded { vault: Address::repeat_byte(0x66), ..right.clone() },
        CampaignFunded { chain_id: 1, ..right.clone() },
        CampaignFunded { campaign: CampaignId::from(77_u64), ..right.clone() },
        // An id that only the vault's owner can have chosen.
        CampaignFunded { campaign: CampaignId::from(u64::MAX - 3), ..right },
    ];
    for funded in wrong {
        let about = format!("campaign:{}", funded.campaign);
        sqlx::query("DELETE FROM alerts").execute(world.pool()).await.unwrap();
        let before = alerts(&world).await.len();
        world.append(&[funded.clone().into()]).await;
        world.keep_books().await;
        let raised = alerts(&world).await;
        assert_eq!(raised.len(), before + 1, "{funded:?}");
        assert!(raised.contains(&("funding_mismatch".to_owned(), about)), "{raised:?}");
        assert_eq!(world.money(campaign).await, (0, 0, 0), "{funded:?}");
    }
    world.finish().await;
}

/// Final facts of a chain are never set aside, also if something else about their subject is.
#[tokio::test]
async fn a_funding_is_not_set_aside_behind_a_bad_failure() {
    let mut world = World::new().await;
    let campaign = world.campaign(&definition(), 1_000).await;
    world.decide(outcome(1)).await;
    let mut failure = world.failure(campaign, 0).await;
    failure.amount = Amount::from(11_u64);
    world.append(&[failure.into()]).await;
    world.keep_books().await;
    world.fund(campaign, 5_000).await;
    assert_eq!(world.money(campaign).await, (4_990, 10, 0));
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM dead_letters WHERE kind = 'CampaignFunded'").await, 0);
}

#[tokio::test]
async fn a_fitting_cap_ends_the_alert_about_one_that_did_not_fit() {
    let mut world = World::new().await;
    let campaign = world.draft(ORG, &definition()).await;
    let wrong = CampaignFunded { token: Address::repeat_byte(0x55), ..funding(campaign, 100) };
    for round in 1..=2 {
        world.append(&[CampaignFunded { block_number: 1_000 + round, ..wrong.clone() }.into()]).await;
        world.keep_books().await;
        assert_eq!(world.number("SELECT count(*) FROM alerts").await, 1);
        world.fund(campaign, 100 * round).await;
        assert_eq!(world.number("SELECT count(*) FROM alerts").await, 0);
        let told = (alerts(&world).await.len(), world.events(EventKind::OperatorAlertCleared).await.len());
        assert_eq!(told, (round as usize, round as usize));
    }
    world.finish().await;
}
