//! UserTokenView: what a player has got, per token.

use alloy_primitives::Address;
use laurel_views::token_balances;

use crate::world::{Batch, CHAIN, ORG, TOKEN, World, player_of};

#[tokio::test]
async fn balances_are_what_was_paid_and_what_is_on_its_way_per_token() {
    let world = World::new().await;
    let gold = Address::repeat_byte(0x60);
    let one = world.campaign(7, ORG, TOKEN).await;
    let two = world.campaign(8, ORG, TOKEN).await;
    let golden = world.campaign(9, ORG, gold).await;
    let foreign = world.campaign(10, world.other, TOKEN).await;
    // Paid: 10 of the first; on their way: 20 of the first, 5 of the second.
    world.grant(one, 1, 10).await;
    world.grant(one, 1, 20).await;
    world.run(one, 0, &[0, 1], true).await;
    world
        .batch(Batch { id: 1, campaign: one, first_seq: 0, count: 1, state: "confirmed", posted: true })
        .await;
    world.grant(two, 1, 5).await;
    // Failed and compensated count for nothing.
    for state in ["failed", "compensated"] {
        let lost = world.grant(two, 1, 1_000).await;
        world.exception(lost, state, Some("wallet_deadline_passed"), None).await;
    }
    let waiting = world.grant(golden, 1, 7).await;
    world.exception(waiting, "awaiting_wallet", None, None).await;
    // Somebody else's, and another organisation's.
    world.grant(one, 2, 99).await;
    world.grant(foreign, 1, 99).await;

    let mut conn = world.pool().acquire().await.unwrap();
    let balances = token_balances(&mut conn, ORG, player_of(1)).await.unwrap();
    let shown: Vec<_> = balances
        .into_iter()
        .map(|(key, balance)| (key, balance.completed.to_string(), balance.pending.to_string()))
        .collect();
    let of = |completed: &str, pending: &str| (completed.to_owned(), pending.to_owned());
    let (paid, pending) = of("10", "25");
    let (none, golden) = of("0", "7");
    assert_eq!(shown, [((CHAIN, TOKEN), paid, pending), ((CHAIN, gold), none, golden)]);
    assert!(token_balances(&mut conn, ORG, player_of(3)).await.unwrap().is_empty());
}
