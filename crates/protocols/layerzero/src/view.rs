//! What must be known of the destination before a duty can go, as questions to its contracts.
//!
//! Every question is one call, read by the quorum at one block, so all answers of a view belong
//! together.

use crate::{
    contracts::{self, ADMIN_ROLE, Dvn, EndpointV2, OApp, ReceiveUln302, UlnConfig},
    events::Origin,
    wire::{Eid, Guid, HeaderHash, PacketHeader, PayloadHash},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use postrider_evm::{CallOutcome, EthCall};
use postrider_message::BlockRef;
use postrider_verification::Reading;
use std::collections::HashMap;

/// One direction between two applications, as the destination files it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pathway {
    /// The receiver, on the destination.
    pub receiver: Address,
    /// The source's endpoint.
    pub src_eid: u32,
    /// The sender, on the source.
    pub sender: B256,
}

impl Pathway {
    /// The pathway of a packet; `None` if its receiver is not an EVM address.
    #[must_use]
    pub fn of(header: &PacketHeader) -> Option<Self> {
        Some(Self {
            receiver: header.receiver.as_evm_address()?,
            src_eid: header.src_eid.0,
            sender: header.sender.0,
        })
    }
}

/// A question to the destination's contracts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// `EndpointV2.getReceiveLibrary`: through which library the receiver takes packets.
    ReceiveLibrary(Pathway),
    /// `ReceiveUln302.getUlnConfig`: whom the receiver believes, with defaults filled in.
    Config(Address, Pathway),
    /// `EndpointV2.lazyInboundNonce`: the highest nonce that was executed, skipped or cleared.
    LazyNonce(Pathway),
    /// `EndpointV2.inboundNonce`: the end of the run of committed nonces.
    InboundNonce(Pathway),
    /// `OApp.nextNonce`: the only nonce the receiver takes next, or 0.
    NextNonce(Pathway),
    /// `EndpointV2.inboundPayloadHash`: what is committed at a nonce.
    Committed(Pathway, u64),
    /// `ReceiveUln302.hashLookup`: what a DVN attested.
    Attested(Address, HeaderHash, PayloadHash, Address),
    /// Whether `ReceiveUln302.commitVerification` would go through.
    Commit(Address, Bytes, PayloadHash),
    /// Whether `EndpointV2.lzReceive` would go through.
    Receive(Box<ReceiveCall>),
    /// `DVN.vid`.
    Vid(Address),
    /// `DVN.quorum`.
    Quorum(Address),
    /// `DVN.signers`: whether the DVN counts this address' signatures.
    Signer(Address, Address),
    /// `hasRole` with the admin role, of a DVN or an executor: whether the second address may make
    /// it work.
    Admin(Address, Address),
    /// `EndpointV2.eid`.
    Eid,
    /// `version` of a send or a receive library.
    Version(Address),
}

/// A call of `EndpointV2.lzReceive`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReceiveCall {
    /// Where the packet comes from.
    pub origin: Origin,
    /// Who it is for.
    pub receiver: Address,
    /// Its guid.
    pub guid: Guid,
    /// Its message.
    pub message: Bytes,
    /// Value sent along, in wei.
    pub value: U256,
    /// Gas for the endpoint's call.
    pub gas: u64,
    /// In whose name it is made.
    pub from: Address,
}

