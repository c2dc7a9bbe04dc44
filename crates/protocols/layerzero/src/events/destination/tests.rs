use super::*;
use crate::{
    contracts::{self, ExecuteParam, NativeDropParams},
    events::testing::{ENDPOINT, log, packet},
    wire::{PacketError, PacketNonce},
};
use proptest::prelude::*;

const RECEIVER: Address = Address::repeat_byte(2);
const WORKER: Address = Address::repeat_byte(3);
const HASH: B256 = B256::repeat_byte(4);

fn origin() -> Origin {
    let packet = packet(5);
    let header = packet.header();
    Origin { src_eid: header.src_eid, sender: header.sender, nonce: header.nonce }
}

fn wire_origin() -> contracts::Origin {
    origin().into()
}

fn key() -> ComposeKey {
    ComposeKey { from: RECEIVER, to: WORKER, guid: Guid(HASH), index: 6 }
}

fn payload_verified_log(confirmations: U256, header: Vec<u8>) -> RawLog {
    log(
        ENDPOINT,
        1,
        &ReceiveUln302::PayloadVerified {
            dvn: WORKER,
            header: header.into(),
            confirmations,
            proofHash: HASH,
        },
    )
}

fn receive_alert_log(reason: Vec<u8>) -> RawLog {
    log(
        ENDPOINT,
        1,
        &EndpointV2::LzReceiveAlert {
            receiver: RECEIVER,
            executor: WORKER,
            origin: wire_origin(),
            guid: packet(5).guid().0,
            gas: U256::from(8),
            value: U256::from(9),
            message: packet(5).message().clone(),
            extraData: Bytes::new(),
            reason: reason.into(),
        },
    )
}

fn drops_log(drops: usize, results: usize) -> RawLog {
    log(
        ENDPOINT,
        1,
        &Executor::NativeDropApplied {
            origin: wire_origin(),
            dstEid: 30_902,
            oapp: RECEIVER,
            params: vec![NativeDropParams { receiver: WORKER, amount: U256::from(3) }; drops],
            success: vec![true; results],
        },
    )
}

/// Every event with what it becomes.
fn every_event() -> Vec<(RawLog, DestinationEvent)> {
    [channel_events(), execution_events(), worker_events()].concat()
}

fn channel_events() -> Vec<(RawLog, DestinationEvent)> {
    let (origin, receiver, payload_hash) = (origin(), RECEIVER, PayloadHash(HASH));
    let contracts::Origin { srcEid, sender, nonce } = wire_origin();
    vec![
        (
            payload_verified_log(U256::from(u64::MAX), packet(5).header().encode()),
            DestinationEvent::PayloadVerified {
                library: ENDPOINT,
                dvn: WORKER,
                header: *packet(5).header(),
                confirmations: u64::MAX,
                proof_hash: payload_hash,
            },
        ),
        (
            log(
                ENDPOINT,
                1,
                &EndpointV2::PacketVerified { origin: wire_origin(), receiver, payloadHash: HASH },
            ),
            DestinationEvent::PacketVerified { origin, receiver, payload_hash },
        ),
        (
            log(ENDPOINT, 1, &EndpointV2::PacketDelivered { origin: wire_origin(), receiver }),
            DestinationEvent::PacketDelivered { origin, receiver },
        ),
        (
            log(ENDPOINT, 1, &EndpointV2::InboundNonceSkipped { srcEid, sender, receiver, nonce }),
            DestinationEvent::Skipped { origin, receiver },
        ),
        (
            log(
                ENDPOINT,
                1,
                &EndpointV2::PacketNilified { srcEid, sender, receiver, nonce, payloadHash: HASH },
            ),
            DestinationEvent::Nilified { origin, receiver, payload_hash },
        ),
        (
            log(
                ENDPOINT,
                1,
                &EndpointV2::PacketBurnt { srcEid, sender, receiver, nonce, payloadHash: HASH },
            ),
            DestinationEvent::Burnt { origin, receiver, payload_hash },
        ),
    ]
}

