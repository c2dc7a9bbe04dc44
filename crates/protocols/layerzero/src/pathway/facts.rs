//! What can be known of a pathway.

use crate::{
    contracts::{ExecutorConfig, UlnConfig},
    deployment::{Deployment, header},
    presets,
    wire::{Address32, Eid},
};
use alloy_primitives::{Address, B256, U256};
use postrider_message::{Lane, MessageNonce, NetworkName};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most DVNs in one list of a configuration (`UlnBase.MAX_COUNT`).
const MAX_DVNS: usize = 127;

/// Whose a worker is, where the file or a preset says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// This node's operator: the file names it.
    Ours,
    /// LayerZero Labs: a preset names it.
    LayerZeroLabs,
}

/// One direction between two applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Ends {
    /// The source's endpoint.
    pub src_eid: Eid,
    /// The sending application.
    pub sender: Address,
    /// The destination's endpoint.
    pub dst_eid: Eid,
    /// The receiving application.
    pub receiver: Address,
}

impl Ends {
    /// The ends of a lane; `None` if it is not one of LayerZero's between two EVM addresses.
    #[must_use]
    pub fn of(lane: &Lane) -> Option<Self> {
        let header = header(lane, MessageNonce(1)).ok()?;
        Some(Self {
            src_eid: header.src_eid,
            sender: header.sender.as_evm_address()?,
            dst_eid: header.dst_eid,
            receiver: header.receiver.as_evm_address()?,
        })
    }
}

/// What the file says of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The network.
    pub network: NetworkName,
    /// The libraries that the file lists for this direction.
    pub libraries: Vec<Address>,
    /// Whose these DVNs are.
    pub dvns: BTreeMap<Address, Owner>,
    /// Whose these executors are.
    pub executors: BTreeMap<Address, Owner>,
    /// How many blocks on top make a block final: as the file says, or as many as stand between
    /// the newest and the final one now; `None` where that is not known.
    pub finality_depth: Option<u64>,
    /// How many operators run the network's upstreams.
    pub operators: u32,
    /// How many of them must agree.
    pub quorum: u32,
}

impl Known {
    /// What is known of the workers on `network`; `libraries` are those that the file lists for the
    /// direction in question.
    #[must_use]
    pub fn new(network: &NetworkName, here: &Deployment, libraries: &[Address]) -> Self {
        let preset =
            presets::all().iter().find(|p| p.eid == here.eid && p.endpoint == here.endpoint);
        let owners = |labs: Option<Address>, ours: Option<Address>| {
            let labs = labs.map(|address| (address, Owner::LayerZeroLabs));
            // The file's word comes last, and counts.
            labs.into_iter().chain(ours.map(|address| (address, Owner::Ours))).collect()
        };
        Self {
            network: network.clone(),
            libraries: libraries.to_vec(),
            dvns: owners(preset.map(|p| p.dvn), here.dvn),
            executors: owners(preset.map(|p| p.executor), here.executor),
            finality_depth: None,
            operators: 0,
            quorum: 0,
        }
    }
}

/// Who attests, with all defaults filled in (`UlnBase.getUlnConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verifiers {
    /// How many blocks must stand on top of the packet's.
    pub confirmations: u64,
    /// All of these must attest.
    pub required: Vec<Address>,
    /// `threshold` of these must.
    pub optional: Vec<Address>,
    /// How many of `optional` must attest.
    pub threshold: u8,
}

impl Verifiers {
    /// The contract's word; `None` where it contradicts itself, as no `UlnBase` does.
    #[must_use]
    pub fn parse(config: &UlnConfig) -> Option<Self> {
        let fits = |list: &[Address], count: u8| {
            list.len() == usize::from(count) && list.len() <= MAX_DVNS
        };
        let is_whole = fits(&config.requiredDVNs, config.requiredDVNCount)
            && fits(&config.optionalDVNs, config.optionalDVNCount)
            && config.optionalDVNThreshold <= config.optionalDVNCount;
        is_whole.then(|| Self {
            confirmations: config.confirmations,
            required: config.requiredDVNs.clone(),
            optional: config.optionalDVNs.clone(),
            threshold: config.optionalDVNThreshold,
        })
    }

    /// Every DVN named, each once.
    pub fn all(&self) -> impl Iterator<Item = Address> {
        let twice = |dvn: &Address| !self.required.contains(dvn);
        self.required.iter().chain(self.optional.iter().filter(move |d| twice(d))).copied()
    }

    /// The fewest distinct DVNs that can make a packet pass: one that is required and optional
    /// speaks for both.
    #[must_use]
    pub fn fewest(&self) -> usize {
        let both = self.optional.iter().filter(|dvn| self.required.contains(dvn)).count();
        self.required.len() + usize::from(self.threshold).saturating_sub(both)
    }
}

