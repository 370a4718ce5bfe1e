//! `laurel org`

use laurel_ledger::add_organisation;

use crate::{cli::Org, config::Config, connect};

/// Adds an organisation.
pub(crate) async fn run(config: &Config, org: Org) -> anyhow::Result<()> {
    let Org::Add { name } = org;
    let pool = connect::database(&config.database.url, 1).await?;
    connect::require_current_schema(&pool).await?;
    let mut conn = pool.acquire().await?;
    let id = add_organisation(&mut conn, &name).await?;
    super::print(&id.to_string());
    Ok(())
}
