//! The role `views`.

use laurel_views::CampaignStatsStage;

use crate::app::App;

/// Starts to keep projections.
pub(crate) fn start(app: &App) {
    app.run_stage(CampaignStatsStage);
}
