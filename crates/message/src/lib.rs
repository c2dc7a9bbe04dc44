//! The words of Postrider as types: what a message is, what chains say about it, what this node
//! owes it, and how that reads to a person. Nothing here does I/O or knows a chain's formats.
//!
//! The files follow a message's way: [`network`] and [`lane`] say where it travels, [`message`]
//! what it is, [`fact`] what chains said about it, [`duty`] what this node owes it, [`status`] how
//! far it has come, [`reason`] why it is not further, [`steering`] what an operator has stopped,
//! [`history`] how it got there, and [`supply`] what tokens it moved.

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
pub mod steering;
pub mod supply;

pub use alarm::{Alarm, AlarmKind};
pub use duty::{Duty, DutyKind, DutyState, Role};
pub use fact::{Certainty, Fact, FactRecord, Observation, Subject};
pub use history::{HistoryEntry, HistoryEvent, LaneEvent};
pub use id::{
    BlockHash, BlockRef, Confirmations, DutyId, Height, LaneId, MessageId, MessageNonce,
    PayloadHash, TxHash, UnixMillis,
};
pub use lane::{Lane, LaneEnd, Point, Protocol};
pub use message::{Message, Payload};
pub use network::{AccountId, ChainId, KeyName, NetworkName, OperatorName, PeerName, UpstreamName};
pub use reason::{Detail, Reason, ReasonCode};
pub use status::{MessageStatus, Outcome, Standing};
pub use steering::Steering;
pub use supply::{
    Amount, BlockTime, Breach, Judgement, Leg, Movement, SharedDecimals, Side, SourceView, Sums,
    Supply, Transfer,
};
