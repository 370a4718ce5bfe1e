//! A list finds what looking at every grant would find, whatever is asked for together, page by page.

use std::sync::Arc;

use alloy_primitives::Address;
use laurel_events::{
    Amount, CampaignId, GrantId, OutcomeKey, PlayerId, TokenGrantRequested, WalletKind, WalletLinked,
};
use laurel_views::{
    CampaignStatsStage, GrantFilter, GrantTotals, GrantView, GrantWalk, Span, View, WalletLinksStage,
    grant_totals, list_grant_views, players_of_wallet, rebuild,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::PgConnection;

use crate::world::{Batch, CHAIN, ORG, TOKEN, WALLET, World, player_of, tx_of};

const OTHER_TOKEN: Address = Address::repeat_byte(8);

/// How many combinations are asked for.
const QUESTIONS: u64 = 400;

/// A grant, and that the journal has it.
async fn grant(world: &World, campaign: CampaignId, at: u64) {
    let (player, amount) = (u128::from(at % 3), 5 + at % 4);
    let grant = world.grant(campaign, player, amount).await;
    let requested = TokenGrantRequested {
        grant,
        outcome: OutcomeKey::derive(ORG, "test", &grant.to_string()),
        player: player_of(player),
        amount: Amount::from(amount),
        rule_version: 3,
        chain_id: CHAIN,
        vault: Address::repeat_byte(2),
        wallet_deadline_hours: 1,
    };
    world.append(&[requested.into()]).await;
}

/// Two campaigns with grants of all kinds, made one after the other, so that no two were in one moment.
async fn world() -> World {
    let world = World::new().await;
    for (campaign, token) in [(7, TOKEN), (8, OTHER_TOKEN)] {
        world.campaign(campaign, ORG, token).await;
    }
    for at in 0..24 {
        // Some were recorded by a replica whose clock is behind.
        world.clock.advance(chrono::TimeDelta::seconds(if at % 5 == 4 { -2 } else { 3 }));
        for campaign in [7_u64, 8] {
            grant(&world, campaign.into(), at + campaign).await;
        }
        if at == 15 {
            world.drain(Arc::new(CampaignStatsStage)).await;
        }
    }
    for campaign in [7_u64, 8].map(CampaignId::from) {
        let of = |number| GrantId { campaign, number };
        for (number, state) in [(3, "awaiting_wallet"), (8, "held"), (9, "failed"), (10, "compensated")] {
            world.exception(of(number), state, None, None).await;
        }
        // Number 5 waited for its wallet: its place comes after those of later ones.
        world.run(campaign, 0, &[0, 1, 2, 4, 6, 7, 11, 12], true).await;
        world.run(campaign, 8, &[5], false).await;
        world.exception(of(5), "queued", None, Some(8)).await;
        world.run(campaign, 9, &[13, 14, 15, 16, 17, 18, 19], true).await;
        let id = u128::from(campaign.number().unsigned_abs()) * 100;
        for (nonce, first_seq, count, state, posted, block) in [
            (1, 0, 3, "confirmed", true, 10),
            (2, 3, 2, "confirmed", true, 11),
            (3, 5, 2, "mined", false, 12),
            (4, 7, 4, "confirmed", true, 11),
            (5, 11, 2, "submitted", false, 0),
        ] {
            world.batch(Batch { id: id + nonce, campaign, first_seq, count, state, posted }).await;
            sqlx::query("UPDATE batches SET block_number = $2 WHERE mined_tx = $1")
                .bind(tx_of(id + nonce).as_slice())
                .bind(i64::from(block))
                .execute(world.pool())
                .await
                .unwrap();
        }
    }
    world
}

async fn pages(conn: &mut PgConnection, filter: GrantFilter<'_>, limit: i64) -> Vec<GrantView> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = list_grant_views(conn, ORG, &GrantFilter { after, ..filter }, limit).await.unwrap();
        assert!(page.grants.len() as i64 <= limit);
        found.extend(page.grants);
        if page.next.is_none() {
            return found;
        }
        after = page.next;
    }
}

