//! A list by state finds what deriving every grant's state would find, and reads no more than it shows.

use laurel_events::{CampaignId, GrantId};
use laurel_views::{GrantFilter, list_grant_views};
use rstest::rstest;
use sqlx::PgConnection;

use crate::world::{Batch, ORG, TOKEN, World, player_of};

const STATES: [&str; 10] = [
    "requested",
    "awaiting_wallet",
    "held",
    "queued",
    "submitted",
    "mined",
    "confirmed",
    "completed",
    "failed",
    "compensated",
];

/// A campaign with grants in every state, out of their order; two of each but the exceptional ones.
async fn campaign_with_all(world: &World, number: u64) -> CampaignId {
    let campaign = world.campaign(number, ORG, TOKEN).await;
    let mut grants = Vec::new();
    for at in 0..24 {
        grants.push(world.grant(campaign, at % 2, 5).await);
    }
    for (at, state) in [(3, "awaiting_wallet"), (8, "held"), (9, "failed"), (10, "compensated")] {
        world.exception(grants[at], state, None, None).await;
    }
    // Number 5 waited for its wallet, and number 2 was refused once and waits for its next try.
    world.run(campaign, 0, &[0, 1, 2, 4, 6, 7, 11, 12], true).await;
    world.run(campaign, 8, &[5], false).await;
    world.exception(grants[5], "queued", None, Some(8)).await;
    world.exception(grants[2], "held", Some("refused"), Some(2)).await;
    world.run(campaign, 9, &[13, 14, 15, 16, 17, 18, 19], true).await;
    let id = u128::from(number) * 100;
    for (nonce, first_seq, count, state, posted) in [
        (1, 0, 3, "confirmed", true),
        (2, 3, 2, "confirmed", false),
        (3, 5, 2, "mined", false),
        (4, 7, 2, "submitted", false),
        (5, 9, 2, "reverted", false),
        (6, 11, 2, "reverted", false),
    ] {
        world.batch(Batch { id: id + nonce, campaign, first_seq, count, state, posted }).await;
    }
    // The last one was sent again.
    world.pass();
    world.batch(Batch { id: id + 7, campaign, first_seq: 11, count: 2, state: "mined", posted: false }).await;
    campaign
}

async fn pages(conn: &mut PgConnection, filter: GrantFilter<'_>, limit: i64) -> Vec<(GrantId, String)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = list_grant_views(conn, ORG, &GrantFilter { after, ..filter }, limit).await.unwrap();
        assert!(page.grants.len() as i64 <= limit);
        found.extend(page.grants.into_iter().map(|grant| (grant.id, grant.state)));
        if page.next.is_none() {
            return found;
        }
        after = page.next;
    }
}

#[rstest]
#[case(1)]
#[case(3)]
#[case(100)]
#[tokio::test]
async fn a_list_by_state_finds_every_grant_in_it_and_no_other(#[case] limit: i64) {
    let world = World::new().await;
    let one = campaign_with_all(&world, 7).await;
    campaign_with_all(&world, 8).await;
    world.campaign(9, ORG, TOKEN).await;
    let foreign = world.campaign(10, world.other, TOKEN).await;
    world.grant(foreign, 1, 5).await;
    let mut conn = world.pool().acquire().await.unwrap();
    let all = pages(&mut conn, GrantFilter::default(), limit).await;
    assert_eq!(all.len(), 48);
    for state in STATES {
        let of_state = |filter: GrantFilter<'_>, (id, found): &&(GrantId, String), player: u64| {
            found == state
                && filter.campaign.is_none_or(|campaign| campaign == id.campaign)
                && filter.players.is_none_or(|_| id.number % 2 == player)
        };
        for (campaign, player) in [(None, None), (Some(one), None), (None, Some(1)), (Some(one), Some(0))] {
            let of = player.map(|player: u64| [player_of(player.into())]);
            let players = of.as_ref().map(<[_; 1]>::as_slice);
            let filter = GrantFilter { campaign, players, state: Some(state), ..GrantFilter::default() };
            let wanted: Vec<_> =
                all.iter().filter(|found| of_state(filter, found, player.unwrap_or(0))).cloned().collect();
            assert_eq!(pages(&mut conn, filter, limit).await, wanted, "{filter:?}");
        }
        assert!(all.iter().any(|(_, found)| found == state), "no grant is {state}");
    }
}

