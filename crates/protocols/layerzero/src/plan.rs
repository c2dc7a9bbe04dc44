//! What to do about open duties: a pure function of the duties, what chains said, and one view of
//! the destination.
//!
//! [`questions`] says what must be known, [`plan`] decides. A duty that facts already show to be
//! too early asks nothing.

mod execute;

use crate::{
    attestation::DvnTarget,
    contracts::{ReceiveUln302, UlnConfig},
    decode::text,
    deployment::{Deployment, header_of},
    dvn::Vid,
    revert::reason_text,
    view::{Pathway, Question, View},
    wire::{PacketHeader, PayloadHash},
};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolCall, SolError};
use postrider_evm::{CallOutcome, transaction::Payload};
use postrider_message::{
    Confirmations, Duty, DutyId, DutyKind, DutyState, Fact, FactRecord, Message, MessageNonce,
    Reason,
};
use std::collections::BTreeSet;

/// Gas for `commitVerification`: 79.4k measured on the first message of a pathway.
const COMMIT_GAS: u64 = 150_000;

/// An open duty with its message and all that chains said about it.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The duty.
    pub duty: &'a Duty,
    /// Its message.
    pub message: &'a Message,
    /// What chains said about it, hints included: a hint may start work, never end it.
    pub facts: &'a [FactRecord],
    /// How many blocks the source's quorum sees on top of the message's.
    pub depth: Confirmations,
    /// The least depth the operator lets us attest for messages from there.
    pub min_confirmations: Confirmations,
}

impl Job<'_> {
    /// Whether what is known already shows that it cannot go yet.
    #[must_use]
    pub fn is_too_early(&self) -> bool {
        too_early(self).is_some()
    }
}

/// What becomes of a duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It moves to this state and is looked at again when something happens.
    Become(DutyState),
    /// It cannot go now for this reason; it is tried again on a schedule.
    TryLater(Reason),
    /// It is to be attested, at no less than this depth.
    Attest {
        /// Where the attestation goes.
        target: DvnTarget,
        /// The depth the receiver and the operator ask for.
        needed: Confirmations,
    },
    /// This is to be sent.
    Send(Payload),
}

/// A duty with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The duty.
    pub duty: DutyId,
    /// What becomes of it.
    pub action: Action,
}

/// What a job is about, read out of its message once.
struct Parsed {
    header: PacketHeader,
    pathway: Pathway,
    payload_hash: PayloadHash,
}

impl Parsed {
    fn of(job: &Job<'_>) -> Result<Self, Reason> {
        let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
        let header = header_of(job.message).map_err(|e| refuse(e.to_string()))?;
        let pathway = Pathway::of(&header)
            .ok_or_else(|| refuse("the receiver is not an EVM address".into()))?;
        let payload_hash = PayloadHash(job.message.payload.hash().0);
        Ok(Self { header, pathway, payload_hash })
    }

    fn nonce(&self) -> u64 {
        self.header.nonce.get()
    }

    fn committed(&self) -> Question {
        Question::Committed(self.pathway, self.nonce())
    }

    fn attested(&self, library: Address, dvn: Address) -> Question {
        Question::Attested(library, self.header.header_hash(), self.payload_hash, dvn)
    }

    fn commit(&self, library: Address) -> Question {
        Question::Commit(library, self.header.encode().into(), self.payload_hash)
    }
}

/// Why a job need not ask the destination anything yet; `None` if it must.
fn too_early(job: &Job<'_>) -> Option<Reason> {
    let heard = |wanted: fn(&Fact) -> bool| job.facts.iter().any(|r| wanted(&r.fact));
    match job.duty.kind {
        DutyKind::Attest => {
            let more = job.min_confirmations.0.checked_sub(job.depth.0).filter(|m| *m > 0)?;
            let network = job.message.lane.source.network.clone();
            Some(Reason::AwaitingConfirmations { network, more })
        }
        DutyKind::Commit => (!heard(|f| matches!(f, Fact::Attested { .. })))
            .then_some(Reason::AwaitingAttestations { present: 0, needed: 1 }),
        DutyKind::Execute => {
            (!heard(|f| matches!(f, Fact::Committed))).then_some(Reason::AwaitingCommit)
        }
    }
}

