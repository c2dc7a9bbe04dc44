//! What must be known of the destination before a duty can go, as questions to its contracts.
//!
//! Every question is one call, read by the quorum at one block, so all answers of a view belong
//! together.

use crate::{
    contracts::{ADMIN_ROLE, Dvn, EndpointV2, OApp, Oft, ReceiveUln302, UlnConfig},
    events::ComposeKey,
    wire::{Address32, Eid, HeaderHash, PacketHeader, PayloadHash},
};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolCall;
use postrider_evm::{CallOutcome, EthCall, Sequence, Simulated, Step};
use postrider_message::BlockRef;
use postrider_verification::Reading;
use std::collections::HashMap;

/// One direction between two applications, as the destination files it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Pathway {
    /// Where `EndpointV2` keeps `lazyInboundNonce` of this pathway: its owner is in the first word
    /// of its storage, that mapping in the second. Whoever relies on it must see that the contract
    /// answers accordingly.
    #[must_use]
    pub fn lazy_nonce_slot(&self) -> B256 {
        let of =
            |key: B256, mapping: B256| keccak256([key.as_slice(), mapping.as_slice()].concat());
        let by_receiver = of(self.receiver.into_word(), B256::with_last_byte(1));
        let by_eid = of(U256::from(self.src_eid).into(), by_receiver);
        of(self.sender, by_eid)
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
    /// `EndpointV2.composeQueue`: what is composed and not called yet.
    Composed(ComposeKey),
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
    /// `OFT.sharedDecimals` of a token contract.
    SharedDecimals(Address),
    /// `OFT.decimalConversionRate` of a token contract.
    ConversionRate(Address),
    /// `OFT.oftVersion` of a token contract.
    OftVersion(Address),
    /// `OApp.peers`: whom an application takes messages from, of those at an endpoint.
    Peer(Address, Eid),
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
                let asked = ask(receiver, &OApp::nextNonceCall { srcEid, sender });
                EthCall { gas: Some(NEXT_NONCE_GAS), ..asked }
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
            Self::Composed(key) => ask(
                endpoint,
                &EndpointV2::composeQueueCall {
                    from: key.from,
                    to: key.to,
                    guid: key.guid.0,
                    index: key.index,
                },
            ),
            Self::Vid(dvn) => ask(*dvn, &Dvn::vidCall {}),
            Self::Quorum(dvn) => ask(*dvn, &Dvn::quorumCall {}),
            Self::Signer(dvn, signer) => ask(*dvn, &Dvn::signersCall { signer: *signer }),
            Self::Admin(worker, account) => {
                ask(*worker, &Dvn::hasRoleCall { role: ADMIN_ROLE, account: *account })
            }
            Self::Eid => ask(endpoint, &EndpointV2::eidCall {}),
            Self::Version(library) => ask(*library, &ReceiveUln302::versionCall {}),
            Self::SharedDecimals(token) => ask(*token, &Oft::sharedDecimalsCall {}),
            Self::ConversionRate(token) => ask(*token, &Oft::decimalConversionRateCall {}),
            Self::OftVersion(token) => ask(*token, &Oft::oftVersionCall {}),
            Self::Peer(application, eid) => ask(*application, &OApp::peersCall { eid: eid.0 }),
        }
    }

    /// Whether it asks a contract that anybody may have written: such a call is made apart from the
    /// others, for it may change what they find.
    #[must_use]
    pub fn is_to_a_stranger(&self) -> bool {
        matches!(self, Self::NextNonce(_))
    }
}

/// The gas limit with which a transaction of its own leaves `gas` for the call: `eth_call` counts
/// what a transaction costs before it begins (EIP-2028, and the floor of EIP-7623).
pub(crate) fn as_transaction(gas: u64, data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let tokens = zeros + 4 * (data.len() as u64 - zeros);
    (21_000 + 4 * tokens).saturating_add(gas).max(21_000 + 10 * tokens)
}

fn ask<C: SolCall>(to: Address, call: &C) -> EthCall {
    EthCall::new(to, call.abi_encode())
}

/// What a receiver may use to say which nonce it takes next.
const NEXT_NONCE_GAS: u64 = 150_000;
/// The most questions in one sequence.
const MAX_SEQUENCE: usize = 500;

/// Questions put together so that few calls carry them and no stranger's contract can change what
/// the others find.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    known: Vec<Vec<Question>>,
    of_strangers: Vec<Question>,
}

