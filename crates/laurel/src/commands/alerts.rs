//! `laurel alerts`

use laurel_campaign::acknowledge_alert;
use laurel_events::{Clock, SystemClock};
use laurel_ledger::{Alert, Context, list_alerts};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{cli::Alerts, config::Config, connect, output::JsonTo};

/// How many alerts are read at once.
const PAGE: i64 = 500;

/// Lists alerts, or takes one back.
pub(crate) async fn run(config: &Config, alerts: Alerts, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    match alerts {
        Alerts::List => list(&mut conn, json).await,
        Alerts::Acknowledge { code, about } => {
            let context = Context::at(SystemClock.now());
            if !acknowledge_alert(&mut conn, &context, &code, &about).await? {
                anyhow::bail!(
                    "there is no alert {code} about {about}: `laurel alerts list` shows those that are"
                );
            }
            super::answer(json, &json!({ "code": code, "about": about }), || "Acknowledged.".to_owned())
        }
    }
}

async fn list(conn: &mut PgConnection, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let mut all: Vec<Alert> = Vec::new();
    loop {
        let after = all.last().map(|alert| (alert.code.clone(), alert.about.clone()));
        let after = after.as_ref().map(|(code, about)| (code.as_str(), about.as_str()));
        let page = list_alerts(conn, after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let items: Vec<Value> = all.iter().map(object).collect();
    super::answer(json, &json!({ "items": items }), || match all.len() {
        0 => "There are no alerts.".to_owned(),
        _ => all.iter().map(line).collect::<Vec<_>>().join("\n"),
    })
}

/// An alert as the API shows it.
fn object(alert: &Alert) -> Value {
    let Alert { code, about, detail, raised_at } = alert;
    json!({ "code": code, "about": about, "detail": detail, "raised_at": raised_at })
}

fn line(alert: &Alert) -> String {
    let Alert { code, about, detail, raised_at } = alert;
    format!("{} {code} {about}: {detail}", raised_at.format("%F %T"))
}
