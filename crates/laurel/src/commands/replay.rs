//! `laurel replay`

use anyhow::bail;
use laurel_views::rebuild_campaign_stats;

use crate::{config::Config, connect};

/// Drops a view. Whoever runs the role `views` rebuilds it.
pub(crate) async fn run(config: &Config, view: &str) -> anyhow::Result<()> {
    if view != "campaign-stats" {
        bail!("there is no view {view:?}; there is campaign-stats");
    }
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    rebuild_campaign_stats(&mut conn).await?;
    tracing::info!(view, "the view is dropped; the role `views` rebuilds it from the journal");
    Ok(())
}
