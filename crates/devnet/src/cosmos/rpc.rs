//! A small client of CometBFT's JSON-RPC, through which a chain of the SDK answers everything.

use std::time::Duration;

use alloy_primitives::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cosmos::proto;
use crate::rpc::{Rpc, RpcError};

const POLL: Duration = Duration::from_millis(50);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// CometBFT's chain id.
    pub chain_id: String,
    /// The height of the latest block; 0 before the first. What the block did may not be known
    /// yet: [`CosmosRpc::height`] is the height for that.
    pub height: u64,
    /// Whether the node still fetches old blocks.
    pub catching_up: bool,
    /// The node's voting power.
    pub voting_power: u64,
}

/// A question to the application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AbciQuery<'a> {
    /// The path: a gRPC method such as `/cosmos.bank.v1beta1.Query/Balance`, or a store such as
    /// `store/ibc/key`.
    pub path: &'a str,
    /// The request: a protobuf message, or a key.
    pub data: &'a [u8],
    /// The height of the state that is asked; 0 is the latest.
    pub height: u64,
    /// Whether the answer of a store comes with a proof.
    pub prove: bool,
}

/// The application's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbciAnswer {
    /// A protobuf message, or a value; empty for a key that is not in the store.
    pub value: Vec<u8>,
    /// The height of the state that answered.
    pub height: u64,
    /// The proof as `ProofOps` in CometBFT's JSON, when one was asked for.
    pub proof_ops: Option<Value>,
}

/// A client of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CosmosRpc(Rpc);

impl CosmosRpc {
    /// A client for `url` (`http://…`). Connects only when called.
    ///
    /// # Errors
    /// [`RpcError::Client`].
    pub fn new(url: impl Into<String>) -> Result<Self, RpcError> {
        Rpc::new(url).map(Self)
    }

    /// The URL that is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Any call of CometBFT's JSON-RPC; `params` is an object. Heights in it are strings.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.0.call(method, params).await
    }

    /// What the node says of itself (`status`).
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn status(&self) -> Result<NodeStatus, RpcError> {
        let status: Status = self.0.call("status", json!({})).await?;
        Ok(NodeStatus {
            chain_id: status.node_info.network,
            height: status.sync_info.latest_block_height,
            catching_up: status.sync_info.catching_up,
            voting_power: status.validator_info.voting_power,
        })
    }

    /// The height of the latest block whose results are known (`abci_info`); 0 before the first.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn height(&self) -> Result<u64, RpcError> {
        let info: AbciInfo = self.0.call("abci_info", json!({})).await?;
        Ok(info.response.last_block_height)
    }

    /// What the block at `height` did (`block_results`), in CometBFT's JSON.
    ///
    /// # Errors
    /// As [`Rpc::call`]; [`RpcError::Refused`] for a height that is not known.
    pub async fn block_results(&self, height: u64) -> Result<Value, RpcError> {
        self.0.call("block_results", json!({"height": height.to_string()})).await
    }

    /// Asks the application (`abci_query`).
    ///
    /// # Errors
    /// [`RpcError::Refused`] with the application's code when it says no, else as [`Rpc::call`].
    pub async fn abci_query(&self, query: &AbciQuery<'_>) -> Result<AbciAnswer, RpcError> {
        let params = json!({
            "path": query.path,
            "data": hex::encode(query.data),
            "height": query.height.to_string(),
            "prove": query.prove,
        });
        let answer: Query = self.0.call("abci_query", params).await?;
        let answer = answer.response;
        if answer.code != 0 {
            return Err(RpcError::Refused {
                url: self.url().to_owned(),
                method: format!("abci_query {}", query.path),
                code: answer.code,
                message: answer.log,
                data: None,
            });
        }
        let value = BASE64
            .decode(answer.value.unwrap_or_default())
            .map_err(|error| self.0.malformed("abci_query", &error.to_string()))?;
        Ok(AbciAnswer { value, height: answer.height, proof_ops: answer.proof_ops })
    }

    /// What an account has of a denomination at the latest height, in its smallest unit
    /// (`cosmos.bank.v1beta1.Query/Balance`).
    ///
    /// # Errors
    /// As [`CosmosRpc::abci_query`].
    pub async fn balance(&self, address: &str, denom: &str) -> Result<u128, RpcError> {
        const PATH: &str = "/cosmos.bank.v1beta1.Query/Balance";
        let data =
            [proto::field(1, address.as_bytes()), proto::field(2, denom.as_bytes())].concat();
        let answer =
            self.abci_query(&AbciQuery { path: PATH, data: &data, ..AbciQuery::default() }).await?;
        let amount = proto::find(&answer.value, 1).and_then(|coin| proto::find(coin, 2));
        amount
            .and_then(|amount| std::str::from_utf8(amount).ok())
            .and_then(|amount| amount.parse().ok())
            .ok_or_else(|| self.0.malformed(PATH, "it holds no amount"))
    }

    /// Waits until the results of the block at `height` are known, and gives the height that is
    /// reached. A node that cannot be reached meanwhile is asked again.
    ///
    /// # Errors
    /// [`RpcError::Timeout`] after `deadline`, else as [`Rpc::call`].
    pub async fn wait_for_height(&self, height: u64, deadline: Duration) -> Result<u64, RpcError> {
        let start = Instant::now();
        loop {
            match self.height().await {
                Ok(reached) if reached >= height => return Ok(reached),
                Err(error) if !error.is_transient() => return Err(error),
                _ if start.elapsed() >= deadline => {
                    return Err(RpcError::Timeout {
                        url: self.url().to_owned(),
                        what: format!("block {height}"),
                        waited: deadline,
                    });
                }
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }
}

#[derive(Deserialize)]
struct Status {
    node_info: NodeInfo,
    sync_info: SyncInfo,
    validator_info: ValidatorInfo,
}

#[derive(Deserialize)]
struct NodeInfo {
    network: String,
}

#[derive(Deserialize)]
struct SyncInfo {
    #[serde(deserialize_with = "number")]
    latest_block_height: u64,
    catching_up: bool,
}

#[derive(Deserialize)]
struct ValidatorInfo {
    #[serde(deserialize_with = "number")]
    voting_power: u64,
}

#[derive(Deserialize)]
struct AbciInfo {
    response: Info,
}

#[derive(Deserialize)]
struct Info {
    // Left out before the first block.
    #[serde(default, deserialize_with = "number")]
    last_block_height: u64,
}

#[derive(Deserialize)]
struct Query {
    response: QueryResponse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryResponse {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    log: String,
    value: Option<String>,
    #[serde(default, deserialize_with = "number")]
    height: u64,
    proof_ops: Option<Value>,
}

/// CometBFT writes numbers of 64 bits as strings.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_cometbft_writes_them() {
        let info: AbciInfo =
            serde_json::from_value(json!({"response": {"data": "SimApp"}})).unwrap();
        assert_eq!(info.response.last_block_height, 0);
        let answer = json!({"response": {
            "code": 0, "log": "", "info": "", "index": "0", "key": null, "value": "Cg==",
            "proofOps": {"ops": []}, "height": "18446744073709551615", "codespace": "",
        }});
        let answer: Query = serde_json::from_value(answer).unwrap();
        assert_eq!(answer.response.height, u64::MAX);
        assert!(answer.response.proof_ops.is_some());
        let negative = json!({"response": {"last_block_height": "-1"}});
        assert!(serde_json::from_value::<AbciInfo>(negative).is_err());
    }
}
