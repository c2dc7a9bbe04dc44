//! Giving a message to its receiver.

use super::{Action, Job, Parsed, is_past, lower_nonce, message_bytes, seen_on_destination};
use crate::{
    contracts::{self, EndpointV2, ExecutionParams, Executor},
    deployment::Deployment,
    events::Origin,
    revert::reason_text,
    view::{Question, ReceiveCall, View},
    wire::Options,
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use postrider_evm::{CallOutcome, transaction::Payload};
use postrider_message::{DutyState, Reason};

/// What the endpoint itself uses of the gas it is given, with room for the first message of a
/// pathway and for jumped nonces (18k to 20k and 17k measured).
const ENDPOINT_GAS: u64 = 45_000;
/// What a transaction uses around the endpoint's call, without its call data.
const OUTER_GAS: u64 = 90_000;
/// Gas of a byte of call data, at most (EIP-7623 counts 40 where there is little else).
const CALLDATA_GAS: u64 = 40;
/// More gas than any block here has: an option that asks for it cannot be served.
const MAX_GAS: u64 = 100_000_000;

/// The call that gives the message to its receiver, with all the sender asked for.
fn receive_call(job: &Job<'_>, parsed: &Parsed, here: &Deployment) -> Result<ReceiveCall, Reason> {
    let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
    let options = Options::decode(&job.message.options).map_err(|e| refuse(e.to_string()))?;
    let asked = options
        .lz_receive
        .ok_or_else(|| refuse("the sender paid for no execution (no lzReceive option)".into()))?;
    if !options.native_drops.is_empty() || !options.composes.is_empty() {
        return Err(refuse("native drops and composed calls are not executed yet".into()));
    }
    let gas = u64::try_from(asked.gas)
        .ok()
        .filter(|gas| *gas <= MAX_GAS)
        .ok_or_else(|| refuse(format!("{} gas is more than a block has", asked.gas)))?;
    let message = message_bytes(job.message)
        .ok_or_else(|| refuse("the payload's bytes are not known".into()))?;
    Ok(ReceiveCall {
        origin: Origin {
            src_eid: parsed.header.src_eid,
            sender: parsed.header.sender,
            nonce: parsed.header.nonce,
        },
        receiver: parsed.pathway.receiver,
        guid: parsed.header.guid(),
        message,
        value: U256::from(asked.value),
        gas: gas * 64 / 63 + ENDPOINT_GAS,
        from: here.executor.unwrap_or(Address::ZERO),
    })
}

pub(super) fn questions(job: &Job<'_>, parsed: &Parsed, here: &Deployment) -> Vec<Question> {
    let mut wanted = vec![
        Question::LazyNonce(parsed.pathway),
        Question::InboundNonce(parsed.pathway),
        Question::NextNonce(parsed.pathway),
        parsed.committed(),
    ];
    if let Ok(call) = receive_call(job, parsed, here) {
        wanted.push(Question::Receive(Box::new(call)));
    }
    wanted
}

pub(super) fn decide(
    job: &Job<'_>,
    parsed: &Parsed,
    view: &View,
    here: &Deployment,
) -> Option<Action> {
    let call = match receive_call(job, parsed, here) {
        Ok(call) => call,
        Err(reason) => return Some(Action::Become(DutyState::Held(reason))),
    };
    if is_past(parsed, view)? {
        return Some(seen_on_destination(job));
    }
    let waiting = |reason| Some(Action::Become(DutyState::Waiting(reason)));
    if view.committed(parsed.pathway, parsed.nonce())? != parsed.payload_hash.0 {
        return waiting(Reason::AwaitingCommit);
    }
    let inbound = view.inbound_nonce(parsed.pathway)?;
    if inbound < parsed.nonce() {
        let nonce = lower_nonce(inbound.saturating_add(1));
        return waiting(Reason::LowerNonceNotCommitted { nonce });
    }
    if let Some(next) = must_be_next(job, parsed, view)? {
        return waiting(Reason::LowerNonceNotExecuted { nonce: lower_nonce(next) });
    }
    let question = Question::Receive(Box::new(call.clone()));
    match view.outcome(&question)? {
        CallOutcome::Returned(_) => Some(Action::Send(payload(call, here))),
        CallOutcome::Reverted(data) => {
            let detail = reason_text(data).into();
            Some(Action::TryLater(Reason::ReceiverReverted { detail }))
        }
    }
}

/// The nonce that must be executed first, where the receiver or the sender's options ask for
/// order; `None` inside if there is none.
fn must_be_next(job: &Job<'_>, parsed: &Parsed, view: &View) -> Option<Option<u64>> {
    let ordered = Options::decode(&job.message.options).is_ok_and(|o| o.ordered);
    let next = match view.next_nonce(parsed.pathway) {
        0 if ordered => view.lazy_nonce(parsed.pathway)?.saturating_add(1),
        0 => return Some(None),
        next => next,
    };
    Some((next != parsed.nonce()).then_some(next))
}

/// Through the executor, which raises an alert in our name if it fails; straight to the endpoint
/// where there is none, which is anyone's right.
fn payload(call: ReceiveCall, here: &Deployment) -> Payload {
    let origin = contracts::Origin::from(call.origin);
    let (to, data) = match here.executor {
        Some(executor) => {
            let params = ExecutionParams {
                receiver: call.receiver,
                origin,
                guid: call.guid.0,
                message: call.message,
                extraData: Bytes::new(),
                gasLimit: U256::from(call.gas),
            };
            (executor, Executor::execute302Call { executionParams: params }.abi_encode())
        }
        None => {
            let call = EndpointV2::lzReceiveCall {
                origin,
                receiver: call.receiver,
                guid: call.guid.0,
                message: call.message,
                extraData: Bytes::new(),
            };
            (here.endpoint, call.abi_encode())
        }
    };
    let calldata = CALLDATA_GAS.saturating_mul(data.len() as u64);
    let gas_limit = (call.gas * 64 / 63).saturating_add(OUTER_GAS).saturating_add(calldata);
    Payload { to, data: data.into(), value: call.value, gas_limit }
}
