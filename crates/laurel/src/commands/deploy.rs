//! `laurel deploy`

use anyhow::Context;
use laurel_chain::{HttpNode, LocalKey, deploy_contracts};

use crate::{cli::Deploy, environment::Environment};

/// The environment variable with the deployer's key.
const DEPLOYER_KEY: &str = "LAUREL_DEPLOYER_KEY";

/// Deploys with the key in the environment, and prints the addresses.
pub(crate) async fn run(deploy: Deploy, environment: &Environment) -> anyhow::Result<()> {
    let key = environment.get(DEPLOYER_KEY);
    let key = key.with_context(|| format!("put the deployer's key into {DEPLOYER_KEY}"))?;
    let key =
        LocalKey::from_hex(key.trim()).with_context(|| format!("{DEPLOYER_KEY} holds no secp256k1 key"))?;
    let node = HttpNode::new(&deploy.rpc_url)?;
    let deployed = deploy_contracts(&node, &key, &deploy.lane).await?;
    let json = serde_json::to_string_pretty(&deployed)?;
    match deploy.json {
        Some(file) => std::fs::write(&file, json).with_context(|| format!("write {}", file.display()))?,
        None => super::print(&json),
    }
    Ok(())
}
