//! The list of a campaign's transfers, a page at a time.

use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::CampaignId;
use laurel_ledger::{TRANSFER_KINDS, Transfer, TransferFilter, list_transfers};
use rstest::rstest;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::world::{database, funded_campaign, now};

/// Transfers of all kinds, with equal times among them, and those of another campaign.
async fn fill(conn: &mut PgConnection, campaign: CampaignId, holds: i64) {
    sqlx::query(
        "INSERT INTO grants (campaign, number, part, position, idx, outcome, player, amount, rule_version, recorded_at)
         SELECT $1, n, 0, n, 0, md5(n::text)::uuid, md5(n::text)::uuid, 1 + n, 1, $2 + n / 3 * interval '1 second'
         FROM generate_series(0, $3 - 1) n",
    )
    .bind(campaign.number())
    .bind(now())
    .bind(holds)
    .execute(&mut *conn)
    .await
    .unwrap();
    for at in [2, 2, 5, 40] {
        let recorded_at = now() + TimeDelta::seconds(at);
        sqlx::query("INSERT INTO postings (batch, campaign, grants, amount, tx, recorded_at) VALUES ($1, $2, 1, $3, $4, $5)")
            .bind(Uuid::from_u128(free_number(conn, "postings").await))
            .bind(campaign.number())
            .bind(BigDecimal::from(at))
            .bind(vec![7_u8; 32])
            .bind(recorded_at)
            .execute(&mut *conn)
            .await
            .unwrap();
        let number = 20 - i64::try_from(free_number(conn, "voids").await).unwrap();
        sqlx::query(
            "INSERT INTO voids (campaign, number, amount, proof, recorded_at) VALUES ($1, $2, 1, '{}', $3)",
        )
        .bind(campaign.number())
        .bind(number)
        .bind(recorded_at)
        .execute(&mut *conn)
        .await
        .unwrap();
    }
}

/// A number that no row of the table has: how many it has.
async fn free_number(conn: &mut PgConnection, table: &str) -> u128 {
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let count: i64 = sqlx::query_scalar(count).fetch_one(conn).await.unwrap();
    count.unsigned_abs().into()
}

type Shown = (String, String, DateTime<Utc>, String);

fn shown(found: Transfer) -> Shown {
    (found.kind.to_owned(), found.reference, found.recorded_at, found.amount.to_string())
}

#[rstest]
#[case(1)]
#[case(3)]
#[case(500)]
#[tokio::test]
async fn pages_hold_every_transfer_once_in_the_order_of_time(#[case] limit: i64) {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 1_000).await;
    funded_campaign(database.pool(), 8, 1_000).await;
    let mut conn = database.pool().acquire().await.unwrap();
    fill(&mut conn, campaign, 30).await;
    let mut paged: Vec<Shown> = Vec::new();
    let mut filter = TransferFilter::default();
    loop {
        let page = list_transfers(&mut conn, campaign, &filter, limit).await.unwrap();
        paged.extend(page.transfers.into_iter().map(shown));
        // As a client has it.
        let Some(next) = page.next else { break };
        filter.after = Some(next.to_string().parse().unwrap());
    }
    assert!(paged.is_sorted_by_key(|(_, _, at, _)| *at));
    let mut wanted: Vec<Shown> = sqlx::query_as(
        "SELECT kind, reference, recorded_at, amount::text FROM transfers WHERE campaign = $1",
    )
    .bind(campaign.number())
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    assert_eq!(wanted.len(), 1 + 30 + 8);
    wanted.sort();
    paged.sort();
    assert_eq!(paged, wanted);
}

#[tokio::test]
async fn a_page_reads_what_it_shows() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 1_000).await;
    let mut conn = database.pool().acquire().await.unwrap();
    fill(&mut conn, campaign, 10_000).await;
    sqlx::query("ANALYZE").execute(&mut *conn).await.unwrap();
    let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
                WHERE relname LIKE 'grants%'";
    let before: i64 = sqlx::query_scalar(read).fetch_one(&mut *conn).await.unwrap();
    assert_eq!(
        list_transfers(&mut conn, campaign, &TransferFilter::default(), 10).await.unwrap().transfers.len(),
        10
    );
    let after: i64 = sqlx::query_scalar(read).fetch_one(&mut *conn).await.unwrap();
    assert!(after - before <= 20, "{} of 10,000 holds were read for a page of 10", after - before);
}

#[tokio::test]
async fn a_filter_finds_what_looking_at_every_transfer_would_find() {
    let database = database().await;
    let campaign = funded_campaign(database.pool(), 7, 1_000).await;
    let mut conn = database.pool().acquire().await.unwrap();
    fill(&mut conn, campaign, 30).await;
    let every = list_transfers(&mut conn, campaign, &TransferFilter::default(), 500).await.unwrap().transfers;
    let mut times: Vec<DateTime<Utc>> = every.iter().map(|transfer| transfer.recorded_at).collect();
    times.dedup();
    let mut amounts: Vec<_> = every.iter().map(|transfer| transfer.amount).collect();
    amounts.sort_unstable();
    amounts.dedup();
    assert!(times.len() > 3 && amounts.len() > 1, "{times:?} {amounts:?}");
    let kinds = TRANSFER_KINDS.into_iter().map(Some).chain([None]);
    let moments = || times.iter().copied().step_by(3).map(Some).chain([None]);
    let sizes = || [amounts.first().copied(), amounts.last().copied(), None];
    let mut found_some = 0;
    for kind in kinds {
        for (from, until) in moments().flat_map(|from| moments().map(move |until| (from, until))) {
            for (min, max) in sizes().into_iter().flat_map(|min| sizes().map(|max| (min, max))) {
                let mut filter =
                    TransferFilter { kind, recorded: (from, until), amount: (min, max), after: None };
                let mut found = Vec::new();
                loop {
                    let page = list_transfers(&mut conn, campaign, &filter, 7).await.unwrap();
                    assert!(page.transfers.len() <= 7);
                    found.extend(page.transfers.into_iter().map(shown));
                    let Some(next) = page.next else { break };
                    filter.after = Some(next);
                }
                let wanted = every.iter().filter(|transfer| {
                    kind.is_none_or(|kind| transfer.kind.trim_end_matches("_undone") == kind)
                        && from.is_none_or(|from| transfer.recorded_at >= from)
                        && until.is_none_or(|until| transfer.recorded_at < until)
                        && min.is_none_or(|min| transfer.amount >= min)
                        && max.is_none_or(|max| transfer.amount <= max)
                });
                let wanted: Vec<Shown> = wanted.cloned().map(shown).collect();
                found_some += usize::from(!wanted.is_empty());
                assert_eq!(found, wanted, "{filter:?}");
            }
        }
    }
    assert!(found_some > 50, "{found_some} filters found something");
}
