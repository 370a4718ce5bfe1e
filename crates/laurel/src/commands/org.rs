//! `laurel org`

use laurel_ledger::add_organisation;
use serde_json::json;

use crate::{cli::Org, config::Config, connect, output::JsonTo};

/// Adds an organisation.
pub(crate) async fn run(config: &Config, org: Org, json: Option<&JsonTo>) -> anyhow::Result<()> {
    let Org::Add { name } = org;
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    let id = add_organisation(&mut conn, name.as_str()).await?;
    super::answer(json, &json!({ "id": id.0, "name": name.as_str() }), || id.to_string())
}
