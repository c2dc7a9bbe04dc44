//! What chains say about messages, and where they were seen to say it.

use crate::{
    duty::Role,
    id::{BlockRef, Confirmations, LaneId, MessageNonce, PayloadHash, TxHash, UnixMillis},
    network::NetworkName,
    reason::Detail,
};
use alloy_primitives::Bytes;
use serde::{Deserialize, Serialize};

/// What a fact is about: a place on a lane and, where the chain says so, the payload there.
///
/// Some events name a nonce only (LayerZero's `PacketDelivered`, a skipped nonce): such a fact is
/// about whatever message stands at that nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// The lane.
    pub lane: LaneId,
    /// The number on it.
    pub nonce: MessageNonce,
    /// The payload's hash, if the chain named it.
    pub payload: Option<PayloadHash>,
}

/// Something a chain says about a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The source sent it.
    Sent,
    /// The source assigned work for it to a worker, who was promised a fee.
    Assigned {
        /// The work.
        role: Role,
        /// The worker's address on the source, in the network's canonical text.
        worker: String,
        /// The fee in the source's smallest unit, decimal; "0" is possible.
        fee: String,
    },
    /// An attester told the destination that it was sent.
    Attested {
        /// The attester's address on the destination.
        by: String,
        /// The depth it vouched for.
        confirmations: Confirmations,
    },
    /// The destination accepted the attestations and holds the payload's hash.
    Committed,
    /// The receiver was given the message.
    Executed,
    /// The receiver was given the message and refused it; it can be tried again.
    ExecutionFailed {
        /// What the receiver said, decoded as far as possible, bounded.
        detail: String,
    },
    /// The executor paid the native drops that the sender asked for, whether or not the receiver took the
    /// message then: they are not paid again.
    NativeDropped {
        /// How many of them did not arrive; their coins stay with the executor's contract.
        failed: u32,
    },
    /// The destination took it off its list without running the receiver.
    Cleared,
    /// The destination took it off its list, and the chain does not tell whether the receiver ran.
    Consumed,
    /// The receiver's application gave up the nonce before anything was committed there.
    Skipped,
    /// The receiver's application took back the commitment; it must be attested anew.
    Nilified,
    /// The receiver's application gave the message up for good.
    Burnt,
    /// The receiver composed a further call while it was run.
    ComposeSent {
        /// Its number within the message.
        part: u16,
        /// The application that is to be called, in the network's canonical text.
        to: String,
        /// What it is called with.
        message: Bytes,
    },
    /// A composed call was made.
    ComposeDelivered {
        /// Its number within the message.
        part: u16,
    },
    /// A composed call was tried and failed; it can be tried again.
    ComposeFailed {
        /// Its number within the message.
        part: u16,
        /// What the called application said, decoded as far as possible, bounded.
        detail: String,
    },
    /// The destination has received it (ICS-04 `recvPacket`).
    Received,
    /// The receiving application said how it took it (ICS-04 `writeAcknowledgement`).
    AcknowledgementWritten {
        /// The acknowledgement's bytes, as the application wrote them.
        acknowledgement: Bytes,
        /// What went wrong there, where the bytes say so in the standard form.
        error: Option<Detail>,
    },
    /// The source was told the acknowledgement (ICS-04 `acknowledgePacket`).
    Acknowledged,
    /// The source was shown that it was not received in time (ICS-04 `timeoutPacket`).
    TimedOut,
}

