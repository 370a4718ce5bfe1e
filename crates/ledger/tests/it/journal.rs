//! Gapless offsets, whatever the writers do.

use laurel_events::{
    CampaignId, EventKind, GrantId, NewEvent, Partition, Payload, TokenGrantHeld, WalletDeadlinePassed,
};
use laurel_ledger::{Context, Lag, append, claim_cursor, move_cursor, read, read_one, stage_lag};

use crate::world::{database, now};

fn held(campaign: u64, number: u64) -> NewEvent {
    let grant = GrantId { campaign: CampaignId::from(campaign), number };
    TokenGrantHeld { grant, reason: "test".to_owned() }.into()
}

fn partition_of(campaign: u64) -> Partition {
    let grant = GrantId { campaign: CampaignId::from(campaign), number: 0 };
    WalletDeadlinePassed { grant }.subject().partition()
}

const KINDS: &[EventKind] = &[EventKind::TokenGrantHeld];

/// Two writers to one partition, one of them slow to commit: the fast one waits, the reader sees neither before the
/// slow one is done, then both, in order and without a gap.
#[tokio::test]
async fn a_slow_writer_makes_no_reader_skip() {
    let database = database().await;
    let pool = database.pool();
    let partition = partition_of(7);
    let mut slow = pool.begin().await.unwrap();
    append(&mut slow, &Context::at(now()), &[held(7, 0)]).await.unwrap();
    let fast = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut fast = pool.begin().await.unwrap();
            append(&mut fast, &Context::at(now()), &[held(7, 1)]).await.unwrap();
            fast.commit().await.unwrap();
        }
    });
    // The fast writer is seen to wait for the slow one.
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%append_journal%'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if waiting == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(stage_lag(pool, "s").await.unwrap(), Lag::default());
    slow.commit().await.unwrap();
    fast.await.unwrap();

    let mut conn = pool.acquire().await.unwrap();
    let (events, next) = read(&mut conn, partition, 0, 2, KINDS, 10).await.unwrap();
    let offsets: Vec<i64> = events.iter().map(|event| event.id.offset).collect();
    assert_eq!((offsets, next), (vec![0, 1], 2));
}

/// A writer that rolls back leaves no hole.
#[tokio::test]
async fn a_rolled_back_writer_leaves_no_gap() {
    let database = database().await;
    let pool = database.pool();
    for number in 0..10 {
        let mut tx = pool.begin().await.unwrap();
        let ids = append(&mut tx, &Context::at(now()), &[held(7, number)]).await.unwrap();
        assert_eq!(ids[0].offset, i64::try_from(number / 2).unwrap());
        if number % 2 == 1 {
            tx.commit().await.unwrap();
        }
    }
}

/// Many writers over many partitions at once: every offset from 0 on is there exactly once.
#[tokio::test]
async fn concurrent_writers_leave_no_offset_out() {
    let database = database().await;
    let pool = database.pool();
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let events: Vec<NewEvent> =
                        (0..12).map(|campaign| held(campaign + writer, round)).collect();
                    let mut tx = pool.begin().await.unwrap();
                    append(&mut tx, &Context::at(now()), &events).await.unwrap();
                    tx.commit().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let holes: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM heads h
         WHERE h.next <> (SELECT count(*) FROM journal j WHERE j.part = h.part)
            OR h.next <> (SELECT coalesce(max(position) + 1, 0) FROM journal j WHERE j.part = h.part)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(holes, 0);
    let entries: i64 = sqlx::query_scalar("SELECT sum(entries) FROM journal").fetch_one(pool).await.unwrap();
    assert_eq!(entries, 8 * 20 * 12);
}

