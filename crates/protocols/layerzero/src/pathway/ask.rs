//! The questions that a pathway's facts answer, and what the answers mean.
//!
//! Two rounds a side: the library is known only after the first.

use super::facts::{Defaults, Ends, PathwayFacts, Side, Verifiers};
use crate::{
    contracts::{EndpointV2, OApp, Origin, ReceiveUln302, SendUln302},
    wire::{Address32, options::Options},
};
use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use postrider_evm::{CallOutcome, EthCall};

/// What an application may use to answer.
const APPLICATION_GAS: u64 = 150_000;

/// The types of messages that applications tell apart by convention: `SEND`, and `SEND_AND_CALL` of
/// tokens.
const MESSAGE_TYPES: [u16; 2] = [1, 2];

/// A side of a pathway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Where messages are sent.
    Source,
    /// Where they arrive.
    Destination,
}

/// The answers to some questions, in their order; `None` where a quorum gave none.
pub type Answers<'a> = &'a [Option<CallOutcome>];

pub(super) fn ask<C: SolCall>(to: Address, call: &C) -> EthCall {
    EthCall::new(to, call.abi_encode())
}

pub(super) fn ask_application<C: SolCall>(to: Address, call: &C) -> EthCall {
    EthCall { gas: Some(APPLICATION_GAS), ..ask(to, call) }
}

/// An empty or malformed answer is no answer: nothing is concluded from it (R5).
pub(super) fn told<C: SolCall>(answers: Answers<'_>, place: usize) -> Option<C::Return> {
    C::abi_decode_returns_validate(answers.get(place)?.as_ref()?.returned()?).ok()
}

impl End {
    /// The two sides.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Destination];

    /// This side's facts.
    #[must_use]
    pub fn of(self, facts: &PathwayFacts) -> &Side {
        match self {
            Self::Source => &facts.source,
            Self::Destination => &facts.destination,
        }
    }

    pub(super) fn side(self, facts: &mut PathwayFacts) -> &mut Side {
        match self {
            Self::Source => &mut facts.source,
            Self::Destination => &mut facts.destination,
        }
    }

    /// The application here, and the other network's endpoint id.
    pub(super) fn application(self, ends: &Ends) -> (Address, u32) {
        match self {
            Self::Source => (ends.sender, ends.dst_eid.0),
            Self::Destination => (ends.receiver, ends.src_eid.0),
        }
    }

    /// Asks the endpoint which library the application has.
    #[must_use]
    #[allow(non_snake_case)] // the names are Solidity's
    pub fn ask_endpoint(self, ends: &Ends, endpoint: Address) -> Vec<EthCall> {
        let (application, eid) = self.application(ends);
        match self {
            Self::Source => {
                let (sender, dstEid) = (application, eid);
                vec![
                    ask(endpoint, &EndpointV2::getSendLibraryCall { sender, dstEid }),
                    ask(endpoint, &EndpointV2::isDefaultSendLibraryCall { sender, dstEid }),
                ]
            }
            Self::Destination => {
                let (receiver, srcEid) = (application, eid);
                let sender = Address32::from(ends.sender).0;
                vec![
                    ask(endpoint, &EndpointV2::getReceiveLibraryCall { receiver, srcEid }),
                    ask(endpoint, &EndpointV2::lazyInboundNonceCall { receiver, srcEid, sender }),
                ]
            }
        }
    }

    /// Takes the answers to [`Self::ask_endpoint`].
    pub fn take_endpoint(self, facts: &mut PathwayFacts, answers: Answers<'_>) {
        let (library, is_default) = match self {
            Self::Source => (
                told::<EndpointV2::getSendLibraryCall>(answers, 0),
                told::<EndpointV2::isDefaultSendLibraryCall>(answers, 1),
            ),
            Self::Destination => told::<EndpointV2::getReceiveLibraryCall>(answers, 0)
                .map(|found| (found.lib, found.isDefault))
                .unzip(),
        };
        let side = self.side(facts);
        (side.library, side.library_is_default) = (library, is_default);
        if self == Self::Destination {
            let lazy = told::<EndpointV2::lazyInboundNonceCall>(answers, 1);
            facts.is_open = lazy.map(|nonce| nonce > 0);
        }
    }

