//! What chains say about messages, and where they were seen to say it.

use crate::{
    duty::Role,
    id::{BlockRef, Confirmations, LaneId, MessageNonce, PayloadHash, TxHash, UnixMillis},
    network::NetworkName,
};
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
            Self::Cleared => "cleared",
            Self::Consumed => "consumed",
            Self::Skipped => "skipped",
            Self::Nilified => "nilified",
            Self::Burnt => "burnt",
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