impl Fact {
    /// A short name that is stable across releases.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Assigned { .. } => "assigned",
            Self::Attested { .. } => "attested",
            Self::Committed => "committed",
            Self::Executed => "executed",
            Self::ExecutionFailed { .. } => "execution_failed",
            Self::NativeDropped { .. } => "native_dropped",
            Self::Cleared => "cleared",
            Self::Consumed => "consumed",
            Self::Skipped => "skipped",
            Self::Nilified => "nilified",
            Self::Burnt => "burnt",
            Self::ComposeSent { .. } => "compose_sent",
            Self::ComposeDelivered { .. } => "compose_delivered",
            Self::ComposeFailed { .. } => "compose_failed",
            Self::Received => "received",
            Self::AcknowledgementWritten { .. } => "acknowledgement_written",
            Self::Acknowledged => "acknowledged",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Where a fact was seen. Facts belong to messages, observations to blocks: when the block goes,
/// so does the observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The network.
    pub network: NetworkName,
    /// The block.
    pub block: BlockRef,
    /// The position of the log in the block.
    pub index: u64,
    /// The transaction, as the upstream named it.
    pub transaction: TxHash,
}

/// How sure a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// One upstream said so in a block that may still go. Good for showing and for being early,
    /// never for signing or closing.
    Hinted,
    /// Proven from an anchor.
    Verified,
}

/// A fact with where, how surely and when it was learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactRecord {
    /// What it is about.
    pub subject: Subject,
    /// What was said.
    pub fact: Fact,
    /// Where.
    pub observation: Observation,
    /// How surely.
    pub certainty: Certainty,
    /// When this node first learnt it.
    pub at: UnixMillis,
}

impl FactRecord {
    /// Where the fact stands in its network's order: height, then index in the block.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        (self.observation.block.height.0, self.observation.index)
    }
}

/// Whether `record` concerns the message with this payload, given everything known about its place
/// on the lane.
///
/// A fact that names its payload concerns that one only. That a nonce was executed, consumed or
/// cleared concerns the payload that was committed there last: after a reorganisation of the source
/// another message can stand at the same nonce, to which nothing happened.
#[must_use]
pub fn concerns<'a>(
    record: &FactRecord,
    payload: PayloadHash,
    at_place: impl Iterator<Item = &'a FactRecord>,
) -> bool {
    if let Some(named) = record.subject.payload {
        return named == payload;
    }
    let follows_commit = matches!(
        record.fact,
        Fact::Executed | Fact::Consumed | Fact::Cleared | Fact::ComposeSent { .. }
    );
    if !follows_commit {
        return true;
    }
    at_place
        .filter(|r| matches!(r.fact, Fact::Committed))
        .filter(|r| r.observation.network == record.observation.network)
        .filter(|r| r.position() <= record.position())
        .max_by_key(|r| r.position())
        .and_then(|committed| committed.subject.payload)
        .is_none_or(|committed| committed == payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BlockHash, Height};
    use alloy_primitives::B256;

    fn record(fact: Fact, payload: Option<u8>, index: u64) -> FactRecord {
        FactRecord {
            subject: Subject {
                lane: LaneId(B256::ZERO),
                nonce: MessageNonce(1),
                payload: payload.map(|p| PayloadHash(B256::repeat_byte(p))),
            },
            fact,
            observation: Observation {
                network: "beta".parse().unwrap(),
                block: BlockRef { height: Height(1), hash: BlockHash(B256::ZERO) },
                index,
                transaction: TxHash(B256::ZERO),
            },
            certainty: Certainty::Verified,
            at: UnixMillis(0),
        }
    }

    /// Class (d): what happened to one payload at a nonce did not happen to another.
    #[test]
    fn r9_d_an_execution_concerns_the_payload_that_was_committed() {
        let (ours, theirs) = (PayloadHash(B256::repeat_byte(1)), PayloadHash(B256::repeat_byte(2)));
        let executed = record(Fact::Executed, None, 5);
        let committed = [record(Fact::Committed, Some(1), 4), record(Fact::Committed, Some(2), 6)];
        assert!(concerns(&executed, ours, committed.iter()));
        assert!(!concerns(&executed, theirs, committed.iter()));
        // Where no commitment is known, nothing contradicts it.
        assert!(concerns(&executed, theirs, [].iter()));
        // A skipped nonce was never committed: it concerns whatever stands there.
        let skipped = record(Fact::Skipped, None, 5);
        assert!(concerns(&skipped, theirs, committed.iter()));
    }
}
