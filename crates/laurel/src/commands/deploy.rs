//! `laurel deploy`

use anyhow::Context;
use laurel_chain::{Deployed, HttpNode, LocalKey, deploy_contracts};

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
    super::answer(deploy.json.as_ref(), &deployed, || {
        let Deployed { chain_id, vault, token, block } = deployed;
        format!("chain_id  {chain_id}\nvault     {vault}\ntoken     {token}\nblock     {block}")
    })
}
