//! `GET /v1/alerts`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use laurel_ledger::{Alert, list_alerts};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiState, Problem,
    extract::{Page, Paging, Query, invalid_cursor},
};

/// Something that an operator should look at, while it lasts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AlertOut {
    /// A stable code.
    code: String,
    /// What it is about.
    about: String,
    /// What happened.
    detail: String,
    /// Since when.
    raised_at: DateTime<Utc>,
}

impl From<Alert> for AlertOut {
    fn from(alert: Alert) -> Self {
        let Alert { code, about, detail, raised_at } = alert;
        Self { code, about, detail, raised_at }
    }
}

/// All alerts
#[utoipa::path(
    get, path = "/alerts", tag = "operations", operation_id = "list_alerts", params(Paging),
    responses((status = 200, body = Page<AlertOut>), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AlertOut>>, Problem> {
    let (after, limit) = Paging::parse::<String>(paging.cursor.as_deref(), paging.limit)?;
    // Codes have no blank, so that the first one ends the code.
    let after = after.as_deref().map(|after| after.split_once(' ').ok_or_else(invalid_cursor)).transpose()?;
    let mut conn = state.read_pool.acquire().await?;
    let alerts = list_alerts(&mut conn, after, limit).await?;
    let items: Vec<AlertOut> = alerts.into_iter().map(AlertOut::from).collect();
    Ok(Json(Page::new(items, limit, |alert| format!("{} {}", alert.code, alert.about))))
}