impl Asked {
    /// Puts questions together.
    #[must_use]
    pub fn new(questions: Vec<Question>) -> Self {
        let (of_strangers, known): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(Question::is_to_a_stranger);
        let known = known.chunks(MAX_SEQUENCE).map(<[Question]>::to_vec).collect();
        Self { known, of_strangers }
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.of_strangers.is_empty()
    }

    /// The calls that ask the contracts that the operator named, given the endpoint's address.
    #[must_use]
    pub fn known(&self, endpoint: Address) -> Vec<Sequence> {
        let step = |q: &Question| Step { call: q.call(endpoint), alone: true };
        self.known.iter().map(|group| Sequence::new(group.iter().map(step).collect())).collect()
    }

    /// The calls that ask contracts which anybody may have written, each by itself.
    #[must_use]
    pub fn of_strangers(&self, endpoint: Address) -> Vec<Sequence> {
        let step = |q: &Question| Step { call: q.call(endpoint), alone: true };
        self.of_strangers.iter().map(|q| Sequence::new(vec![step(q)])).collect()
    }

    /// Puts the answers, in the order of the calls, to their questions.
    #[must_use]
    pub fn answered(
        self,
        known: &Reading<Vec<Vec<Option<Simulated>>>>,
        of_strangers: &[Vec<Option<Simulated>>],
    ) -> View {
        let at = Some(known.at());
        let groups = self.known.into_iter().zip(known.value());
        let known = groups.flat_map(|(group, told)| group.into_iter().zip(told.clone()));
        let strange = self.of_strangers.into_iter().zip(of_strangers.iter().flatten().cloned());
        let answers = known
            .chain(strange)
            .filter_map(|(question, told)| Some((question, told?.outcome)))
            .collect();
        View { answers, at }
    }
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

    fn outcome(&self, question: &Question) -> Option<&CallOutcome> {
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

    /// The highest nonce of a pathway that was executed, skipped or cleared.
    #[must_use]
    pub fn lazy_nonce(&self, pathway: Pathway) -> Option<u64> {
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

    pub(crate) fn composed(&self, key: ComposeKey) -> Option<B256> {
        self.decoded::<EndpointV2::composeQueueCall>(&Question::Composed(key))
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

    /// How many digits behind the point a token contract sends.
    #[must_use]
    pub fn shared_decimals(&self, token: Address) -> Option<u8> {
        self.decoded::<Oft::sharedDecimalsCall>(&Question::SharedDecimals(token))
    }

    /// How many local units make a shared one.
    #[must_use]
    pub fn conversion_rate(&self, token: Address) -> Option<U256> {
        self.decoded::<Oft::decimalConversionRateCall>(&Question::ConversionRate(token))
    }

    /// The version of the layout of a token contract's messages.
    #[must_use]
    pub fn oft_version(&self, token: Address) -> Option<u64> {
        Some(self.decoded::<Oft::oftVersionCall>(&Question::OftVersion(token))?.version)
    }

    /// Whom an application takes messages from, of those at the endpoint `eid`; zero for nobody.
    #[must_use]
    pub fn peer(&self, application: Address, eid: Eid) -> Option<Address32> {
        self.decoded::<OApp::peersCall>(&Question::Peer(application, eid)).map(Address32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{address, b256};

    #[test]
    fn the_lazy_nonce_is_where_the_endpoint_keeps_it() {
        // `eth_getStorageAt` of an `EndpointV2` gave the pathway's nonce there.
        let pathway = Pathway {
            receiver: address!("c3e53f4d16ae77db1c982e75a937b9f60fe63690"),
            src_eid: 30_901,
            sender: address!("e6e340d132b5f46d1e472debcd681b2abc16e57e").into_word(),
        };
        let slot = b256!("ddf4e1904cb064c1eeba2d55fe62f09968d0c90eaf830a1235989aeebc641377");
        assert_eq!(pathway.lazy_nonce_slot(), slot);
    }

    #[test]
    fn a_simulated_call_has_as_much_gas_as_the_real_one() {
        assert_eq!(as_transaction(1_000, &[]), 22_000);
        assert_eq!(as_transaction(1_000, &[0, 1]), 21_000 + 4 + 16 + 1_000);
        assert_eq!(as_transaction(0, &[1; 100]), 21_000 + 4_000, "the floor");
        assert_eq!(as_transaction(u64::MAX, &[1]), u64::MAX);
    }
}
