//! A list of transactions of one account, written before any is sent. Contract addresses follow
//! from the account and its nonce, so nothing waits for anything else's inclusion.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::artifact::Artifact;
use crate::error::DevnetError;
use crate::packages::Packages;
use crate::rpc::{Rpc, RpcError};

/// One limit for all: anvil's pool drops what follows a transaction that no longer fits a block
/// when a smaller one behind it does. The largest step, the endpoint, uses about 5.6 million.
const GAS: u64 = 7_000_000;
/// Above what the base fee can reach in the few full blocks that a deployment takes.
const MAX_FEE: u64 = 100_000_000_000;
const CHUNK: usize = 16;
/// After this time what is missing is sent again.
const AGAIN: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(120);

struct Step {
    what: String,
    to: TxKind,
    data: Bytes,
}

/// Transactions of `sender`, in nonce order.
pub(crate) struct Script<'a> {
    packages: &'a Packages,
    sender: Address,
    first_nonce: u64,
    steps: Vec<Step>,
}

impl<'a> Script<'a> {
    pub(crate) fn new(packages: &'a Packages, sender: Address, first_nonce: u64) -> Self {
        Self { packages, sender, first_nonce, steps: Vec::new() }
    }

    /// Adds a transaction that only uses up a nonce.
    pub(crate) fn burn_nonce(&mut self) {
        self.add("using up a nonce".to_owned(), TxKind::Call(self.sender), Bytes::new());
    }

    /// Adds a deployment and gives the address it will have.
    pub(crate) fn deploy(
        &mut self,
        artifact: Artifact,
        arguments: &[u8],
    ) -> Result<Address, DevnetError> {
        let nonce = self.first_nonce + self.steps.len() as u64;
        let mut code = self.packages.artifact(artifact)?.bytecode.to_vec();
        code.extend_from_slice(arguments);
        self.add(format!("deploying {artifact:?}"), TxKind::Create, code.into());
        Ok(self.sender.create(nonce))
    }

    /// Adds a call.
    pub(crate) fn call<C: SolCall>(&mut self, to: Address, call: &C) {
        let what = format!("{} of {to}", C::SIGNATURE.split('(').next().unwrap_or(C::SIGNATURE));
        self.add(what, TxKind::Call(to), call.abi_encode().into());
    }

    fn add(&mut self, what: String, to: TxKind, data: Bytes) {
        self.steps.push(Step { what, to, data });
    }

    /// Sends everything and mines until it is included.
    ///
    /// # Errors
    /// [`DevnetError::Reverted`] with the first step that failed, or an [`RpcError`].
    pub(crate) async fn run(self, rpc: &Rpc, chain_id: u64) -> Result<(), DevnetError> {
        let hashes = self.send(rpc).await?;
        let receipts = match mine_until_included(rpc, &hashes, AGAIN).await? {
            Some(receipts) => receipts,
            // A node under load now and then loses one of a batch, and all after it wait for it. The
            // same transactions again have the same hashes; what is known already is refused.
            None => {
                rpc.batch(&self.calls()).await?;
                mine_until_included(rpc, &hashes, DEADLINE).await?.ok_or_else(|| {
                    let what = "the deployment's transactions".to_owned();
                    RpcError::Timeout { url: rpc.url().to_owned(), what, waited: DEADLINE }
                })?
            }
        };
        for ((step, hash), receipt) in self.steps.iter().zip(hashes).zip(receipts) {
            if receipt.get("status").and_then(Value::as_str) != Some("0x1") {
                let (what, hash) = (step.what.clone(), hash.to_string());
                return Err(DevnetError::Reverted { what, chain_id, hash });
            }
        }
        Ok(())
    }

    fn calls(&self) -> Vec<(&'static str, Value)> {
        self.steps
            .iter()
            .zip(self.first_nonce..)
            .map(|(step, nonce)| {
                let transaction = json!({
                    "from": self.sender,
                    "to": step.to.to(),
                    "data": step.data,
                    "nonce": U256::from(nonce),
                    "gas": U256::from(GAS),
                    "maxFeePerGas": U256::from(MAX_FEE),
                    "maxPriorityFeePerGas": "0x1",
                });
                ("eth_sendTransaction", json!([transaction]))
            })
            .collect()
    }

    async fn send(&self, rpc: &Rpc) -> Result<Vec<B256>, DevnetError> {
        let calls = self.calls();
        let mut hashes = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(CHUNK) {
            for answer in rpc.batch(chunk).await? {
                let hash: B256 = serde_json::from_value(answer?)
                    .map_err(|error| rpc.malformed("eth_sendTransaction", &error.to_string()))?;
                hashes.push(hash);
            }
        }
        Ok(hashes)
    }
}

/// The receipts, in the order of the hashes; `None` if not all are there in time. Mines itself, so
/// the chain's own pace is no matter.
async fn mine_until_included(
    rpc: &Rpc,
    hashes: &[B256],
    deadline: Duration,
) -> Result<Option<Vec<Value>>, DevnetError> {
    let calls: Vec<(&str, Value)> =
        hashes.iter().map(|hash| ("eth_getTransactionReceipt", json!([hash]))).collect();
    let start = Instant::now();
    loop {
        rpc.mine(1).await?;
        let answers: Vec<Value> = rpc.batch(&calls).await?.into_iter().collect::<Result<_, _>>()?;
        if !answers.iter().any(Value::is_null) {
            return Ok(Some(answers));
        }
        if start.elapsed() > deadline {
            return Ok(None);
        }
    }
}
