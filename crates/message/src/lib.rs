//! The words of Postrider as types: what a message is, what chains say about it, what this node
//! owes it, and how that reads to a person. Nothing here does I/O or knows a chain's formats.
//!
//! The files follow a message's way: [`network`] and [`lane`] say where it travels, [`message`]
//! what it is, [`fact`] what chains said about it, [`duty`] what this node owes it, [`status`] how
//! far it has come, [`reason`] why it is not further, and [`history`] how it got there.

pub mod alarm;
pub mod duty;
pub mod fact;
pub mod history;
pub mod id;
pub mod lane;
pub mod message;
pub mod network;
pub mod reason;
pub mod status;

pub use alarm::{Alarm, AlarmKind};
pub use duty::{Duty, DutyKind, DutyState, Role};
pub use fact::{Certainty, Fact, FactRecord, Observation, Subject};
pub use history::{HistoryEntry, HistoryEvent};
pub use id::{
    BlockHash, BlockRef, Confirmations, DutyId, Height, LaneId, MessageId, MessageNonce,
    PayloadHash, TxHash, UnixMillis,
};
pub use lane::{Lane, LaneEnd, Point, Protocol};
pub use message::{Message, Payload};
pub use network::{AccountId, ChainId, KeyName, NetworkName, OperatorName, UpstreamName};
pub use reason::{Detail, Reason};
pub use status::{MessageStatus, Outcome, Standing};
