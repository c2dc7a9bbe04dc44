//! From what is to go to the transactions that carry it: duties that share a call, in the order in
//! which they build on each other, and who pays for them.

use crate::submit::{NotSent, Submitter};
use postrider_evm::transaction::Payload;
use postrider_layerzero::{
    Action, Deployment, MessagePlan, batch,
    dvn::{ExecuteParam, execute_call_data},
    plan::AheadStep,
};
use postrider_message::{DutyId, DutyKind, LaneId, Message};
use postrider_store::StoreError;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The most attestations in one transaction: beyond it the end of a block is wasted.
const MAX_ATTESTATIONS: usize = 25;
/// The most gas of `DVN.execute` around its items, of one item, and of a signature.
const BASE_GAS: u64 = 100_000;
const ITEM_GAS: u64 = 58_000;
const SIGNATURE_GAS: u64 = 8_000;
/// What it uses of them: 77.4k gas for one item and 46k for each of 25 were measured, with one
/// signature.
const USED_BASE_GAS: u64 = 30_000;
const USED_ITEM_GAS: u64 = 39_000;
const USED_SIGNATURE_GAS: u64 = 6_000;
/// What a transaction costs before it begins.
const INTRINSIC_GAS: u64 = 21_000;
/// What the executor uses beside what was rehearsed without it.
const EXECUTOR_GAS: u64 = 6_000;
/// What an item of a batch does not use of what was rehearsed for it alone: the endpoint's and the
/// library's storage is warm already (84k alone, 46k for each of 25 measured).
const SHARED_GAS: u64 = 38_000;
/// What a step takes, before any was rehearsed: alone, and in a batch.
const ALONE_GAS: u64 = 60_000;
const BATCHED_GAS: u64 = 32_000;
/// The share of a block that may be on its way, in hundredths: what is expected is not quite what is
/// used, and a node forgets what a block has no place for.
const BLOCK_SHARE: u64 = 98;

/// A call that is to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The call.
    pub payload: Payload,
    /// The duties that it is for.
    pub duties: Vec<DutyId>,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The steps that were rehearsed for it.
    pub steps: Vec<(DutyId, AheadStep)>,
    /// Gas that it is expected to use.
    pub expected_gas: u64,
}

/// The calls for `plans`, attestations before what builds on them. A message whose attestation is
/// not among `signed` although it was to go keeps all its steps back.
#[must_use]
pub fn bundles(
    here: &Deployment,
    plans: Vec<MessagePlan>,
    signed: &HashMap<DutyId, ExecuteParam>,
    quorum: u64,
) -> Vec<Outgoing> {
    let attestation = |plan: &MessagePlan| {
        let attests = |action: &Action| matches!(action, Action::Attest { .. });
        plan.decisions.iter().find(|d| attests(&d.action)).map(|d| d.duty)
    };
    let (attested, ready): (Vec<_>, Vec<_>) =
        plans.into_iter().partition(|plan| attestation(plan).is_some());
    let attested: Vec<_> = attested
        .into_iter()
        .filter(|plan| attestation(plan).is_some_and(|duty| signed.contains_key(&duty)))
        .collect();
    let mut calls = deliveries(here, ready.iter());
    for plans in attested.chunks(MAX_ATTESTATIONS) {
        calls.extend(attestations(here, plans, signed, quorum));
        calls.extend(deliveries(here, plans.iter()));
    }
    calls
}

