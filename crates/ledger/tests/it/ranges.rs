//! Ranges are made without anybody noticing, and are as they would be otherwise.

use std::collections::BTreeSet;

use laurel_events::{CampaignId, GrantId, TokenGrantHeld};
use laurel_ledger::{Context, ahead_positions, append, ensure_ranges};
use sqlx::PgPool;

use crate::world::{database, now};

async fn grow(pool: &PgPool, to: i64) {
    sqlx::query("UPDATE heads SET next = $1 WHERE part = 3").bind(to).execute(pool).await.unwrap();
}

async fn upto(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT name, upto FROM ranges ORDER BY name").fetch_all(pool).await.unwrap()
}

async fn write(pool: &PgPool) {
    let grant = GrantId { campaign: CampaignId::from(7), number: 0 };
    let mut tx = pool.begin().await.unwrap();
    // Whoever has to wait is refused instead.
    sqlx::query("SET LOCAL lock_timeout = '1ms'").execute(&mut *tx).await.unwrap();
    let held = TokenGrantHeld { grant, reason: "test".to_owned() };
    append(&mut tx, &Context::at(now()), &[held.into()]).await.unwrap();
    tx.commit().await.unwrap();
}

/// Neither a reader nor a writer that is not done keeps a range from being made, and nobody waits behind it.
#[tokio::test]
async fn open_readers_and_writers_and_a_new_range_do_not_mind_each_other() {
    let database = database().await;
    let pool = database.pool();
    grow(pool, 1_000_000).await;
    let mut reader = pool.begin().await.unwrap();
    let mut writer = pool.begin().await.unwrap();
    for table in ["journal", "grants", "declines"] {
        let read = format!("SELECT count(*) FROM {table}");
        sqlx::query(sqlx::AssertSqlSafe(read)).execute(&mut *reader).await.unwrap();
    }
    let grant = GrantId { campaign: CampaignId::from(8), number: 0 };
    let held = TokenGrantHeld { grant, reason: "test".to_owned() };
    append(&mut writer, &Context::at(now()), &[held.into()]).await.unwrap();
    let made = ensure_ranges(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(made, 1 + 2 * 17, "one of the journal, and so many of the others");
    write(pool).await;
    writer.commit().await.unwrap();
    reader.rollback().await.unwrap();
    assert_eq!(ensure_ranges(&mut pool.acquire().await.unwrap()).await.unwrap(), 0);
    assert!(upto(pool).await.iter().all(|(_, upto)| *upto > 1_000_000 + ahead_positions()));
}

/// While somebody changes a table, its range has to wait for the next tick; those of the others have not.
#[tokio::test]
async fn a_table_that_is_locked_gets_its_range_later() {
    let database = database().await;
    let pool = database.pool();
    let mut changing = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE declines IN SHARE UPDATE EXCLUSIVE MODE").execute(&mut *changing).await.unwrap();
    let missed = ensure_ranges(&mut pool.acquire().await.unwrap()).await.unwrap_err();
    assert!(missed.is_infrastructure(), "{missed}");
    let of = |name: &str, upto| (name.to_owned(), upto);
    assert_eq!(upto(pool).await, [of("declines", 65_536), of("grants", 196_608), of("journal", 1_048_576)]);
    write(pool).await;
    changing.rollback().await.unwrap();
    assert_eq!(ensure_ranges(&mut pool.acquire().await.unwrap()).await.unwrap(), 2);
}

/// Two replicas that tick together make each range once.
#[tokio::test]
async fn two_at_once_make_each_range_once() {
    let database = database().await;
    let pool = database.pool();
    grow(pool, 300_000).await;
    let (mut one, mut two) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let (first, second) = tokio::join!(ensure_ranges(&mut one), ensure_ranges(&mut two));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first + second, 2 * 6, "{first} and {second}");
}

/// Everything the catalogue says of a range, without its name.
async fn described(pool: &PgPool, range: &str) -> BTreeSet<String> {
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', 'column', attname, atttypid::regtype, atttypmod, attnotnull, attstorage,
                          attcompression, attislocal, attinhcount, attnum)
         FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0
         UNION ALL
         SELECT concat_ws(' ', 'constraint', conname, contype, pg_get_constraintdef(oid), conislocal, coninhcount,
                          conparentid > 0)
         FROM pg_constraint WHERE conrelid = $1::regclass
         UNION ALL
         SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisprimary, i.indisvalid, h.inhparent::regclass)
         FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid WHERE i.indrelid = $1::regclass
         UNION ALL
         SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled, p.tgrelid::regclass)
         FROM pg_trigger t LEFT JOIN pg_trigger p ON p.oid = t.tgparentid WHERE t.tgrelid = $1::regclass
         UNION ALL
         SELECT concat_ws(' ', 'table', relpersistence, relreplident, relispartition, reloptions, relam, relhastriggers,
                          h.inhparent::regclass)
         FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid WHERE c.oid = $1::regclass",
    )
    .bind(range)
    .fetch_all(pool)
    .await
    .unwrap();
    lines.into_iter().map(|line| line.replace(range, "RANGE")).collect()
}

/// A range that is made apart and attached is what CREATE TABLE ... PARTITION OF makes.
#[tokio::test]
async fn an_attached_range_is_as_one_that_was_made_in_place() {
    let database = database().await;
    let pool = database.pool();
    for table in ["journal", "grants", "declines"] {
        let (ours, theirs) = (format!("{table}_r000000"), format!("{table}_in_place"));
        for statement in [
            format!("CREATE TABLE {theirs} PARTITION OF {table} FOR VALUES FROM (90000000) TO (99000000)"),
            format!(
                "CREATE TRIGGER {theirs}_truncate BEFORE TRUNCATE ON {theirs}
                 FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            ),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await.unwrap();
        }
        let (ours, theirs) = (described(pool, &ours).await, described(pool, &theirs).await);
        assert_eq!(ours, theirs);
        assert!(ours.len() > 15, "{ours:?}");
    }
}
