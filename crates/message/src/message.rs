//! What one system sent to another.

use crate::{
    id::{LaneId, MessageId, MessageNonce, PayloadHash, content_id},
    lane::Lane,
};
use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

/// A message's payload. State often tells of a payload's hash before its bytes are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The bytes, and their hash as the protocol computes it.
    Known {
        /// What the receiver is given, in the protocol's own encoding.
        bytes: Bytes,
        /// The protocol's hash of it.
        hash: PayloadHash,
    },
    /// Only the hash is known so far.
    Committed(PayloadHash),
}

impl Payload {
    /// The payload's hash.
    #[must_use]
    pub fn hash(&self) -> PayloadHash {
        match self {
            Self::Known { hash, .. } | Self::Committed(hash) => *hash,
        }
    }

    /// The payload's bytes, if they are known.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Known { bytes, .. } => Some(bytes),
            Self::Committed(_) => None,
        }
    }
}

/// A message as its source said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The direction it travels.
    pub lane: Lane,
    /// Its number on the lane.
    pub nonce: MessageNonce,
    /// What is brought.
    pub payload: Payload,
    /// What the sender asks of those who bring it, in the protocol's own encoding.
    pub options: Bytes,
    /// The protocol's own id, where it has one (LayerZero's guid).
    pub reference: Option<B256>,
}

impl Message {
    /// The message's id.
    #[must_use]
    pub fn id(&self) -> MessageId {
        message_id(self.lane.id(), self.nonce, self.payload.hash())
    }
}

/// The id of the message with this lane, nonce and payload hash.
#[must_use]
pub fn message_id(lane: LaneId, nonce: MessageNonce, payload: PayloadHash) -> MessageId {
    MessageId(content_id(
        "postrider/message",
        &[lane.0.as_slice(), &nonce.0.to_be_bytes(), payload.0.as_slice()],
    ))
}
