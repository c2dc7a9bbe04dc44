//! What happened to a message, in order.

use crate::{
    duty::{DutyKind, DutyState},
    fact::{Certainty, Fact, Observation},
    id::{MessageId, UnixMillis},
    reason::Detail,
    status::Standing,
};
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum HistoryEvent {
    /// A chain said something.
    Learnt {
        /// What.
        fact: Fact,
        /// How surely.
        certainty: Certainty,
        /// Where.
        observation: Observation,
    },
    /// What a chain had said went away with its block.
    TakenBack {
        /// What.
        fact: Fact,
        /// Where it had been.
        observation: Observation,
    },
    /// A duty moved.
    Duty {
        /// Which.
        kind: DutyKind,
        /// To where.
        state: DutyState,
    },
    /// The message's standing changed.
    Standing(Standing),
    /// An operator holds the message back.
    Held {
        /// Why, in the operator's words.
        because: Detail,
    },
    /// An operator let the message go on.
    Released,
    /// An operator asked for the message's duties to be planned again at once.
    Retried,
}

/// What an operator did to a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneEvent {
    /// Paused it.
    Paused,
    /// Let it go on.
    Resumed,
}

impl LaneEvent {
    /// The event's name in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Resumed => "resumed",
        }
    }
}

/// An entry of a message's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Grows with every entry of this store.
    pub sequence: u64,
    /// The message.
    pub message: MessageId,
    /// When it was recorded.
    pub at: UnixMillis,
    /// What happened.
    pub event: HistoryEvent,
}
