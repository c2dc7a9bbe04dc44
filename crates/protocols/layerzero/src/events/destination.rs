//! What became of packets on their destination.
//!
//! Three kinds of contract speak here: the receive library (attested), the endpoint (committed,
//! delivered, set aside, failed, composed), and the workers' own contracts (what a DVN's or an
//! executor's call did). Attestations of read channels have another shape and are not decoded.

use super::{EventError, EventProblem, Origin, RawLog, bounded, same_count};
use crate::{
    contracts::{Dvn, EndpointV2, Executor, ReceiveUln302},
    wire::{
        Eid, Guid, PacketHeader, PayloadHash,
        options::MAX_OPTION_COUNT,
        packet::{MAX_MESSAGE_SIZE, payload_hash},
    },
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolEvent;

/// Most bytes kept of the reason for a failure.
pub const MAX_REASON_SIZE: usize = 4 * 1024;

/// An event with the contract that emitted it. What it says is that contract's word alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationLog {
    /// The contract that emitted it; to be compared with the one the caller expects.
    pub emitter: Address,
    /// The log's position in its block.
    pub log_index: u64,
    /// What it says.
    pub event: DestinationEvent,
}

/// What a call that failed returned, cut to [`MAX_REASON_SIZE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RevertReason {
    /// The first bytes: an ABI-encoded error, as a rule.
    pub data: Bytes,
    /// Whether there was more.
    pub truncated: bool,
}

impl RevertReason {
    /// Keeps the first [`MAX_REASON_SIZE`] bytes.
    #[must_use]
    pub fn new(reason: &[u8]) -> Self {
        let kept = reason.get(..MAX_REASON_SIZE);
        Self {
            data: Bytes::copy_from_slice(kept.unwrap_or(reason)),
            truncated: reason.len() > MAX_REASON_SIZE,
        }
    }
}

/// A native drop that the executor tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppliedDrop {
    /// Who was to get it.
    pub receiver: Address,
    /// Smallest native unit.
    pub amount: U256,
    /// Whether it arrived; if not, it stays with the executor.
    pub success: bool,
}

/// One composed message: who composed it for whom, in which packet's delivery, as which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ComposeKey {
    /// The application that composed it.
    pub from: Address,
    /// The application it is for.
    pub to: Address,
    /// The packet in whose delivery it was composed.
    pub guid: Guid,
    /// Its number within that delivery.
    pub index: u16,
}

/// What a destination's contracts say. Gas is in gas units, values in the smallest native unit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationEvent {
    /// A receive library took an attestation. Anyone may attest anything; only those of configured
    /// DVNs count, and a later one of the same DVN replaces it.
    PayloadVerified {
        /// The library, which is the emitter.
        library: Address,
        /// Who attested.
        dvn: Address,
        /// The packet's header.
        header: PacketHeader,
        /// Blocks attested on top of the packet's; the largest number means "enough for any".
        confirmations: u64,
        /// The hash attested.
        proof_hash: PayloadHash,
    },
    /// The endpoint took the packet: committed.
    PacketVerified {
        /// Where it comes from.
        origin: Origin,
        /// Who it is for.
        receiver: Address,
        /// The hash that was committed.
        payload_hash: PayloadHash,
    },
    /// The packet left the endpoint: executed, or cleared by its application.
    PacketDelivered {
        /// Where it comes from.
        origin: Origin,
        /// Who it was for.
        receiver: Address,
    },
    /// The application skipped a nonce before it was committed.
    Skipped {
        /// Where it would have come from.
        origin: Origin,
        /// Who skipped it.
        receiver: Address,
    },
    /// The application took a commitment back; the packet can be attested and committed anew.
    Nilified {
        /// Where it comes from.
        origin: Origin,
        /// Who nilified it.
        receiver: Address,
        /// The hash that was there.
        payload_hash: PayloadHash,
    },
    /// The application gave a packet up for good.
    Burnt {
        /// Where it comes from.
        origin: Origin,
        /// Who burnt it.
        receiver: Address,
        /// The hash that was there.
        payload_hash: PayloadHash,
    },
    /// Somebody says that a delivery failed. Anyone may: only a known executor's word counts.
    LzReceiveAlert {
        /// Who it is for.
        receiver: Address,
        /// Who raised it.
        executor: Address,
        /// Where the packet comes from.
        origin: Origin,
        /// The packet, as the executor names it.
        guid: Guid,
        /// The hash of the guid and message that were tried; another than the committed one means
        /// that the executor tried something else.
        payload_hash: PayloadHash,
        /// Gas given to the endpoint.
        gas: U256,
        /// Value given.
        value: U256,
        /// What the call returned.
        reason: RevertReason,
    },
    /// A delivery composed a further call.
    ComposeSent {
        /// Which.
        key: ComposeKey,
        /// The message; at most [`MAX_MESSAGE_SIZE`] bytes.
        message: Bytes,
    },
    /// A composed call was made.
    ComposeDelivered {
        /// Which.
        key: ComposeKey,
    },
    /// Somebody says that a composed call failed. Anyone may: only a known executor's word counts.
    LzComposeAlert {
        /// Which.
        key: ComposeKey,
        /// Who raised it.
        executor: Address,
        /// `keccak256` of the message that was tried, to compare with the endpoint's queue.
        message_hash: B256,
        /// Gas given to the endpoint.
        gas: U256,
        /// Value given.
        value: U256,
        /// What the call returned.
        reason: RevertReason,
    },
    /// An executor paid native drops, or failed to.
    NativeDropApplied {
        /// The packet that asked for them.
        origin: Origin,
        /// The executor's own endpoint.
        dst_eid: Eid,
        /// The packet's receiver.
        oapp: Address,
        /// Each drop and whether it arrived.
        drops: Vec<AppliedDrop>,
    },
    /// A DVN's approved call reverted.
    DvnExecuteFailed {
        /// Its place in the list given to `execute`.
        item: u32,
        /// What the call returned.
        reason: RevertReason,
    },
    /// A DVN refused the signatures of an item.
    DvnSignaturesFailed {
        /// Its place in the list given to `execute`.
        item: u32,
    },
    /// A DVN refused an item that it had executed before. Attestations are
    /// exempt.
    DvnHashAlreadyUsed {
        /// The item's digest.
        digest: B256,
    },
}

