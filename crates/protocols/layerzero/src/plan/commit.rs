//! Making the destination accept the attestations it holds.

use super::{Action, Job, Parsed, attest, is_committed, is_past, seen_on_destination};
use crate::{
    contracts::{EndpointV2, ReceiveUln302, UlnConfig},
    decode::text,
    deployment::Deployment,
    revert::reason_text,
    view::{Question, View},
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolError};
use postrider_evm::transaction::Payload;
use postrider_message::{Duty, DutyKind, DutyState, Fact, FactRecord, Reason};
use std::collections::BTreeMap;

/// Gas for `commitVerification`: 79.4k measured on the first message of a pathway.
pub(super) const COMMIT_GAS: u64 = 150_000;

pub(super) fn questions(
    job: &Job<'_>,
    parsed: &Parsed,
    here: &Deployment,
    wanted: &mut Vec<Question>,
) {
    if has_attested(job) {
        attest::questions(parsed, here, wanted);
    }
    wanted.extend([
        Question::ReceiveLibrary(parsed.pathway),
        Question::LazyNonce(parsed.pathway),
        parsed.committed(),
    ]);
    let config = |library: &Address| Question::Config(*library, parsed.pathway);
    wanted.extend(here.receive_libraries.iter().map(config));
}

/// Where it goes, or what becomes of it before any rehearsal.
pub(super) fn prepare(
    job: &Job<'_>,
    parsed: &Parsed,
    view: &View,
    here: &Deployment,
) -> Option<Result<Payload, Action>> {
    if is_past(parsed, view)? || is_committed(parsed, view)? {
        return Some(Err(seen_on_destination(job)));
    }
    let library = view.library(parsed.pathway)?;
    if !here.receive_libraries.contains(&library) {
        let reason = Reason::LibraryNotPinned { library: text(library) };
        return Some(Err(Action::TryLater(reason)));
    }
    let call = ReceiveUln302::commitVerificationCall {
        packetHeader: parsed.header.encode().into(),
        payloadHash: parsed.payload_hash.0,
    };
    Some(Ok(Payload {
        to: library,
        data: call.abi_encode().into(),
        value: U256::ZERO,
        gas_limit: COMMIT_GAS,
    }))
}

/// Whether our attestation was proven to stand there: nothing else would say so again.
fn has_attested(job: &Job<'_>) -> bool {
    let done = |d: &Duty| d.kind == DutyKind::Attest && d.state == DutyState::Done;
    job.duties.iter().any(done)
}

/// What our attestation needs, if the receive side asks for more confirmations by now than it had.
fn attest_deeper(
    job: &Job<'_>,
    parsed: &Parsed,
    view: &View,
    here: &Deployment,
    config: &UlnConfig,
) -> Option<Action> {
    let dvn = here.dvn.filter(|_| has_attested(job))?;
    let standing = view.attested(&parsed.attested(view.library(parsed.pathway)?, dvn))?;
    standing.filter(|depth| *depth < config.confirmations)?;
    attest::decide(job, parsed, view, here)
}

/// What becomes of a commit that the destination refused with `data`.
pub(super) fn refused(
    job: &Job<'_>,
    parsed: &Parsed,
    view: &View,
    here: &Deployment,
    data: &Bytes,
) -> Option<Action> {
    let starts = |selector: [u8; 4]| data.starts_with(&selector);
    if starts(ReceiveUln302::LZ_ULN_Verifying::SELECTOR) {
        let config = view.config(view.library(parsed.pathway)?, parsed.pathway)?;
        if let Some(action) = attest_deeper(job, parsed, view, here, &config) {
            return Some(action);
        }
        let (present, needed) = tally(job.facts, &config);
        let reason = Reason::AwaitingAttestations { present, needed };
        return Some(Action::Become(DutyState::Waiting(reason)));
    }
    if starts(EndpointV2::LZ_PathNotInitializable::SELECTOR) {
        return Some(Action::TryLater(Reason::LaneNotInitialised));
    }
    let detail = reason_text(data).into();
    Some(Action::TryLater(Reason::SimulationFailed { detail }))
}

/// How many attesters that the configuration counts have attested as deep as it asks, and how many it
/// asks for. A commit uses attestations up: after one that was taken back they are asked for anew.
fn tally(facts: &[FactRecord], config: &UlnConfig) -> (u32, u32) {
    let committed = facts.iter().filter(|r| r.fact == Fact::Committed);
    let used_up = committed.map(FactRecord::position).max();
    let mut depths: BTreeMap<&str, ((u64, u64), u64)> = BTreeMap::new();
    for record in facts.iter().filter(|r| used_up.is_none_or(|at| r.position() > at)) {
        if let Fact::Attested { by, confirmations } = &record.fact {
            let told = (record.position(), confirmations.0);
            let latest = depths.entry(by).or_insert(told);
            *latest = (*latest).max(told);
        }
    }
    let is_deep = |dvn: &Address| {
        let told = depths.get(text(*dvn).as_str());
        told.is_some_and(|(_, depth)| *depth >= config.confirmations)
    };
    let attested = |list: &[Address]| list.iter().filter(|dvn| is_deep(dvn)).count();
    let threshold = usize::from(config.optionalDVNThreshold);
    let present = attested(&config.requiredDVNs) + attested(&config.optionalDVNs).min(threshold);
    let needed = config.requiredDVNs.len() + threshold;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(present), number(needed))
}
