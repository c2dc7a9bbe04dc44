//! A small JSON-RPC client for the chains started here. It shares nothing with the client that
//! the relayer itself uses, so that a mistake in one does not hide in the other.

use std::sync::Once;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

/// No answer of a development chain is larger than this, in bytes.
const MAX_ANSWER: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call to a chain gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The chain could not be reached, or broke off.
    #[error("{url} cannot be reached for {method}: {reason}; is the development network up?")]
    Unreachable {
        /// The chain's URL.
        url: String,
        /// The JSON-RPC method.
        method: String,
        /// What the connection said.
        reason: String,
    },
    /// The chain refused the call.
    #[error("{url} refused {method}: {message} (code {code}{})", data.as_ref().map(|d| format!(", data {d}")).unwrap_or_default())]
    Refused {
        /// The chain's URL.
        url: String,
        /// The JSON-RPC method.
        method: String,
        /// The JSON-RPC error code.
        code: i64,
        /// The JSON-RPC error message.
        message: String,
        /// The error's data, for a reverted call the revert bytes in hex.
        data: Option<String>,
    },
    /// The answer is not JSON-RPC, or not of the expected shape.
    #[error("{url} answered {method} with something that is not understood: {reason}")]
    Malformed {
        /// The chain's URL.
        url: String,
        /// The JSON-RPC method.
        method: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A condition did not come true in time.
    #[error("{url}: waited {} s for {what} in vain", waited.as_secs())]
    Timeout {
        /// The chain's URL.
        url: String,
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// The HTTP client could not be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(String),
}

impl RpcError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }
}

/// A JSON-RPC client of one chain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rpc {
    client: reqwest::Client,
    url: String,
}

/// Builds an HTTP client for chains on this machine: no system proxy, one TLS provider.
pub(crate) fn http_client(timeout: Option<Duration>) -> Result<reqwest::Client, RpcError> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // A provider that somebody else installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let mut builder = reqwest::Client::builder().no_proxy();
    if let Some(timeout) = timeout {
        builder = builder.timeout(timeout);
    }
    builder.build().map_err(|error| RpcError::Client(error.to_string()))
}

impl Rpc {
    /// A client for `url` (`http://…`). Connects only when called.
    ///
    /// # Errors
    /// [`RpcError::Client`] when no HTTP client can be built on this machine.
    pub fn new(url: impl Into<String>) -> Result<Self, RpcError> {
        Ok(Self { client: http_client(Some(TIMEOUT))?, url: url.into() })
    }

