//! Logs, reports, revert data and calls of LayerZero's contracts.

use crate::{input::Input, memory::bounded};
use alloy_primitives::{Address, B256, Signature};
use alloy_sol_types::{SolCall, SolEvent};
use postrider_layerzero::{
    batch::{BatchDelivery, failed_item},
    contracts::{Dvn, Executor, Oft, ReceiveUln302},
    dvn::{
        ExecuteParam, Expiration, SIGNATURE_SIZE, Vid, assemble_signatures, execute_call_data,
        execute_digest, recover_signer, verify_call_data,
    },
    events::{
        DestinationEvent, RawLog, destination::MAX_REASON_SIZE, destination_event, sent_packets,
        token_event,
    },
    revert::reason_text,
    wire::{PacketHeader, PayloadHash, options::MAX_OPTIONS_SIZE, packet::MAX_MESSAGE_SIZE},
};

/// The endpoint whose packets are read.
pub const ENDPOINT: Address = Address::repeat_byte(0x11);
/// A send library.
pub const LIBRARY: Address = Address::repeat_byte(0x22);
/// Somebody else.
const STRANGER: Address = Address::repeat_byte(0x33);
/// The longest text that is told of a log, in bytes.
const MAX_TEXT: usize = 2_000;
/// The longest text of a revert reason: its bytes in hexadecimal, field names, quotes.
const fn longest_reason(size: usize) -> usize {
    6 * size + 500
}

/// The first topics that a log may choose from.
pub fn topics() -> Vec<B256> {
    let tokens = [Oft::OFTSent::SIGNATURE_HASH, Oft::OFTReceived::SIGNATURE_HASH];
    let mut topics = postrider_layerzero::topics();
    topics.retain(|topic| !tokens.contains(topic));
    topics.extend([
        postrider_layerzero::contracts::SendUln302::ExecutorFeePaid::SIGNATURE_HASH,
        Executor::NativeDropApplied::SIGNATURE_HASH,
        Dvn::ExecuteFailed::SIGNATURE_HASH,
        Dvn::VerifySignaturesFailed::SIGNATURE_HASH,
        Dvn::HashAlreadyUsed::SIGNATURE_HASH,
    ]);
    // Last, so that the seeds keep their numbers.
    topics.extend(tokens);
    topics
}

fn logs(data: &[u8]) -> Vec<RawLog> {
    let (mut input, topics, mut logs) = (Input(data), topics(), Vec::new());
    while !input.is_empty() && logs.len() < 64 {
        logs.push(input.log(&[ENDPOINT, LIBRARY, STRANGER], &topics, logs.len() as u64));
    }
    logs
}

/// A transaction's logs: each packet stands for one log of the endpoint, and no stranger's log
/// changes what is read.
pub fn source_events(data: &[u8]) {
    let logs = logs(data);
    let sent = bounded(data.len(), 64, || sent_packets(ENDPOINT, &logs));
    let mut last = None;
    for result in &sent {
        let index = result.as_ref().map_or_else(|e| e.log_index, |packet| packet.log_index);
        assert!(last < Some(index), "in the order of the logs");
        last = Some(index);
        assert_eq!(logs[index as usize].address, ENDPOINT);
        match result {
            Ok(sent) => {
                assert!(sent.options.len() <= MAX_OPTIONS_SIZE);
                assert!(sent.packet.message().len() <= MAX_MESSAGE_SIZE);
                let dvns = sent.dvn_fees.required.len() + sent.dvn_fees.optional.len();
                assert_eq!(sent.dvn_fees.fees.len(), dvns);
            }
            Err(error) => assert!(error.to_string().len() <= MAX_TEXT, "{error}"),
        }
    }
    if sent.iter().flatten().any(|sent| sent.send_library == STRANGER) {
        return;
    }
    // Before each log one of a stranger, of the same shape.
    let mut noisy: Vec<RawLog> = Vec::new();
    for log in &logs {
        noisy.push(RawLog { address: STRANGER, ..log.clone() });
        noisy.push(log.clone());
    }
    let of_library = |logs: &[RawLog]| logs.iter().any(|log| log.address == STRANGER);
    if !of_library(&logs) {
        assert_eq!(sent_packets(ENDPOINT, &noisy), sent);
    }
}