fn execution_events() -> Vec<(RawLog, DestinationEvent)> {
    let ComposeKey { from, to, guid: Guid(guid), index } = key();
    let message = Bytes::from_static(b"composed");
    let reason = RevertReason::new(b"why");
    vec![
        (
            receive_alert_log(b"why".to_vec()),
            DestinationEvent::LzReceiveAlert {
                receiver: RECEIVER,
                executor: WORKER,
                origin: origin(),
                guid: packet(5).guid(),
                payload_hash: packet(5).payload_hash(),
                gas: U256::from(8),
                value: U256::from(9),
                reason: reason.clone(),
            },
        ),
        (
            log(
                ENDPOINT,
                1,
                &EndpointV2::ComposeSent { from, to, guid, index, message: message.clone() },
            ),
            DestinationEvent::ComposeSent { key: key(), message: message.clone() },
        ),
        (
            log(ENDPOINT, 1, &EndpointV2::ComposeDelivered { from, to, guid, index }),
            DestinationEvent::ComposeDelivered { key: key() },
        ),
        (
            log(
                ENDPOINT,
                1,
                &EndpointV2::LzComposeAlert {
                    from,
                    to,
                    executor: ENDPOINT,
                    guid,
                    index,
                    gas: U256::from(8),
                    value: U256::from(9),
                    message: message.clone(),
                    extraData: Bytes::new(),
                    reason: reason.data.clone(),
                },
            ),
            DestinationEvent::LzComposeAlert {
                key: key(),
                executor: ENDPOINT,
                message_hash: keccak256(&message),
                gas: U256::from(8),
                value: U256::from(9),
                reason,
            },
        ),
    ]
}

fn worker_events() -> Vec<(RawLog, DestinationEvent)> {
    let drop = AppliedDrop { receiver: WORKER, amount: U256::from(3), success: true };
    vec![
        (
            drops_log(2, 2),
            DestinationEvent::NativeDropApplied {
                origin: origin(),
                dst_eid: Eid(30_902),
                oapp: RECEIVER,
                drops: vec![drop; 2],
            },
        ),
        (
            log(
                ENDPOINT,
                1,
                &Dvn::ExecuteFailed { index: U256::from(7), data: Bytes::from_static(b"why") },
            ),
            DestinationEvent::DvnExecuteFailed { item: 7, reason: RevertReason::new(b"why") },
        ),
        (
            log(ENDPOINT, 1, &Dvn::VerifySignaturesFailed { idx: U256::from(7) }),
            DestinationEvent::DvnSignaturesFailed { item: 7 },
        ),
        (
            log(
                ENDPOINT,
                1,
                &Dvn::HashAlreadyUsed {
                    param: ExecuteParam {
                        vid: 1,
                        target: WORKER,
                        callData: Bytes::from_static(b"call"),
                        expiration: U256::from(1),
                        signatures: Bytes::new(),
                    },
                    hash: HASH,
                },
            ),
            DestinationEvent::DvnHashAlreadyUsed { digest: HASH },
        ),
    ]
}

fn problem(log: &RawLog) -> EventProblem {
    destination_event(log).unwrap().unwrap_err().problem
}

#[test]
fn every_event_is_read_with_its_emitter() {
    for (log, event) in every_event() {
        let expected = DestinationLog { emitter: ENDPOINT, log_index: 1, event };
        assert_eq!(destination_event(&log), Some(Ok(expected)));
    }
}

#[test]
fn other_logs_are_not_ours() {
    let (mut log, _) = every_event().remove(0);
    log.topics = vec![HASH];
    assert_eq!(destination_event(&log), None);
    log.topics.clear();
    assert_eq!(destination_event(&log), None);
}