/// Far more grants than any page shows, of which few are in a rare state.
async fn many_grants(world: &World) {
    for number in [7, 8] {
        world.campaign(number, ORG, TOKEN).await;
    }
    sqlx::query(
        "INSERT INTO grants (campaign, number, part, position, idx, outcome, player, amount, rule_version, recorded_at)
         SELECT 7 + n % 2, n / 2, 0, n, 0, md5(n::text)::uuid, md5((n % 500)::text)::uuid, 5, 1, $1
         FROM generate_series(0, 19999) n",
    )
    .bind(world.now())
    .execute(world.pool())
    .await
    .unwrap();
    for statement in [
        "UPDATE accounts SET grants = 10000",
        "INSERT INTO runs (campaign, first_seq, count, numbers, words, first_number, queued_at)
         SELECT campaign, (min(number) * 499) / 500, count(*), array_agg(number ORDER BY number),
                decode(repeat('ab', 32 * count(*)::integer), 'hex'), min(number), min(recorded_at)
         FROM grants WHERE number % 500 <> 17 GROUP BY campaign, number / 500",
        "INSERT INTO queues (campaign, vault, next_seq, batched_to)
         SELECT campaign, min(v.id), sum(count), sum(count) FROM runs, vaults v GROUP BY campaign",
        "INSERT INTO exceptions (campaign, number, state, player, chain_id, amount, updated_at)
         SELECT campaign, number, 'failed', player, 31337, amount, recorded_at FROM grants WHERE number % 500 = 17",
        "ANALYZE",
    ] {
        sqlx::query(statement).execute(world.pool()).await.unwrap();
    }
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

#[rstest]
#[case::failed(Some("failed"), 5)]
#[case::held(Some("held"), 0)]
#[case::requested(Some("requested"), 0)]
#[case::submitted(Some("submitted"), 0)]
#[case::any(None, 5)]
#[tokio::test]
async fn a_page_of_a_rare_state_reads_few_grants(#[case] state: Option<&str>, #[case] shown: usize) {
    let world = World::new().await;
    many_grants(&world).await;
    let mut tx = world.pool().begin().await.unwrap();
    let before = grants_read(&mut tx).await;
    let page =
        list_grant_views(&mut tx, ORG, &GrantFilter { state, ..GrantFilter::default() }, 5).await.unwrap();
    assert_eq!(page.grants.len(), shown);
    let read = grants_read(&mut tx).await - before;
    assert!(read <= 100, "{read} of 20,000 grants were read for a page of 5");
}

#[tokio::test]
async fn an_organisation_without_grants_reads_nobody_elses() {
    let world = World::new().await;
    many_grants(&world).await;
    for state in std::iter::once(None).chain(STATES.map(Some)) {
        let mut tx = world.pool().begin().await.unwrap();
        let before = grants_read(&mut tx).await;
        let filter = GrantFilter { state, ..GrantFilter::default() };
        let page = list_grant_views(&mut tx, world.other, &filter, 50).await.unwrap();
        assert_eq!((page.grants.len(), page.next), (0, None));
        assert_eq!(grants_read(&mut tx).await, before, "{state:?}");
    }
}

#[tokio::test]
async fn a_search_that_finds_nothing_soon_says_where_it_goes_on() {
    let world = World::new().await;
    many_grants(&world).await;
    let mut conn = world.pool().acquire().await.unwrap();
    // Nothing is in a batch, so nothing is completed.
    let filter = GrantFilter { state: Some("completed"), ..GrantFilter::default() };
    let page = list_grant_views(&mut conn, ORG, &filter, 5).await.unwrap();
    assert_eq!(page.grants, []);
    let next = page.next.unwrap();
    assert!(next.number > 1_000, "{next}");
    assert_eq!(pages(&mut conn, filter, 500).await, []);
}
