//! `laurel migrate`

use anyhow::{Context, bail};
use laurel_ledger::MIGRATOR;
use serde_json::json;

use crate::{config::Config, connect, output::JsonTo};

/// Brings the schema up, or some steps down.
pub(crate) async fn run(config: &Config, down: Option<usize>, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    match down {
        None => {
            if connect::schema(&pool).await? == connect::Schema::Ahead {
                bail!("the database has migrations that this build does not know");
            }
            MIGRATOR.run(&pool).await.context("migrate")?;
        }
        Some(steps) => {
            let mut versions: Vec<i64> = MIGRATOR
                .iter()
                .filter(|migration| migration.migration_type.is_up_migration())
                .map(|migration| migration.version)
                .collect();
            versions.sort_unstable();
            let applied = applied(&pool).await?;
            let kept = applied
                .checked_sub(steps)
                .with_context(|| format!("only {applied} migrations are applied"))?;
            let target = kept.checked_sub(1).and_then(|index| versions.get(index)).copied().unwrap_or(0);
            MIGRATOR.undo(&pool, target).await.context("undo migrations")?;
        }
    }
    let applied = applied(&pool).await?;
    pool.close().await;
    super::answer(json, &json!({ "applied": applied }), || format!("{applied} migrations are applied"))
}

async fn applied(pool: &sqlx::PgPool) -> anyhow::Result<usize> {
    use sqlx::migrate::Migrate;
    let mut conn = pool.acquire().await?;
    conn.ensure_migrations_table(&MIGRATOR.table_name).await?;
    Ok(conn.list_applied_migrations(&MIGRATOR.table_name).await?.len())
}
