//! Many messages in one transaction: the calls of `BatchDelivery` (contracts/ of this project).
//!
//! It commits and executes through functions that are open to anyone, so it needs no role. Each
//! item has gas limits that it cannot exceed; one that fails takes nothing from the others, and is
//! reported by an event.

use crate::{
    events::RevertReason,
    revert::reason_text,
    view::as_transaction,
    wire::{Guid, PacketHeader},
};
use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::{SolCall, SolEvent, SolValue, sol};
use postrider_evm::{CallOutcome, EthCall, transaction::Payload};

sol! {
    /// One message, and what may be spent on it.
    #[derive(Debug, PartialEq, Eq)]
    struct BatchItem {
        bytes packet;
        uint64 commitGas;
        uint64 receiveGas;
        uint128 value;
    }

    /// How an item ended.
    #[derive(Debug, PartialEq, Eq)]
    struct BatchResult {
        uint8 outcome;
        uint64 commitGasUsed;
        uint64 receiveGasUsed;
        bytes reason;
    }

    /// The contract.
    #[derive(Debug, PartialEq, Eq)]
    interface BatchDelivery {
        event ItemFailed(bytes32 indexed guid, uint8 outcome, bytes reason);

        function endpoint() external view returns (address);
        function deliver(address receiveLibrary, BatchItem[] items)
            external payable returns (BatchResult[] results);
    }
}

/// The contract as it was compiled: its ABI and bytecode.
const ARTIFACT: &str = include_str!("../../../../contracts/out-abi/BatchDelivery.json");
/// The deployer that stands at this address on nearly every EVM network, by a transaction that
/// fits all of them (<https://github.com/Arachnid/deterministic-deployment-proxy>): it makes a
/// contract at an address that follows from the code alone.
pub const DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// Gas for making the contract, with its 4 KB of code.
const DEPLOY_GAS: u64 = 2_000_000;

/// The most items in one transaction: beyond it the end of a block is wasted.
pub const MAX_ITEMS: usize = 25;
/// The most gas for one transaction: what a network may allow (EIP-7825).
pub const MAX_BATCH_GAS: u64 = 16_000_000;
/// What the contract needs around its items.
const BASE_GAS: u64 = 15_000;
/// What it needs beside the calls of an item that was done.
const ITEM_GAS: u64 = 5_000;
/// What it must have left beside an item's own limits before it tries it.
const RESERVE_GAS: u64 = 40_000;
/// What it keeps for reporting each item that is still to come.
const REPORT_GAS: u64 = 5_000;
/// What it keeps for giving value back.
const REFUND_GAS: u64 = 40_000;

/// How the contract for an endpoint is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// Where it will stand. Nobody can put anything else there.
    pub address: Address,
    /// The call of [`DEPLOYER`] that makes it.
    pub payload: Payload,
}

/// How the contract for `endpoint` is made; `None` only if this program was built from a broken
/// artifact.
#[must_use]
pub fn making(endpoint: Address) -> Option<Making> {
    #[derive(serde::Deserialize)]
    struct Artifact {
        bytecode: Bytes,
    }
    let artifact: Artifact = serde_json::from_str(ARTIFACT).ok()?;
    let code = [&artifact.bytecode[..], &endpoint.abi_encode()].concat();
    let salt = B256::ZERO;
    let address = DEPLOYER.create2_from_code(salt, &code);
    let data = [salt.as_slice(), &code].concat();
    let payload =
        Payload { to: DEPLOYER, data: data.into(), value: U256::ZERO, gas_limit: DEPLOY_GAS };
    Some(Making { address, payload })
}

/// Asks a contract for its endpoint, by which it is told that it stands.
#[must_use]
pub fn endpoint_question(contract: Address) -> EthCall {
    EthCall::new(contract, BatchDelivery::endpointCall {}.abi_encode())
}

/// The answer to [`endpoint_question`]; `None` if there is no such contract.
#[must_use]
pub fn endpoint_answer(outcome: &CallOutcome) -> Option<Address> {
    BatchDelivery::endpointCall::abi_decode_returns_validate(outcome.returned()?).ok()
}

