//! Making the calls that a receiver composed.

use super::{Action, Job, Parsed, seen_on_destination};
use crate::{
    contracts::{COMPOSED_MESSAGE_HASH, EndpointV2, Executor},
    deployment::Deployment,
    events::ComposeKey,
    revert::reason_text,
    view::{Question, View},
    wire::Options,
};
use alloy_primitives::{Address, Bytes, U256, keccak256};
use alloy_sol_types::SolCall;
use postrider_evm::{EthCall, transaction::Payload};
use postrider_message::{DutyState, Fact, Reason};

/// What the endpoint itself uses of the gas it is given.
const ENDPOINT_GAS: u64 = 35_000;

/// The first call that the receiver composed with this number. An application that composes several
/// with one number is paid for one.
pub(super) fn sent<'a>(job: &Job<'a>, part: u16) -> Option<(&'a str, &'a Bytes)> {
    job.facts.iter().find_map(|record| match &record.fact {
        Fact::ComposeSent { part: found, to, message } if *found == part => {
            Some((to.as_str(), message))
        }
        _ => None,
    })
}

fn key(job: &Job<'_>, parsed: &Parsed, part: u16) -> Option<ComposeKey> {
    let to: Address = sent(job, part)?.0.parse().ok()?;
    let (from, guid) = (parsed.pathway.receiver, parsed.header.guid());
    Some(ComposeKey { from, to, guid, index: part })
}

pub(super) fn question(job: &Job<'_>, parsed: &Parsed, part: u16) -> Option<Question> {
    Some(Question::Composed(key(job, parsed, part)?))
}

/// The call of the endpoint to rehearse, and the transaction that makes it; or what becomes of the
/// duty before any rehearsal.
pub(super) fn prepare(
    job: &Job<'_>,
    parsed: &Parsed,
    part: u16,
    view: &View,
    here: &Deployment,
) -> Option<Result<(EthCall, Payload), Action>> {
    let held = |reason| Some(Err(Action::Become(DutyState::Held(reason))));
    let (asked, gas) = match paid(job, part) {
        Ok(paid) => paid,
        Err(reason) => return held(reason),
    };
    let (_, message) = sent(job, part)?;
    let key = key(job, parsed, part)?;
    let queued = view.composed(key)?;
    if queued == COMPOSED_MESSAGE_HASH {
        return Some(Err(seen_on_destination(job)));
    }
    if queued != keccak256(message) {
        // Only hinted so far, or not of the newest state any more.
        return Some(Err(Action::Become(DutyState::Waiting(Reason::AwaitingExecution))));
    }
    let call = EndpointV2::lzComposeCall {
        from: key.from,
        to: key.to,
        guid: key.guid.0,
        index: part,
        message: message.clone(),
        extraData: Bytes::new(),
    }
    .abi_encode();
    let step = EthCall {
        from: here.executor.unwrap_or(Address::ZERO),
        value: asked,
        gas: Some(crate::view::as_transaction(gas, &call)),
        ..EthCall::new(here.endpoint, call.clone())
    };
    let (to, data) = match here.executor {
        Some(executor) => {
            let call = Executor::compose302Call {
                from: key.from,
                to: key.to,
                guid: key.guid.0,
                index: part,
                message: message.clone(),
                extraData: Bytes::new(),
                gasLimit: U256::from(gas),
            };
            (executor, call.abi_encode())
        }
        None => (here.endpoint, call),
    };
    let gas_limit = super::execute::outer_gas(gas, &data);
    Some(Ok((step, Payload { to, data: data.into(), value: asked, gas_limit })))
}

/// What the sender paid for: value, and gas with the endpoint's share.
fn paid(job: &Job<'_>, part: u16) -> Result<(U256, u64), Reason> {
    let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
    let options = Options::decode(&job.message.options).map_err(|e| refuse(e.to_string()))?;
    let asked = options
        .composes
        .get(&part)
        .ok_or_else(|| refuse(format!("the sender paid for no composed call {part}")))?;
    let gas = super::execute::receiver_gas(asked.gas)?;
    Ok((U256::from(asked.value), gas.saturating_add(ENDPOINT_GAS)))
}

/// What becomes of a call that its application refused with `data`.
pub(super) fn refused(data: &Bytes) -> Action {
    Action::TryLater(Reason::ReceiverReverted { detail: reason_text(data).into() })
}