/// Decodes a log of a destination. `None` where it has none of the signatures.
///
/// # Errors
/// [`EventError`] where it has the signature and not the content.
pub fn destination_event(log: &RawLog) -> Option<Result<DestinationLog, EventError>> {
    use EndpointV2 as endpoint;
    let event = match *log.topics.first()? {
        ReceiveUln302::PayloadVerified::SIGNATURE_HASH => {
            read(log, |event| payload_verified(log.address, event))
        }
        endpoint::PacketVerified::SIGNATURE_HASH => read(log, packet_verified),
        endpoint::PacketDelivered::SIGNATURE_HASH => read(log, packet_delivered),
        endpoint::InboundNonceSkipped::SIGNATURE_HASH => read(log, skipped),
        endpoint::PacketNilified::SIGNATURE_HASH => read(log, nilified),
        endpoint::PacketBurnt::SIGNATURE_HASH => read(log, burnt),
        endpoint::LzReceiveAlert::SIGNATURE_HASH => read(log, receive_alert),
        endpoint::ComposeSent::SIGNATURE_HASH => read(log, compose_sent),
        endpoint::ComposeDelivered::SIGNATURE_HASH => read(log, compose_delivered),
        endpoint::LzComposeAlert::SIGNATURE_HASH => read(log, compose_alert),
        Executor::NativeDropApplied::SIGNATURE_HASH => read(log, native_drop_applied),
        Dvn::ExecuteFailed::SIGNATURE_HASH => read(log, execute_failed),
        Dvn::VerifySignaturesFailed::SIGNATURE_HASH => read(log, signatures_failed),
        Dvn::HashAlreadyUsed::SIGNATURE_HASH => read(log, hash_already_used),
        _ => return None,
    };
    Some(event.map(|event| DestinationLog { emitter: log.address, log_index: log.index, event }))
}

type Decoded = Result<DestinationEvent, EventProblem>;

fn read<E: SolEvent>(
    log: &RawLog,
    convert: impl FnOnce(&E) -> Decoded,
) -> Result<DestinationEvent, EventError> {
    log.decode::<E>().and_then(|event| convert(&event)).map_err(|problem| log.error::<E>(problem))
}

fn payload_verified(library: Address, event: &ReceiveUln302::PayloadVerified) -> Decoded {
    Ok(DestinationEvent::PayloadVerified {
        library,
        dvn: event.dvn,
        header: PacketHeader::decode(&event.header)?,
        confirmations: u64::try_from(event.confirmations)
            .map_err(|_| EventProblem::ConfirmationsTooLarge)?,
        proof_hash: PayloadHash(event.proofHash),
    })
}