    /// Asks the application itself, which anybody may have written: each call stands alone.
    #[must_use]
    #[allow(non_snake_case)] // the names are Solidity's
    pub fn ask_application(self, ends: &Ends) -> Vec<EthCall> {
        let (application, eid) = self.application(ends);
        let mut calls = vec![ask_application(application, &OApp::peersCall { eid })];
        if self == Self::Source {
            let enforced = |msgType| OApp::enforcedOptionsCall { eid, msgType };
            calls.extend(MESSAGE_TYPES.map(|kind| ask_application(application, &enforced(kind))));
        } else {
            let sender = Address32::from(ends.sender).0;
            let origin = Origin { srcEid: eid, sender, nonce: 1 };
            calls.push(ask_application(application, &OApp::allowInitializePathCall { origin }));
            let next = OApp::nextNonceCall { srcEid: eid, sender };
            calls.push(ask_application(application, &next));
        }
        calls
    }

    /// Takes the answers to [`Self::ask_application`].
    pub fn take_application(self, facts: &mut PathwayFacts, answers: Answers<'_>) {
        self.side(facts).peer = told::<OApp::peersCall>(answers, 0).map(Address32);
        if self == Self::Source {
            let enforced = (1..=MESSAGE_TYPES.len())
                .filter_map(|place| told::<OApp::enforcedOptionsCall>(answers, place))
                .map(|bytes| Options::decode(&bytes).is_ok_and(|options| options.ordered));
            facts.enforces_order = enforced.reduce(|one, other| one || other);
        } else {
            facts.accepted = told::<OApp::allowInitializePathCall>(answers, 1);
            facts.next_nonce = told::<OApp::nextNonceCall>(answers, 2);
        }
    }

    /// Asks the library what the application has set; nothing where the library is not known.
    #[must_use]
    #[allow(non_snake_case)] // the names are Solidity's
    pub fn ask_library(self, facts: &PathwayFacts) -> Vec<EthCall> {
        let (oapp, remoteEid) = self.application(&facts.ends);
        let side = self.of(facts);
        let Some(library) = side.library.filter(|library| !library.is_zero()) else {
            return Vec::new();
        };
        let mut calls = vec![
            ask(library, &ReceiveUln302::getUlnConfigCall { oapp, remoteEid }),
            ask(library, &SendUln302::getAppUlnConfigCall { oapp, remoteEid }),
        ];
        if self == Self::Source {
            calls.push(ask(library, &SendUln302::getExecutorConfigCall { oapp, remoteEid }));
            calls.push(ask(library, &SendUln302::executorConfigsCall { oapp, remoteEid }));
        }
        calls
    }

    /// Takes the answers to [`Self::ask_library`].
    pub fn take_library(self, facts: &mut PathwayFacts, answers: Answers<'_>) {
        let config = told::<ReceiveUln302::getUlnConfigCall>(answers, 0);
        let own = told::<SendUln302::getAppUlnConfigCall>(answers, 1);
        let side = self.side(facts);
        side.verifiers = config.as_ref().and_then(Verifiers::parse);
        side.defaults = own.as_ref().map(Defaults::parse);
        if self == Self::Source {
            let execution = told::<SendUln302::getExecutorConfigCall>(answers, 2);
            facts.execution = execution.as_ref().map(Into::into);
            let own = told::<SendUln302::executorConfigsCall>(answers, 3);
            facts.execution_is_default = own.map(|own| own.executor.is_zero());
        }
    }

    /// The workers whose code is to be looked for: DVNs, and at the source the executor.
    #[must_use]
    pub fn workers(self, facts: &PathwayFacts) -> Vec<Address> {
        let side = self.of(facts);
        let dvns = side.verifiers.iter().flat_map(Verifiers::all);
        let executor = facts.execution.filter(|_| self == Self::Source).map(|e| e.executor);
        dvns.chain(executor).filter(|address| !address.is_zero()).collect()
    }

    /// Takes over what `read` has of this side.
    pub fn take_over(self, facts: &mut PathwayFacts, read: PathwayFacts) {
        match self {
            Self::Source => {
                facts.source = read.source;
                facts.execution = read.execution;
                facts.execution_is_default = read.execution_is_default;
                facts.enforces_order = read.enforces_order;
            }
            Self::Destination => {
                facts.destination = read.destination;
                facts.is_open = read.is_open;
                facts.accepted = read.accepted;
                facts.next_nonce = read.next_nonce;
            }
        }
    }

    /// Takes whether a worker has code.
    pub fn take_code(self, facts: &mut PathwayFacts, worker: Address, has_code: bool) {
        self.side(facts).code.insert(worker, has_code);
    }
}
