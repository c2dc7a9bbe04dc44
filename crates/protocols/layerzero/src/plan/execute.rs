//! Giving a message to its receiver.

use super::{Action, Job, Parsed, is_committed, is_past, message_bytes, seen_on_destination};
use crate::{
    contracts::{self, EndpointV2, ExecutionParams, Executor, NativeDropParams},
    deployment::Deployment,
    events::Origin,
    revert::reason_text,
    view::{Question, View, as_transaction},
    wire::{Guid, Options},
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolError};
use postrider_evm::{EthCall, transaction::Payload};
use postrider_message::{DutyState, MessageNonce, Reason};

/// What the endpoint itself uses of the gas it is given, with room for the first message of a
/// pathway and for a few jumped nonces (18k to 20k and 17k measured).
const ENDPOINT_GAS: u64 = 45_000;
/// What the endpoint uses for each nonce between the highest one executed and this one: it looks
/// whether that is committed (`MessagingChannel._clearPayload`).
const JUMP_GAS: u64 = 2_500;
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
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    origin: Origin,
    receiver: Address,
    guid: Guid,
    pub(super) message: Bytes,
    pub(super) value: U256,
    /// For the endpoint's call.
    pub(super) gas: u64,
    drops: Vec<NativeDropParams>,
    pub(super) ordered: bool,
}

impl Wanted {
    /// Makes room for nonces that the endpoint must look at, since they are not executed: many
    /// messages that fail must not take the gas of one that would not.
    pub(super) fn jump(&mut self, nonces: u64) {
        self.gas = self.gas.saturating_add(JUMP_GAS.saturating_mul(nonces)).min(MAX_GAS);
    }

    /// The drops were paid already.
    pub(super) fn without_drops(&mut self) {
        self.drops.clear();
    }

    /// Whether anyone may do it: native drops need the executor.
    pub(super) fn is_plain(&self) -> bool {
        self.drops.is_empty()
    }
}

/// The gas that the sender paid for, as the call of the endpoint must have it on top of its own.
pub(super) fn receiver_gas(asked: u128) -> Result<u64, Reason> {
    let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
    u64::try_from(asked)
        .ok()
        .filter(|gas| *gas <= MAX_GAS)
        .map(|gas| gas * 64 / 63)
        .ok_or_else(|| refuse(format!("{asked} gas is more than a block has")))
}

/// The limit of a transaction whose inner call must have `gas`.
pub(super) fn outer_gas(gas: u64, data: &[u8]) -> u64 {
    let calldata = CALLDATA_GAS.saturating_mul(data.len() as u64);
    (gas * 64 / 63).saturating_add(OUTER_GAS).saturating_add(calldata)
}

pub(super) fn wanted(job: &Job<'_>, parsed: &Parsed, here: &Deployment) -> Result<Wanted, Reason> {
    let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
    let options = Options::decode(&job.message.options).map_err(|e| refuse(e.to_string()))?;
    let asked = options
        .lz_receive
        .ok_or_else(|| refuse("the sender paid for no execution (no lzReceive option)".into()))?;
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
    let message = message_bytes(job.message)
        .ok_or_else(|| refuse("the payload's bytes are not known".into()))?;
    Ok(Wanted {
        origin: Origin {
            src_eid: parsed.header.src_eid,
            sender: parsed.header.sender,
            nonce: parsed.header.nonce,
        },
        receiver: parsed.pathway.receiver,
        guid: parsed.header.guid(),
        message,
        value: U256::from(asked.value),
        gas: receiver_gas(asked.gas)?.saturating_add(ENDPOINT_GAS),
        drops,
        ordered: options.ordered,
    })
}

pub(super) fn questions(parsed: &Parsed, asked: &mut Vec<Question>) {
    asked.extend([
        Question::LazyNonce(parsed.pathway),
        Question::InboundNonce(parsed.pathway),
        Question::NextNonce(parsed.pathway),
        parsed.committed(),
    ]);
}

/// Whether the message is committed now; or what becomes of the duty before any rehearsal.
pub(super) fn prepare(job: &Job<'_>, parsed: &Parsed, view: &View) -> Option<Result<bool, Action>> {
    if is_past(parsed, view)? {
        return Some(Err(seen_on_destination(job)));
    }
    Some(Ok(is_committed(parsed, view)?))
}

/// The call of the endpoint to rehearse, in the name of whoever will make it.
pub(super) fn step(wanted: &Wanted, here: &Deployment) -> EthCall {
    let data = endpoint_call(wanted);
    let gas = Some(as_transaction(wanted.gas, &data));
    let from = here.batch.filter(|_| wanted.is_plain()).or(here.executor).unwrap_or_default();
    EthCall { from, value: wanted.value, gas, ..EthCall::new(here.endpoint, data) }
}

/// The next nonce that the receiver, or the sender's options, ask for; `None` inside if any order
/// will do.
pub(super) fn next_in_order(wanted: &Wanted, parsed: &Parsed, view: &View) -> Option<Option<u64>> {
    match view.next_nonce(parsed.pathway) {
        0 if wanted.ordered => Some(Some(view.lazy_nonce(parsed.pathway)?.saturating_add(1))),
        0 => Some(None),
        next => Some(Some(next)),
    }
}

/// What becomes of an execution that the destination refused with `data`.
pub(super) fn refused(data: &Bytes) -> Action {
    if let Ok(error) = EndpointV2::LZ_InvalidNonce::abi_decode(data) {
        let reason = Reason::LowerNonceNotCommitted { nonce: MessageNonce(error.nonce) };
        return Action::Become(DutyState::Waiting(reason));
    }
    Action::TryLater(Reason::ReceiverReverted { detail: reason_text(data).into() })
}

fn endpoint_call(wanted: &Wanted) -> Vec<u8> {
    EndpointV2::lzReceiveCall {
        origin: contracts::Origin::from(wanted.origin),
        receiver: wanted.receiver,
        guid: wanted.guid.0,
        message: wanted.message.clone(),
        extraData: Bytes::new(),
    }
    .abi_encode()
}

/// Through the executor, which raises an alert in our name if it fails; straight to the endpoint
/// where there is none, which is anyone's right.
pub(super) fn payload(wanted: &Wanted, here: &Deployment) -> Payload {
    let dropped: U256 = wanted.drops.iter().map(|drop| drop.amount).sum();
    let drop_gas = DROP_GAS.saturating_mul(wanted.drops.len() as u64);
    let (to, data) = match here.executor {
        Some(executor) => (executor, executor_call(wanted)),
        None => (here.endpoint, endpoint_call(wanted)),
    };
    let gas_limit = outer_gas(wanted.gas, &data).saturating_add(drop_gas);
    Payload { to, data: data.into(), value: wanted.value.saturating_add(dropped), gas_limit }
}

/// A drop that fails is only noted by the executor, which keeps the coins; it does not hinder the
/// execution.
fn executor_call(wanted: &Wanted) -> Vec<u8> {
    let params = ExecutionParams {
        receiver: wanted.receiver,
        origin: contracts::Origin::from(wanted.origin),
        guid: wanted.guid.0,
        message: wanted.message.clone(),
        extraData: Bytes::new(),
        gasLimit: U256::from(wanted.gas),
    };
    if wanted.drops.is_empty() {
        return Executor::execute302Call { executionParams: params }.abi_encode();
    }
    Executor::nativeDropAndExecute302Call {
        nativeDropParams: wanted.drops.clone(),
        nativeDropGasLimit: U256::from(DROP_GAS),
        executionParams: params,
    }
    .abi_encode()
}