fn attestations(
    here: &Deployment,
    plans: &[MessagePlan],
    signed: &HashMap<DutyId, ExecuteParam>,
    quorum: u64,
) -> Option<Outgoing> {
    let mut duties = Vec::new();
    let mut params = Vec::new();
    let mut steps = Vec::new();
    for decision in plans.iter().flat_map(|plan| &plan.decisions) {
        let (Action::Attest { .. }, Some(param)) = (&decision.action, signed.get(&decision.duty))
        else {
            continue;
        };
        duties.push(decision.duty);
        params.push(param.clone());
        steps.extend(decision.step.map(|step| (decision.duty, step)));
    }
    let count = params.len() as u64;
    let item = ITEM_GAS.saturating_add(SIGNATURE_GAS.saturating_mul(quorum));
    let used = USED_ITEM_GAS.saturating_add(USED_SIGNATURE_GAS.saturating_mul(quorum));
    Some(Outgoing {
        payload: Payload {
            to: here.dvn?,
            data: execute_call_data(params),
            value: alloy_primitives::U256::ZERO,
            gas_limit: BASE_GAS.saturating_add(item.saturating_mul(count)),
        },
        duties,
        purpose: format!("attest {count}"),
        steps,
        expected_gas: USED_BASE_GAS.saturating_add(used.saturating_mul(count)),
    })
}

/// Commits, executions and composed calls: as items of a batch where there is a contract for it and
/// the message allows it, one by one otherwise.
fn deliveries<'a>(
    here: &Deployment,
    plans: impl Iterator<Item = &'a MessagePlan>,
) -> Vec<Outgoing> {
    let mut singles = Vec::new();
    let mut batched = Vec::new();
    for plan in plans {
        match &plan.item {
            Some(item) => batched.push((item.clone(), plan)),
            None => singles.extend(single(plan)),
        }
    }
    let items: Vec<_> = batched.iter().map(|(item, _)| item.clone()).collect();
    let mut plans = batched.iter().map(|(_, plan)| *plan);
    let mut calls = Vec::new();
    for group in batch::group(&items) {
        let plans: Vec<_> = plans.by_ref().take(group.len()).collect();
        let (Some(contract), Some(first)) = (here.batch, group.first()) else { continue };
        let mut duties = Vec::new();
        let mut steps = Vec::new();
        let mut gas = 0u64;
        for decision in plans.iter().flat_map(|plan| &plan.decisions) {
            if matches!(decision.action, Action::Send(_)) {
                gas = gas.saturating_add(decision.gas.saturating_sub(INTRINSIC_GAS));
                duties.push(decision.duty);
                steps.extend(decision.step.map(|step| (decision.duty, step)));
            }
        }
        let shared = SHARED_GAS.saturating_mul(group.len().saturating_sub(1) as u64);
        calls.push(Outgoing {
            payload: batch::payload(contract, first.library, group),
            duties,
            purpose: format!("deliver {}", group.len()),
            steps,
            expected_gas: gas.saturating_sub(shared).max(gas / 4).saturating_add(INTRINSIC_GAS),
        });
    }
    calls.extend(singles);
    calls
}

fn single(plan: &MessagePlan) -> impl Iterator<Item = Outgoing> {
    plan.decisions.iter().filter_map(|decision| {
        let Action::Send(payload) = &decision.action else { return None };
        let kind = decision.step.as_ref().map_or("send", |step| step.kind().as_str());
        Some(Outgoing {
            payload: payload.clone(),
            duties: vec![decision.duty],
            purpose: format!("{kind} {}", plan.message.short()),
            steps: decision.step.map(|step| (decision.duty, step)).into_iter().collect(),
            expected_gas: match decision.gas {
                0 => payload.gas_limit,
                gas if kind == DutyKind::Execute.as_str() => gas.saturating_add(EXECUTOR_GAS),
                gas => gas,
            },
        })
    })
}

/// The accounts that pay on one network. All steps of a lane are paid for by one of them, so that
/// they reach blocks in their order.
pub struct Payers {
    all: Vec<Arc<Submitter>>,
    /// Gas that a step took in the last round; 0 before the first.
    step_gas: AtomicU64,
}

/// How many more transactions each account may have on its way.
pub struct Room<'a> {
    payers: &'a Payers,
    /// In fractions of a transaction, one for each place in a batch.
    left: Vec<usize>,
    /// Gas that may still be on its way: all of ours together find place in one block.
    gas: u64,
}

