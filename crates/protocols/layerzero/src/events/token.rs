//! What token contracts (OFT and its adapters) say of the tokens they took and gave.

use super::{EventError, RawLog};
use crate::{
    contracts::Oft,
    wire::{Eid, Guid},
};
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolEvent;

/// An event with the contract that emitted it. What it says is that contract's word alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLog {
    /// The contract that emitted it; to be compared with those the caller knows.
    pub emitter: Address,
    /// The log's position, as the raw log has it.
    pub log_index: u64,
    /// What it says.
    pub event: TokenEvent,
}

/// What a token contract says. Amounts are in the smallest unit of the token there ("local
/// decimals").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenEvent {
    /// `OFTSent`: tokens were taken, and a packet sent for them.
    Sent {
        /// The packet.
        guid: Guid,
        /// How much was taken (`amountSentLD`).
        amount: U256,
    },
    /// `OFTReceived`: tokens were given for a packet.
    Received {
        /// The packet.
        guid: Guid,
        /// The endpoint that sent it.
        src_eid: Eid,
        /// How much was given (`amountReceivedLD`).
        amount: U256,
    },
}

/// Decodes a log of a token contract. `None` where it has none of the signatures.
///
/// # Errors
/// [`EventError`] where it has the signature and not the content.
pub fn token_event(log: &RawLog) -> Option<Result<TokenLog, EventError>> {
    let event = match *log.topics.first()? {
        Oft::OFTSent::SIGNATURE_HASH => read(log, sent),
        Oft::OFTReceived::SIGNATURE_HASH => read(log, received),
        _ => return None,
    };
    Some(event.map(|event| TokenLog { emitter: log.address, log_index: log.index, event }))
}

fn read<E: SolEvent>(
    log: &RawLog,
    convert: impl FnOnce(&E) -> TokenEvent,
) -> Result<TokenEvent, EventError> {
    log.decode::<E>().map(|event| convert(&event)).map_err(|problem| log.error::<E>(problem))
}

fn sent(event: &Oft::OFTSent) -> TokenEvent {
    TokenEvent::Sent { guid: Guid(event.guid), amount: event.amountSentLD }
}

fn received(event: &Oft::OFTReceived) -> TokenEvent {
    TokenEvent::Received {
        guid: Guid(event.guid),
        src_eid: Eid(event.srcEid),
        amount: event.amountReceivedLD,
    }
}
