//! One RPC node of a network: typed questions, and what is remembered of its health.

use crate::{
    json::{JsonBlock, JsonReceipt},
    simulate::{self, Code, Sequence, Simulated, Step},
};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use postrider_jsonrpc::{
    CallResult, Health, HealthReport, RpcCall, RpcClient, UpstreamError, refused,
};
use postrider_message::{Detail, Height, OperatorName, TxHash, UpstreamName};
use postrider_verification::evm::ClaimedHeader;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub use postrider_jsonrpc::RpcLimits as UpstreamLimits;

/// A call to a contract that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EthCall {
    /// In whose name; the zero address if none.
    pub from: Address,
    /// The contract.
    pub to: Address,
    /// The call data.
    pub data: Bytes,
    /// The value sent along, in wei.
    pub value: U256,
    /// The most gas it may use; the node's own bound if none.
    pub gas: Option<u64>,
}

impl EthCall {
    /// A call in nobody's name and without value.
    #[must_use]
    pub fn new(to: Address, data: Vec<u8>) -> Self {
        Self { from: Address::ZERO, to, data: data.into(), value: U256::ZERO, gas: None }
    }

    /// The parameters of `eth_call` in the state `at`. Where value is sent along, the sender is
    /// lent it: whether it is there is not the question.
    fn params(&self, at: &serde_json::Value) -> serde_json::Value {
        if self.value.is_zero() {
            return json!([self.to_json(), at]);
        }
        let balance = self.value.saturating_add(U256::from(1u64 << 62));
        let mut lent = serde_json::Map::new();
        lent.insert(format!("{:#x}", self.from), json!({ "balance": balance }));
        json!([self.to_json(), at, lent])
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut call =
            json!({ "from": self.from, "to": self.to, "data": self.data, "value": self.value });
        if let (Some(gas), Some(fields)) = (self.gas, call.as_object_mut()) {
            fields.insert("gas".into(), json!(U64::from(gas)));
        }
        call
    }
}

/// How a call to a contract ended. Both are answers of the chain; a node that cannot tell gives
/// neither. A call that runs out of gas or hits an invalid instruction counts as reverted without
/// data, which is what a calling contract would see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallOutcome {
    /// It returned.
    Returned(Bytes),
    /// It reverted with this data.
    Reverted(Bytes),
}

impl CallOutcome {
    /// What it returned, unless it reverted.
    #[must_use]
    pub fn returned(&self) -> Option<&Bytes> {
        match self {
            Self::Returned(bytes) => Some(bytes),
            Self::Reverted(_) => None,
        }
    }
}

/// An account, and what to offer for its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountState {
    /// The next nonce.
    pub nonce: u64,
    /// The balance in wei.
    pub balance: U256,
    /// The tip that the node suggests, in wei a gas; 0 if it suggests none.
    pub suggested_tip: u128,
}

/// A receipt among those of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockReceipt {
    /// The transaction, as the upstream names it: receipts do not commit to it.
    pub transaction: TxHash,
    /// Whether the transaction did not revert.
    pub succeeded: bool,
    /// The receipt in consensus encoding.
    pub encoded: Bytes,
}

/// A transaction's receipt as one upstream tells it: good for deciding what to try next, never for
/// believing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The transaction.
    pub transaction: TxHash,
    /// The height of its block.
    pub height: Height,
    /// The hash of its block.
    pub block: B256,
    /// Whether it did not revert.
    pub succeeded: bool,
    /// Gas used.
    pub gas_used: u64,
    /// Its logs.
    pub logs: Vec<postrider_verification::evm::ReceiptLog>,
}

/// One RPC node of a network.
#[derive(Debug)]
pub struct Upstream {
    name: UpstreamName,
    operator: OperatorName,
    chain_id: u64,
    client: RpcClient,
    health: Mutex<Health>,
    chain_checked: AtomicBool,
    /// It does not know `eth_simulateV1`.
    cannot_simulate: AtomicBool,
}

