//! Being behind, and being too far ahead.

use serde_json::Value;

use super::fault::{Call, header, number, quantity, set};
use crate::rpc::parse_quantity;

/// The true heights of the chain behind the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) latest: u64,
    pub(super) safe: u64,
    pub(super) finalized: u64,
}

impl Heads {
    fn of_tag(&self, tag: &str) -> Option<u64> {
        match tag {
            "latest" | "pending" => Some(self.latest),
            "safe" => Some(self.safe),
            "finalized" => Some(self.finalized),
            _ => None,
        }
    }
}

/// Which parameter names a block.
fn block_position(method: &str) -> Option<usize> {
    match method {
        "eth_getBlockByNumber"
        | "eth_getBlockReceipts"
        | "eth_getBlockTransactionCountByNumber" => Some(0),
        "eth_call"
        | "eth_simulateV1"
        | "eth_estimateGas"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_getTransactionCount" => Some(1),
        "eth_getStorageAt" | "eth_getProof" => Some(2),
        _ => None,
    }
}

/// Every place of a call that may hold a block tag.
fn block_tags(call: &mut Call) -> Vec<&mut Value> {
    if call.method == "eth_getLogs" {
        let Some(filter) = call.params.get_mut(0).and_then(Value::as_object_mut) else {
            return Vec::new();
        };
        return filter
            .iter_mut()
            .filter(|(name, _)| matches!(name.as_str(), "fromBlock" | "toBlock"))
            .map(|(_, value)| value)
            .collect();
    }
    let position = block_position(&call.method);
    position.and_then(|position| call.params.get_mut(position)).into_iter().collect()
}

pub(super) fn ask_behind(call: &mut Call, heads: &Heads, behind: u64) {
    for tag in block_tags(call) {
        if let Some(height) = tag.as_str().and_then(|tag| heads.of_tag(tag)) {
            *tag = quantity(height.saturating_sub(behind));
        }
    }
}

pub(super) fn ask_latest_for_final(call: &mut Call) {
    for tag in block_tags(call) {
        if matches!(tag.as_str(), Some("safe" | "finalized")) {
            *tag = Value::from("latest");
        }
    }
}

/// Takes away whatever lies above the height that the upstream admits to.
pub(super) fn hide_above(asked: &Call, result: &mut Value, heads: &Heads, behind: u64) {
    let head = heads.latest.saturating_sub(behind);
    let above = |object: &Value, field| number(object, field).is_some_and(|height| height > head);
    match asked.method.as_str() {
        "eth_blockNumber" => *result = quantity(head),
        "eth_getBlockByNumber" | "eth_getBlockByHash" if above(result, "number") => {
            *result = Value::Null;
        }
        "eth_getTransactionReceipt" | "eth_getTransactionByHash"
            if above(result, "blockNumber") =>
        {
            *result = Value::Null;
        }
        "eth_getBlockReceipts"
            if result.get(0).is_some_and(|receipt| above(receipt, "blockNumber")) =>
        {
            *result = Value::Null;
        }
        "eth_getLogs" => {
            if let Some(logs) = result.as_array_mut() {
                logs.retain(|log| !above(log, "blockNumber"));
            }
        }
        _ => {}
    }
}

/// Raises the height of whatever is the newest.
pub(super) fn claim_ahead(asked: &Call, result: &mut Value, ahead: u64) {
    if asked.method == "eth_blockNumber" {
        if let Some(height) = result.as_str().and_then(parse_quantity) {
            *result = quantity(height.saturating_add(ahead));
        }
        return;
    }
    let tag = asked.params.get(0).and_then(Value::as_str);
    if !matches!(tag, Some("latest" | "safe" | "finalized")) {
        return;
    }
    if let Some(header) = header(asked, result)
        && let Some(height) = number(header, "number")
    {
        set(header, "number", quantity(height.saturating_add(ahead)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADS: Heads = Heads { latest: 20, safe: 10, finalized: 5 };

    #[test]
    fn tags_are_asked_behind() {
        for (method, params, expected) in [
            ("eth_getBlockByNumber", json!(["latest", false]), json!(["0x11", false])),
            ("eth_getBlockByNumber", json!(["finalized", false]), json!(["0x2", false])),
            ("eth_getBlockByNumber", json!(["0x14", false]), json!(["0x14", false])),
            ("eth_call", json!([{}, "safe"]), json!([{}, "0x7"])),
            ("eth_call", json!([{}]), json!([{}])),
            ("eth_call", json!([{}, {"blockHash": "0x1"}]), json!([{}, {"blockHash": "0x1"}])),
            ("eth_getLogs", json!([{"toBlock": "latest"}]), json!([{"toBlock": "0x11"}])),
            ("eth_getLogs", json!([]), json!([])),
            ("eth_chainId", json!(["latest"]), json!(["latest"])),
            ("eth_getCode", Value::Null, Value::Null),
        ] {
            let mut call = Call { id: Value::Null, method: method.to_owned(), params };
            ask_behind(&mut call, &HEADS, 3);
            assert_eq!(call.params, expected, "{method}");
        }
    }

    #[test]
    fn being_further_behind_than_there_are_blocks_is_the_genesis() {
        let call =
            |method: &str| Call { id: Value::Null, method: method.into(), params: json!([]) };
        let mut result = json!("0x14");
        hide_above(&call("eth_blockNumber"), &mut result, &HEADS, 50);
        assert_eq!(result, json!("0x0"));
    }
}
