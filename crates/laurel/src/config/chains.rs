//! `LAUREL_CHAINS__0__KEY`: a chain of the list, by its place.
//!
//! The environment makes a table of what the file has as a list, and a table would take the list's place.

use anyhow::{Context, bail};
use figment::{
    Figment, Provider,
    providers::Serialized,
    value::{Dict, Value},
};

use super::{Config, hushed::hushed};

const CHAINS: &str = "chains";

/// The configuration of the file with the environment's settings over it.
pub(super) fn with_settings(file: Figment, environment: impl Provider) -> anyhow::Result<Config> {
    let all = file.clone().merge(&environment);
    let numbered = match Figment::from(&environment).find_value(CHAINS) {
        Ok(Value::Dict(_, numbered)) => numbered,
        // None, or a whole list in one variable, which takes the place of the file's.
        _ => return all.extract().map_err(hushed),
    };
    let mut chains: Vec<Dict> =
        if file.contains(CHAINS) { file.extract_inner(CHAINS).map_err(hushed)? } else { Vec::new() };
    let mut places = Vec::new();
    for (place, settings) in numbered {
        let number: usize = place.parse().with_context(|| {
            format!(
                "LAUREL_CHAINS__{}__… names no chain: its place in the list comes first",
                place.to_uppercase()
            )
        })?;
        let Value::Dict(_, settings) = settings else {
            bail!("LAUREL_CHAINS__{place} is no setting: name one, such as LAUREL_CHAINS__{place}__VAULT");
        };
        places.push((number, settings));
    }
    // By number, so that a list can be made of variables alone.
    places.sort_unstable_by_key(|(number, _)| *number);
    for (number, settings) in places {
        if number > chains.len() {
            bail!(
                "LAUREL_CHAINS__{number}__… names a chain, but there is none before it: chain {} comes first",
                chains.len()
            );
        }
        if number == chains.len() {
            chains.push(Dict::new());
        }
        chains[number].extend(settings);
    }
    all.merge(Serialized::default(CHAINS, chains)).extract().map_err(hushed)
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};
    use laurel_chain_watcher::Finality;
    use rstest::rstest;

    use super::*;

    const FILE: &str = r#"
        database.url = "postgres://nowhere"
        [[chains]]
        id = 1
        rpc_urls = ["http://one"]
        vault = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
        [[chains]]
        id = 2
        rpc_urls = ["http://two"]
        vault = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
        finality = "finalized"
    "#;

    /// What `Env` makes of variables, said in TOML.
    fn load(file: &str, environment: &str) -> anyhow::Result<Config> {
        with_settings(Figment::from(Toml::string(file)), Toml::string(environment))
    }

    #[test]
    fn a_setting_of_one_chain_leaves_the_rest_as_it_is() {
        let config = load(FILE, "chains.1.poll_interval_ms = 7\nchains.1.finality = { depth = 12 }").unwrap();
        let [one, two] = &config.chains[..] else { unreachable!("two chains: {config:?}") };
        assert_eq!((one.id, one.poll_interval_ms, one.finality), (1, 200, Finality::Finalized));
        assert_eq!((two.id, two.poll_interval_ms, two.finality), (2, 7, Finality::Depth { depth: 12 }));
        assert_eq!(two.rpc_urls[0].reveal(), "http://two");
    }

    #[test]
    fn chains_are_made_of_variables_alone() {
        let chain = |place: u64| {
            format!(
                "chains.{place} = {{ id = {}, rpc_urls = [\"http://x\"], vault = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\" }}\n",
                place * 10 + 1
            )
        };
        let all: String = (0..12).map(chain).collect();
        let config = load("database.url = \"postgres://nowhere\"", &all).unwrap();
        let ids: Vec<u64> = config.chains.iter().map(|chain| chain.id).collect();
        assert_eq!(ids, (0..12).map(|place| place * 10 + 1).collect::<Vec<u64>>());
    }

    #[rstest]
    #[case::gap("chains.3.id = 4", "chain 2 comes first")]
    #[case::no_number("chains.vault = \"0x\"", "LAUREL_CHAINS__VAULT__… names no chain")]
    #[case::no_setting("chains.0 = 5", "LAUREL_CHAINS__0 is no setting")]
    #[case::unknown("chains.0.vualt = 5", "vualt")]
    fn what_names_no_setting_is_refused(#[case] environment: &str, #[case] says: &str) {
        let error = format!("{:#}", load(FILE, environment).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}
