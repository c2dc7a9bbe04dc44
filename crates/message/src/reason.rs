//! Why something is not at its end: one closed list, the same in the store, the log, a metric's
//! label, the API and on a page.

use crate::{
    duty::DutyKind,
    id::{MessageNonce, UnixMillis},
    network::NetworkName,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The most bytes of foreign text (a revert reason, an upstream's error) that a reason keeps.
pub const MAX_DETAIL_BYTES: usize = 300;

/// Text from outside, cut to [`MAX_DETAIL_BYTES`] and stripped of control characters, so that it
/// can be stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Detail(String);

impl<T: AsRef<str>> From<T> for Detail {
    fn from(text: T) -> Self {
        let mut kept = String::new();
        for c in text.as_ref().chars() {
            let c = if c.is_control() { ' ' } else { c };
            if kept.len() + c.len_utf8() > MAX_DETAIL_BYTES {
                break;
            }
            kept.push(c);
        }
        Self(kept)
    }
}

impl From<Detail> for String {
    fn from(detail: Detail) -> Self {
        detail.0
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a message or a duty is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// The block it stands in may still go.
    AwaitingFinality {
        /// Where.
        network: NetworkName,
        /// Blocks still wanted on top, as far as known.
        more: u64,
    },
    /// It is final for us, but the receiver's side asks for a greater depth.
    AwaitingConfirmations {
        /// Where.
        network: NetworkName,
        /// Blocks still wanted on top.
        more: u64,
    },
    /// Too few upstreams answer, or too few agree.
    QuorumLost {
        /// Where.
        network: NetworkName,
        /// How many operators give one and the same answer.
        agreeing: u32,
        /// How many must.
        needed: u32,
        /// How many are configured.
        configured: u32,
    },
    /// Others, or we, must attest first.
    AwaitingAttestations {
        /// Attesters whose word the destination has and counts.
        present: u32,
        /// How many it asks for.
        needed: u32,
    },
    /// A lower number on the lane must be committed first.
    LowerNonceNotCommitted {
        /// The first that is missing.
        nonce: MessageNonce,
    },
    /// The receiver wants its messages in order, and this one is not next.
    LowerNonceNotExecuted {
        /// The one that is next.
        nonce: MessageNonce,
    },
    /// The destination has not committed it yet.
    AwaitingCommit,
    /// The message must be executed first.
    AwaitingExecution,
    /// It has just been recorded, and a planner will look at it.
    AwaitingPlan,
    /// It is ready and waits for its turn to be sent.
    AwaitingSubmission,
    /// Its transaction is on its way.
    AwaitingInclusion {
        /// Where.
        network: NetworkName,
    },
    /// It was tried, did not succeed, and is tried again.
    Retrying {
        /// What.
        duty: DutyKind,
        /// When.
        at: UnixMillis,
        /// What went wrong.
        detail: Detail,
    },
    /// The receiver refused it.
    ReceiverReverted {
        /// What it said.
        detail: Detail,
    },
    /// The destination refused it when it was tried without sending.
    SimulationFailed {
        /// What it said.
        detail: Detail,
    },
    /// The receiver takes messages through a library that is not pinned in the configuration.
    LibraryNotPinned {
        /// The library's address.
        library: String,
    },
    /// The receiver's configuration does not count the attester it was assigned to.
    AttesterNotCounted {
        /// The attester's address on the destination.
        attester: String,
    },
    /// The receiver has not opened the lane.
    LaneNotInitialised,
    /// The receive side asks for no confirmations or no attesters: nobody may sign for that.
    UnsafeConfiguration {
        /// What is unsafe.
        detail: Detail,
    },
    /// The evidence does not hold.
    Refuted {
        /// Why.
        detail: Detail,
    },
    /// The sender's options ask for something this node does not do.
    OptionsNotSupported {
        /// What.
        detail: Detail,
    },
    /// The signing journal will not permit it.
    JournalRefused {
        /// Why.
        detail: Detail,
    },
    /// Other processes of this attester must sign it too.
    AwaitingSignatures {
        /// Signatures that are here.
        present: u32,
        /// How many the attester's contract takes.
        needed: u32,
        /// Whose are missing, and why.
        detail: Detail,
    },
    /// The account that pays has too little.
    SignerEmpty {
        /// Where.
        network: NetworkName,
        /// Whose.
        address: String,
    },
    /// The destination says it was done by somebody else.
    DoneByOthers,
    /// The message ended without it.
    MessageEnded,
    /// The sender paid for a composed call, and the receiver composed none.
    NothingComposed,
    /// No role of this node has to do with it; it is only watched.
    NotOurs,
    /// An operator paused its lane: nothing more is planned or signed there.
    LanePaused,
    /// An operator holds this message back.
    HeldByOperator {
        /// Why, in the operator's words.
        detail: Detail,
    },
    /// The receiving application has not said yet how it took it.
    AwaitingAcknowledgement,
    /// Another relayer goes first until then; see `standby_seconds`.
    StandingBy {
        /// When this node takes it up.
        until: UnixMillis,
    },
    /// The connection asks for a delay between a header and what is proven by it.
    AwaitingConnectionDelay {
        /// Where.
        network: NetworkName,
    },
    /// Its timeout has not passed yet.
    AwaitingTimeout,
    /// It is too late to be received.
    TimeoutPassed,
    /// It was received, so it cannot time out.
    ReceivedInTime,
    /// The light client that it must be shown to is expired, frozen or not to be trusted.
    ClientUnusable {
        /// The client's id.
        client: String,
        /// Where.
        network: NetworkName,
        /// Why.
        detail: Detail,
    },
    /// The channel does not take it.
    ChannelNotOpen {
        /// Why.
        detail: Detail,
    },
    /// State says that it was sent, and no upstream tells what its data is.
    DataNotFound {
        /// Why.
        detail: Detail,
    },
    /// The configuration says that it is not to be relayed.
    FilteredOut {
        /// Why.
        detail: Detail,
    },
    /// The block it stood in was replaced after we had signed for it.
    ReorganisedAfterSigning {
        /// Where.
        network: NetworkName,
    },
}

/// A [`Reason`] without its circumstances: what filters and counts go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ReasonCode(&'static str);

/// A text that is no reason's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no reason; docs/operate.md lists them")]
pub struct BadReasonCode(Detail);

impl ReasonCode {
    /// Every code, in the order of a message's way.
    pub const ALL: [Self; 40] = [
        Self("awaiting_finality"),
        Self("awaiting_confirmations"),
        Self("quorum_lost"),
        Self("awaiting_attestations"),
        Self("lower_nonce_not_committed"),
        Self("lower_nonce_not_executed"),
        Self("awaiting_commit"),
        Self("awaiting_execution"),
        Self("awaiting_plan"),
        Self("awaiting_submission"),
        Self("awaiting_inclusion"),
        Self("retrying"),
        Self("receiver_reverted"),
        Self("simulation_failed"),
        Self("library_not_pinned"),
        Self("attester_not_counted"),
        Self("lane_not_initialised"),
        Self("unsafe_configuration"),
        Self("refuted"),
        Self("options_not_supported"),
        Self("journal_refused"),
        Self("awaiting_signatures"),
        Self("signer_empty"),
        Self("done_by_others"),
        Self("message_ended"),
        Self("nothing_composed"),
        Self("not_ours"),
        Self("lane_paused"),
        Self("held_by_operator"),
        Self("awaiting_acknowledgement"),
        Self("standing_by"),
        Self("awaiting_connection_delay"),
        Self("awaiting_timeout"),
        Self("timeout_passed"),
        Self("received_in_time"),
        Self("client_unusable"),
        Self("channel_not_open"),
        Self("data_not_found"),
        Self("filtered_out"),
        Self("reorganised_after_signing"),
    ];

    /// The code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for ReasonCode {
    type Err = BadReasonCode;
    fn from_str(text: &str) -> Result<Self, BadReasonCode> {
        let found = Self::ALL.into_iter().find(|code| code.0 == text);
        found.ok_or_else(|| BadReasonCode(text.into()))
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl Reason {
    /// A short name that is stable across releases: the metric label and the JSON `code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AwaitingFinality { .. } => "awaiting_finality",
            Self::AwaitingConfirmations { .. } => "awaiting_confirmations",
            Self::QuorumLost { .. } => "quorum_lost",
            Self::AwaitingAttestations { .. } => "awaiting_attestations",
            Self::LowerNonceNotCommitted { .. } => "lower_nonce_not_committed",
            Self::LowerNonceNotExecuted { .. } => "lower_nonce_not_executed",
            Self::AwaitingCommit => "awaiting_commit",
            Self::AwaitingExecution => "awaiting_execution",
            Self::AwaitingPlan => "awaiting_plan",
            Self::AwaitingSubmission => "awaiting_submission",
            Self::AwaitingInclusion { .. } => "awaiting_inclusion",
            Self::Retrying { .. } => "retrying",
            Self::ReceiverReverted { .. } => "receiver_reverted",
            Self::SimulationFailed { .. } => "simulation_failed",
            Self::LibraryNotPinned { .. } => "library_not_pinned",
            Self::AttesterNotCounted { .. } => "attester_not_counted",
            Self::LaneNotInitialised => "lane_not_initialised",
            Self::UnsafeConfiguration { .. } => "unsafe_configuration",
            Self::Refuted { .. } => "refuted",
            Self::OptionsNotSupported { .. } => "options_not_supported",
            Self::JournalRefused { .. } => "journal_refused",
            Self::AwaitingSignatures { .. } => "awaiting_signatures",
            Self::SignerEmpty { .. } => "signer_empty",
            Self::DoneByOthers => "done_by_others",
            Self::MessageEnded => "message_ended",
            Self::NothingComposed => "nothing_composed",
            Self::NotOurs => "not_ours",
            Self::LanePaused => "lane_paused",
            Self::HeldByOperator { .. } => "held_by_operator",
            Self::AwaitingAcknowledgement => "awaiting_acknowledgement",
            Self::StandingBy { .. } => "standing_by",
            Self::AwaitingConnectionDelay { .. } => "awaiting_connection_delay",
            Self::AwaitingTimeout => "awaiting_timeout",
            Self::TimeoutPassed => "timeout_passed",
            Self::ReceivedInTime => "received_in_time",
            Self::ClientUnusable { .. } => "client_unusable",
            Self::ChannelNotOpen { .. } => "channel_not_open",
            Self::DataNotFound { .. } => "data_not_found",
            Self::FilteredOut { .. } => "filtered_out",
            Self::ReorganisedAfterSigning { .. } => "reorganised_after_signing",
        }
    }

    /// What a person can do about it; `None` where waiting is all there is.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::QuorumLost { .. } => {
                "bring upstreams back, or add some of other operators; nothing is signed meanwhile"
            }
            Self::ReceiverReverted { .. } => {
                "look at the receiving contract; it is tried again by itself"
            }
            Self::LibraryNotPinned { .. } => {
                "add the library to the deployment's `receive_libraries` if you trust it"
            }
            Self::AttesterNotCounted { .. } => {
                "the application must name this attester in its receive configuration"
            }
            Self::LaneNotInitialised => {
                "the receiving application must accept the sender (setPeer, allowInitializePath)"
            }
            Self::UnsafeConfiguration { .. } => {
                "the application must set confirmations and attesters on its receive side"
            }
            Self::Refuted { .. } => "see the alarm; an upstream may be lying",
            Self::JournalRefused { .. } => "see docs/operate.md, the signing journal",
            Self::AwaitingSignatures { .. } => {
                "look at the peer it names; it is asked again by itself"
            }
            Self::SignerEmpty { .. } => "fund the account; the rest goes on by itself",
            Self::LanePaused => "`postrider resume` lets the lane go on",
            Self::HeldByOperator { .. } => "`postrider release` lets it go on",
            Self::ReorganisedAfterSigning { .. } => {
                "raise the finality of that network, and tell the receiving application"
            }
            Self::ClientUnusable { .. } => {
                "recover the client by governance (`postrider ibc client recover` prepares the proposal)"
            }
            Self::DataNotFound { .. } => {
                "add an upstream that keeps older blocks; the search is repeated by itself"
            }
            Self::SimulationFailed { .. } => "look at the detail; it is tried again by itself",
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitingFinality { network, more: 0 } => write!(f, "not final on {network} yet"),
            Self::AwaitingFinality { network, more } => {
                write!(f, "{more} more blocks until final on {network}")
            }
            Self::AwaitingConfirmations { network, more } => {
                write!(f, "{more} more confirmations on {network}")
            }
            Self::QuorumLost { network, agreeing, needed, configured } => write!(
                f,
                "quorum lost on {network}: {agreeing} of {configured} operators agree, {needed} needed"
            ),
            Self::AwaitingAttestations { present, needed } => {
                write!(f, "{present} of {needed} attestations present")
            }
            Self::LowerNonceNotCommitted { nonce } => {
                write!(f, "nonce {nonce} must be committed first")
            }
            Self::LowerNonceNotExecuted { nonce } => {
                write!(f, "nonce {nonce} must be executed first")
            }
            Self::AwaitingCommit => write!(f, "not committed on the destination yet"),
            Self::AwaitingExecution => write!(f, "not executed on the destination yet"),
            Self::AwaitingPlan => write!(f, "recorded, about to be planned"),
            Self::AwaitingSubmission => write!(f, "ready, waits for its turn"),
            Self::AwaitingInclusion { network } => {
                write!(f, "sent, not in a block of {network} yet")
            }
            Self::Retrying { duty, detail, .. } => {
                write!(f, "{duty} will be tried again: {detail}")
            }
            Self::ReceiverReverted { detail } => write!(f, "the receiver refused it: {detail}"),
            Self::SimulationFailed { detail } => {
                write!(f, "the destination would refuse it: {detail}")
            }
            Self::LibraryNotPinned { library } => {
                write!(f, "the receive library {library} is not pinned in the configuration")
            }
            Self::AttesterNotCounted { attester } => {
                write!(f, "the receiver's configuration does not count attester {attester}")
            }
            Self::LaneNotInitialised => write!(f, "the receiver has not opened this lane"),
            Self::UnsafeConfiguration { detail } => write!(f, "unsafe configuration: {detail}"),
            Self::Refuted { detail } => write!(f, "refuted: {detail}"),
            Self::OptionsNotSupported { detail } => write!(f, "options not supported: {detail}"),
            Self::JournalRefused { detail } => write!(f, "the signing journal refused: {detail}"),
            Self::AwaitingSignatures { present, needed, detail } => {
                write!(f, "waiting for signatures: {present} of {needed}; {detail}")
            }
            Self::SignerEmpty { network, address } => {
                write!(f, "account {address} on {network} has too little to pay for it")
            }
            Self::DoneByOthers => write!(f, "done by somebody else"),
            Self::MessageEnded => write!(f, "the message ended without it"),
            Self::NothingComposed => write!(f, "the receiver composed no such call"),
            Self::LanePaused => write!(f, "an operator paused its lane"),
            Self::HeldByOperator { detail } => write!(f, "held by an operator: {detail}"),
            Self::NotOurs => write!(f, "watched only: no role of this node has to do with it"),
            Self::AwaitingAcknowledgement => {
                write!(f, "the receiving application has not acknowledged it yet")
            }
            Self::StandingBy { until } => {
                write!(f, "another relayer goes first until {until}")
            }
            Self::AwaitingConnectionDelay { network } => {
                write!(f, "the delay of its connection on {network} has not passed yet")
            }
            Self::AwaitingTimeout => write!(f, "its timeout has not passed yet"),
            Self::TimeoutPassed => {
                write!(f, "its timeout has passed: it can no longer be received")
            }
            Self::ReceivedInTime => write!(f, "it was received in time"),
            Self::ClientUnusable { client, network, detail } => {
                write!(f, "client {client} on {network} cannot be used: {detail}")
            }
            Self::ChannelNotOpen { detail } => write!(f, "the channel does not take it: {detail}"),
            Self::DataNotFound { detail } => write!(f, "its data was not found: {detail}"),
            Self::FilteredOut { detail } => write!(f, "left out by the configuration: {detail}"),
            Self::ReorganisedAfterSigning { network } => {
                write!(f, "its block on {network} was replaced after it was signed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_bounded_and_clean() {
        let detail = Detail::from(format!("a\n\u{1b}[31m{}", "é".repeat(1000)));
        let text = String::from(detail);
        assert!(text.len() <= MAX_DETAIL_BYTES);
        assert!(!text.contains('\n') && !text.contains('\u{1b}'));
    }

    /// The list is what filters accept; serde names every code it knows when it meets another.
    #[test]
    fn the_list_of_codes_is_complete() {
        let error = serde_json::from_str::<Reason>(r#"{"code":"?"}"#).unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, ReasonCode::ALL.map(ReasonCode::as_str), "{error}");
        assert!("nonsense".parse::<ReasonCode>().is_err());
    }

    #[test]
    fn the_code_in_json_is_the_code() {
        let reasons = [
            Reason::AwaitingCommit,
            Reason::QuorumLost {
                network: "a".parse().unwrap(),
                agreeing: 1,
                needed: 2,
                configured: 3,
            },
            Reason::Refuted { detail: "x".into() },
            Reason::LanePaused,
            Reason::HeldByOperator { detail: "x".into() },
        ];
        for reason in reasons {
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(reason.code().parse::<ReasonCode>().unwrap().as_str(), reason.code());
            assert_eq!(json["code"], reason.code());
            assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), reason);
        }
    }
}
