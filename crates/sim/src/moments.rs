//! Moments of a database: the one before anything happened, and one that is kept and brought back.
//!
//! Rows are deleted and inserted. After a TRUNCATE, or in a database made anew, every session would have to plan every
//! statement again, which takes more time than a world does.

use laurel_events::fold_partitions;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::database::{Database, WORLDS_PER_VACUUM};

/// Tables whose rows are the same in all worlds.
const CONSTANT: &str = "('organisations', 'ranges', '_sqlx_migrations')";

/// Makes the procedures that go from one moment to another.
pub(crate) async fn prepare(session: &mut PgConnection) -> anyhow::Result<()> {
    let tables: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT quote_ident(relname) FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname NOT IN {CONSTANT} ORDER BY relname"
    )))
    .fetch_all(&mut *session)
    .await?;
    let each =
        |statement: fn(&str) -> String| tables.iter().map(|table| statement(table)).collect::<String>();
    let kept = each(|table| format!("CREATE TABLE kept.{table} (LIKE public.{table});"));
    let empty = each(|table| format!("DELETE FROM public.{table};"));
    let keep = each(|table| {
        format!("DELETE FROM kept.{table}; INSERT INTO kept.{table} SELECT * FROM public.{table};")
    });
    let bring_back = each(|table| {
        format!("INSERT INTO public.{table} OVERRIDING SYSTEM VALUE SELECT * FROM kept.{table};")
    });
    // Numbers are also used up by what was rolled back.
    let sequences =
        "FROM pg_sequences WHERE schemaname = 'public' AND sequencename <> 'organisations_id_seq'";
    let text = format!(
        "CREATE SCHEMA kept; {kept} CREATE TABLE kept.numbers (name text, last_value bigint);
         CREATE PROCEDURE empty_all() LANGUAGE plpgsql AS $$ BEGIN
             {empty} PERFORM setval(quote_ident(sequencename), 1, false) {sequences};
         END $$;
         CREATE PROCEDURE keep_all() LANGUAGE plpgsql AS $$ BEGIN
             {keep} DELETE FROM kept.numbers;
             INSERT INTO kept.numbers SELECT quote_ident(sequencename), last_value {sequences};
         END $$;
         CREATE PROCEDURE bring_all_back() LANGUAGE plpgsql AS $$ BEGIN
             {empty} {bring_back}
             PERFORM setval(name, coalesce(last_value, 1), last_value IS NOT NULL) FROM kept.numbers;
         END $$;"
    );
    session.execute(AssertSqlSafe(text)).await?;
    Ok(())
}

impl Database {
    /// Makes the database as it was after the migrations, with so many journal partitions.
    pub(crate) async fn reset(&mut self, partitions: u8) -> anyhow::Result<()> {
        self.worlds += 1;
        if self.worlds.is_multiple_of(WORLDS_PER_VACUUM) {
            self.clean_up().await?;
        }
        fold_partitions(partitions);
        let heads = format!("INSERT INTO heads (part) SELECT generate_series(0, {partitions} - 1)");
        self.change(&["CALL empty_all()", &heads]).await
    }

    /// Keeps everything as it is now, to be brought back.
    pub(crate) async fn keep(&self) -> anyhow::Result<()> {
        self.change(&["CALL keep_all()"]).await
    }

    /// Makes everything as it was when it was kept. PostgreSQL tells that it is another timeline since then.
    pub(crate) async fn bring_back(&self) -> anyhow::Result<()> {
        self.change(&["CALL bring_all_back()", "UPDATE identity SET timeline = timeline - 1"]).await
    }

    /// Takes away what worlds have deleted. For the planner all tables are as they were made, so that a world is planned as it would
    /// be by itself.
    async fn clean_up(&self) -> anyhow::Result<()> {
        self.change(&["CALL empty_all()"]).await?;
        self.outside.execute("VACUUM").await?;
        let forgets = "UPDATE pg_class SET relpages = 0, reltuples = -1, relallvisible = 0
                       WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace";
        self.outside.execute(forgets).await?;
        Ok(())
    }

    async fn change(&self, statements: &[&str]) -> anyhow::Result<()> {
        let mut tx = self.outside.begin().await?;
        // Journals and books refuse to be emptied.
        tx.execute("SET LOCAL session_replication_role = replica").await?;
        for statement in statements {
            tx.execute(AssertSqlSafe((*statement).to_owned())).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
