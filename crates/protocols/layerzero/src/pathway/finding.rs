//! What can be wrong with a pathway, what may come of it, and what to do.
//!
//! `docs/operate.md` lists every code; a test holds it to that.

use serde::Serialize;
use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Messages may be forged, or will not arrive.
    Danger,
    /// It works, and somebody else's mistake or change is enough that it does not.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Danger => "danger",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing that is wrong with a pathway, or that its users should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is: one of [`CODES`].
    pub code: &'static str,
    /// What was found, and on which network.
    pub what: String,
    /// What may come of it.
    pub risk: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// A kind of finding: its code, what may come of it, what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(pub(super) &'static str, pub(super) &'static str, pub(super) &'static str);

macro_rules! kinds {
    ($($name:ident = $code:literal, $risk:literal, $remedy:literal;)*) => {
        $(pub(super) const $name: Kind = Kind($code, $risk, $remedy);)*
        /// Every code a finding may have.
        pub const CODES: &[&str] = &[$($code),*];
    };
}

kinds! {
    UNREADABLE = "unreadable",
        "what depends on it was not examined: it may be wrong",
        "see that the upstreams answer and that the contracts are LayerZero's, and inspect again";
    ZERO_ADDRESS = "zero_address",
        "nobody can speak for the zero address: messages do not arrive",
        "the application must name a contract there";
    SINGLE_DVN = "single_dvn",
        "whoever deceives or controls that one can forge messages",
        "the application should require at least two DVNs of distinct operators";
    DEAD_DVN = "dead_dvn",
        "it attests nothing: if its word is needed, messages cannot be sent or do not arrive",
        "the application must name a DVN that serves that network";
    EXECUTOR_REFUSES = "executor_refuses",
        "nothing can be sent while it names no fee",
        "see whether it is paused and serves that network; else the application must name another";
    UNKNOWN_DVN = "unknown_dvn",
        "whose it is, and whether it is the one named on the other side, is not known here",
        "compare it with the address that its operator publishes for that network";
    CONFIGURATIONS_DISAGREE = "configurations_disagree",
        "messages wait for a DVN that was never asked, or one is paid whose word does not count",
        "the application must name the same DVNs on both sides";
    CONFIRMATIONS_DISAGREE = "confirmations_disagree",
        "a DVN that goes by what it is told attests too little depth, and messages do not arrive",
        "the application should ask for the same confirmations on both sides";
    CONFIRMATIONS_TOO_FEW = "confirmations_too_few",
        "a message may be delivered whose block is replaced afterwards",
        "the application should ask for the depth at which the source is final";
    DEFAULT_LIBRARY = "default_library",
        "LayerZero's owner can replace the library, and with it who must attest",
        "the application should set its library itself (`setSendLibrary`, `setReceiveLibrary`)";
    DEFAULT_CONFIGURATION = "default_configuration",
        "LayerZero's owner can change who attests, how deep, and who executes",
        "the application should set its configuration itself (`EndpointV2.setConfig`)";
    LIBRARY_NOT_PINNED = "library_not_pinned",
        "this node does no work for what goes through it",
        "add it to `send_libraries` or `receive_libraries` if you trust it";
    NO_PEER = "no_peer",
        "the two applications do not know each other: nothing can be sent or received",
        "the applications must set each other as peers (`setPeer`)";
    ONE_SIDED_PEER = "one_sided_peer",
        "messages are sent that are refused, or accepted from where none is meant to come",
        "the applications must set each other as peers on both sides (`setPeer`)";
    ORDERED_WITHOUT_EXECUTOR = "ordered_without_executor",
        "messages that arrive out of order fail until somebody executes them in order",
        "the application should name an executor that executes in order, or execute itself";
    UNKNOWN_EXECUTOR = "unknown_executor",
        "whether it executes is not known here; this node does not execute its jobs",
        "compare it with the address that its operator publishes for that network";
    FEES_BELOW_GAS = "fees_below_gas",
        "this node pays more for gas than it is paid",
        "raise the worker's multiplier or gas (`setDstConfig`), or have its price feed updated";
    ONE_OPERATOR = "same_operator",
        "one operator's word decides what this node takes for true there, these findings included",
        "add upstreams of other operators and raise `quorum`";
}

/// The code of what is said of this node's upstreams, not of the application.
pub const SAME_OPERATOR: &str = ONE_OPERATOR.0;