/// A transaction that stays open in the same database, and one in another database of the cluster, stall nobody.
#[tokio::test]
async fn an_open_transaction_elsewhere_stalls_nobody() {
    let (database, other) = (database().await, crate::world::database().await);
    let pool = database.pool();
    let mut here = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO organisations (name) VALUES ('open')").execute(&mut *here).await.unwrap();
    let mut there = other.pool().begin().await.unwrap();
    sqlx::query("INSERT INTO organisations (name) VALUES ('open')").execute(&mut *there).await.unwrap();

    let mut tx = pool.begin().await.unwrap();
    append(&mut tx, &Context::at(now()), &[held(7, 0)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let (events, _) = read(&mut conn, partition_of(7), 0, 1, KINDS, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    here.rollback().await.unwrap();
    there.rollback().await.unwrap();
}

#[tokio::test]
async fn an_event_reads_back_as_it_was_written() {
    let database = database().await;
    let mut tx = database.pool().begin().await.unwrap();
    let context = Context { now: now(), request_id: Some("r-1".into()), trace: Some("t-1".into()) };
    let events = [held(7, 0), held(8, 0), held(7, 1)];
    let ids = append(&mut tx, &context, &events).await.unwrap();
    for (id, new) in ids.iter().zip(&events) {
        let read = read_one(&mut tx, *id).await.unwrap().unwrap();
        assert_eq!(read.event, new.event);
        assert_eq!(read.request_id.as_deref(), Some("r-1"));
        assert_eq!(read.trace.as_deref(), Some("t-1"));
        assert_eq!(read.recorded_at, now());
    }
    assert_eq!((ids[2].offset, ids[2].index), (0, 1));
    let digests: i64 = sqlx::query_scalar("SELECT count(*) FROM journal WHERE digest <> sha256(payload)")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(digests, 0);
}

#[tokio::test]
async fn reading_stops_at_the_limit_and_goes_on_from_there() {
    let database = database().await;
    let pool = database.pool();
    for round in 0..5 {
        let events: Vec<NewEvent> = (0..3).map(|number| held(7, round * 3 + number)).collect();
        let mut tx = pool.begin().await.unwrap();
        append(&mut tx, &Context::at(now()), &events).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut conn = pool.acquire().await.unwrap();
    let partition = partition_of(7);
    let (events, next) = read(&mut conn, partition, 0, 5, KINDS, 4).await.unwrap();
    assert_eq!((events.len(), next), (6, 2));
    let (events, next) = read(&mut conn, partition, next, 5, KINDS, 100).await.unwrap();
    assert_eq!((events.len(), next), (9, 5));
    // Events that a stage does not want are passed over.
    let (events, next) = read(&mut conn, partition, 0, 5, &[EventKind::WalletLinked], 4).await.unwrap();
    assert_eq!((events.len(), next), (0, 5));
}

#[tokio::test]
async fn what_is_written_cannot_be_changed() {
    let database = database().await;
    let pool = database.pool();
    let mut tx = pool.begin().await.unwrap();
    append(&mut tx, &Context::at(now()), &[held(7, 0)]).await.unwrap();
    tx.commit().await.unwrap();
    for statement in [
        "UPDATE journal SET kind = 'x'",
        "DELETE FROM journal",
        "TRUNCATE journal",
        "UPDATE journal_r000000 SET kind = 'x'",
        "DELETE FROM journal_r000000",
        "TRUNCATE journal_r000000",
        "TRUNCATE grants_r000000",
    ] {
        let error = sqlx::query(statement).execute(pool).await.expect_err(statement);
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
}

/// A replica that should be dead finds the cursor moved.
#[tokio::test]
async fn a_cursor_is_held_by_one_and_moved_once() {
    let database = database().await;
    let pool = database.pool();
    stage_lag(pool, "s").await.unwrap();
    let partition = partition_of(7);
    let mut first = pool.begin().await.unwrap();
    let claim = claim_cursor(&mut first, "s", partition).await.unwrap().unwrap();
    let mut second = pool.begin().await.unwrap();
    assert_eq!(claim_cursor(&mut second, "s", partition).await.unwrap(), None);
    move_cursor(&mut first, "s", partition, claim.next, claim.next + 1).await.unwrap();
    first.commit().await.unwrap();
    assert!(move_cursor(&mut second, "s", partition, claim.next, claim.next + 1).await.is_err());
}
