//! `laurel token`

use anyhow::Context;
use laurel_api::TokenKey;
use laurel_events::{Clock, SystemClock};

use crate::{cli::Token, config::Config, environment::Environment};

/// Mints an access token and prints it.
pub(crate) fn run(config: &Config, environment: &Environment, token: &Token) -> anyhow::Result<()> {
    let names = config.signing_key_names()?;
    let name =
        names.first().context("auth.signing_keys is empty: give it a source such as env:LAUREL_JWT_KEY")?;
    let text =
        environment.get(name).with_context(|| format!("the environment variable {name} is not set"))?;
    let key = TokenKey::from_hex(&text).with_context(|| (*name).to_owned())?;
    super::print(&key.mint(SystemClock.now(), token.ttl, token.role, &token.org, &token.subject)?);
    Ok(())
}