impl Upstream {
    /// An upstream that must serve the chain `chain_id` (EIP-155).
    #[must_use]
    pub fn new(
        name: UpstreamName,
        operator: OperatorName,
        chain_id: u64,
        client: RpcClient,
    ) -> Self {
        Self {
            name,
            operator,
            chain_id,
            client,
            health: Mutex::default(),
            chain_checked: AtomicBool::new(false),
            cannot_simulate: AtomicBool::new(false),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &UpstreamName {
        &self.name
    }

    /// Who runs it.
    #[must_use]
    pub fn operator(&self) -> &OperatorName {
        &self.operator
    }

    /// The client under it.
    #[must_use]
    pub fn client(&self) -> &RpcClient {
        &self.client
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its health.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        self.health().report()
    }

    /// Whether it is asked at all now: it is neither in quarantine nor resting after failures.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.health().is_usable()
    }

    /// Puts it in quarantine; true if it was not in it already.
    pub(crate) fn quarantine(&self) -> bool {
        self.health().quarantine()
    }

    /// What orders upstreams from the best to ask to the worst: failing ones last, then slow ones.
    pub(crate) fn preference(&self) -> (u32, Duration) {
        self.health().preference()
    }

    /// Makes calls; before the first, asks which chain it serves, and again after every failure,
    /// since what answers at a URL can change.
    async fn calls(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        self.calls_running(calls, Code::Known).await
    }

    /// The same; what strangers' code makes of the time and the length of an answer is not put down
    /// to the node.
    async fn calls_running(
        &self,
        calls: &[RpcCall],
        code: Code,
    ) -> Result<Vec<CallResult>, UpstreamError> {
        let started = Instant::now();
        let result = self.checked_calls(calls).await;
        if matches!(&result, Err(e) if !matches!(e, UpstreamError::Refused { .. })) {
            self.chain_checked.store(false, Ordering::Relaxed);
        }
        let excused = code == Code::Strangers
            && matches!(&result, Err(UpstreamError::Timeout(_) | UpstreamError::TooLong(_)));
        if !excused {
            self.health().note(started.elapsed(), &result);
        }
        result
    }

    async fn checked_calls(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        if !self.chain_checked.load(Ordering::Relaxed) {
            let call = RpcCall { method: "eth_chainId", params: json!([]) };
            let mut results = self.client.call_many(&[call]).await?;
            let found: U64 = parse(results.pop())?;
            if found.to::<u64>() != self.chain_id {
                return Err(UpstreamError::WrongChain {
                    expected: self.chain_id.to_string().into(),
                    found: found.to::<u64>().to_string().into(),
                });
            }
            self.chain_checked.store(true, Ordering::Relaxed);
        }
        self.client.call_many(calls).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: serde_json::Value,
    ) -> Result<T, UpstreamError> {
        parse(self.calls(&[RpcCall { method, params }]).await?.pop())
    }

    /// Asks which chain it serves, whatever was known before.
    ///
    /// # Errors
    /// [`UpstreamError::WrongChain`] if it is another one than configured.
    pub async fn check_chain(&self) -> Result<(), UpstreamError> {
        self.chain_checked.store(false, Ordering::Relaxed);
        self.calls(&[]).await.map(|_| ())
    }

    /// The newest header, and the one that `tag` names (`safe`, `finalized`) if one is asked for.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn newest(
        &self,
        tag: Option<&'static str>,
    ) -> Result<(ClaimedHeader, Option<Height>), UpstreamError> {
        let call = |tag| RpcCall { method: "eth_getBlockByNumber", params: json!([tag, false]) };
        let calls: Vec<_> = std::iter::once("latest").chain(tag).map(call).collect();
        let mut results = self.calls(&calls).await?.into_iter();
        let latest: ClaimedHeader = block(results.next())?;
        let tagged = match tag {
            Some(_) => Some(Height(block(results.next())?.header.number)),
            None => None,
        };
        self.health().reached(Height(latest.header.number));
        Ok((latest, tagged))
    }

    /// The headers at `heights`, in that order, each with the number asked for.
    ///
    /// # Errors
    /// [`UpstreamError::Missing`] if it does not have one of them.
    pub async fn headers(&self, heights: &[Height]) -> Result<Vec<ClaimedHeader>, UpstreamError> {
        let calls: Vec<_> = heights
            .iter()
            .map(|h| RpcCall {
                method: "eth_getBlockByNumber",
                params: json!([U64::from(h.0), false]),
            })
            .collect();
        self.calls(&calls).await?.into_iter().map(|r| block(Some(r))).collect()
    }

    /// All receipts of the block with this hash.
    ///
    /// # Errors
    /// [`UpstreamError::Missing`] if it does not have the block.
    pub async fn receipts(&self, block: B256) -> Result<Vec<BlockReceipt>, UpstreamError> {
        let receipts: Option<Vec<JsonReceipt>> =
            self.ask("eth_getBlockReceipts", json!([block])).await?;
        let receipts = receipts.ok_or(UpstreamError::Missing("the block's receipts"))?;
        let form = |r: &JsonReceipt| BlockReceipt {
            transaction: TxHash(r.transaction_hash),
            succeeded: r.succeeded(),
            encoded: r.to_consensus(),
        };
        Ok(receipts.iter().map(form).collect())
    }