impl Question {
    /// The call that asks it, given the endpoint's address.
    #[must_use]
    #[allow(non_snake_case)] // the names are Solidity's
    pub fn call(&self, endpoint: Address) -> EthCall {
        let origin = |p: &Pathway| (p.receiver, p.src_eid, p.sender);
        match self {
            Self::ReceiveLibrary(p) => {
                let (receiver, srcEid, _) = origin(p);
                ask(endpoint, &EndpointV2::getReceiveLibraryCall { receiver, srcEid })
            }
            Self::Config(library, p) => ask(
                *library,
                &ReceiveUln302::getUlnConfigCall { oapp: p.receiver, remoteEid: p.src_eid },
            ),
            Self::LazyNonce(p) => {
                let (receiver, srcEid, sender) = origin(p);
                ask(endpoint, &EndpointV2::lazyInboundNonceCall { receiver, srcEid, sender })
            }
            Self::InboundNonce(p) => {
                let (receiver, srcEid, sender) = origin(p);
                ask(endpoint, &EndpointV2::inboundNonceCall { receiver, srcEid, sender })
            }
            Self::NextNonce(p) => {
                let (receiver, srcEid, sender) = origin(p);
                ask(receiver, &OApp::nextNonceCall { srcEid, sender })
            }
            Self::Committed(p, nonce) => {
                let (receiver, srcEid, sender) = origin(p);
                let nonce = *nonce;
                ask(
                    endpoint,
                    &EndpointV2::inboundPayloadHashCall { receiver, srcEid, sender, nonce },
                )
            }
            Self::Attested(library, header, payload, dvn) => ask(
                *library,
                &ReceiveUln302::hashLookupCall {
                    headerHash: header.0,
                    payloadHash: payload.0,
                    dvn: *dvn,
                },
            ),
            Self::Commit(library, header, payload) => ask(
                *library,
                &ReceiveUln302::commitVerificationCall {
                    packetHeader: header.clone(),
                    payloadHash: payload.0,
                },
            ),
            Self::Receive(call) => {
                let asked = ask(
                    endpoint,
                    &EndpointV2::lzReceiveCall {
                        origin: contracts::Origin::from(call.origin),
                        receiver: call.receiver,
                        guid: call.guid.0,
                        message: call.message.clone(),
                        extraData: Bytes::new(),
                    },
                );
                let gas = Some(as_transaction(call.gas, &asked.data));
                EthCall { from: call.from, value: call.value, gas, ..asked }
            }
            Self::Vid(dvn) => ask(*dvn, &Dvn::vidCall {}),
            Self::Quorum(dvn) => ask(*dvn, &Dvn::quorumCall {}),
            Self::Signer(dvn, signer) => ask(*dvn, &Dvn::signersCall { signer: *signer }),
            Self::Admin(worker, account) => {
                ask(*worker, &Dvn::hasRoleCall { role: ADMIN_ROLE, account: *account })
            }
            Self::Eid => ask(endpoint, &EndpointV2::eidCall {}),
            Self::Version(library) => ask(*library, &ReceiveUln302::versionCall {}),
        }
    }
}

/// The gas limit with which a transaction of its own leaves `gas` for the call: `eth_call` counts
/// what a transaction costs before it begins (EIP-2028, and the floor of EIP-7623).
fn as_transaction(gas: u64, data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let tokens = zeros + 4 * (data.len() as u64 - zeros);
    (21_000 + 4 * tokens).saturating_add(gas).max(21_000 + 10 * tokens)
}

fn ask<C: SolCall>(to: Address, call: &C) -> EthCall {
    EthCall::new(to, call.abi_encode())
}

/// The destination as a quorum saw it at one block.
#[derive(Debug, Clone)]
pub struct View {
    answers: HashMap<Question, CallOutcome>,
    at: Option<BlockRef>,
}

impl View {
    /// Puts the answers, which are in the questions' order, to their questions.
    #[must_use]
    pub fn new(questions: Vec<Question>, reading: &Reading<Vec<Option<CallOutcome>>>) -> Self {
        let at = Some(reading.at());
        let answers = questions
            .into_iter()
            .zip(reading.value().iter().cloned())
            .filter_map(|(question, outcome)| Some((question, outcome?)))
            .collect();
        Self { answers, at }
    }

    /// A view of nothing, for duties that need to know nothing yet.
    #[must_use]
    pub fn empty() -> Self {
        Self { answers: HashMap::new(), at: None }
    }

    /// The block it was read at; `None` if nothing was read.
    #[must_use]
    pub fn at(&self) -> Option<BlockRef> {
        self.at
    }

    pub(crate) fn outcome(&self, question: &Question) -> Option<&CallOutcome> {
        self.answers.get(question)
    }

