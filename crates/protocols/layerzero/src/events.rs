//! LayerZero's events, from raw logs to typed values.
//!
//! [`sent`] is the source's side: packets with the fees that were paid for them. [`destination`] is
//! what became of them, [`token`] what token contracts took and gave. Decoding proves nothing about who spoke: anyone can emit an event of any
//! shape, so each value carries its emitter, and the caller compares it with the contracts it
//! knows. A log that does not decode is an error about that log alone.

pub mod destination;
pub mod sent;
pub mod token;

pub use destination::{
    ComposeKey, DestinationEvent, DestinationLog, RevertReason, destination_event,
};
pub use sent::{DvnFees, ExecutorFee, SentPacket, sent_packets};
pub use token::{TokenEvent, TokenLog, token_event};

use crate::wire::{Address32, Eid, PacketError, PacketNonce};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolEvent, abi::AbiDecoderConfig};

/// Largest data of a log that is looked at, in bytes: what a block of 30 million gas could hold.
pub const MAX_LOG_DATA: usize = 4 * 1024 * 1024;
/// Most DVNs in one list: a configuration takes 127.
pub const MAX_DVNS: usize = 127;

/// Strict about padding, and bounded: lists may not claim more than the data could fill.
const DECODER: AbiDecoderConfig =
    AbiDecoderConfig::new().validate(true).memory_limit(4 * MAX_LOG_DATA);
/// Longest text kept of what the ABI decoder says, in characters.
const MAX_DETAIL: usize = 200;

/// A log as a receipt holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLog {
    /// The contract that emitted it.
    pub address: Address,
    /// The event's signature hash and its indexed parameters.
    pub topics: Vec<B256>,
    /// The other parameters, ABI-encoded.
    pub data: Bytes,
    /// Its position in the block.
    pub index: u64,
}

impl RawLog {
    fn is<E: SolEvent>(&self) -> bool {
        self.topics.first() == Some(&E::SIGNATURE_HASH)
    }

    fn decode<E: SolEvent>(&self) -> Result<E, EventProblem> {
        if self.data.len() > MAX_LOG_DATA {
            return Err(EventProblem::TooLarge { actual: self.data.len(), limit: MAX_LOG_DATA });
        }
        E::decode_raw_log_with_config(self.topics.iter().copied(), &self.data, DECODER).map_err(
            |error| EventProblem::Malformed {
                detail: error.to_string().chars().take(MAX_DETAIL).collect(),
            },
        )
    }

    fn error<E: SolEvent>(&self, problem: EventProblem) -> EventError {
        EventError {
            log_index: self.index,
            emitter: self.address,
            event: event_name::<E>(),
            problem,
        }
    }
}

fn event_name<E: SolEvent>() -> &'static str {
    E::SIGNATURE.split('(').next().unwrap_or_default()
}

/// A log that has an event's signature but not its content. The same log gives the same error, so
/// none is worth a retry; skip that log and go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log {log_index}, {event} of {emitter}: {problem}")]
pub struct EventError {
    /// The log's position in its block. For a packet it is that of its `PacketSent`.
    pub log_index: u64,
    /// The contract that emitted it.
    pub emitter: Address,
    /// The event's name.
    pub event: &'static str,
    /// What is wrong.
    pub problem: EventProblem,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventProblem {
    /// Topics or data that are not this event's ABI encoding.
    #[error("not its ABI encoding: {detail}")]
    Malformed {
        /// What the decoder says, cut to 200 characters.
        detail: String,
    },
    /// Data or a list beyond its bound.
    #[error("{actual} bytes or items, more than the {limit} that are looked at")]
    TooLarge {
        /// How many there were.
        actual: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A packet or header that does not decode.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Nonce zero, which no endpoint assigns.
    #[error("nonce 0; an endpoint counts from 1")]
    ZeroNonce,
    /// More confirmations than the contracts' 64 bits.
    #[error("a number of confirmations above 64 bits")]
    ConfirmationsTooLarge,
    /// A place in a list beyond 32 bits.
    #[error("a place in a list above 32 bits")]
    IndexTooLarge,
    /// Two lists that should be of one length.
    #[error("{have} {what} where there should be {need}")]
    CountMismatch {
        /// What was counted.
        what: &'static str,
        /// How many there were.
        have: usize,
        /// How many there should be.
        need: usize,
    },
    /// Two fee logs of one kind for one packet: it cannot be said which is the packet's.
    #[error("two {event} logs for one packet, the second at {log_index}")]
    DuplicateFee {
        /// The event's name.
        event: &'static str,
        /// The second log's position in its block.
        log_index: u64,
    },
    /// A fee log of the packet's send library that does not decode.
    #[error("its {event} at log {log_index}: {problem}")]
    Fee {
        /// The event's name.
        event: &'static str,
        /// The fee log's position in its block.
        log_index: u64,
        /// What is wrong with it.
        problem: Box<EventProblem>,
    },
}

/// Where a packet comes from, as the destination endpoint files it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The endpoint that sent it, or a read channel.
    pub src_eid: Eid,
    /// The application that sent it.
    pub sender: Address32,
    /// Its number on its pathway.
    pub nonce: PacketNonce,
}

impl Origin {
    fn new(src_eid: u32, sender: B256, nonce: u64) -> Result<Self, EventProblem> {
        let nonce = PacketNonce::new(nonce).ok_or(EventProblem::ZeroNonce)?;
        Ok(Self { src_eid: Eid(src_eid), sender: Address32(sender), nonce })
    }
}

impl TryFrom<&crate::contracts::Origin> for Origin {
    type Error = EventProblem;

    fn try_from(origin: &crate::contracts::Origin) -> Result<Self, EventProblem> {
        Self::new(origin.srcEid, origin.sender, origin.nonce)
    }
}

impl From<Origin> for crate::contracts::Origin {
    fn from(origin: Origin) -> Self {
        Self { srcEid: origin.src_eid.0, sender: origin.sender.0, nonce: origin.nonce.get() }
    }
}

fn bounded(actual: usize, limit: usize) -> Result<(), EventProblem> {
    if actual > limit { Err(EventProblem::TooLarge { actual, limit }) } else { Ok(()) }
}

fn same_count(what: &'static str, have: usize, need: usize) -> Result<(), EventProblem> {
    if have == need { Ok(()) } else { Err(EventProblem::CountMismatch { what, have, need }) }
}

#[cfg(test)]
mod testing;