    /// The outcomes of `calls` in the state after the block with this hash; `None` for a call it
    /// cannot tell the outcome of.
    ///
    /// # Errors
    /// [`UpstreamError`] if it can tell none.
    pub async fn call_at(
        &self,
        block: B256,
        calls: &[EthCall],
    ) -> Result<Vec<Option<CallOutcome>>, UpstreamError> {
        self.outcomes_at(block, calls, Code::Known).await
    }

    async fn outcomes_at(
        &self,
        block: B256,
        calls: &[EthCall],
        code: Code,
    ) -> Result<Vec<Option<CallOutcome>>, UpstreamError> {
        let at = json!({ "blockHash": block });
        let calls: Vec<_> =
            calls.iter().map(|c| RpcCall { method: "eth_call", params: c.params(&at) }).collect();
        let results = self.calls_running(&calls, code).await?;
        let outcomes: Vec<_> = results.into_iter().map(outcome).collect();
        match outcomes.first() {
            Some(Err(error)) if outcomes.iter().all(Result::is_err) => Err(error.clone()),
            _ => Ok(outcomes.into_iter().map(Result::ok).collect()),
        }
    }

    /// The outcomes of the calls of each sequence, the sequences apart from each other, in the state
    /// after the block with this hash; `None` for a call it cannot tell the outcome of. A node that
    /// cannot simulate is asked the calls that need no other before them.
    ///
    /// # Errors
    /// [`UpstreamError`] if it can tell none.
    pub async fn simulate_at(
        &self,
        block: B256,
        sequences: &[Sequence],
        code: Code,
    ) -> Result<Vec<Vec<Option<Simulated>>>, UpstreamError> {
        if self.cannot_simulate.load(Ordering::Relaxed) {
            return self.call_each_at(block, sequences, code).await;
        }
        let calls: Vec<_> = sequences.iter().map(|s| simulate::request(block, s)).collect();
        let results = self.calls_running(&calls, code).await?;
        let told: Vec<_> = results
            .into_iter()
            .zip(sequences)
            .map(|(result, sequence)| simulate::answer(result, sequence.steps.len()))
            .collect();
        if told.iter().any(|t| matches!(t, Err(error) if simulate::is_unknown(error))) {
            self.cannot_simulate.store(true, Ordering::Relaxed);
            return self.call_each_at(block, sequences, code).await;
        }
        match told.first() {
            Some(Err(error)) if told.iter().all(Result::is_err) => Err(error.clone()),
            _ => Ok(told
                .into_iter()
                .zip(sequences)
                .map(|(told, sequence)| match told {
                    Ok(list) => list.into_iter().map(Some).collect(),
                    Err(_) => vec![None; sequence.steps.len()],
                })
                .collect()),
        }
    }

    async fn call_each_at(
        &self,
        block: B256,
        sequences: &[Sequence],
        code: Code,
    ) -> Result<Vec<Vec<Option<Simulated>>>, UpstreamError> {
        let alone = sequences.iter().flat_map(|s| &s.steps).filter(|step| step.alone);
        let calls: Vec<EthCall> = alone.map(|step| step.call.clone()).collect();
        let mut told = self.outcomes_at(block, &calls, code).await?.into_iter();
        let mut one = |step: &Step| {
            let outcome = if step.alone { told.next().flatten() } else { None };
            outcome.map(|outcome| Simulated { outcome, gas_used: 0 })
        };
        Ok(sequences.iter().map(|s| s.steps.iter().map(&mut one).collect()).collect())
    }