impl Payers {
    /// These accounts; without any nothing is sent.
    #[must_use]
    pub fn new(all: Vec<Arc<Submitter>>) -> Self {
        Self { all, step_gas: AtomicU64::new(0) }
    }

    /// The account that pays for a lane: always the same while it can pay, then another that can.
    fn of(&self, lane: LaneId) -> Option<usize> {
        let able: Vec<usize> =
            (0..self.all.len()).filter(|i| self.all.get(*i).is_some_and(|s| s.can_pay())).collect();
        let all: Vec<usize> = (0..self.all.len()).collect();
        let candidates = if able.is_empty() { &all } else { &able };
        let [.., last] = lane.0.0;
        candidates.get(usize::from(last).checked_rem(candidates.len())?).copied()
    }

    /// Looks what became of what was sent; returns the duties whose transactions are on their way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<HashSet<DutyId>, StoreError> {
        let mut on_their_way = HashSet::new();
        for payer in &self.all {
            on_their_way.extend(payer.watch().await?);
        }
        Ok(on_their_way)
    }

    /// How much may be sent now, where a block has `block_gas`; 0 if that is not known yet.
    #[must_use]
    pub fn room(&self, block_gas: u64) -> Room<'_> {
        let left = self.all.iter().map(|payer| payer.room() * batch::MAX_ITEMS).collect();
        let flying: u64 = self.all.iter().map(|payer| payer.flying_gas()).sum();
        let gas = match block_gas {
            0 => u64::MAX,
            // What is larger than a block allows is sent alone.
            _ if flying == 0 => (block_gas / 100 * BLOCK_SHARE).max(1),
            _ => (block_gas / 100 * BLOCK_SHARE).saturating_sub(flying),
        };
        Room { payers: self, left, gas }
    }

    /// Remembers what steps take.
    pub fn note_gas(&self, calls: &[Outgoing]) {
        let gas: u64 = calls.iter().map(|call| call.expected_gas).sum();
        let steps: usize = calls.iter().map(|call| call.duties.len()).sum();
        if let Some(each) = gas.checked_div(steps as u64).filter(|each| *each > 0) {
            self.step_gas.store(each, Ordering::Relaxed);
        }
    }

    /// Who pays for which plan.
    #[must_use]
    pub fn share(
        &self,
        plans: Vec<MessagePlan>,
        lane_of: impl Fn(&MessagePlan) -> Option<LaneId>,
    ) -> Vec<(Arc<Submitter>, Vec<MessagePlan>)> {
        let mut shares: Vec<_> =
            self.all.iter().map(|payer| (Arc::clone(payer), Vec::new())).collect();
        for plan in plans {
            let share = lane_of(&plan).and_then(|lane| shares.get_mut(self.of(lane)?));
            if let Some((_, plans)) = share {
                plans.push(plan);
            }
        }
        shares.retain(|(_, plans)| !plans.is_empty());
        shares
    }
}

impl Room<'_> {
    /// Takes room for the message's transactions, or a place in a batch; false if there is none.
    pub fn take(
        &mut self,
        message: &Message,
        transactions: usize,
        steps: usize,
        batched: bool,
    ) -> bool {
        let payer = self.payers.of(message.lane.id());
        let Some(left) = payer.and_then(|payer| self.left.get_mut(payer)) else { return false };
        let needed = if batched { 1 } else { transactions * batch::MAX_ITEMS };
        let gas = match self.payers.step_gas.load(Ordering::Relaxed) {
            0 if batched => BATCHED_GAS,
            0 => ALONE_GAS,
            gas => gas,
        };
        if self.gas == 0 {
            return false;
        }
        self.gas = self.gas.saturating_sub(gas.saturating_mul(steps as u64));
        match left.checked_sub(needed) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}

/// Those that were not sent, as one list.
pub(crate) fn not_sent(calls: Vec<Outgoing>, reason: &postrider_message::Reason) -> Vec<NotSent> {
    calls.into_iter().map(|call| NotSent { duties: call.duties, reason: reason.clone() }).collect()
}
