//! Whose word counts: logs of other contracts, other endpoints, other libraries.

use super::*;
use crate::{
    contracts::{self, EndpointV2, ReceiveUln302, SendUln302},
    wire::{Eid, Packet as WirePacket, PacketNonce},
};
use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use postrider_message::TxHash;
use std::collections::BTreeMap;

const ENDPOINT: Address = Address::repeat_byte(0xee);
const SEND_LIBRARY: Address = Address::repeat_byte(0x5e);
const RECEIVE_LIBRARY: Address = Address::repeat_byte(0x1b);
const STRANGER: Address = Address::repeat_byte(0x66);
const DVN: Address = Address::repeat_byte(0xd1);
const ALPHA: u32 = 30_901;
const BETA: u32 = 30_902;
const ELSEWHERE: u32 = 30_903;

fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

fn deployments() -> Deployments {
    let deployment = |eid| Deployment {
        eid: Eid(eid),
        endpoint: ENDPOINT,
        send_libraries: vec![SEND_LIBRARY],
        receive_libraries: vec![RECEIVE_LIBRARY],
        dvn: Some(DVN),
        executor: None,
        batch: None,
        tokens: vec![],
    };
    let all = [("alpha", ALPHA), ("beta", BETA)];
    let all = all.map(|(name, eid)| (network(name), deployment(eid)));
    Deployments::new(BTreeMap::from(all)).unwrap()
}

fn header(src_eid: u32, dst_eid: u32) -> PacketHeader {
    PacketHeader {
        nonce: PacketNonce::new(1).unwrap(),
        src_eid: Eid(src_eid),
        sender: Address32::from(Address::repeat_byte(1)),
        dst_eid: Eid(dst_eid),
        receiver: Address32::from(Address::repeat_byte(2)),
    }
}

fn log<E: SolEvent>(emitter: Address, event: &E) -> ReceiptLog {
    let data = event.encode_log_data();
    let topics = data.topics().to_vec();
    ReceiptLog { address: emitter, topics, data: data.data, index_in_receipt: 0 }
}

/// The logs of a send through `library`, as `emitter` tells it.
fn sent(emitter: Address, library: Address, src_eid: u32, dst_eid: u32) -> Vec<ReceiptLog> {
    let packet = WirePacket::new(header(src_eid, dst_eid), Bytes::from_static(b"hello")).unwrap();
    let dvns = SendUln302::DVNFeePaid {
        requiredDVNs: vec![DVN],
        optionalDVNs: vec![],
        fees: vec![U256::from(1)],
    };
    let sent = EndpointV2::PacketSent {
        encodedPayload: packet.encode().into(),
        options: Bytes::new(),
        sendLibrary: library,
    };
    vec![log(library, &dvns), log(emitter, &sent)]
}

fn facts(logs: Vec<ReceiptLog>) -> Vec<Fact> {
    let receipt = ReceiptLogs { transaction: TxHash(B256::ZERO), index: 0, first_log: 0, logs };
    let facts =
        deployments().facts_in(&network("beta"), &receipt, Delivery::Executed, &HashMap::new());
    facts.into_iter().map(|fact| fact.fact).collect()
}

fn attested(src_eid: u32, dst_eid: u32) -> ReceiveUln302::PayloadVerified {
    ReceiveUln302::PayloadVerified {
        dvn: DVN,
        header: header(src_eid, dst_eid).encode().into(),
        confirmations: U256::from(1),
        proofHash: B256::repeat_byte(7),
    }
}

fn delivered(src_eid: u32) -> EndpointV2::PacketDelivered {
    let origin =
        contracts::Origin { srcEid: src_eid, sender: header(ALPHA, BETA).sender.0, nonce: 1 };
    EndpointV2::PacketDelivered { origin, receiver: Address::repeat_byte(2) }
}

/// Classes (f), (l): a send counts only from the pinned endpoint, for its own endpoint id and to one
/// that is configured; its work is ours only through a pinned library.
#[test]
fn f_l_a_send_from_anywhere_else_is_none() {
    let read = |logs: &[ReceiptLog]| deployments().sent_in(&network("alpha"), logs);
    let true_one = read(&sent(ENDPOINT, SEND_LIBRARY, ALPHA, BETA));
    assert_eq!((true_one.len(), true_one[0].assignments.len()), (1, 1));
    for (name, logs) in [
        ("another contract", sent(STRANGER, SEND_LIBRARY, ALPHA, BETA)),
        ("another source", sent(ENDPOINT, SEND_LIBRARY, BETA, ALPHA)),
        ("an unknown source", sent(ENDPOINT, SEND_LIBRARY, ELSEWHERE, BETA)),
        ("an unknown destination", sent(ENDPOINT, SEND_LIBRARY, ALPHA, ELSEWHERE)),
    ] {
        assert_eq!(read(&logs), [], "{name}");
    }
    let unpinned = read(&sent(ENDPOINT, STRANGER, ALPHA, BETA));
    assert_eq!((unpinned.len(), unpinned[0].assignments.len()), (1, 0), "nobody's work of ours");
}

/// Classes (f), (j), (l): what became of a message is told by the pinned contracts, for this
/// destination, about a source that is configured.
#[test]
fn f_j_l_a_word_about_a_message_from_anywhere_else_is_none() {
    assert_eq!(facts(vec![log(RECEIVE_LIBRARY, &attested(ALPHA, BETA))]).len(), 1);
    assert_eq!(facts(vec![log(ENDPOINT, &delivered(ALPHA))]), [Fact::Executed]);
    for (name, log) in [
        ("another library", log(STRANGER, &attested(ALPHA, BETA))),
        ("another destination", log(RECEIVE_LIBRARY, &attested(BETA, ALPHA))),
        ("an unknown source", log(RECEIVE_LIBRARY, &attested(ELSEWHERE, BETA))),
        ("another endpoint", log(STRANGER, &delivered(ALPHA))),
        ("a delivery from an unknown source", log(ENDPOINT, &delivered(ELSEWHERE))),
    ] {
        assert_eq!(facts(vec![log]), [], "{name}");
    }
}

/// Class (n): bytes that no compiler writes around a value are not read as that value.
#[test]
fn n_dirty_padding_is_not_read_as_the_value() {
    let clean = log(ENDPOINT, &delivered(ALPHA));
    assert_eq!(facts(vec![clean.clone()]).len(), 1);
    // srcEid, sender, nonce, receiver: the first bytes of all but the sender are padding.
    for word in [0, 2, 3] {
        let mut data = clean.data.to_vec();
        data[32 * word] = 1;
        let dirty = ReceiptLog { data: data.into(), ..clean.clone() };
        assert_eq!(facts(vec![dirty]), [], "word {word}");
    }
}
