//! An Anvil (Foundry's development chain) for as long as we need one.

mod program;

use std::{path::Path, time::Duration};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    account::{self, Storage},
    error::DevnetError,
    keeper::{Keeper, Part},
    rpc::Rpc,
    surroundings::Surroundings,
};

const PART: &str = "Anvil";

/// Starting takes 0.1 s; a loaded machine, ten times that.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Reading a file of two kilobytes costs microseconds.
const READY_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What Anvil prints before its address, once the port is its own.
const LISTENING_ON: &str = "Listening on ";

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// A block every so often, to the millisecond.
    Every(Duration),
    /// A block per transaction. Stalls for good with more than about a thousand pending.
    EachTransaction,
    /// Only when [`ChainControl::mine`](crate::chain_control::ChainControl::mine) says so.
    OnDemand,
}

/// What kind of chain is wanted.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// The chain's id.
    pub chain_id: u64,
    /// When blocks are made.
    pub mining: Mining,
    /// Gas per block; `None` for Anvil's own 30 million.
    pub gas_limit: Option<u64>,
    /// `finalized` is this many blocks, twice, behind `latest`.
    pub slots_in_an_epoch: u64,
    /// How many past states are kept, in memory; `None` for all of them, which grows without end.
    /// Reorganisations and calls on old blocks need them.
    pub states_kept: Option<u32>,
    /// How many accounts are funded; the first ten are [`DEV_KEYS`](crate::dev_keys::DEV_KEYS).
    pub accounts: u16,
    /// Where the program may come from.
    pub surroundings: Surroundings,
}

impl AnvilOptions {
    /// Chain 31337 with `finalized` two blocks behind `latest`, and all states kept.
    #[must_use]
    pub fn new(mining: Mining) -> Self {
        Self {
            chain_id: 31_337,
            mining,
            gas_limit: None,
            slots_in_an_epoch: 1,
            states_kept: None,
            accounts: 10,
            surroundings: Surroundings::from_env(),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            // The system picks a port that nobody has: there is nothing to clash with.
            "--port=0".to_owned(),
            format!("--chain-id={}", self.chain_id),
            format!("--slots-in-an-epoch={}", self.slots_in_an_epoch),
            format!("--accounts={}", self.accounts),
        ];
        match self.mining {
            Mining::Every(interval) => arguments.push(format!("--block-time={}", interval.as_secs_f64())),
            Mining::EachTransaction => {}
            Mining::OnDemand => arguments.push("--no-mining".to_owned()),
        }
        arguments.extend(self.gas_limit.map(|gas| format!("--gas-limit={gas}")));
        arguments.extend(self.states_kept.map(|states| format!("--prune-history={states}")));
        arguments
    }
}

/// A running Anvil. Dropping it ends it; [`Anvil::stop`] does the same and reports what went wrong.
#[derive(Debug)]
pub struct Anvil {
    keeper: Keeper,
    rpc_url: String,
}

impl Anvil {
    /// Finds the program, starts it on a free port and returns when it answers: 0.15 s once it is installed.
    ///
    /// # Errors
    ///
    /// When the program cannot be had ([`DevnetError::Missing`] tells what to install) or does not answer in time.
    pub async fn start(options: AnvilOptions) -> Result<Self, DevnetError> {
        let surroundings = options.surroundings.clone();
        let program = tokio::task::spawn_blocking(move || program::find(&surroundings))
            .await
            .map_err(|error| DevnetError::io("looking for Anvil")(error.into()))??;
        let part = Part {
            name: PART,
            base: account::base_folder(PART, Storage::Fastest, None, &options.surroundings)?,
            prefix: "laurel-anvil-",
            user: None,
            setup: ":",
            environment: Vec::new(),
            program,
            arguments: options.arguments(),
            signals: "TERM",
        };
        let keeper = Keeper::start(part, |_folder| Ok(())).await?;
        let rpc_url = wait_until_ready(&keeper, options.chain_id).await?;
        Ok(Self { keeper, rpc_url })
    }

    /// The address for JSON-RPC over HTTP; with `ws` for `http`, over WebSocket.
    #[must_use]
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// The process that we started.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.keeper.process_id()
    }

    /// The folder that holds its `log` and what it keeps on disk.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// Waits until it ends without having been asked to; what comes back names it, with the end of its log.
    pub async fn ended_by_itself(&self) -> DevnetError {
        self.keeper.ended_by_itself().await
    }

    /// Ends it and removes its folder.
    ///
    /// # Errors
    ///
    /// When something of it is still there after the deadline.
    pub async fn stop(self) -> Result<(), DevnetError> {
        self.keeper.stop().await
    }
}

async fn wait_until_ready(keeper: &Keeper, chain_id: u64) -> Result<String, DevnetError> {
    let ready = timeout(READY_DEADLINE, async {
        let rpc_url = format!("http://{}", wait_for_address(keeper).await?);
        let rpc = Rpc::new(&rpc_url)?;
        let answered = rpc.quantity("eth_chainId").await?;
        if answered != chain_id {
            let answer = format!("{answered}, not {chain_id}");
            return Err(DevnetError::RpcRefused { method: "eth_chainId", answer });
        }
        // A line per call and block: at thousands a second the log would fill the disk.
        rpc.call("anvil_setLoggingEnabled", json!([false])).await?;
        Ok(rpc_url)
    })
    .await;
    ready.unwrap_or_else(|_elapsed| Err(keeper.not_ready("an answer to eth_chainId", READY_DEADLINE)))
}

async fn wait_for_address(keeper: &Keeper) -> Result<String, DevnetError> {
    let mut poll = interval(READY_POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        poll.tick().await;
        let log = keeper.log().map_err(DevnetError::io("reading Anvil's log"))?;
        // Only a whole line holds a whole port number.
        let whole_lines = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        if let Some(address) = whole_lines.filter_map(|line| line.strip_prefix(LISTENING_ON)).next() {
            return Ok(address.trim().to_owned());
        }
        if let Some(ended) = keeper.ended() {
            return Err(ended);
        }
    }
}