    /// The URL that is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls `method` with `params` (a JSON array) and reads the result as a `T`.
    ///
    /// # Errors
    /// Any [`RpcError`] but `Timeout`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, RpcError> {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params});
        let answer = self.post(method, &body).await?;
        let result = self.result(method, answer)?;
        self.parse(method, result)
    }

    /// Sends all calls in one HTTP request; the answers come in the order of the calls.
    ///
    /// # Errors
    /// When the request as a whole fails. A refused call is an error of its own in the list.
    pub async fn batch(
        &self,
        calls: &[(&str, Value)],
    ) -> Result<Vec<Result<Value, RpcError>>, RpcError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let body: Vec<Value> = calls
            .iter()
            .enumerate()
            .map(|(id, (method, params))| {
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
            })
            .collect();
        let answer = self.post("a batch", &Value::Array(body)).await?;
        let Value::Array(answers) = answer else {
            // anvil answers a batch it refuses as a whole with one error object.
            self.result("a batch", answer)?;
            return Err(self.malformed("a batch", "it is not an array"));
        };
        let mut slots: Vec<Option<Value>> = vec![None; calls.len()];
        for answer in answers {
            let id =
                answer.get("id").and_then(Value::as_u64).and_then(|id| usize::try_from(id).ok());
            if let Some(slot) = id.and_then(|id| slots.get_mut(id)) {
                *slot = Some(answer);
            }
        }
        Ok(slots
            .into_iter()
            .zip(calls)
            .map(|(slot, (method, _))| match slot {
                Some(answer) => self.result(method, answer),
                None => Err(self.malformed(method, "the batch holds no answer to it")),
            })
            .collect())
    }

    /// The chain id (`eth_chainId`).
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        self.quantity("eth_chainId", json!([])).await
    }

    /// The height of the latest block (`eth_blockNumber`).
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn block_number(&self) -> Result<u64, RpcError> {
        self.quantity("eth_blockNumber", json!([])).await
    }

    /// The hash of the block at `height`.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn block_hash(&self, height: u64) -> Result<B256, RpcError> {
        let params = json!([format!("{height:#x}"), false]);
        let block: Value = self.call("eth_getBlockByNumber", params).await?;
        let hash = block.get("hash").and_then(Value::as_str).and_then(|hash| hash.parse().ok());
        hash.ok_or_else(|| self.malformed("eth_getBlockByNumber", "it has no hash"))
    }

    /// When the block at `height` was made, in seconds of Unix time.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn timestamp(&self, height: u64) -> Result<u64, RpcError> {
        let params = json!([format!("{height:#x}"), false]);
        let block: Value = self.call("eth_getBlockByNumber", params).await?;
        let time = block.get("timestamp").and_then(Value::as_str).and_then(parse_quantity);
        time.ok_or_else(|| self.malformed("eth_getBlockByNumber", "it has no timestamp"))
    }

    /// The balance in wei at the latest block.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn balance(&self, account: Address) -> Result<U256, RpcError> {
        self.call("eth_getBalance", json!([account, "latest"])).await
    }

    /// The account's next nonce, transactions that wait in the pool included.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn pending_nonce(&self, account: Address) -> Result<u64, RpcError> {
        self.quantity("eth_getTransactionCount", json!([account, "pending"])).await
    }

    /// How many transactions of `account` are in blocks.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn nonce(&self, account: Address) -> Result<u64, RpcError> {
        self.quantity("eth_getTransactionCount", json!([account, "latest"])).await
    }

    /// `eth_call` on the latest block; `data` is the whole call data, selector included.
    ///
    /// # Errors
    /// As [`Rpc::call`]; a revert is [`RpcError::Refused`] with the revert bytes.
    pub async fn eth_call(&self, to: Address, data: impl Into<Bytes>) -> Result<Bytes, RpcError> {
        let data: Bytes = data.into();
        self.call("eth_call", json!([{"to": to, "data": data}, "latest"])).await
    }

    /// Sends a transaction from an account that the chain holds unlocked; `transaction` is the
    /// JSON object of `eth_sendTransaction`.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn send_transaction(&self, transaction: Value) -> Result<B256, RpcError> {
        self.call("eth_sendTransaction", json!([transaction])).await
    }

    /// The receipt of a transaction, or nothing while it is not included.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn receipt(&self, hash: B256) -> Result<Option<Value>, RpcError> {
        self.call("eth_getTransactionReceipt", json!([hash])).await
    }

    /// Waits until the transaction is included, and gives its receipt, failed or not.
    ///
    /// # Errors
    /// [`RpcError::Timeout`] after `deadline`, else as [`Rpc::call`].
    pub async fn wait_receipt(&self, hash: B256, deadline: Duration) -> Result<Value, RpcError> {
        let start = Instant::now();
        loop {
            if let Some(receipt) = self.receipt(hash).await? {
                return Ok(receipt);
            }
            if start.elapsed() >= deadline {
                return Err(RpcError::Timeout {
                    url: self.url.clone(),
                    what: format!("transaction {hash}"),
                    waited: deadline,
                });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Calls a method whose result is a hex quantity of at most 64 bits.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn quantity(&self, method: &str, params: Value) -> Result<u64, RpcError> {
        let text: String = self.call(method, params).await?;
        parse_quantity(&text)
            .ok_or_else(|| self.malformed(method, &format!("{text:?} is not a quantity")))
    }

    async fn post(&self, method: &str, body: &Value) -> Result<Value, RpcError> {
        let unreachable = |error: reqwest::Error| RpcError::Unreachable {
            url: self.url.clone(),
            method: method.to_owned(),
            // The URL is named once already.
            reason: chain_of_causes(&error.without_url()),
        };
        let mut response =
            self.client.post(&self.url).json(body).send().await.map_err(unreachable)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(self.malformed(method, "it is larger than 64 MiB"));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(method, &error.to_string()))
    }

    fn result(&self, method: &str, mut answer: Value) -> Result<Value, RpcError> {
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(RpcError::Refused {
                url: self.url.clone(),
                method: method.to_owned(),
                code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                message: error.get("message").and_then(Value::as_str).unwrap_or("?").to_owned(),
                data: error.get("data").filter(|data| !data.is_null()).map(ToString::to_string),
            });
        }
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(self.malformed(method, "it holds neither a result nor an error")),
        }
    }

    fn parse<T: DeserializeOwned>(&self, method: &str, result: Value) -> Result<T, RpcError> {
        serde_json::from_value(result).map_err(|error| self.malformed(method, &error.to_string()))
    }

    pub(crate) fn malformed(&self, method: &str, reason: &str) -> RpcError {
        RpcError::Malformed {
            url: self.url.clone(),
            method: method.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Reads a JSON-RPC quantity (`0x` and hex digits, at most 64 bits).
#[must_use]
pub fn parse_quantity(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn chain_of_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, value) in [
            ("0x0", Some(0)),
            ("0x10", Some(16)),
            ("0xffffffffffffffff", Some(u64::MAX)),
            ("0x10000000000000000", None),
            ("10", None),
            ("0x", None),
            ("", None),
        ] {
            assert_eq!(parse_quantity(text), value, "{text}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable_and_transient() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let rpc = Rpc::new(format!("http://127.0.0.1:{port}")).unwrap();
        let error = rpc.chain_id().await.unwrap_err();
        assert!(matches!(error, RpcError::Unreachable { .. }), "{error}");
        assert!(error.is_transient());
    }
}