/// Which parts of a configuration the application has not set itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Defaults {
    /// The depth.
    pub confirmations: bool,
    /// The required DVNs.
    pub required: bool,
    /// The optional DVNs.
    pub optional: bool,
}

impl Defaults {
    /// What `UlnBase.getAppUlnConfig` leaves to the default: 0 in a count or in the depth.
    #[must_use]
    pub fn parse(config: &UlnConfig) -> Self {
        Self {
            confirmations: config.confirmations == 0,
            required: config.requiredDVNCount == 0,
            optional: config.optionalDVNCount == 0,
        }
    }
}

/// What a worker says when it is asked for its fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quote {
    /// The fee, in wei.
    Fee(U256),
    /// It names none, for this reason.
    Refused(String),
}

/// What a worker's price feed says of the other network (`PriceFeed.getPrice`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// The worth of its native token in the native token here, times 10^20.
    pub price_ratio: u128,
    /// What gas costs there, in wei.
    pub gas_price: u64,
}

/// Who executes (`SendLibBase.getExecutorConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// The executor.
    pub executor: Address,
    /// The longest message, in bytes.
    pub max_message_size: u32,
}

impl From<&ExecutorConfig> for Execution {
    fn from(config: &ExecutorConfig) -> Self {
        Self { executor: config.executor, max_message_size: config.maxMessageSize }
    }
}

/// What both sides of a pathway have. `None` is what could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What the file says of the network.
    pub known: Known,
    /// The library that the application's packets go through.
    pub library: Option<Address>,
    /// Whether it is the endpoint's default, which its owner can change.
    pub library_is_default: Option<bool>,
    /// Who attests.
    pub verifiers: Option<Verifiers>,
    /// What of it is the library's default, which its owner can change.
    pub defaults: Option<Defaults>,
    /// Whom the application takes for its peer on the other network.
    pub peer: Option<Address32>,
    /// Whether there is code at a DVN or executor; one whose code could not be read is not in it.
    pub code: BTreeMap<Address, bool>,
    /// What these workers ask for a message; one that could not be asked is not in it.
    pub quotes: BTreeMap<Address, Quote>,
    /// Where this node's own workers look up prices.
    pub feeds: BTreeMap<Address, Address>,
    /// What they find there.
    pub rates: BTreeMap<Address, Rate>,
    /// The price of gas now, in wei: the newest block's base fee.
    pub gas_price: Option<u64>,
}

impl Side {
    /// A side of which nothing was read.
    #[must_use]
    pub fn unread(known: Known) -> Self {
        Self {
            known,
            library: None,
            library_is_default: None,
            verifiers: None,
            defaults: None,
            peer: None,
            code: BTreeMap::new(),
            quotes: BTreeMap::new(),
            feeds: BTreeMap::new(),
            rates: BTreeMap::new(),
            gas_price: None,
        }
    }

    /// Whether the peer is `application`; `None` if it is not known.
    pub(super) fn names(&self, application: Address) -> Option<bool> {
        self.peer.map(|peer| peer == Address32(B256::left_padding_from(application.as_slice())))
    }
}

/// All that is read of a pathway. `None` is what could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathwayFacts {
    /// The pathway.
    pub ends: Ends,
    /// Where messages are sent: `SendUln302`.
    pub source: Side,
    /// Where they arrive: `ReceiveUln302`.
    pub destination: Side,
    /// Who is paid to execute.
    pub execution: Option<Execution>,
    /// Whether that is the send library's default.
    pub execution_is_default: Option<bool>,
    /// Whether a packet of the pathway was delivered already (`lazyInboundNonce`).
    pub is_open: Option<bool>,
    /// Whether the receiver accepts the pathway's first packet (`OApp.allowInitializePath`).
    pub accepted: Option<bool>,
    /// The only nonce that the receiver takes next; 0 where it takes any (`OApp.nextNonce`).
    pub next_nonce: Option<u64>,
    /// Whether the sender adds the option for ordered execution to its messages
    /// (`OAppOptionsType3.enforcedOptions`, types 1 and 2); `None` where it has no such function.
    pub enforces_order: Option<bool>,
}

impl PathwayFacts {
    /// A pathway of which nothing was read.
    #[must_use]
    pub fn unread(ends: Ends, source: Known, destination: Known) -> Self {
        Self {
            ends,
            source: Side::unread(source),
            destination: Side::unread(destination),
            execution: None,
            execution_is_default: None,
            is_open: None,
            accepted: None,
            next_nonce: None,
            enforces_order: None,
        }
    }
}
