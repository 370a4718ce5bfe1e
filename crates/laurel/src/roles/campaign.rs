//! The role `campaign`.

use laurel_campaign::{BooksStage, DecisionStage};

use crate::app::App;

/// Starts to decide and to keep the books.
pub(crate) fn start(app: &App) {
    app.run_stage(DecisionStage::default());
    app.run_stage(BooksStage);
}
