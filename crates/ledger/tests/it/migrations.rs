//! The schema goes up and down, and decides nothing by itself.

use laurel_events::{Amount, CampaignId, GrantId, TokenGrantHeld, VoidProof};
use laurel_ledger::{Context, MIGRATOR, append, hold, void};

use crate::world::{database, funded_campaign, hold_of, now};

/// Every step is taken back and done again, on tables that are filled.
#[tokio::test]
async fn every_migration_goes_down_and_up_on_filled_tables() {
    let database = database().await;
    let pool = database.pool();
    let mut versions: Vec<i64> = MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| migration.version)
        .collect();
    versions.sort_unstable();
    versions.insert(0, 0);
    for target in versions.iter().rev().skip(1) {
        fill(pool).await;
        MIGRATOR.undo(pool, *target).await.unwrap();
        MIGRATOR.run(pool).await.unwrap();
    }
}

async fn fill(pool: &sqlx::PgPool) {
    let filled: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM accounts)").fetch_one(pool).await.unwrap();
    if filled {
        return;
    }
    let campaign: CampaignId = funded_campaign(pool, 7, 100).await;
    let mut tx = pool.begin().await.unwrap();
    hold(&mut tx, now(), &[hold_of(campaign, 0, 30)]).await.unwrap();
    let grant = GrantId { campaign, number: 0 };
    void(&mut tx, now(), grant, Amount::from(30_u64), &VoidProof::NeverQueued).await.unwrap();
    let event = TokenGrantHeld { grant, reason: "test".to_owned() };
    append(&mut tx, &Context::at(now()), &[event.into()]).await.unwrap();
    tx.commit().await.unwrap();
}

/// Time and randomness come from the program, so that a simulation can decide them.
#[tokio::test]
async fn no_default_and_no_function_asks_for_the_time_or_for_randomness() {
    let database = database().await;
    let ambient: Vec<String> = sqlx::query_scalar(
        "SELECT adrelid::regclass || ': ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
         WHERE pg_get_expr(adbin, adrelid) ~* '(now|clock_timestamp|current_|random|gen_random_uuid|statement_timestamp)'
         UNION ALL
         SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
         WHERE n.nspname = 'public'
           AND prosrc ~* '(\\mnow\\(|clock_timestamp|current_timestamp|\\mrandom\\(|gen_random_uuid)'",
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    // sqlx's own bookkeeping is not ours.
    let ours: Vec<&String> = ambient.iter().filter(|text| !text.starts_with("_sqlx_migrations")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}
