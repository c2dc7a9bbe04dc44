//! Telling the destination that a message was sent.

use super::{Action, Job, Parsed, is_committed, is_past, seen_on_destination};
use crate::{
    attestation::DvnTarget,
    contracts::UlnConfig,
    decode::text,
    deployment::Deployment,
    dvn::{Vid, verify_call_data},
    view::{Question, View},
};
use alloy_primitives::Address;
use postrider_evm::EthCall;
use postrider_message::{Confirmations, DutyState, Reason};

/// Gas for rehearsing `ReceiveUln302.verify`: 77k measured with all that `DVN.execute` does.
const VERIFY_GAS: u64 = 150_000;

pub(super) fn questions(parsed: &Parsed, here: &Deployment, wanted: &mut Vec<Question>) {
    let Some(dvn) = here.dvn else { return };
    wanted.extend([
        Question::ReceiveLibrary(parsed.pathway),
        Question::LazyNonce(parsed.pathway),
        Question::Vid(dvn),
        Question::Quorum(dvn),
        parsed.committed(),
    ]);
    for library in &here.receive_libraries {
        wanted.push(Question::Config(*library, parsed.pathway));
        wanted.push(parsed.attested(*library, dvn));
    }
}

/// What becomes of the duty; [`Action::Attest`] if nothing speaks against it before the rehearsal.
pub(super) fn decide(
    job: &Job<'_>,
    parsed: &Parsed,
    view: &View,
    here: &Deployment,
) -> Option<Action> {
    let dvn = here.dvn?;
    if is_past(parsed, view)? || is_committed(parsed, view)? {
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

/// The attestation as the library sees it: what our DVN calls when its signers agree.
pub(super) fn step(
    parsed: &Parsed,
    library: Address,
    dvn: Address,
    depth: Confirmations,
) -> EthCall {
    let data = verify_call_data(&parsed.header, parsed.payload_hash, depth.0);
    EthCall { from: dvn, gas: Some(VERIFY_GAS), ..EthCall::new(library, data.to_vec()) }
}
