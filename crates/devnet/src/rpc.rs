//! JSON-RPC to a development chain: as much of it as starting and steering one takes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::DevnetError;

/// Mining thousands of blocks, or a block of a thousand million gas, takes seconds.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    client: reqwest::Client,
    url: String,
}

impl Rpc {
    pub(crate) fn new(url: impl Into<String>) -> Result<Self, DevnetError> {
        // A proxy that the environment names does not lead to this machine's own ports.
        let client = reqwest::Client::builder().no_proxy().timeout(CALL_DEADLINE).build();
        let client = client.map_err(|source| DevnetError::Rpc { method: "(none yet)", source })?;
        Ok(Self { client, url: url.into() })
    }

    pub(crate) async fn call(&self, method: &'static str, params: Value) -> Result<Value, DevnetError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer: Value = async {
            self.client.post(&self.url).json(&request).send().await?.error_for_status()?.json().await
        }
        .await
        .map_err(|source| DevnetError::Rpc { method, source })?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(DevnetError::RpcRefused { method, answer: answer.to_string() }),
        }
    }

    /// Calls a method whose result is a quantity (`"0x…"`).
    pub(crate) async fn quantity(&self, method: &'static str) -> Result<u64, DevnetError> {
        let answer = self.call(method, json!([])).await?;
        let digits = answer.as_str().and_then(|text| text.strip_prefix("0x"));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(|| DevnetError::RpcRefused { method, answer: answer.to_string() })
    }
}
