//! LayerZero as it stands on the networks this node knows: which contracts are trusted to speak.

use crate::{
    batch::BatchDelivery,
    contracts::{EndpointV2, Executor, Oft, ReceiveUln302, SendUln302},
    tokens::Token,
    wire::{Address32, Eid, PacketHeader, PacketNonce},
};
use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolCall, SolEvent};
use postrider_message::{Lane, LaneEnd, Message, MessageNonce, NetworkName, Point, Protocol};
use std::collections::BTreeMap;

/// LayerZero on one network. Addresses are pinned by the operator: an event counts only if one of
/// these emitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The endpoint's id.
    pub eid: Eid,
    /// The endpoint.
    pub endpoint: Address,
    /// Send libraries whose word on fees is taken.
    pub send_libraries: Vec<Address>,
    /// Receive libraries that are signed for.
    pub receive_libraries: Vec<Address>,
    /// Our DVN there, if we have one.
    pub dvn: Option<Address>,
    /// The executor there whose jobs are ours, if there is one.
    pub executor: Option<Address>,
    /// The contract there that delivers many messages in one transaction, if there is one
    /// ([`crate::batch`]).
    pub batch: Option<Address>,
    /// Token contracts whose supply is watched.
    pub tokens: Vec<Token>,
}

/// LayerZero on all networks this node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployments {
    by_network: BTreeMap<NetworkName, Deployment>,
}

/// Two networks claim one endpoint id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint id {eid} is configured for both {first} and {second}")]
pub struct SameEid {
    /// The endpoint id.
    pub eid: Eid,
    /// The one network.
    pub first: NetworkName,
    /// The other.
    pub second: NetworkName,
}

/// Why a lane is not one of LayerZero's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLane {
    /// An end is not `eid/0xaddress`.
    #[error("`{0}` is not an end of a LayerZero lane (eid/0x…)")]
    Point(String),
    /// Nonce 0.
    #[error("nonce 0; LayerZero counts from 1")]
    Nonce,
}

impl Deployments {
    /// Puts deployments together.
    ///
    /// # Errors
    /// [`SameEid`] if two have one endpoint id.
    pub fn new(by_network: BTreeMap<NetworkName, Deployment>) -> Result<Self, SameEid> {
        let mut seen: BTreeMap<Eid, &NetworkName> = BTreeMap::new();
        for (network, deployment) in &by_network {
            if let Some(first) = seen.insert(deployment.eid, network) {
                let (first, second) = (first.clone(), network.clone());
                return Err(SameEid { eid: deployment.eid, first, second });
            }
        }
        Ok(Self { by_network })
    }

    /// The deployment on a network.
    #[must_use]
    pub fn on(&self, network: &NetworkName) -> Option<&Deployment> {
        self.by_network.get(network)
    }

    /// Every network with its deployment.
    pub fn iter(&self) -> impl Iterator<Item = (&NetworkName, &Deployment)> {
        self.by_network.iter()
    }

    /// The network an endpoint id belongs to.
    #[must_use]
    pub fn network_of(&self, eid: Eid) -> Option<&NetworkName> {
        self.by_network.iter().find(|(_, d)| d.eid == eid).map(|(network, _)| network)
    }

    /// The lane a packet travels; `None` if one of its endpoints is not configured.
    #[must_use]
    pub fn lane(&self, header: &PacketHeader) -> Option<Lane> {
        Some(Lane {
            protocol: Protocol::LayerZero,
            source: LaneEnd {
                network: self.network_of(header.src_eid)?.clone(),
                point: point(header.src_eid, header.sender),
            },
            destination: LaneEnd {
                network: self.network_of(header.dst_eid)?.clone(),
                point: point(header.dst_eid, header.receiver),
            },
        })
    }
}

impl Deployment {
    /// The contracts whose events are looked for.
    #[must_use]
    pub fn emitters(&self) -> Vec<Address> {
        let mut emitters = vec![self.endpoint];
        emitters.extend(&self.receive_libraries);
        emitters.extend(self.batch);
        emitters.extend(self.tokens.iter().map(|token| token.contract));
        emitters
    }

    /// The token contract at an address, if it is one.
    #[must_use]
    pub fn token(&self, contract: Address) -> Option<&Token> {
        self.tokens.iter().find(|token| token.contract == contract)
    }

