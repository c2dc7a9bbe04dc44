use super::*;
use crate::{
    contracts::{EndpointV2, Oft, Origin},
    wire::PacketNonce,
};
use alloy_primitives::{Bytes, keccak256};
use alloy_sol_types::{SolEvent, SolValue};
use postrider_message::{Message, Payload, PayloadHash, TxHash};
use postrider_verification::evm::ReceiptLog;
use proptest::prelude::*;

const ENDPOINT: Address = Address::repeat_byte(1);
const TOKEN: Address = Address::repeat_byte(2);
const FAR_TOKEN: Address = Address::repeat_byte(3);
const STRANGER: Address = Address::repeat_byte(9);

fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

/// Alpha with a token of 18 decimals, beta with one of 8; both share 6.
fn deployments() -> Deployments {
    let deployment = |eid, contract, local| Deployment {
        eid: Eid(eid),
        endpoint: ENDPOINT,
        send_libraries: vec![],
        receive_libraries: vec![],
        dvn: None,
        executor: None,
        batch: None,
        tokens: vec![Token::new(contract, 6, local).unwrap()],
    };
    let alpha = deployment(30_001, TOKEN, 18);
    let beta = deployment(30_002, FAR_TOKEN, 8);
    Deployments::new([(network("alpha"), alpha), (network("beta"), beta)].into()).unwrap()
}

fn header() -> PacketHeader {
    PacketHeader {
        nonce: PacketNonce::new(7).unwrap(),
        src_eid: Eid(30_001),
        sender: TOKEN.into(),
        dst_eid: Eid(30_002),
        receiver: FAR_TOKEN.into(),
    }
}

/// A packet of this header whose message carries so much.
fn sent(header: PacketHeader, carried: u64) -> SentMessage {
    let to = B256::repeat_byte(5);
    let message = [to.as_slice(), &carried.to_be_bytes()].concat();
    let payload = [header.guid().0.as_slice(), &message].concat();
    let hash = PayloadHash(keccak256(&payload));
    SentMessage {
        message: Message {
            lane: deployments().lane(&header).unwrap(),
            nonce: MessageNonce(header.nonce.get()),
            payload: Payload::Known { bytes: payload.into(), hash },
            options: Bytes::new(),
            reference: Some(header.guid().0),
        },
        assignments: vec![],
        index_in_receipt: 3,
    }
}

fn log(address: Address, topics: Vec<B256>, data: Vec<u8>) -> ReceiptLog {
    ReceiptLog { address, topics, data: data.into(), index_in_receipt: 0 }
}

fn oft_sent(by: Address, guid: Guid, taken: u64) -> ReceiptLog {
    let topics = vec![Oft::OFTSent::SIGNATURE_HASH, guid.0, B256::ZERO];
    // What the sender says that the other side receives decides nothing.
    log(by, topics, (30_002u32, U256::from(taken), U256::MAX).abi_encode_params())
}

fn oft_received(by: Address, guid: Guid, src_eid: u32, given: U256) -> ReceiptLog {
    let topics = vec![Oft::OFTReceived::SIGNATURE_HASH, guid.0, B256::ZERO];
    log(by, topics, (src_eid, given).abi_encode_params())
}

fn packet_delivered(by: Address, header: &PacketHeader) -> ReceiptLog {
    let origin =
        Origin { srcEid: header.src_eid.0, sender: header.sender.0, nonce: header.nonce.get() };
    let receiver = header.receiver.as_evm_address().unwrap();
    log(
        by,
        vec![EndpointV2::PacketDelivered::SIGNATURE_HASH],
        (origin, receiver).abi_encode_params(),
    )
}

fn moved(on: &str, logs: Vec<ReceiptLog>, sent: &[SentMessage]) -> Vec<(Side, u64, u128)> {
    let place = |(i, log)| ReceiptLog { index_in_receipt: i, ..log };
    let logs = (0u64..).zip(logs).map(place).collect();
    let receipt = ReceiptLogs { transaction: TxHash(B256::ZERO), index: 0, first_log: 0, logs };
    let found = deployments().movements_in(&network(on), &receipt, sent);
    found.into_iter().map(|m| (m.side, m.nonce.0, m.amount.0)).collect()
}

const SHARED: u64 = 1_000_000_000_000;

/// Class (e): what is debited is bound to the packet's bytes and to what its sender took.
#[test]
fn class_e_a_debit_is_what_the_packet_carries_and_the_sender_took() {
    let guid = header().guid();
    let debits = |carried, logs| moved("alpha", logs, &[sent(header(), carried)]);
    let took = |units: u64| oft_sent(TOKEN, guid, units);
    assert_eq!(debits(5, vec![took(5 * SHARED)]), [(Side::Debit, 7, 5)]);
    assert_eq!(debits(5, vec![took(9 * SHARED)]), [(Side::Debit, 7, 5)], "a fee was kept");
    assert_eq!(debits(5, vec![took(5 * SHARED - 1)]), [(Side::Debit, 7, 4)]);
    assert_eq!(debits(5, vec![took(0)]), [(Side::Debit, 7, 0)]);
    assert_eq!(debits(5, vec![]), []);
    // Neither a stranger's word nor that about another packet counts.
    assert_eq!(debits(5, vec![oft_sent(STRANGER, guid, 5 * SHARED)]), []);
    assert_eq!(debits(5, vec![oft_sent(TOKEN, Guid(B256::ZERO), 5 * SHARED)]), []);
    // A stranger's packet takes nothing, even one that the token speaks of.
    let forged = PacketHeader { sender: STRANGER.into(), ..header() };
    assert_eq!(moved("alpha", vec![oft_sent(TOKEN, forged.guid(), 1)], &[sent(forged, 5)]), []);
    // A message too short to carry an amount.
    let mut short = sent(header(), 5);
    let Payload::Known { bytes, .. } = &mut short.message.payload else { unreachable!() };
    *bytes = bytes.slice(..71);
    assert_eq!(moved("alpha", vec![took(5 * SHARED)], &[short]), []);
}

