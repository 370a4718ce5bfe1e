//! `laurel replay`

use laurel_views::{rebuild_campaign_stats, rebuild_history};

use crate::{cli::View, config::Config, connect};

/// Drops a view. Whoever runs the role `views` rebuilds it.
pub(crate) async fn run(config: &Config, view: View) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    match view {
        View::CampaignStats => rebuild_campaign_stats(&mut conn).await?,
        View::TransactionHistory => rebuild_history(&mut conn).await?,
    }
    tracing::info!(?view, "the view is dropped; the role `views` rebuilds it from the journal");
    Ok(())
}