async fn walk(conn: &mut PgConnection, filter: GrantFilter<'_>) -> Vec<GrantView> {
    let mut walk = GrantWalk::begin(conn, ORG, &filter).await.unwrap();
    let mut found = Vec::new();
    while let Some(grants) = walk.next(conn, &filter).await.unwrap() {
        found.extend(grants);
    }
    found
}

#[tokio::test]
async fn many_are_derived_together_as_one_by_one() {
    let world = world().await;
    let mut conn = world.pool().acquire().await.unwrap();
    let one_by_one = pages(&mut conn, GrantFilter::default(), 1).await;
    assert_eq!(walk(&mut conn, GrantFilter::default()).await, one_by_one);
    let after = Some(one_by_one[30].id);
    assert_eq!(walk(&mut conn, GrantFilter { after, ..GrantFilter::default() }).await, one_by_one[31..]);
}

/// What the filter says, grant by grant.
fn wanted(filter: &GrantFilter<'_>, grant: &GrantView) -> bool {
    let (from, until) = filter.granted;
    filter.campaign.is_none_or(|campaign| campaign == grant.id.campaign)
        && filter.token.is_none_or(|token| token == grant.token)
        && filter.chain_id.is_none_or(|chain| chain == grant.chain_id)
        && filter.players.is_none_or(|players| players.contains(&grant.player))
        && filter.wallet.is_none_or(|wallet| Some(wallet) == grant.wallet)
        && filter.state.is_none_or(|state| state == grant.state)
        && from.is_none_or(|from| grant.granted_at >= from)
        && until.is_none_or(|until| grant.granted_at < until)
        && filter.rule_version.is_none_or(|version| version == grant.rule_version)
        && filter.amount_min.is_none_or(|least| grant.amount >= least)
        && filter.amount_max.is_none_or(|most| grant.amount <= most)
        && (filter.blocks.0.is_none() || grant.block >= filter.blocks.0)
        && (filter.blocks.1.is_none() || grant.block.is_some_and(|block| Some(block) <= filter.blocks.1))
}

/// One of them, or none of them.
fn maybe<T: Copy>(rng: &mut StdRng, values: &[T]) -> Option<T> {
    let at = rng.random_range(0..values.len() * 3);
    values.get(at).copied()
}

#[tokio::test]
async fn any_question_is_answered_as_if_every_grant_was_looked_at() {
    let world = world().await;
    let mut conn = world.pool().acquire().await.unwrap();
    let all = pages(&mut conn, GrantFilter::default(), 500).await;
    assert_eq!(all.len(), 48);
    let times: Vec<_> = all.iter().map(|grant| grant.granted_at).collect();
    let states: Vec<&str> = all.iter().map(|grant| grant.state.as_str()).collect();
    let amounts = [4_u64, 5, 6, 8, 9].map(Amount::from);
    let players: [&[PlayerId]; 4] =
        [&[player_of(0)], &[player_of(1)], &[player_of(1), player_of(2)], &[player_of(77)]];
    let mut answers = 0;
    for seed in 0..QUESTIONS {
        let rng = &mut StdRng::seed_from_u64(seed);
        let filter = GrantFilter {
            campaign: maybe(rng, &[7_u64, 8, 9].map(CampaignId::from)),
            token: maybe(rng, &[TOKEN, OTHER_TOKEN]),
            chain_id: maybe(rng, &[CHAIN, CHAIN, 1]),
            players: maybe(rng, &players),
            wallet: maybe(rng, &[WALLET, WALLET, Address::ZERO]),
            state: maybe(rng, &states),
            granted: (maybe(rng, &times), maybe(rng, &times)),
            amount_min: maybe(rng, &amounts),
            amount_max: maybe(rng, &amounts),
            rule_version: maybe(rng, &[3, 3, 4]),
            blocks: (maybe(rng, &[10, 11, 12, 13]), maybe(rng, &[9, 10, 11, 12])),
            after: None,
        };
        let mut expected: Vec<GrantId> =
            all.iter().filter(|grant| wanted(&filter, grant)).map(|grant| grant.id).collect();
        answers += expected.len();
        let limit = [1, 2, 7, 500][rng.random_range(0..4)];
        let mut found: Vec<GrantId> =
            pages(&mut conn, filter, limit).await.iter().map(|grant| grant.id).collect();
        // Lists by block are in the order of places.
        if filter.blocks != (None, None) {
            expected.sort_unstable();
            found.sort_unstable();
        }
        assert_eq!(found, expected, "{seed}, {limit} a page: {filter:?}");
        let totals = grant_totals(&mut conn, ORG, &filter).await.unwrap();
        let sum = all
            .iter()
            .filter(|grant| wanted(&filter, grant))
            .try_fold(Amount::ZERO, |sum, grant| sum.plus(grant.amount));
        let sum = GrantTotals { grants: expected.len() as u64, amount: sum.unwrap(), complete: true };
        assert_eq!(totals, sum, "{seed}: {filter:?}");
        if filter.players.is_none() {
            expected.sort_unstable();
            let walked: Vec<GrantId> = walk(&mut conn, filter).await.iter().map(|grant| grant.id).collect();
            assert_eq!(walked, expected, "{seed}: {filter:?}");
        }
    }
    assert!(answers > 200, "{answers}: the questions had few answers");
}

