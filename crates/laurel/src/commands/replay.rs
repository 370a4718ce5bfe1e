//! `laurel replay`

use clap::ValueEnum;
use laurel_views::{rebuild_campaign_stats, rebuild_history};
use serde_json::json;

use crate::{cli::View, config::Config, connect, output::JsonTo};

/// Drops a view. Whoever runs the role `views` rebuilds it.
pub(crate) async fn run(config: &Config, view: View, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    match view {
        View::CampaignStats => rebuild_campaign_stats(&mut conn).await?,
        View::TransactionHistory => rebuild_history(&mut conn).await?,
    }
    let name = view.to_possible_value().map(|value| value.get_name().to_owned());
    super::answer(json, &json!({ "dropped": name }), || {
        "The view is dropped; the role `views` rebuilds it from the journal.".to_owned()
    })
}