/// One message, and what may be spent on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The library that holds the message's attestations.
    pub library: Address,
    /// The packet's header.
    pub header: PacketHeader,
    /// Its message, without the guid.
    pub message: Bytes,
    /// Gas that the commit may use; 0 does not commit.
    pub commit_gas: u64,
    /// Gas that the endpoint's `lzReceive` may use, its own share included; 0 does not execute.
    pub receive_gas: u64,
    /// Value for the receiver, in wei.
    pub value: u128,
    /// Gas that commit and execution used when they were rehearsed, before refunds; the limits
    /// where that is not known.
    pub expected_gas: u64,
}

impl Item {
    fn limits(&self) -> u64 {
        self.commit_gas.saturating_add(self.receive_gas)
    }

    /// The gas limit of a transaction with nothing else in it.
    #[must_use]
    pub fn transaction_gas(&self) -> u64 {
        payload(Address::ZERO, self.library, std::slice::from_ref(self)).gas_limit
    }
}

/// The call that delivers `items`, which all take the same library's word.
#[must_use]
pub fn payload(contract: Address, library: Address, items: &[Item]) -> Payload {
    let call = BatchDelivery::deliverCall {
        receiveLibrary: library,
        items: items
            .iter()
            .map(|item| BatchItem {
                packet: [&item.header.encode()[..], &item.message].concat().into(),
                commitGas: item.commit_gas,
                receiveGas: item.receive_gas,
                value: item.value,
            })
            .collect(),
    };
    let data = call.abi_encode();
    let gas_limit = gas_limit(&data, items);
    let value = items.iter().map(|item| U256::from(item.value)).sum();
    Payload { to: contract, data: data.into(), value, gas_limit }
}

/// Enough that no item finds less than its limits promise it, if those before it use what they used
/// in rehearsal.
fn gas_limit(data: &[u8], items: &[Item]) -> u64 {
    let mut before = 0u64;
    let mut needed = 0u64;
    for (item, later) in items.iter().zip((0..items.len() as u64).rev()) {
        let own = item.limits().saturating_mul(64) / 63 + RESERVE_GAS + REPORT_GAS * later;
        needed = needed.max(before.saturating_add(own));
        before = before.saturating_add(item.expected_gas.min(item.limits()) + ITEM_GAS);
    }
    let refund = if items.iter().any(|item| item.value > 0) { REFUND_GAS } else { 0 };
    as_transaction(needed.max(before) + BASE_GAS + refund, data)
}

/// Puts items together into as few transactions as limits allow, in their order; none but that of a single
/// item asks for more than `transaction_gas`, and none has more than `most_items`.
#[must_use]
pub fn group(items: &[Item], most_items: usize, transaction_gas: u64) -> Vec<&[Item]> {
    let mut groups = Vec::new();
    let mut rest = items;
    while let Some(first) = rest.first() {
        let mut gas = 0u64;
        let most = transaction_gas.min(MAX_BATCH_GAS);
        let mut fits = rest
            .iter()
            .take(most_items.min(MAX_ITEMS))
            .take_while(|item| {
                let is_first = gas == 0;
                gas = gas.saturating_add(item.expected_gas + ITEM_GAS);
                let limit = gas.saturating_add(item.limits());
                item.library == first.library && (is_first || limit <= most)
            })
            .count()
            .max(1);
        // What stands around the items, and their bytes, are counted with the whole.
        while fits > 1
            && let Some(group) = rest.get(..fits)
            && payload(Address::ZERO, first.library, group).gas_limit > transaction_gas
        {
            fits -= 1;
        }
        let (group, others) = rest.split_at(fits.min(rest.len()));
        groups.push(group);
        rest = others;
    }
    groups
}

/// An item that the contract reported as not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedItem {
    /// The packet.
    pub guid: Guid,
    /// What went wrong, for people.
    pub detail: String,
}

