//! Headers, receipts, and the evidence that a message was sent.

use crate::{ENDPOINT, LIBRARY, input::Input, memory::bounded};
use alloy_consensus::{Eip658Value, Header, Receipt, ReceiptEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, Bytes, Log, LogData};
use alloy_rlp::{Decodable, Encodable};
use alloy_sol_types::SolEvent;
use postrider_evm::fuzzing;
use postrider_layerzero::{
    Deployment, Deployments,
    contracts::EndpointV2,
    wire::{Address32, Eid, Packet, PacketHeader, PacketNonce},
};
use postrider_message::{Height, Message, NetworkName, OperatorName};
use postrider_verification::{
    Answer, QuorumPolicy, Verdict,
    evm::{
        AnchoredBlock, ClaimedHeader, ProvenReceipts, ReceiptEvidence, ReceiptLog, SentDecoder,
        anchor, prove_sent, receipts::read_logs,
    },
};
use std::{collections::BTreeMap, sync::LazyLock};

/// A message that was sent, and the one proof of it.
pub struct Sent {
    block: AnchoredBlock,
    deployments: Deployments,
    message: Message,
    /// The proof.
    pub evidence: ReceiptEvidence,
}

/// The message sent in the middle of a block of 150 receipts.
pub fn sent() -> &'static Sent {
    static SENT: LazyLock<Sent> = LazyLock::new(make);
    &SENT
}

fn make() -> Sent {
    let deployment = |eid| Deployment {
        eid: Eid(eid),
        endpoint: ENDPOINT,
        send_libraries: vec![LIBRARY],
        receive_libraries: vec![],
        dvn: None,
        executor: None,
        batch: None,
        tokens: vec![],
    };
    let networks: [NetworkName; 2] = ["alpha", "beta"].map(|name| name.parse().expect("a name"));
    let [alpha, beta] = networks.clone();
    let both = BTreeMap::from([(alpha, deployment(1)), (beta, deployment(2))]);
    let deployments = Deployments::new(both).expect("two endpoint ids");
    let header = PacketHeader {
        nonce: PacketNonce::FIRST,
        src_eid: Eid(1),
        sender: Address32::from(Address::repeat_byte(7)),
        dst_eid: Eid(2),
        receiver: Address32::from(Address::repeat_byte(8)),
    };
    let packet = Packet::new(header, Bytes::from_static(b"hello")).expect("a short message");
    let event = EndpointV2::PacketSent {
        encodedPayload: packet.encode().into(),
        options: Bytes::from_static(&[0, 3]),
        sendLibrary: LIBRARY,
    };
    let log = |data: LogData| Log { address: ENDPOINT, data };
    let receipt = |logs| {
        let status = Eip658Value::Eip658(true);
        let receipt = Receipt { status, cumulative_gas_used: 7, logs }.with_bloom();
        Bytes::from(ReceiptEnvelope::Eip1559(receipt).encoded_2718())
    };
    let receipts: Vec<Bytes> = (0u8..150)
        .map(|i| match i {
            75 => receipt(vec![log(event.encode_log_data())]),
            _ => receipt(vec![log(LogData::new_unchecked(vec![], vec![i; 40].into()))]),
        })
        .collect();
    let root = alloy_trie::root::ordered_trie_root_encoded(&receipts);
    let header = Header { number: 5, receipts_root: root, ..Header::default() };
    let block = anchored(&networks[0], header);
    let proven = ProvenReceipts::new(block.clone(), receipts).expect("all of them");
    let evidence = proven.evidence(&[75]).remove(0);
    let logs = evidence.check().expect("sound");
    let message = deployments.sent_in(&networks[0], &logs).remove(0).message;
    Sent { block, deployments, message, evidence }
}

fn anchored(network: &NetworkName, header: Header) -> AnchoredBlock {
    let operator: OperatorName = "only".parse().expect("a name");
    let policy = QuorumPolicy::new([&operator], 1).expect("one of one");
    let height = Height(header.number);
    let claimed = ClaimedHeader { hash: header.hash_slow(), header };
    let answer =
        Answer { upstream: "only".parse().expect("a name"), operator, value: Some(claimed) };
    anchor(&policy, network, height, height, vec![answer]).expect("a quorum of one").0
}

/// Evidence: only the one proof there is proves the message. The first byte chooses: the bytes of
/// evidence follow, or changes to the true evidence, each a place and a byte.
pub fn evidence(data: &[u8]) {
    let sent = sent();
    let mut input = Input(data);
    let bytes = if input.byte() == 0 {
        input.0.to_vec()
    } else {
        let mut bytes = sent.evidence.to_bytes();
        while !input.is_empty() {
            let at = usize::from(u16::from_be_bytes(input.array())) % bytes.len();
            bytes[at] = input.byte();
        }
        bytes
    };
    let Ok(evidence) = bounded(bytes.len(), 64, || ReceiptEvidence::from_bytes(&bytes)) else {
        return;
    };
    assert_eq!(evidence.to_bytes(), bytes, "one form");
    let _ = bounded(bytes.len(), 128, || (evidence.block(), evidence.check()));
    let verdict = prove_sent(&sent.block, &evidence, &sent.deployments, &sent.message);
    let is_accepted = matches!(verdict, Verdict::Accepted(_));
    assert_eq!(is_accepted, evidence == sent.evidence, "{evidence:?}");
}

/// A receipt in consensus encoding: its logs are those that alloy reads, where it reads any.
pub fn receipts(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let read = bounded(data.len(), 64, || read_logs(std::slice::from_ref(&bytes)));
    if let Ok(logs) = &read {
        let held: usize =
            logs.iter().flatten().map(|l| 20 + 32 * l.topics.len() + l.data.len()).sum();
        assert!(held <= data.len(), "{held} bytes of logs in {}", data.len());
    }
    let mut rest = data;
    if let Ok(envelope) = ReceiptEnvelope::decode_2718(&mut rest)
        && rest.is_empty()
    {
        let expected: Vec<ReceiptLog> =
            envelope.logs().iter().zip(0..).map(|(log, i)| proven_form(log, i)).collect();
        assert_eq!(read, Ok(vec![expected]));
    }
}

fn proven_form(log: &Log, index_in_receipt: u64) -> ReceiptLog {
    let (topics, data) = log.data.clone().split();
    ReceiptLog { address: log.address, topics, data, index_in_receipt }
}

/// A header in a node's JSON: what is taken for consistent is the one header of its hash. The
/// claimed hash is made to fit, which the fuzzer could not guess.
pub fn header_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(claimed) = bounded(data.len(), 64, || fuzzing::header(text)) else { return };
    let header = claimed.header;
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    assert!(encoded.len() <= data.len() + 1_000);
    let hash = header.hash_slow();
    assert!(!ClaimedHeader { header: header.clone(), hash: !hash }.is_consistent());
    if (ClaimedHeader { header: header.clone(), hash }).is_consistent() {
        let read = Header::decode(&mut encoded.as_slice());
        assert_eq!(read.as_ref(), Ok(&header), "two headers of one hash");
    }
}

/// A receipt in a node's JSON: its consensus encoding holds the same logs.
pub fn receipt_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((encoded, logs)) = bounded(data.len(), 128, || fuzzing::receipt(text)) else { return };
    assert!(encoded.len() <= data.len() + 1_000);
    assert_eq!(read_logs(&[encoded]), Ok(vec![logs]));
}
