//! A database as the stages would have filled it.

use anyhow::Context;
use sqlx::{AssertSqlSafe, PgPool};

/// What PostgreSQL knows of tables that were filled at once.
pub(crate) async fn analyse(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("VACUUM ANALYZE").execute(pool).await.context("analysing")?;
    Ok(())
}

/// The ranges of each table that grows range by range.
const RANGED: &str = "SELECT make_range(name, 0) FROM ranges";

pub(crate) async fn fill(pool: &PgPool, grants: u64, campaigns: u64, players: u64) -> anyhow::Result<()> {
    sqlx::query(RANGED).execute(pool).await.context("making ranges")?;
    let statements = include_str!("fill.sql")
        .replace("$GRANTS", &grants.to_string())
        .replace("$CAMPAIGNS", &campaigns.to_string())
        .replace("$PLAYERS", &players.to_string());
    for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        let mut conn = pool.acquire().await?;
        sqlx::raw_sql("SET work_mem = '256MB'; SET statement_timeout = 0").execute(&mut *conn).await?;
        let first =
            statement.trim().lines().find(|line| !line.starts_with("--")).unwrap_or_default().to_owned();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut *conn)
            .await
            .with_context(|| format!("filling the database: {first}"))?;
    }
    // What is appended from now on has places of its own, behind those that the grants name.
    sqlx::query("UPDATE heads SET next = (SELECT max(position) + 1 FROM grants)").execute(pool).await?;
    Ok(())
}
