//! The role `views`.

use laurel_views::{CampaignStatsStage, HistoryStage, LatencyStage, WalletLinksStage};

use crate::app::App;

/// Starts to keep projections.
pub(crate) fn start(app: &App) {
    app.run_stage(CampaignStatsStage);
    app.run_stage(HistoryStage);
    app.run_stage(WalletLinksStage);
    app.run_stage(LatencyStage::new(app.views_metrics.clone()));
}