/// A destination's log: it is read as what it is, from whom it is, within its bounds.
pub fn destination_events(data: &[u8]) {
    for log in logs(data) {
        if let Some(token) = bounded(log.data.len(), 64, || token_event(&log)) {
            let told = token.map(|told| (told.emitter, told.log_index));
            let told = told.unwrap_or_else(|error| (error.emitter, error.log_index));
            assert_eq!(told, (log.address, log.index));
        }
        let Some(result) = bounded(log.data.len(), 64, || destination_event(&log)) else {
            continue;
        };
        let told = match result {
            Ok(told) => told,
            Err(error) => {
                assert_eq!((error.emitter, error.log_index), (log.address, log.index));
                assert!(error.to_string().len() <= MAX_TEXT, "{error}");
                continue;
            }
        };
        assert_eq!((told.emitter, told.log_index), (log.address, log.index));
        match told.event {
            DestinationEvent::PayloadVerified { library, header, .. } => {
                assert_eq!(library, log.address);
                assert_eq!(PacketHeader::decode(&header.encode()), Ok(header));
            }
            DestinationEvent::ComposeSent { message, .. } => {
                assert!(message.len() <= MAX_MESSAGE_SIZE.min(log.data.len()));
            }
            DestinationEvent::LzReceiveAlert { reason, .. }
            | DestinationEvent::LzComposeAlert { reason, .. }
            | DestinationEvent::DvnExecuteFailed { reason, .. } => {
                assert!(reason.data.len() <= MAX_REASON_SIZE.min(log.data.len()));
                assert!(reason_text(&reason.data).len() <= longest_reason(MAX_REASON_SIZE));
            }
            DestinationEvent::NativeDropApplied { drops, .. } => {
                assert!(drops.len() * 32 <= log.data.len());
            }
            _ => {}
        }
    }
}

/// A report of a batch: only its own event is one, and its text is bounded.
pub fn batch_report(data: &[u8]) {
    let is_one = BatchDelivery::ItemFailed::SIGNATURE_HASH;
    for log in logs(data) {
        let report = bounded(log.data.len(), 64, || failed_item(&log.topics, &log.data));
        if let Some(report) = report {
            assert_eq!(log.topics.first(), Some(&is_one));
            assert!(log.topics.contains(&report.guid.0) || log.data.len() >= 32);
            assert!(report.detail.len() <= longest_reason(MAX_REASON_SIZE));
        }
    }
}

/// Revert data: it has a text, which is not much longer than it is.
pub fn revert(data: &[u8]) {
    let text = bounded(data.len(), 64, || reason_text(data));
    assert!(text.len() <= longest_reason(data.len()), "{} of {}", text.len(), data.len());
}

/// What DVNs sign and send: call data reads back as what it was made of, signatures count for whom
/// the curve says, and a set of them has exactly the quorum, each signer once, in order.
pub fn dvn_call(data: &[u8]) {
    let mut input = Input(data);
    let header = PacketHeader::decode(&input.array::<81>()).ok();
    let (payload, confirmations) = (PayloadHash(input.array().into()), u64::from(input.byte()));
    if let Some(header) = header {
        let call = verify_call_data(&header, payload, confirmations);
        let read = ReceiveUln302::verifyCall::abi_decode_validate(&call).expect("our own call");
        assert_eq!(read.packetHeader, header.encode());
        assert_eq!((read.payloadHash, read.confirmations), (payload.0, confirmations));
    }
    let (vid, target) = (Vid(u32::from(input.byte())), Address::from(input.array()));
    let expiration = Expiration(u64::from_be_bytes(input.array()));
    let count = usize::from(input.byte() % 8);
    let given: Vec<(Address, [u8; SIGNATURE_SIZE])> =
        (0..count).map(|_| (Address::from(input.array()), input.array())).collect();
    let call_data = input.sized();
    let digest = execute_digest(vid, target, expiration, call_data);
    for (_, signature) in &given {
        if let Ok(signer) = recover_signer(digest, signature) {
            let plain = Signature::from_raw_array(signature).expect("it was read");
            let again = plain.recover_address_from_prehash(&digest.eip191_hash());
            assert_eq!(again.ok(), Some(signer));
            assert!(!signer.is_zero());
        }
    }
    let quorum = u64::from(input.byte() % 8);
    if let Ok(joined) = assemble_signatures(given.clone(), quorum) {
        assert!(quorum > 0 && joined.len() == SIGNATURE_SIZE * count && count as u64 == quorum);
        let mut signers: Vec<Address> = given.iter().map(|(signer, _)| *signer).collect();
        signers.sort_unstable();
        signers.dedup();
        assert_eq!(signers.len(), count, "each once");
        let signatures = joined;
        let call_data = call_data.to_vec().into();
        let param = ExecuteParam { vid, target, call_data, expiration, signatures };
        assert_eq!(param.digest(), digest);
        let read = Dvn::executeCall::abi_decode_validate(&execute_call_data(vec![param.clone()]));
        let read = read.expect("our own call").params.remove(0);
        assert_eq!((read.vid, read.target), (vid.0, target));
        assert_eq!((read.callData, read.signatures), (param.call_data, param.signatures));
    }
    let rest = input.0;
    let config = bounded(rest.len(), 64, || {
        ReceiveUln302::getUlnConfigCall::abi_decode_returns_validate(rest)
    });
    if let Ok(config) = config {
        let dvns = config.requiredDVNs.len() + config.optionalDVNs.len();
        assert!(dvns * 16 <= rest.len(), "{dvns} DVNs out of {} bytes", rest.len());
    }
}
