//! Calls made one after the other in one state, by `eth_simulateV1` (Execution API).
//!
//! What a call changes is seen by those after it, so a delivery of several steps can be rehearsed
//! whole before anything is sent, and many questions travel as one call.

use crate::upstream::{CallOutcome, EthCall};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use postrider_jsonrpc::{CallResult, RpcCall, UpstreamError, refused};
use postrider_message::Detail;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The gas limits of the calls in one simulated block add up to no more than this: nodes hold them
/// to the block's own limit.
const BLOCK_GAS: u64 = 24_000_000;

/// Whose code calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// That of contracts which the operator named: how their calls end follows from the state alone.
    Known,
    /// Anyone's: it may look at what differs between nodes, use much gas and answer at length.
    Strangers,
}

/// A call of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The call.
    pub call: EthCall,
    /// It needs none of those before it, so that a node which cannot simulate may be asked it by
    /// itself.
    pub alone: bool,
}

/// A word of a contract's storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The contract.
    pub contract: Address,
    /// Where in its storage.
    pub key: B256,
    /// What it is taken to hold.
    pub value: B256,
}

/// Calls made one after the other, each in the state that those before it left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// The calls.
    pub steps: Vec<Step>,
    /// What is taken for granted about the state before the first of them.
    pub slots: Vec<Slot>,
}

impl Sequence {
    /// Calls that need nothing to be taken for granted.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps, slots: Vec::new() }
    }
}

/// How a call ended, and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// How it ended.
    pub outcome: CallOutcome,
    /// Gas used, what a transaction costs before it begins included; 0 where it is not told.
    pub gas_used: u64,
}

/// The call that simulates a sequence in the state after the block with this hash.
pub(crate) fn request(block: B256, sequence: &Sequence) -> RpcCall {
    let mut blocks = Vec::new();
    let mut gas = 0u64;
    let mut list: Vec<serde_json::Value> = Vec::new();
    for Step { call, .. } in &sequence.steps {
        let wanted = call.gas.unwrap_or_default();
        if !list.is_empty() && gas.saturating_add(wanted) > BLOCK_GAS {
            blocks.push(json!({ "calls": std::mem::take(&mut list) }));
            gas = 0;
        }
        gas = gas.saturating_add(wanted);
        list.push(call.to_json());
    }
    blocks.push(json!({ "calls": list }));
    if let Some(first) = blocks.first_mut().and_then(serde_json::Value::as_object_mut) {
        let overrides = overrides(sequence);
        if !overrides.is_empty() {
            first.insert("stateOverrides".into(), json!(overrides));
        }
    }
    RpcCall {
        method: "eth_simulateV1",
        params: json!([{ "blockStateCalls": blocks, "validation": false }, { "blockHash": block }]),
    }
}

/// What differs from the block's state: the words taken for granted, and balances lent to those who
/// send value along, for whether it is there is not the question.
fn overrides(sequence: &Sequence) -> BTreeMap<Address, serde_json::Value> {
    let mut balances: BTreeMap<Address, U256> = BTreeMap::new();
    for call in sequence.steps.iter().map(|step| &step.call).filter(|c| !c.value.is_zero()) {
        let sum = balances.entry(call.from).or_insert(U256::from(1u64 << 62));
        *sum = sum.saturating_add(call.value);
    }
    let mut words: BTreeMap<Address, BTreeMap<B256, B256>> = BTreeMap::new();
    for slot in &sequence.slots {
        words.entry(slot.contract).or_default().insert(slot.key, slot.value);
    }
    let addresses: BTreeSet<Address> = balances.keys().chain(words.keys()).copied().collect();
    let form = |address: Address| {
        let mut account = serde_json::Map::new();
        if let Some(balance) = balances.get(&address) {
            account.insert("balance".into(), json!(balance));
        }
        if let Some(words) = words.get(&address) {
            account.insert("stateDiff".into(), json!(words));
        }
        (address, account.into())
    };
    addresses.into_iter().map(form).collect()
}

