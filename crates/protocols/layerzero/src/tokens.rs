//! Tokens that travel with packets: omnichain fungible tokens (OFT), whose message begins with the
//! receiver (32 bytes) and the amount in shared decimals (8 bytes, big endian).
//!
//! What a packet carries is what its bytes say, as far as the source's token contract says in the
//! same receipt that it took as much (`OFTSent`). What was given for it is what the destination's
//! says (`OFTReceived`). Only contracts that the operator named are listened to.

use crate::{
    contracts::EndpointV2,
    deployment::{Deployment, Deployments, header, header_of, point},
    events::{DestinationEvent, RawLog, TokenEvent, TokenLog, destination_event, token_event},
    wire::{Address32, Eid, Guid, PacketHeader},
};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use postrider_evm::{CallOutcome, EthCall, ReceiptLogs};
use postrider_message::{
    Amount, Lane, LaneEnd, MessageNonce, NetworkName, Protocol, SharedDecimals, Side,
};
use postrider_verification::evm::SentMessage;
use std::collections::BTreeMap;

/// Where a payload's message begins: behind its guid.
const MESSAGE: usize = 32;
/// Where the amount stands in a token's message.
const AMOUNT: std::ops::Range<usize> = MESSAGE + 32..MESSAGE + 40;

/// A token contract on one network: an OFT, or an adapter before a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The contract.
    pub contract: Address,
    /// Digits behind the point that all networks share.
    pub shared_decimals: SharedDecimals,
    /// How many of the smallest units there make one shared unit (`decimalConversionRate`).
    pub rate: U256,
}

/// Why decimals cannot be those of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDecimals {
    /// OFT refuses this too.
    #[error("{local} local decimals are fewer than {shared} shared ones")]
    FewerLocal {
        /// The local decimals.
        local: u8,
        /// The shared decimals.
        shared: u8,
    },
    /// The rate between them has more than 256 bits.
    #[error("{local} local decimals and {shared} shared ones are too far apart")]
    TooFar {
        /// The local decimals.
        local: u8,
        /// The shared decimals.
        shared: u8,
    },
}

impl Token {
    /// A token contract whose token has `local` decimals on its network, of which it sends `shared`.
    ///
    /// # Errors
    /// [`BadDecimals`] where no contract can have these.
    pub fn new(contract: Address, shared: u8, local: u8) -> Result<Self, BadDecimals> {
        let dropped = local.checked_sub(shared).ok_or(BadDecimals::FewerLocal { local, shared })?;
        let rate = U256::from(10)
            .checked_pow(U256::from(dropped))
            .ok_or(BadDecimals::TooFar { local, shared })?;
        Ok(Self { contract, shared_decimals: SharedDecimals(shared), rate })
    }

    /// A local quantity in shared units, what is less than one dropped.
    fn at_most(&self, local: U256) -> Amount {
        amount(local.checked_div(self.rate).unwrap_or_default())
    }

    /// A local quantity in shared units, what is less than one counted as one: a dust that was given
    /// and not sent is not overlooked.
    fn at_least(&self, local: U256) -> Amount {
        let whole = local.checked_div(self.rate).unwrap_or_default();
        let dust = local.checked_rem(self.rate).unwrap_or_default();
        amount(whole.saturating_add(U256::from(u8::from(!dust.is_zero()))))
    }
}

fn amount(units: U256) -> Amount {
    Amount(u128::try_from(units).unwrap_or(u128::MAX))
}

/// Tokens taken or given, with the position, among its receipt's logs, of the log that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedMovement {
    /// The lane of the packet.
    pub lane: Lane,
    /// Its number; 0 for a credit that names a packet which was not delivered.
    pub nonce: MessageNonce,
    /// Its guid.
    pub reference: B256,
    /// Taken or given.
    pub side: Side,
    /// How much, in shared decimals.
    pub amount: Amount,
    /// How it is shown.
    pub decimals: SharedDecimals,
    /// Where among the receipt's logs.
    pub index_in_receipt: u64,
}

impl Deployments {
    /// What the token contracts of `network` took and gave, by the logs of one receipt there, of
    /// which `sent` are the packets.
    #[must_use]
    pub fn movements_in(
        &self,
        network: &NetworkName,
        receipt: &ReceiptLogs,
        sent: &[SentMessage],
    ) -> Vec<LoggedMovement> {
        let Some(here) = self.on(network).filter(|here| !here.tokens.is_empty()) else {
            return Vec::new();
        };
        let raw: Vec<RawLog> = crate::decode::raw(&receipt.logs);
        let told: Vec<TokenLog> =
            raw.iter().filter_map(token_event).filter_map(Result::ok).collect();
        let debits = sent.iter().filter_map(|sent| debit(here, sent, &told));
        let delivered = delivered(here, &raw);
        let credits = told.iter().filter_map(|log| self.credit(here, network, log, &delivered));
        debits.chain(credits).collect()
    }

