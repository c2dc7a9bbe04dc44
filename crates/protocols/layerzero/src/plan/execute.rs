//! Giving a message to its receiver.

use super::{Action, Job, Parsed, is_past, lower_nonce, message_bytes, seen_on_destination};
use crate::{
    contracts::{self, EndpointV2, ExecutionParams, Executor, NativeDropParams},
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
/// What one native drop may use: enough to make an account or to run a simple receiver.
const DROP_GAS: u64 = 60_000;
/// More gas than any block here has: an option that asks for it cannot be served.
const MAX_GAS: u64 = 100_000_000;

/// All that the sender asked for: the call that gives the message to its receiver, and payments
/// beside it.
struct Wanted {
    call: ReceiveCall,
    drops: Vec<NativeDropParams>,
}

fn wanted(job: &Job<'_>, parsed: &Parsed, here: &Deployment) -> Result<Wanted, Reason> {
    let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
    let options = Options::decode(&job.message.options).map_err(|e| refuse(e.to_string()))?;
    let asked = options
        .lz_receive
        .ok_or_else(|| refuse("the sender paid for no execution (no lzReceive option)".into()))?;
    if !options.composes.is_empty() {
        return Err(refuse("composed calls are not executed yet".into()));
    }
    if !options.native_drops.is_empty() && here.executor.is_none() {
        return Err(refuse("native drops need an executor, and none is configured".into()));
    }
    let drops = options
        .native_drops
        .iter()
        .map(|drop| {
            let receiver = drop.receiver.as_evm_address();
            receiver.map(|receiver| NativeDropParams { receiver, amount: U256::from(drop.amount) })
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refuse("a native drop goes to what is no EVM address".into()))?;
    let gas = u64::try_from(asked.gas)
        .ok()
        .filter(|gas| *gas <= MAX_GAS)
        .ok_or_else(|| refuse(format!("{} gas is more than a block has", asked.gas)))?;
    let message = message_bytes(job.message)
        .ok_or_else(|| refuse("the payload's bytes are not known".into()))?;
    let call = ReceiveCall {
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
    };
    Ok(Wanted { call, drops })
}

pub(super) fn questions(job: &Job<'_>, parsed: &Parsed, here: &Deployment) -> Vec<Question> {
    let mut asked = vec![
        Question::LazyNonce(parsed.pathway),
        Question::InboundNonce(parsed.pathway),
        Question::NextNonce(parsed.pathway),
        parsed.committed(),
    ];
    if let Ok(wanted) = wanted(job, parsed, here) {
        asked.push(Question::Receive(Box::new(wanted.call)));
    }
    asked
}

pub(super) fn decide(
    job: &Job<'_>,
    parsed: &Parsed,
    view: &View,
    here: &Deployment,
) -> Option<Action> {
    let wanted = match wanted(job, parsed, here) {
        Ok(wanted) => wanted,
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
    let question = Question::Receive(Box::new(wanted.call.clone()));
    match view.outcome(&question)? {
        CallOutcome::Returned(_) => Some(Action::Send(payload(wanted, here))),
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
fn payload(wanted: Wanted, here: &Deployment) -> Payload {
    let Wanted { call, drops } = wanted;
    let origin = contracts::Origin::from(call.origin);
    let dropped: U256 = drops.iter().map(|drop| drop.amount).sum();
    let drop_gas = DROP_GAS.saturating_mul(drops.len() as u64);
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
            (executor, executor_call(params, drops))
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
    let gas_limit = (call.gas * 64 / 63)
        .saturating_add(OUTER_GAS)
        .saturating_add(calldata)
        .saturating_add(drop_gas);
    Payload { to, data: data.into(), value: call.value.saturating_add(dropped), gas_limit }
}

/// A drop that fails is only noted by the executor, which keeps the coins; it does not hinder the
/// execution.
fn executor_call(params: ExecutionParams, drops: Vec<NativeDropParams>) -> Vec<u8> {
    if drops.is_empty() {
        return Executor::execute302Call { executionParams: params }.abi_encode();
    }
    Executor::nativeDropAndExecute302Call {
        nativeDropParams: drops,
        nativeDropGasLimit: U256::from(DROP_GAS),
        executionParams: params,
    }
    .abi_encode()
}
