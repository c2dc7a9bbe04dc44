//! What this node owes a message because of its roles.

use crate::{
    id::{DutyId, MessageId, UnixMillis, content_id},
    network::NetworkName,
    reason::Reason,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node does on a network or lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Attest: sign what was verified, so that the destination believes it.
    Attest,
    /// Execute: commit, and give the message to its receiver.
    Execute,
    /// Verify and raise alarms; sign nothing.
    Watch,
}

impl Role {
    /// The role's name in files, tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attest => "attest",
            Self::Execute => "execute",
            Self::Watch => "watch",
        }
    }
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyKind {
    /// Tell the destination, with signatures, that the message was sent.
    Attest,
    /// Make the destination accept the attestations it holds.
    Commit,
    /// Give the message to its receiver.
    Execute,
}

impl DutyKind {
    /// The kind's name in tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attest => "attest",
            Self::Commit => "commit",
            Self::Execute => "execute",
        }
    }
}

impl fmt::Display for DutyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far a duty has come. A state that is not an end carries the reason why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum DutyState {
    /// Something must happen first.
    Waiting(Reason),
    /// It can go.
    Ready(Reason),
    /// A transaction for it is on its way, or included and not yet final.
    Submitted(Reason),
    /// The destination says, finally, that it is done.
    Done,
    /// There is nothing to do: it is done by others or no longer wanted.
    NotNeeded(Reason),
    /// It was given up.
    Failed(Reason),
    /// It stands until an operator decides.
    Held(Reason),
}

impl DutyState {
    /// The state's name in tables and commands.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Ready(_) => "ready",
            Self::Submitted(_) => "submitted",
            Self::Done => "done",
            Self::NotNeeded(_) => "not_needed",
            Self::Failed(_) => "failed",
            Self::Held(_) => "held",
        }
    }

    /// Why it is where it is; only a duty that is done needs no reason.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Done => None,
            Self::Waiting(reason)
            | Self::Ready(reason)
            | Self::Submitted(reason)
            | Self::NotNeeded(reason)
            | Self::Failed(reason)
            | Self::Held(reason) => Some(reason),
        }
    }

    /// Whether there may still be something to do without an operator.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Ready(_) | Self::Submitted(_))
    }
}

/// Something this node owes a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// The message.
    pub message: MessageId,
    /// The work.
    pub kind: DutyKind,
    /// The network the work is brought to.
    pub network: NetworkName,
    /// The contract or account on that network in whose name it is done, in canonical text.
    pub worker: String,
    /// How far it has come.
    pub state: DutyState,
    /// How often it was tried.
    pub attempts: u32,
    /// It is not tried again before this time.
    pub not_before: UnixMillis,
}

impl Duty {
    /// The duty's id.
    #[must_use]
    pub fn id(&self) -> DutyId {
        DutyId(content_id(
            "postrider/duty",
            &[
                self.message.0.as_slice(),
                self.kind.as_str().as_bytes(),
                self.network.as_str().as_bytes(),
                self.worker.as_bytes(),
            ],
        ))
    }
}