#[tokio::test]
async fn a_list_by_block_is_in_the_order_of_places() {
    let world = world().await;
    let mut conn = world.pool().acquire().await.unwrap();
    let filter =
        GrantFilter { blocks: (Some(11), Some(11)), campaign: Some(7_u64.into()), ..GrantFilter::default() };
    let places: Vec<_> =
        pages(&mut conn, filter, 2).await.into_iter().map(|grant| grant.seq.unwrap()).collect();
    assert_eq!(places, [3, 4, 7, 8, 9, 10]);
}

/// How many rows of grants this connection has read lately; a transaction's own are the difference.
async fn grants_read(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
         WHERE relname LIKE 'grants%'",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_moment_is_found_without_looking_at_those_before_it() {
    let world = World::new().await;
    let campaign = world.campaign(7, ORG, TOKEN).await;
    for at in 0..300 {
        world.pass();
        grant(&world, campaign, at).await;
    }
    world.drain(Arc::new(CampaignStatsStage)).await;
    sqlx::query("ANALYZE").execute(world.pool()).await.unwrap();
    let end = world.now();
    let ago = |seconds| Some(end - chrono::TimeDelta::seconds(seconds));
    let granted: Span = (ago(20), ago(10));
    let mut tx = world.pool().begin().await.unwrap();
    // So few are read sooner as a whole.
    sqlx::query("SET LOCAL enable_seqscan = off").execute(&mut *tx).await.unwrap();
    let before = grants_read(&mut tx).await;
    let page =
        list_grant_views(&mut tx, ORG, &GrantFilter { granted, ..GrantFilter::default() }, 50).await.unwrap();
    let numbers: Vec<u64> = page.grants.iter().map(|grant| grant.id.number).collect();
    assert_eq!((numbers, page.next), ((279..289).collect(), None));
    let read = grants_read(&mut tx).await - before;
    assert!(read <= 30, "{read} of 300 grants were read for 10");
}

#[tokio::test]
async fn a_wallet_is_known_of_all_who_ever_linked_it() {
    let world = World::new().await;
    let link = |player, wallet, version| WalletLinked {
        player: player_of(player),
        chain_id: CHAIN,
        wallet,
        kind: WalletKind::Key,
        version,
    };
    let second = Address::repeat_byte(0xbb);
    world.append(&[link(1, WALLET, 1).into(), link(2, WALLET, 1).into(), link(1, second, 2).into()]).await;
    world.drain(Arc::new(WalletLinksStage)).await;
    let mut conn = world.pool().acquire().await.unwrap();
    assert_eq!(players_of_wallet(&mut conn, WALLET).await.unwrap(), [player_of(1), player_of(2)]);
    assert_eq!(players_of_wallet(&mut conn, second).await.unwrap(), [player_of(1)]);
    assert_eq!(players_of_wallet(&mut conn, TOKEN).await.unwrap(), []);
    sqlx::query("DELETE FROM wallet_links WHERE player = $1")
        .bind(player_of(2).uuid())
        .execute(world.pool())
        .await
        .unwrap();
    let mut conn = world.pool().acquire().await.unwrap().detach();
    let built = rebuild(&mut conn, world.now(), View::WalletLinks).await.unwrap();
    assert_eq!((built.rows, built.different), (3, 1));
}