    /// Calls of this deployment by which a receiver is given a message: the selectors, with the
    /// contract called.
    #[must_use]
    pub fn is_execution(&self, to: Option<Address>, input: &[u8]) -> bool {
        let Some(selector) = input.first_chunk::<4>() else { return false };
        let endpoint =
            to == Some(self.endpoint) && *selector == EndpointV2::lzReceiveCall::SELECTOR;
        let executor = to.is_some()
            && to == self.executor
            && [
                Executor::execute302Call::SELECTOR,
                Executor::nativeDropAndExecute302Call::SELECTOR,
            ]
            .contains(selector);
        let batch = to.is_some() && to == self.batch;
        endpoint || executor || batch && *selector == BatchDelivery::deliverCall::SELECTOR
    }

    /// Whether a call takes a message off the endpoint's list without running its receiver.
    #[must_use]
    pub fn is_clearing(&self, to: Option<Address>, input: &[u8]) -> bool {
        to == Some(self.endpoint)
            && input.first_chunk::<4>() == Some(&EndpointV2::clearCall::SELECTOR)
    }
}

/// The events looked for, by their first topic.
#[must_use]
pub fn topics() -> Vec<B256> {
    vec![
        EndpointV2::PacketSent::SIGNATURE_HASH,
        EndpointV2::PacketVerified::SIGNATURE_HASH,
        EndpointV2::PacketDelivered::SIGNATURE_HASH,
        EndpointV2::LzReceiveAlert::SIGNATURE_HASH,
        EndpointV2::InboundNonceSkipped::SIGNATURE_HASH,
        EndpointV2::PacketNilified::SIGNATURE_HASH,
        EndpointV2::PacketBurnt::SIGNATURE_HASH,
        ReceiveUln302::PayloadVerified::SIGNATURE_HASH,
        SendUln302::DVNFeePaid::SIGNATURE_HASH,
        EndpointV2::ComposeSent::SIGNATURE_HASH,
        EndpointV2::ComposeDelivered::SIGNATURE_HASH,
        EndpointV2::LzComposeAlert::SIGNATURE_HASH,
        BatchDelivery::ItemFailed::SIGNATURE_HASH,
        Oft::OFTSent::SIGNATURE_HASH,
        Oft::OFTReceived::SIGNATURE_HASH,
    ]
}

/// An end of a lane in canonical text: the endpoint id and the application, as an address in
/// lower-case hexadecimal where it is one and as 32 bytes otherwise.
#[must_use]
pub fn point(eid: Eid, application: Address32) -> Point {
    let text = application.as_evm_address().map_or_else(
        || format!("{eid}/{:#x}", application.0),
        |address| format!("{eid}/{address:#x}"),
    );
    // At most 10 digits, a slash and 66 characters: always within a point's bounds.
    Point::try_from(text).unwrap_or_else(|_| unreachable_point())
}

#[allow(clippy::panic)] // see `point`: its text has bounded length
fn unreachable_point() -> Point {
    panic!("a LayerZero point has at most 77 characters")
}

fn parse_point(point: &Point) -> Option<(Eid, Address32)> {
    let (eid, application) = point.as_str().split_once('/')?;
    let application = match application.parse::<Address>() {
        Ok(address) => Address32::from(address),
        Err(_) => Address32(application.parse().ok()?),
    };
    Some((Eid(eid.parse().ok()?), application))
}

/// The packet header of a message on a LayerZero lane.
///
/// # Errors
/// [`BadLane`] if it is none.
pub fn header(lane: &Lane, nonce: MessageNonce) -> Result<PacketHeader, BadLane> {
    let parse =
        |point: &Point| parse_point(point).ok_or_else(|| BadLane::Point(point.as_str().to_owned()));
    let (src_eid, sender) = parse(&lane.source.point)?;
    let (dst_eid, receiver) = parse(&lane.destination.point)?;
    let nonce = PacketNonce::new(nonce.0).ok_or(BadLane::Nonce)?;
    Ok(PacketHeader { nonce, src_eid, sender, dst_eid, receiver })
}

/// The packet header of a message.
///
/// # Errors
/// [`BadLane`] if it does not travel a LayerZero lane.
pub fn header_of(message: &Message) -> Result<PacketHeader, BadLane> {
    header(&message.lane, message.nonce)
}
