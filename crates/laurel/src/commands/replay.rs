//! `laurel replay`

use laurel_events::{Clock, SystemClock};
use laurel_views::rebuild;
use serde_json::json;

use crate::{cli::View, config::Config, connect, output::JsonTo};

/// Builds a view anew from the journal, beside the one that is in use, and puts it in its place.
pub(crate) async fn run(config: &Config, view: View, json: Option<&JsonTo>) -> anyhow::Result<()> {
    // A session of its own: where the database is behind a transaction pooler, that is the direct way.
    let url = config.database.listen_url.as_ref().unwrap_or(&config.database.url);
    let pool = connect::database(url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    let view = laurel_views::View::from(view);
    let built = rebuild(&mut conn, SystemClock.now(), view).await?;
    conn.detach();
    let name = view.as_str();
    let (events, rows, different) = (built.events, built.rows, built.different);
    let answer = json!({ "view": name, "events": events, "rows": rows, "different": different });
    super::answer(json, &answer, || match different {
        0 => format!("{name}: {rows} rows from {events} events, the same as before."),
        _ => format!("{name}: {rows} rows from {events} events; {different} rows were different before."),
    })
}
