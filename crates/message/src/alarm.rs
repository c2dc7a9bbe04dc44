//! What an operator must hear of at once, whatever message it concerns.

use crate::{
    id::{MessageId, UnixMillis},
    network::NetworkName,
    reason::Detail,
};
use serde::{Deserialize, Serialize};

/// The kinds of alarm: one closed list, the same in the store, the log, a metric's label and the
/// API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// An upstream contradicts the quorum; it is in quarantine.
    UpstreamDissents,
    /// An upstream served evidence that does not hold.
    EvidenceRefuted,
    /// Too few upstreams agree; nothing is signed for that network.
    QuorumLost,
    /// A block that was final for us was replaced.
    FinalBlockReplaced,
    /// A message we had signed for stood in a block that was replaced.
    SignedThenReorganised,
    /// The signing journal was asked for a second value for one subject.
    JournalConflict,
    /// A token contract credited what its source did not debit.
    SupplyBreached,
    /// More messages were delivered to a token contract than its source ever sent.
    DeliveredUnsent,
    /// A peer asked for, or answered with, what does not hold here.
    PeerDissents,
    /// A light client on a chain expires soon, has expired, or is frozen.
    ClientExpires,
    /// Validators of a chain signed two of it.
    Misbehaviour,
}

impl AlarmKind {
    /// The kind's name in tables, metrics and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamDissents => "upstream_dissents",
            Self::EvidenceRefuted => "evidence_refuted",
            Self::QuorumLost => "quorum_lost",
            Self::FinalBlockReplaced => "final_block_replaced",
            Self::SignedThenReorganised => "signed_then_reorganised",
            Self::JournalConflict => "journal_conflict",
            Self::SupplyBreached => "supply_breached",
            Self::DeliveredUnsent => "delivered_unsent",
            Self::PeerDissents => "peer_dissents",
            Self::ClientExpires => "client_expires",
            Self::Misbehaviour => "misbehaviour",
        }
    }
}

/// An alarm. Raising the same kind on the same network with the same detail again while it is
/// young does not make a second one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What kind.
    pub kind: AlarmKind,
    /// Where.
    pub network: NetworkName,
    /// Which message it concerns, if one.
    pub message: Option<MessageId>,
    /// What was seen.
    pub detail: Detail,
    /// When.
    pub at: UnixMillis,
}