/// Reads a report; `None` if the log is none.
#[must_use]
pub fn failed_item(topics: &[B256], data: &[u8]) -> Option<FailedItem> {
    if *topics.first()? != BatchDelivery::ItemFailed::SIGNATURE_HASH {
        return None;
    }
    let event = BatchDelivery::ItemFailed::decode_raw_log(topics.iter().copied(), data).ok()?;
    let reason = reason_text(&RevertReason::new(&event.reason).data);
    let detail = match event.outcome {
        1 => "the packet is too short".into(),
        2 => "the batch had too little gas left for it".into(),
        3 => format!("the commit was refused: {reason}"),
        _ => reason,
    };
    Some(FailedItem { guid: Guid(event.guid), detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address32, Eid, PacketNonce};
    use proptest::prelude::*;

    fn item(nonce: u64, gas: u64, library: u8) -> Item {
        let end = Address32::from(Address::repeat_byte(7));
        Item {
            library: Address::repeat_byte(library),
            header: PacketHeader {
                nonce: PacketNonce::new(nonce).unwrap(),
                src_eid: Eid(1),
                sender: end,
                dst_eid: Eid(2),
                receiver: end,
            },
            message: Bytes::from_static(b"hello"),
            commit_gas: 100_000,
            receive_gas: gas,
            value: 3,
            expected_gas: 90_000,
        }
    }

    #[test]
    fn the_selector_is_the_contracts() {
        assert_eq!(BatchDelivery::deliverCall::SELECTOR, [0x19, 0x8a, 0x20, 0x29]);
    }

    #[test]
    fn where_it_stands_follows_from_its_code_and_endpoint() {
        let [one, other] = [1, 2].map(|n| making(Address::repeat_byte(n)).unwrap());
        assert_ne!(one.address, other.address);
        assert_eq!(one, making(Address::repeat_byte(1)).unwrap());
        assert!(one.payload.data.len() > 3_000);
    }

    #[test]
    fn a_batch_has_one_library_and_a_bounded_size() {
        let mut items: Vec<Item> = (1..=60).map(|n| item(n, 200_000, 1)).collect();
        items[30].library = Address::repeat_byte(2);
        let sizes = |items: &[Item], gas| -> Vec<usize> {
            group(items, MAX_ITEMS, gas).iter().map(|group| group.len()).collect()
        };
        assert_eq!(sizes(&items, u64::MAX), [25, 5, 1, 25, 4]);
        let hungry: Vec<Item> =
            (1..=3).map(|n| Item { expected_gas: 9_000_000, ..item(n, 9_000_000, 1) }).collect();
        assert_eq!(sizes(&hungry, u64::MAX), [1, 1, 1]);
        assert!(group(&[], MAX_ITEMS, u64::MAX).is_empty());
        assert_eq!(group(&items[..4], 1, u64::MAX).len(), 4);
        // The bytes of large messages count.
        let message = Bytes::from(vec![1; 30_000]);
        let large: Vec<Item> =
            (1..=25).map(|n| Item { message: message.clone(), ..item(n, 200_000, 1) }).collect();
        for most in [16_777_216, 10_000_000, 3_000_000] {
            for group in group(&large, MAX_ITEMS, most) {
                let gas = payload(Address::ZERO, group[0].library, group).gas_limit;
                assert!(gas <= most && group[0].transaction_gas() <= gas, "{gas} of {most}");
            }
        }
    }

    #[test]
    fn what_is_sent_along_is_what_the_items_get() {
        let items = [item(1, 200_000, 1), item(2, 200_000, 1)];
        let payload = payload(Address::repeat_byte(9), items[0].library, &items);
        assert_eq!(payload.value, U256::from(6));
        let call = BatchDelivery::deliverCall::abi_decode(&payload.data).unwrap();
        assert_eq!(call.items[0].packet.len(), 81 + 5);
        assert_eq!(call.receiveLibrary, Address::repeat_byte(1));
    }

    proptest! {
        /// However items are mixed, each finds its limits if those before it used what was expected.
        #[test]
        fn the_limit_leaves_every_item_its_own(
            sizes in prop::collection::vec((0u64..2_000_000, 0u64..3_000_000), 1..25)
        ) {
            let items: Vec<Item> = sizes
                .iter()
                .zip(1u64..)
                .map(|((gas, used), n)| Item { expected_gas: *used, ..item(n, *gas, 1) })
                .collect();
            let limit = gas_limit(&[1; 100], &items);
            let mut used = 21_000;
            for item in &items {
                prop_assert!(limit > used + item.limits());
                used += item.expected_gas.min(item.limits()) + ITEM_GAS;
            }
        }

        #[test]
        fn r10_any_log_is_read_or_refused(
            topics in prop::collection::vec(any::<[u8; 32]>(), 0..4),
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut topics: Vec<_> = topics.into_iter().map(B256::from).collect();
            let _ = failed_item(&topics, &data);
            topics.insert(0, BatchDelivery::ItemFailed::SIGNATURE_HASH);
            let _ = failed_item(&topics, &data);
        }
    }
}
