//! What the destination's blocks say about a run.

use crate::failure::Failure;
use alloy_primitives::Address;
use postrider_devnet::{Chain, rpc::parse_quantity};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The node's transactions in a range of blocks.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// Gas by step.
    pub(super) gas: BTreeMap<String, u64>,
    /// From the first block with one of them to the last.
    pub(super) blocks: u64,
    /// Gas used of the gas there is, in all of those but the last.
    pub(super) fill: Option<f64>,
    /// The timestamp of each block of the range, in seconds.
    pub(super) timestamps: BTreeMap<u64, u64>,
}

/// The contracts that tell a step by the one that is called.
pub(super) struct Steps {
    pub(super) payer: Address,
    pub(super) dvn: Address,
    pub(super) library: Address,
    pub(super) executor: Address,
    pub(super) batch: Option<Address>,
}

impl Steps {
    fn of(&self, to: Address) -> &'static str {
        match to {
            to if to == self.dvn => "attest",
            to if to == self.library => "commit",
            to if to == self.executor => "execute",
            to if Some(to) == self.batch => "deliver",
            _ => "other",
        }
    }
}

fn quantity(object: &Value, field: &str) -> u64 {
    object.get(field).and_then(Value::as_str).and_then(parse_quantity).unwrap_or(0)
}

/// Reads the blocks from `from` to `to`.
pub(super) async fn carried(
    chain: &Chain,
    (from, to): (u64, u64),
    steps: &Steps,
) -> Result<Carried, Failure> {
    let mut carried = Carried::default();
    let mut filled: Vec<(u64, f64)> = Vec::new();
    for height in from..=to {
        let number = format!("{height:#x}");
        let block: Value = chain.rpc().call("eth_getBlockByNumber", json!([number, false])).await?;
        carried.timestamps.insert(height, quantity(&block, "timestamp"));
        let receipts: Vec<Value> =
            chain.rpc().call("eth_getBlockReceipts", json!([number])).await?;
        let mut ours = false;
        for receipt in &receipts {
            let address = |field: &str| receipt.get(field)?.as_str()?.parse::<Address>().ok();
            if address("from") == Some(steps.payer) {
                ours = true;
                let step = steps.of(address("to").unwrap_or_default()).to_owned();
                *carried.gas.entry(step).or_default() += quantity(receipt, "gasUsed");
            }
        }
        if ours {
            #[allow(clippy::cast_precision_loss, reason = "gas of a block is far below 2^52")]
            let fill = quantity(&block, "gasUsed") as f64 / quantity(&block, "gasLimit") as f64;
            filled.push((height, fill));
        }
    }
    if let (Some((first, _)), Some((last, _))) = (filled.first(), filled.last()) {
        carried.blocks = last - first + 1;
        // Blocks between that hold nothing of the node's count as empty.
        let full: f64 = filled.iter().filter(|(height, _)| height != last).map(|(_, f)| f).sum();
        #[allow(clippy::cast_precision_loss, reason = "a handful of blocks")]
        let count = (last - first) as f64;
        carried.fill = (count > 0.0).then(|| full / count);
    }
    Ok(carried)
}