/// What must be known to decide about `jobs`, each question once.
#[must_use]
pub fn questions(jobs: &[Job<'_>], here: &Deployment) -> Vec<Question> {
    let mut asked = std::collections::HashSet::new();
    let mut questions = Vec::new();
    for job in jobs.iter().filter(|job| too_early(job).is_none()) {
        let Ok(parsed) = Parsed::of(job) else { continue };
        let wanted = match job.duty.kind {
            DutyKind::Attest => attest_questions(&parsed, here),
            DutyKind::Commit => commit_questions(&parsed, here),
            DutyKind::Execute => execute::questions(job, &parsed, here),
        };
        questions.extend(wanted.into_iter().filter(|q| asked.insert(q.clone())));
    }
    questions
}

/// Decides about each job, in their order.
#[must_use]
pub fn plan(jobs: &[Job<'_>], view: &View, here: &Deployment) -> Vec<Decision> {
    jobs.iter()
        .map(|job| Decision { duty: job.duty.id(), action: decide(job, view, here) })
        .collect()
}

fn decide(job: &Job<'_>, view: &View, here: &Deployment) -> Action {
    if let Some(reason) = too_early(job) {
        return Action::Become(DutyState::Waiting(reason));
    }
    let parsed = match Parsed::of(job) {
        Ok(parsed) => parsed,
        Err(reason) => return Action::Become(DutyState::Held(reason)),
    };
    let decided = match job.duty.kind {
        DutyKind::Attest => attest(job, &parsed, view, here),
        DutyKind::Commit => commit(job, &parsed, view, here),
        DutyKind::Execute => execute::decide(job, &parsed, view, here),
    };
    // Without a usable answer nothing is concluded.
    decided.unwrap_or_else(|| {
        let detail = "the destination's contracts gave no usable answer".into();
        Action::TryLater(Reason::SimulationFailed { detail })
    })
}

fn attest_questions(parsed: &Parsed, here: &Deployment) -> Vec<Question> {
    let Some(dvn) = here.dvn else { return Vec::new() };
    let mut wanted = vec![
        Question::ReceiveLibrary(parsed.pathway),
        Question::LazyNonce(parsed.pathway),
        Question::Vid(dvn),
        Question::Quorum(dvn),
        parsed.committed(),
    ];
    for library in &here.receive_libraries {
        wanted.push(Question::Config(*library, parsed.pathway));
        wanted.push(parsed.attested(*library, dvn));
    }
    wanted
}

fn attest(job: &Job<'_>, parsed: &Parsed, view: &View, here: &Deployment) -> Option<Action> {
    let dvn = here.dvn?;
    if is_past(parsed, view)?
        || view.committed(parsed.pathway, parsed.nonce())? == parsed.payload_hash.0
    {
        return Some(seen_on_destination(job));
    }
    let library = view.library(parsed.pathway)?;
    if !here.receive_libraries.contains(&library) {
        return Some(Action::TryLater(Reason::LibraryNotPinned { library: text(library) }));
    }
    let config = view.config(library, parsed.pathway)?;
    if let Some(reason) = unsafe_config(&config) {
        return Some(Action::TryLater(reason));
    }
    if !config.requiredDVNs.contains(&dvn) && !config.optionalDVNs.contains(&dvn) {
        return Some(Action::TryLater(Reason::AttesterNotCounted { attester: text(dvn) }));
    }
    let needed = Confirmations(config.confirmations.max(job.min_confirmations.0));
    let standing = view.attested(&parsed.attested(library, dvn))?;
    if standing.is_some_and(|depth| depth >= config.confirmations) {
        return Some(seen_on_destination(job));
    }
    if job.depth < needed {
        let network = job.message.lane.source.network.clone();
        let more = needed.0 - job.depth.0;
        let reason = Reason::AwaitingConfirmations { network, more };
        return Some(Action::Become(DutyState::Waiting(reason)));
    }
    let target = DvnTarget { vid: Vid(view.vid(dvn)?), library };
    Some(Action::Attest { target, needed })
}

/// R5: a receive side that asks for nobody is not one to sign for.
fn unsafe_config(config: &UlnConfig) -> Option<Reason> {
    let no_depth = config.confirmations == 0;
    let asks_nobody = config.requiredDVNs.is_empty() && config.optionalDVNThreshold == 0;
    let has_zero = config.requiredDVNs.iter().chain(&config.optionalDVNs).any(|a| a.is_zero());
    let detail = match (asks_nobody, has_zero, no_depth) {
        (true, _, _) => "no attester is asked for",
        (_, true, _) => "the zero address is an attester",
        (_, _, true) => "no confirmations are asked for",
        _ => return None,
    };
    Some(Reason::UnsafeConfiguration { detail: detail.into() })
}

fn commit_questions(parsed: &Parsed, here: &Deployment) -> Vec<Question> {
    let mut wanted = vec![
        Question::ReceiveLibrary(parsed.pathway),
        Question::LazyNonce(parsed.pathway),
        parsed.committed(),
    ];
    for library in &here.receive_libraries {
        wanted.push(Question::Config(*library, parsed.pathway));
        wanted.push(parsed.commit(*library));
    }
    wanted
}

fn commit(job: &Job<'_>, parsed: &Parsed, view: &View, here: &Deployment) -> Option<Action> {
    if is_past(parsed, view)?
        || view.committed(parsed.pathway, parsed.nonce())? == parsed.payload_hash.0
    {
        return Some(seen_on_destination(job));
    }
    let library = view.library(parsed.pathway)?;
    if !here.receive_libraries.contains(&library) {
        return Some(Action::TryLater(Reason::LibraryNotPinned { library: text(library) }));
    }
    let data = match view.outcome(&parsed.commit(library))? {
        CallOutcome::Returned(_) => {
            return Some(Action::Send(commit_payload(parsed, library)));
        }
        CallOutcome::Reverted(data) => data,
    };
    let starts = |selector: [u8; 4]| data.starts_with(&selector);
    if starts(ReceiveUln302::LZ_ULN_Verifying::SELECTOR) {
        let config = view.config(library, parsed.pathway)?;
        let (present, needed) = tally(job.facts, &config);
        let reason = Reason::AwaitingAttestations { present, needed };
        return Some(Action::Become(DutyState::Waiting(reason)));
    }
    if starts(crate::contracts::EndpointV2::LZ_PathNotInitializable::SELECTOR) {
        return Some(Action::TryLater(Reason::LaneNotInitialised));
    }
    let detail = reason_text(data).into();
    Some(Action::TryLater(Reason::SimulationFailed { detail }))
}

fn commit_payload(parsed: &Parsed, library: Address) -> Payload {
    let call = ReceiveUln302::commitVerificationCall {
        packetHeader: parsed.header.encode().into(),
        payloadHash: parsed.payload_hash.0,
    };
    Payload {
        to: library,
        data: call.abi_encode().into(),
        value: alloy_primitives::U256::ZERO,
        gas_limit: COMMIT_GAS,
    }
}

/// How many attesters that the configuration counts have attested, and how many it asks for.
fn tally(facts: &[FactRecord], config: &UlnConfig) -> (u32, u32) {
    let by: BTreeSet<&str> = facts
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::Attested { by, .. } => Some(by.as_str()),
            _ => None,
        })
        .collect();
    let attested =
        |list: &[Address]| list.iter().filter(|d| by.contains(text(**d).as_str())).count();
    let threshold = usize::from(config.optionalDVNThreshold);
    let present = attested(&config.requiredDVNs) + attested(&config.optionalDVNs).min(threshold);
    let needed = config.requiredDVNs.len() + threshold;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(present), number(needed))
}

/// Whether the destination is past this nonce: executed, cleared, skipped or burnt. Both the
/// checkpoint and the empty slot must say so.
fn is_past(parsed: &Parsed, view: &View) -> Option<bool> {
    let lazy = view.lazy_nonce(parsed.pathway)?;
    let hash = view.committed(parsed.pathway, parsed.nonce())?;
    Some(parsed.nonce() <= lazy && hash == B256::ZERO)
}

/// The destination's newest state has it already; the duty ends when that is proven.
fn seen_on_destination(job: &Job<'_>) -> Action {
    let network = job.message.lane.destination.network.clone();
    Action::Become(DutyState::Waiting(Reason::AwaitingFinality { network, more: 0 }))
}

fn message_bytes(message: &Message) -> Option<Bytes> {
    // The payload is the guid, 32 bytes, and the message.
    Some(message.payload.bytes()?.slice_ref(message.payload.bytes()?.get(32..)?))
}

fn lower_nonce(nonce: u64) -> MessageNonce {
    MessageNonce(nonce)
}

#[cfg(test)]
mod tests;