/// Classes (e) and (l): what is given counts for the packet that was delivered to the token, and
/// for none that was not.
#[test]
fn class_e_a_credit_belongs_to_the_packet_that_was_delivered() {
    let (header, guid) = (header(), header().guid());
    let gave = |units: u64| oft_received(FAR_TOKEN, guid, 30_001, U256::from(units));
    let delivered = packet_delivered(ENDPOINT, &header);
    let credits = |logs: Vec<ReceiptLog>| moved("beta", logs, &[]);
    assert_eq!(credits(vec![gave(500), delivered.clone()]), [(Side::Credit, 7, 5)]);
    assert_eq!(credits(vec![gave(501), delivered.clone()]), [(Side::Credit, 7, 6)], "dust counts");
    let all = oft_received(FAR_TOKEN, guid, 30_001, U256::MAX);
    assert_eq!(credits(vec![all, delivered.clone()]), [(Side::Credit, 7, u128::MAX)]);
    // Each of several counts.
    let twice = credits(vec![gave(500), gave(500), delivered.clone()]);
    assert_eq!(twice, [(Side::Credit, 7, 5), (Side::Credit, 7, 5)]);
    // A stranger's tokens are not watched, and another chain that is not configured is not known.
    let strange = oft_received(STRANGER, guid, 30_001, U256::from(500));
    assert_eq!(credits(vec![strange, delivered]), []);
    let unknown = oft_received(FAR_TOKEN, guid, 30_009, U256::from(500));
    assert_eq!(credits(vec![unknown]), []);
    // Nothing was delivered, or not by the endpoint, or not to the token.
    let stray = [(Side::Credit, 0, 5)];
    assert_eq!(credits(vec![gave(500)]), stray);
    assert_eq!(credits(vec![gave(500), packet_delivered(STRANGER, &header)]), stray);
    let elsewhere = PacketHeader { receiver: STRANGER.into(), ..header };
    let stolen = oft_received(FAR_TOKEN, elsewhere.guid(), 30_001, U256::from(500));
    assert_eq!(credits(vec![stolen, packet_delivered(ENDPOINT, &elsewhere)]), stray);
}

#[test]
fn a_credit_from_nobody_stands_on_a_lane_of_its_own() {
    let log = oft_received(FAR_TOKEN, header().guid(), 30_001, U256::from(1));
    let receipt =
        ReceiptLogs { transaction: TxHash(B256::ZERO), index: 0, first_log: 0, logs: vec![log] };
    let found = deployments().movements_in(&network("beta"), &receipt, &[]);
    let nobody = format!("30001/{:#x}", B256::ZERO);
    assert_eq!(found[0].lane.source.point.as_str(), nobody);
    assert_eq!(found[0].reference, header().guid().0);
}

#[test]
fn decimals_that_no_token_has_are_refused() {
    let new = |shared, local| Token::new(TOKEN, shared, local).map(|token| token.rate);
    assert_eq!(new(6, 6), Ok(U256::from(1)));
    assert_eq!(new(6, 18), Ok(U256::from(SHARED)));
    assert_eq!(new(7, 6), Err(BadDecimals::FewerLocal { local: 6, shared: 7 }));
    assert_eq!(new(0, 77), Ok(U256::from(10).pow(U256::from(77))));
    assert_eq!(new(0, 78), Err(BadDecimals::TooFar { local: 78, shared: 0 }));
}

#[test]
fn a_lanes_source_is_asked_how_many_it_sent() {
    let lane = deployments().lane(&header()).unwrap();
    let call = ask_sent(ENDPOINT, &lane).unwrap();
    assert_eq!(call.to, ENDPOINT);
    let told = |bytes: Vec<u8>| told_sent(&CallOutcome::Returned(bytes.into()));
    assert_eq!(told(U256::from(12).to_be_bytes_vec()), Some(12));
    // Class (n), R5: what is no canonical number is no answer.
    assert_eq!(told(vec![]), None);
    assert_eq!(told(U256::MAX.to_be_bytes_vec()), None);
}

proptest! {
    #[test]
    fn r10_arbitrary_logs_never_panic(
        data: Vec<u8>, topics in proptest::collection::vec(any::<[u8; 32]>(), 0..4), sent_event: bool,
        payload: Vec<u8>
    ) {
        let event = if sent_event { Oft::OFTSent::SIGNATURE_HASH } else { Oft::OFTReceived::SIGNATURE_HASH };
        let mut all = vec![event];
        all.extend(topics.into_iter().map(B256::from));
        let mut packet = sent(header(), 1);
        let hash = packet.message.payload.hash();
        packet.message.payload = Payload::Known { bytes: payload.into(), hash };
        for on in ["alpha", "beta"] {
            let log = log(if on == "alpha" { TOKEN } else { FAR_TOKEN }, all.clone(), data.clone());
            let _ = moved(on, vec![log], std::slice::from_ref(&packet));
        }
    }

    /// Rounding never makes a credit smaller, nor a debit greater, than it was.
    #[test]
    fn class_e_rounding_hides_nothing(units: u128, local in 6u8..=40) {
        let token = Token::new(TOKEN, 6, local).unwrap();
        let (below, above) = (token.at_most(U256::from(units)), token.at_least(U256::from(units)));
        let exact = U256::from(units);
        prop_assert!(U256::from(below.0) * token.rate <= exact);
        prop_assert!(U256::from(above.0) * token.rate >= exact);
        prop_assert!(above.0 - below.0 <= 1);
    }
}