    fn decoded<C: SolCall>(&self, question: &Question) -> Option<C::Return> {
        // An empty or malformed answer is no answer: nothing is concluded from it (R5).
        C::abi_decode_returns_validate(self.outcome(question)?.returned()?).ok()
    }

    pub(crate) fn library(&self, pathway: Pathway) -> Option<Address> {
        let question = Question::ReceiveLibrary(pathway);
        Some(self.decoded::<EndpointV2::getReceiveLibraryCall>(&question)?.lib)
    }

    pub(crate) fn config(&self, library: Address, pathway: Pathway) -> Option<UlnConfig> {
        self.decoded::<ReceiveUln302::getUlnConfigCall>(&Question::Config(library, pathway))
    }

    pub(crate) fn lazy_nonce(&self, pathway: Pathway) -> Option<u64> {
        self.decoded::<EndpointV2::lazyInboundNonceCall>(&Question::LazyNonce(pathway))
    }

    pub(crate) fn inbound_nonce(&self, pathway: Pathway) -> Option<u64> {
        self.decoded::<EndpointV2::inboundNonceCall>(&Question::InboundNonce(pathway))
    }

    /// 0 also where the receiver has no such function: it takes any order then.
    pub(crate) fn next_nonce(&self, pathway: Pathway) -> u64 {
        self.decoded::<OApp::nextNonceCall>(&Question::NextNonce(pathway)).unwrap_or(0)
    }

    pub(crate) fn committed(&self, pathway: Pathway, nonce: u64) -> Option<B256> {
        let question = Question::Committed(pathway, nonce);
        self.decoded::<EndpointV2::inboundPayloadHashCall>(&question)
    }

    /// The depth the DVN attested; `None` if it attested nothing.
    pub(crate) fn attested(&self, question: &Question) -> Option<Option<u64>> {
        let found = self.decoded::<ReceiveUln302::hashLookupCall>(question)?;
        Some(found.submitted.then_some(found.confirmations))
    }

    /// The verifier id that the DVN's signatures are bound to.
    #[must_use]
    pub fn vid(&self, dvn: Address) -> Option<u32> {
        self.decoded::<Dvn::vidCall>(&Question::Vid(dvn))
    }

    /// The number of signatures the DVN takes.
    #[must_use]
    pub fn quorum(&self, dvn: Address) -> Option<u64> {
        self.decoded::<Dvn::quorumCall>(&Question::Quorum(dvn))
    }

    /// Whether the DVN counts `signer`'s signatures.
    #[must_use]
    pub fn is_signer(&self, dvn: Address, signer: Address) -> Option<bool> {
        self.decoded::<Dvn::signersCall>(&Question::Signer(dvn, signer))
    }

    /// Whether `account` may make the DVN or executor `worker` work.
    #[must_use]
    pub fn is_admin(&self, worker: Address, account: Address) -> Option<bool> {
        self.decoded::<Dvn::hasRoleCall>(&Question::Admin(worker, account))
    }

    /// The endpoint's id.
    #[must_use]
    pub fn eid(&self) -> Option<Eid> {
        self.decoded::<EndpointV2::eidCall>(&Question::Eid).map(Eid)
    }

    /// A library's version: major, minor, and the endpoint's.
    #[must_use]
    pub fn version(&self, library: Address) -> Option<(u64, u8, u8)> {
        let version = self.decoded::<ReceiveUln302::versionCall>(&Question::Version(library))?;
        Some((version.major, version.minor, version.endpointVersion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_call_has_as_much_gas_as_the_real_one() {
        assert_eq!(as_transaction(1_000, &[]), 22_000);
        assert_eq!(as_transaction(1_000, &[0, 1]), 21_000 + 4 + 16 + 1_000);
        assert_eq!(as_transaction(0, &[1; 100]), 21_000 + 4_000, "the floor");
        assert_eq!(as_transaction(u64::MAX, &[1]), u64::MAX);
    }
}