    /// The account after its included transactions, and the tip to offer.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn account(&self, address: Address) -> Result<AccountState, UpstreamError> {
        let at = json!([address, "latest"]);
        let calls = [
            RpcCall { method: "eth_getTransactionCount", params: at.clone() },
            RpcCall { method: "eth_getBalance", params: at },
            RpcCall { method: "eth_maxPriorityFeePerGas", params: json!([]) },
        ];
        let mut results = self.calls(&calls).await?.into_iter();
        let nonce: U64 = parse(results.next())?;
        let balance = parse(results.next())?;
        // Not every node suggests one.
        let tip: U256 = parse(results.next()).unwrap_or_default();
        let suggested_tip = u128::try_from(tip).unwrap_or(u128::MAX);
        Ok(AccountState { nonce: nonce.to(), balance, suggested_tip })
    }

    /// The code at each address in the latest state.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn codes(&self, addresses: &[Address]) -> Result<Vec<Bytes>, UpstreamError> {
        let calls: Vec<_> = addresses
            .iter()
            .map(|a| RpcCall { method: "eth_getCode", params: json!([a, "latest"]) })
            .collect();
        self.calls(&calls).await?.into_iter().map(|r| parse(Some(r))).collect()
    }

    /// Hands in signed transactions, all in one request where it takes batches. Each result is
    /// the node's own word: known already, or refused with a message.
    ///
    /// # Errors
    /// [`UpstreamError`] if the request as a whole failed.
    pub async fn broadcast(
        &self,
        raw: &[Bytes],
    ) -> Result<Vec<Result<(), UpstreamError>>, UpstreamError> {
        let calls: Vec<_> = raw
            .iter()
            .map(|raw| RpcCall { method: "eth_sendRawTransaction", params: json!([raw]) })
            .collect();
        let results = self.calls(&calls).await?;
        Ok(results.into_iter().map(|r| r.map(|_| ()).map_err(|e| refused(&e))).collect())
    }

    /// Where the transactions were included; `None` for one that is not, as far as it knows.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn inclusions(
        &self,
        transactions: &[TxHash],
    ) -> Result<Vec<Option<Inclusion>>, UpstreamError> {
        let calls: Vec<_> = transactions
            .iter()
            .map(|t| RpcCall { method: "eth_getTransactionReceipt", params: json!([t.0]) })
            .collect();
        let results = self.calls(&calls).await?;
        results
            .into_iter()
            .map(|r| Ok(parse::<Option<JsonReceipt>>(Some(r))?.map(|r| inclusion(&r))))
            .collect()
    }

    /// To whom and with what call data the transaction was sent, as it tells.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn transaction_call(
        &self,
        transaction: TxHash,
    ) -> Result<Option<(Option<Address>, Bytes)>, UpstreamError> {
        #[derive(serde::Deserialize)]
        struct JsonTransaction {
            to: Option<Address>,
            input: Bytes,
        }
        let found: Option<JsonTransaction> =
            self.ask("eth_getTransactionByHash", json!([transaction.0])).await?;
        Ok(found.map(|t| (t.to, t.input)))
    }
}

fn inclusion(receipt: &JsonReceipt) -> Inclusion {
    Inclusion {
        transaction: TxHash(receipt.transaction_hash),
        height: Height(receipt.block_number.to()),
        block: receipt.block_hash,
        succeeded: receipt.succeeded(),
        gas_used: receipt.gas_used.to(),
        logs: receipt.logs().iter().zip(0..).map(|(log, i)| log.to_proven_form(i)).collect(),
    }
}

fn parse<T: DeserializeOwned>(result: Option<CallResult>) -> Result<T, UpstreamError> {
    let raw =
        result.ok_or(UpstreamError::Missing("an answer"))?.map_err(|error| refused(&error))?;
    serde_json::from_str(raw.get()).map_err(|e| UpstreamError::Garbage(Detail::from(e.to_string())))
}

fn block(result: Option<CallResult>) -> Result<ClaimedHeader, UpstreamError> {
    parse::<Option<JsonBlock>>(result)?
        .map(ClaimedHeader::from)
        .ok_or(UpstreamError::Missing("the block"))
}

fn outcome(result: CallResult) -> Result<CallOutcome, UpstreamError> {
    match result {
        Ok(raw) => parse(Some(Ok(raw))).map(CallOutcome::Returned),
        Err(error) => match error.as_revert_data() {
            Some(data) => Ok(CallOutcome::Reverted(data)),
            None if gave_up(error.code, &error.message) => Ok(CallOutcome::Reverted(Bytes::new())),
            None => Err(refused(&error)),
        },
    }
}

/// Whether an error means that the call itself failed in the virtual machine, rather than that the
/// node could not make it. Nodes have no common code for it: 3 is a revert, and the rest is told by
/// words that go-ethereum, reth, Nethermind, Erigon, Besu and anvil use.
fn gave_up(code: i64, message: &str) -> bool {
    const WORDS: [&str; 6] =
        ["revert", "out of gas", "outofgas", "invalid opcode", "invalidfe", "stack "];
    let message = message.to_ascii_lowercase();
    code == 3 || WORDS.iter().any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_json_rpc::ErrorPayload;

    fn failed(code: i64, message: &'static str) -> Result<CallOutcome, UpstreamError> {
        outcome(Err(ErrorPayload { code, message: message.into(), data: None }))
    }

    #[test]
    fn r6_a_call_that_burns_its_gas_is_an_answer_and_a_nodes_trouble_is_none() {
        for (code, message) in [
            (3, "execution reverted"),
            (-32000, "out of gas"),
            (-32003, "EVM error OutOfGas"),
            (-32000, "invalid opcode: INVALID"),
            (-32000, "stack underflow (0 <=> 1)"),
        ] {
            assert_eq!(failed(code, message), Ok(CallOutcome::Reverted(Bytes::new())), "{message}");
        }
        for (code, message) in
            [(-32000, "header not found"), (-32000, "missing trie node"), (-32005, "limit")]
        {
            assert!(
                matches!(failed(code, message), Err(UpstreamError::Refused { .. })),
                "{message}"
            );
        }
    }
}
