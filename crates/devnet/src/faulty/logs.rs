//! Logs that never were, and logs that are kept back.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::{Value, json};

use super::fault::{Call, header, number, receipts, set};

const BLOOM_BYTES: usize = 256;

/// A log as `eth_getLogs` gives it, for [`super::Fault::ForgeLog`].
#[must_use]
pub fn forged_log(
    block: (u64, B256),
    transaction: (u64, B256),
    index: u64,
    address: Address,
    topics: &[B256],
    data: &Bytes,
) -> Value {
    json!({
        "address": address,
        "topics": topics,
        "data": data,
        "blockNumber": U256::from(block.0),
        "blockHash": block.1,
        "transactionIndex": U256::from(transaction.0),
        "transactionHash": transaction.1,
        "logIndex": U256::from(index),
        "removed": false,
    })
}

pub(super) fn forge(asked: &Call, result: &mut Value, log: &Value, all_ones: bool) {
    if asked.method == "eth_getLogs" {
        if let Some(logs) = result.as_array_mut()
            && asked.params.get(0).is_some_and(|filter| passes(filter, log))
        {
            logs.push(log.clone());
            logs.sort_by_key(|log| (number(log, "blockNumber"), number(log, "logIndex")));
        }
        return;
    }
    let height = number(log, "blockNumber");
    if all_ones
        && let Some(header) = header(asked, result)
        && number(header, "number") == height
    {
        set(header, "logsBloom", bloom(0xff));
    }
    let mut receipts: Vec<&mut Value> = receipts(asked, result)
        .into_iter()
        .filter(|receipt| number(receipt, "blockNumber") == height)
        .collect();
    let named = receipts
        .iter()
        .position(|receipt| receipt.get("transactionHash") == log.get("transactionHash"));
    let last = || {
        (asked.method == "eth_getBlockReceipts").then(|| receipts.len().checked_sub(1)).flatten()
    };
    let Some(index) = named.or_else(last) else {
        return;
    };
    if let Some(receipt) = receipts.get_mut(index) {
        if let Some(logs) = receipt.get_mut("logs").and_then(Value::as_array_mut) {
            logs.push(log.clone());
        }
        if all_ones {
            set(receipt, "logsBloom", bloom(0xff));
        }
    }
}

pub(super) fn drop_logs(asked: &Call, result: &mut Value, address: Address, zero: bool) {
    if asked.method == "eth_getLogs"
        && let Some(logs) = result.as_array_mut()
    {
        logs.retain(|log| !is_from(log, address));
    }
    for receipt in receipts(asked, result) {
        if let Some(logs) = receipt.get_mut("logs").and_then(Value::as_array_mut) {
            logs.retain(|log| !is_from(log, address));
        }
        if zero {
            set(receipt, "logsBloom", bloom(0));
        }
    }
    if zero && let Some(header) = header(asked, result) {
        set(header, "logsBloom", bloom(0));
    }
}

fn is_from(log: &Value, address: Address) -> bool {
    log.get("address").and_then(Value::as_str).and_then(|text| text.parse().ok()) == Some(address)
}

fn bloom(byte: u8) -> Value {
    json!(hex::encode_prefixed([byte; BLOOM_BYTES]))
}

/// Whether a log passes the filter of `eth_getLogs`. Tags such as `latest` let every log pass.
fn passes(filter: &Value, log: &Value) -> bool {
    if !one_of(filter.get("blockHash"), log.get("blockHash")) {
        return false;
    }
    let height = number(log, "blockNumber");
    let from = number(filter, "fromBlock");
    let to = number(filter, "toBlock");
    if from.is_some_and(|from| height < Some(from)) || to.is_some_and(|to| height > Some(to)) {
        return false;
    }
    if !one_of(filter.get("address"), log.get("address")) {
        return false;
    }
    let wanted = filter.get("topics").and_then(Value::as_array);
    let topics = log.get("topics");
    wanted.is_none_or(|wanted| {
        wanted.iter().enumerate().all(|(position, wanted)| {
            one_of(Some(wanted), topics.and_then(|topics| topics.get(position)))
        })
    })
}

/// A filter position: absent or null lets all pass, a list any of its values.
fn one_of(wanted: Option<&Value>, value: Option<&Value>) -> bool {
    match wanted {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty() || list.iter().any(|one| same(one, value)),
        Some(one) => same(one, value),
    }
}

/// Hex is compared without regard to case.
fn same(one: &Value, other: Option<&Value>) -> bool {
    match (one.as_str(), other.and_then(Value::as_str)) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let topic = B256::repeat_byte(7);
        let log = forged_log(
            (10, B256::repeat_byte(1)),
            (0, B256::repeat_byte(2)),
            3,
            Address::repeat_byte(0xab),
            &[topic],
            &Bytes::new(),
        );
        let upper = format!("0x{}", "AB".repeat(20));
        for (filter, expected) in [
            (json!({}), true),
            (json!({"fromBlock": "0xa", "toBlock": "0xa"}), true),
            (json!({"fromBlock": "0xb"}), false),
            (json!({"toBlock": "0x9"}), false),
            (json!({"fromBlock": "0x0", "toBlock": "latest"}), true),
            (json!({"blockHash": B256::repeat_byte(1)}), true),
            (json!({"blockHash": B256::repeat_byte(2)}), false),
            (json!({"address": upper}), true),
            (json!({"address": [Address::ZERO, upper]}), true),
            (json!({"address": Address::ZERO}), false),
            (json!({"topics": [topic]}), true),
            (json!({"topics": [[B256::ZERO, topic]]}), true),
            (json!({"topics": [null]}), true),
            (json!({"topics": [B256::ZERO]}), false),
            (json!({"topics": [null, topic]}), false),
        ] {
            assert_eq!(passes(&filter, &log), expected, "{filter}");
        }
    }
}