#[derive(Deserialize)]
struct JsonBlock {
    calls: Vec<JsonCall>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonCall {
    #[serde(default)]
    return_data: Bytes,
    #[serde(default)]
    gas_used: U64,
    status: U64,
    error: Option<JsonError>,
}

#[derive(Deserialize)]
struct JsonError {
    data: Option<Bytes>,
}

/// Reads the answer to [`request`] for `count` calls.
pub(crate) fn answer(result: CallResult, count: usize) -> Result<Vec<Simulated>, UpstreamError> {
    let raw = result.map_err(|error| refused(&error))?;
    let blocks: Vec<JsonBlock> = serde_json::from_str(raw.get())
        .map_err(|e| UpstreamError::Garbage(Detail::from(e.to_string())))?;
    let calls: Vec<Simulated> =
        blocks.into_iter().flat_map(|block| block.calls).take(count + 1).map(one).collect();
    if calls.len() == count {
        Ok(calls)
    } else {
        Err(UpstreamError::Garbage("a simulation of other calls than asked for".into()))
    }
}

fn one(call: JsonCall) -> Simulated {
    let gas_used = call.gas_used.to();
    if call.status == U64::from(1) {
        return Simulated { outcome: CallOutcome::Returned(call.return_data), gas_used };
    }
    // Some nodes put what a call reverted with beside the error, others into it.
    let beside = Some(call.return_data).filter(|data| !data.is_empty());
    let data = beside.or_else(|| call.error?.data).unwrap_or_default();
    Simulated { outcome: CallOutcome::Reverted(data), gas_used }
}

/// Whether an error says that the node does not simulate at all.
pub(crate) fn is_unknown(error: &UpstreamError) -> bool {
    const WORDS: [&str; 4] = ["not found", "not exist", "not supported", "unsupported method"];
    match error {
        UpstreamError::Refused { code: -32601 | -32004, .. } => true,
        UpstreamError::Refused { message, .. } => {
            let message = message.to_string().to_ascii_lowercase();
            message.contains("method") && WORDS.iter().any(|word| message.contains(word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_json_rpc::ErrorPayload;
    use serde_json::value::RawValue;

    fn call(gas: u64, value: u64) -> Step {
        let mut call = EthCall::new(Address::repeat_byte(2), vec![1]);
        (call.gas, call.value, call.from) = (Some(gas), U256::from(value), Address::repeat_byte(1));
        Step { call, alone: true }
    }

    #[test]
    fn calls_are_spread_over_blocks_by_their_gas_and_value_is_lent_once() {
        let calls = [call(16_000_000, 3), call(16_000_000, 4), call(1_000_000, 0)];
        let key = B256::with_last_byte(7);
        let slot = Slot { contract: Address::repeat_byte(9), key, value: key };
        let sequence = Sequence { steps: calls.to_vec(), slots: vec![slot] };
        let asked = request(B256::ZERO, &sequence).params;
        let words =
            &asked[0]["blockStateCalls"][0]["stateOverrides"][format!("{:#x}", slot.contract)];
        assert_eq!(words["stateDiff"][format!("{key:#x}")], json!(key));
        let blocks = asked[0]["blockStateCalls"].as_array().unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[1]["calls"].as_array().unwrap().len(), 2);
        let from = format!("{:#x}", Address::repeat_byte(1));
        assert_eq!(
            blocks[0]["stateOverrides"][from]["balance"],
            json!(U256::from((1u64 << 62) + 7))
        );
        assert!(blocks[1].get("stateOverrides").is_none());
    }

    fn read(json: &str, count: usize) -> Result<Vec<Simulated>, UpstreamError> {
        answer(Ok(RawValue::from_string(json.into()).unwrap()), count)
    }

    #[test]
    fn a_revert_is_read_wherever_a_node_puts_it() {
        let json = r#"[{"calls":[
            {"returnData":"0x01","gasUsed":"0x5","status":"0x1","logs":[]},
            {"returnData":"0x02","gasUsed":"0x6","status":"0x0","error":{"code":-3200,"message":"x"}},
            {"returnData":"0x","gasUsed":"0x7","status":"0x0","error":{"code":3,"data":"0x03"}},
            {"returnData":"0x","gasUsed":"0x8","status":"0x0","error":{"code":-32015}}]}]"#;
        let outcomes: Vec<_> = read(json, 4).unwrap().into_iter().map(|s| s.outcome).collect();
        use CallOutcome::{Returned, Reverted};
        let bytes = |b: &'static [u8]| Bytes::from_static(b);
        let expected = [
            Returned(bytes(&[1])),
            Reverted(bytes(&[2])),
            Reverted(bytes(&[3])),
            Reverted(bytes(&[])),
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn r10_fewer_or_more_calls_than_asked_for_are_garbage() {
        let json = r#"[{"calls":[{"returnData":"0x","gasUsed":"0x5","status":"0x1"}]}]"#;
        assert!(read(json, 1).is_ok());
        for count in [0, 2] {
            assert!(matches!(read(json, count), Err(UpstreamError::Garbage(_))), "{count}");
        }
        assert!(matches!(read("{}", 1), Err(UpstreamError::Garbage(_))));
    }

    #[test]
    fn a_node_without_the_method_is_told_from_one_in_trouble() {
        let error = |code, message: &'static str| {
            refused(&ErrorPayload { code, message: message.into(), data: None })
        };
        assert!(is_unknown(&error(-32601, "the method eth_simulateV1 does not exist")));
        assert!(is_unknown(&error(-32000, "Method not supported")));
        assert!(!is_unknown(&error(-32000, "header not found")));
        assert!(!is_unknown(&error(-38015, "block gas limit reached")));
    }
}