    fn credit(
        &self,
        here: &Deployment,
        network: &NetworkName,
        log: &TokenLog,
        delivered: &BTreeMap<Guid, PacketHeader>,
    ) -> Option<LoggedMovement> {
        let TokenEvent::Received { guid, src_eid, amount } = log.event else { return None };
        let token = here.token(log.emitter)?;
        let receiver = Address32::from(token.contract);
        let header = delivered.get(&guid).filter(|h| h.receiver == receiver);
        let (lane, nonce) = match header {
            Some(header) => (self.lane(header)?, MessageNonce(header.nonce.get())),
            // Who it is from is not known: the lane from nobody stands for it.
            None => (self.lane_of_nobody(src_eid, here, network, receiver)?, MessageNonce(0)),
        };
        Some(LoggedMovement {
            lane,
            nonce,
            reference: guid.0,
            side: Side::Credit,
            amount: token.at_least(amount),
            decimals: token.shared_decimals,
            index_in_receipt: log.log_index,
        })
    }

    fn lane_of_nobody(
        &self,
        src_eid: Eid,
        here: &Deployment,
        network: &NetworkName,
        receiver: Address32,
    ) -> Option<Lane> {
        let source = self.network_of(src_eid)?.clone();
        let sender = Address32(B256::ZERO);
        Some(Lane {
            protocol: Protocol::LayerZero,
            source: LaneEnd { network: source, point: point(src_eid, sender) },
            destination: LaneEnd { network: network.clone(), point: point(here.eid, receiver) },
        })
    }
}

/// What a packet took: no more than its bytes say, nor than its sender says it took.
fn debit(here: &Deployment, sent: &SentMessage, told: &[TokenLog]) -> Option<LoggedMovement> {
    let header = header_of(&sent.message).ok()?;
    let token = here.token(header.sender.as_evm_address()?)?;
    let guid = header.guid();
    let carried: [u8; 8] = sent.message.payload.bytes()?.get(AMOUNT)?.try_into().ok()?;
    let taken = told.iter().find_map(|log| match log.event {
        TokenEvent::Sent { guid: of, amount } if log.emitter == token.contract && of == guid => {
            Some(token.at_most(amount))
        }
        _ => None,
    })?;
    Some(LoggedMovement {
        lane: sent.message.lane.clone(),
        nonce: sent.message.nonce,
        reference: guid.0,
        side: Side::Debit,
        amount: taken.min(Amount(u64::from_be_bytes(carried).into())),
        decimals: token.shared_decimals,
        index_in_receipt: sent.index_in_receipt,
    })
}

/// The packets that the endpoint says were delivered.
fn delivered(here: &Deployment, logs: &[RawLog]) -> BTreeMap<Guid, PacketHeader> {
    let of_endpoint = logs.iter().filter(|log| log.address == here.endpoint);
    let delivered =
        of_endpoint.filter_map(destination_event).filter_map(|log| match log.ok()?.event {
            DestinationEvent::PacketDelivered { origin, receiver } => {
                let header = crate::decode::header_at(here, origin, receiver);
                Some((header.guid(), header))
            }
            _ => None,
        });
    delivered.collect()
}

/// Asks a lane's source how many packets it ever sent on it (`EndpointV2.outboundNonce`), given the
/// endpoint there; `None` if the lane is not LayerZero's.
#[must_use]
#[allow(non_snake_case)] // the names are Solidity's
pub fn ask_sent(endpoint: Address, lane: &Lane) -> Option<EthCall> {
    let header = header(lane, MessageNonce(1)).ok()?;
    let call = EndpointV2::outboundNonceCall {
        sender: header.sender.as_evm_address()?,
        dstEid: header.dst_eid.0,
        receiver: header.receiver.0,
    };
    Some(EthCall::new(endpoint, call.abi_encode()))
}

/// The answer to [`ask_sent`]; `None` if it is none.
#[must_use]
pub fn told_sent(outcome: &CallOutcome) -> Option<u64> {
    EndpointV2::outboundNonceCall::abi_decode_returns_validate(outcome.returned()?).ok()
}

#[cfg(test)]
mod tests;