fn packet_verified(event: &EndpointV2::PacketVerified) -> Decoded {
    Ok(DestinationEvent::PacketVerified {
        origin: (&event.origin).try_into()?,
        receiver: event.receiver,
        payload_hash: PayloadHash(event.payloadHash),
    })
}

fn packet_delivered(event: &EndpointV2::PacketDelivered) -> Decoded {
    Ok(DestinationEvent::PacketDelivered {
        origin: (&event.origin).try_into()?,
        receiver: event.receiver,
    })
}

fn skipped(event: &EndpointV2::InboundNonceSkipped) -> Decoded {
    Ok(DestinationEvent::Skipped {
        origin: Origin::new(event.srcEid, event.sender, event.nonce)?,
        receiver: event.receiver,
    })
}

fn nilified(event: &EndpointV2::PacketNilified) -> Decoded {
    Ok(DestinationEvent::Nilified {
        origin: Origin::new(event.srcEid, event.sender, event.nonce)?,
        receiver: event.receiver,
        payload_hash: PayloadHash(event.payloadHash),
    })
}

fn burnt(event: &EndpointV2::PacketBurnt) -> Decoded {
    Ok(DestinationEvent::Burnt {
        origin: Origin::new(event.srcEid, event.sender, event.nonce)?,
        receiver: event.receiver,
        payload_hash: PayloadHash(event.payloadHash),
    })
}

fn receive_alert(event: &EndpointV2::LzReceiveAlert) -> Decoded {
    let guid = Guid(event.guid);
    Ok(DestinationEvent::LzReceiveAlert {
        receiver: event.receiver,
        executor: event.executor,
        origin: (&event.origin).try_into()?,
        guid,
        payload_hash: payload_hash(guid, &event.message),
        gas: event.gas,
        value: event.value,
        reason: RevertReason::new(&event.reason),
    })
}

fn compose_sent(event: &EndpointV2::ComposeSent) -> Decoded {
    bounded(event.message.len(), MAX_MESSAGE_SIZE)?;
    let (from, to, guid, index) = (event.from, event.to, Guid(event.guid), event.index);
    let key = ComposeKey { from, to, guid, index };
    Ok(DestinationEvent::ComposeSent { key, message: event.message.clone() })
}

fn compose_delivered(event: &EndpointV2::ComposeDelivered) -> Decoded {
    let (from, to, guid, index) = (event.from, event.to, Guid(event.guid), event.index);
    Ok(DestinationEvent::ComposeDelivered { key: ComposeKey { from, to, guid, index } })
}

fn compose_alert(event: &EndpointV2::LzComposeAlert) -> Decoded {
    let guid = Guid(event.guid);
    Ok(DestinationEvent::LzComposeAlert {
        key: ComposeKey { from: event.from, to: event.to, guid, index: event.index },
        executor: event.executor,
        message_hash: keccak256(&event.message),
        gas: event.gas,
        value: event.value,
        reason: RevertReason::new(&event.reason),
    })
}

fn native_drop_applied(event: &Executor::NativeDropApplied) -> Decoded {
    bounded(event.params.len(), MAX_OPTION_COUNT)?;
    same_count("results", event.success.len(), event.params.len())?;
    let drops = event.params.iter().zip(&event.success).map(|(drop, success)| AppliedDrop {
        receiver: drop.receiver,
        amount: drop.amount,
        success: *success,
    });
    Ok(DestinationEvent::NativeDropApplied {
        origin: (&event.origin).try_into()?,
        dst_eid: Eid(event.dstEid),
        oapp: event.oapp,
        drops: drops.collect(),
    })
}

fn execute_failed(event: &Dvn::ExecuteFailed) -> Decoded {
    let reason = RevertReason::new(&event.data);
    Ok(DestinationEvent::DvnExecuteFailed { item: item(event.index)?, reason })
}

fn signatures_failed(event: &Dvn::VerifySignaturesFailed) -> Decoded {
    Ok(DestinationEvent::DvnSignaturesFailed { item: item(event.idx)? })
}

fn hash_already_used(event: &Dvn::HashAlreadyUsed) -> Decoded {
    Ok(DestinationEvent::DvnHashAlreadyUsed { digest: event.hash })
}

/// A place in a list that was call data, so 32 bits are plenty.
fn item(index: U256) -> Result<u32, EventProblem> {
    u32::try_from(index).map_err(|_| EventProblem::IndexTooLarge)
}

#[cfg(test)]
mod tests;
