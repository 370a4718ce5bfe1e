//! `laurel token`

use anyhow::Context;
use laurel_api::TokenKey;
use laurel_events::{Clock, SystemClock};
use serde_json::json;

use crate::{cli::Token, config::Config, environment::Environment, output::JsonTo};

/// Mints an access token and prints it. It has no database: whether the organisation exists, the API finds out.
pub(crate) fn run(
    config: &Config,
    environment: &Environment,
    token: &Token,
    json: Option<&JsonTo>,
) -> anyhow::Result<()> {
    let names = config.signing_key_names()?;
    let name = names.first().context(
        "auth.signing_keys is empty: give it a source such as env:LAUREL_JWT_KEY; while auth.mode is \"none\" no \
         token is asked for",
    )?;
    let text =
        environment.get(name).with_context(|| format!("the environment variable {name} is not set"))?;
    let key = TokenKey::from_hex(&text).with_context(|| (*name).to_owned())?;
    let now = SystemClock.now();
    let (org, subject) = (token.org.as_str(), token.subject.as_str());
    let minted = key.mint(now, token.ttl, token.role, org, subject)?;
    let result = json!({
        "token": &minted, "role": token.role, "subject": subject, "org": org, "expires_at": now + token.ttl,
    });
    super::answer(json, &result, || minted)
}