#[test]
fn every_event_without_its_content_is_an_error() {
    for (log, event) in every_event() {
        for damaged in [
            RawLog { data: Bytes::new(), ..log.clone() },
            RawLog { topics: [log.topics.clone(), vec![HASH]].concat(), ..log.clone() },
        ] {
            let problem = problem(&damaged);
            assert!(matches!(problem, EventProblem::Malformed { .. }), "{event:?}: {problem:?}");
        }
    }
}

#[test]
fn values_that_no_contract_of_layerzero_emits_are_named() {
    let header = packet(5).header().encode();
    let above = U256::from(u64::MAX) + U256::from(1);
    assert_eq!(
        problem(&payload_verified_log(above, header.clone())),
        EventProblem::ConfirmationsTooLarge
    );
    assert_eq!(
        problem(&payload_verified_log(U256::from(1), header[..80].to_vec())),
        EventProblem::Packet(PacketError::HeaderSize { actual: 80 })
    );
    let zero = contracts::Origin { nonce: 0, ..wire_origin() };
    let delivered = EndpointV2::PacketDelivered { origin: zero, receiver: RECEIVER };
    assert_eq!(problem(&log(ENDPOINT, 1, &delivered)), EventProblem::ZeroNonce);
    let mismatch = EventProblem::CountMismatch { what: "results", have: 1, need: 2 };
    assert_eq!(problem(&drops_log(2, 1)), mismatch);
    let far = Dvn::VerifySignaturesFailed { idx: above };
    assert_eq!(problem(&log(ENDPOINT, 1, &far)), EventProblem::IndexTooLarge);
}

#[test]
fn sizes_are_bounded() {
    let many = MAX_OPTION_COUNT + 1;
    let too_many = EventProblem::TooLarge { actual: many, limit: MAX_OPTION_COUNT };
    assert_eq!(problem(&drops_log(many, many)), too_many);
    let ComposeKey { from, to, guid: Guid(guid), index } = key();
    let message = Bytes::from(vec![0; MAX_MESSAGE_SIZE + 1]);
    let composed = EndpointV2::ComposeSent { from, to, guid, index, message };
    let too_large =
        EventProblem::TooLarge { actual: MAX_MESSAGE_SIZE + 1, limit: MAX_MESSAGE_SIZE };
    assert_eq!(problem(&log(ENDPOINT, 1, &composed)), too_large);
    let mut huge = receive_alert_log(Vec::new());
    huge.data = Bytes::from(vec![0; crate::events::MAX_LOG_DATA + 1]);
    assert!(matches!(problem(&huge), EventProblem::TooLarge { .. }));
}

#[test]
fn long_reasons_are_cut() {
    for (length, kept, truncated) in
        [(0, 0, false), (MAX_REASON_SIZE, MAX_REASON_SIZE, false), (100_000, MAX_REASON_SIZE, true)]
    {
        let decoded = destination_event(&receive_alert_log(vec![7; length])).unwrap().unwrap();
        let DestinationEvent::LzReceiveAlert { reason, .. } = decoded.event else {
            panic!("{decoded:?}")
        };
        assert_eq!((reason.data.len(), reason.truncated), (kept, truncated), "{length} bytes");
    }
}

#[test]
fn an_origin_survives_the_wire() {
    assert_eq!(Origin::try_from(&wire_origin()), Ok(origin()));
    assert_eq!(origin().nonce, PacketNonce::new(5).unwrap());
}

proptest! {
    #[test]
    fn damaged_logs_never_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..32),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut log, _) = which.get(&every_event()).clone();
        let mut data = log.data.to_vec();
        let at = at.index(data.len());
        for (place, byte) in data[at..].iter_mut().zip(bytes) {
            *place = byte;
        }
        log.data = data.clone().into();
        prop_assert!(destination_event(&log).is_some());
        data.truncate(cut.index(data.len() + 1));
        log.data = data.into();
        prop_assert!(destination_event(&log).is_some());
    }
}
