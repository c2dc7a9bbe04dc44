//! From what is to go to the transactions that carry it: duties that share a call, in the order in
//! which they build on each other.

use crate::submit::NotSent;
use postrider_evm::transaction::Payload;
use postrider_layerzero::{
    Action, Decision, Deployment, MessagePlan, batch,
    dvn::{ExecuteParam, execute_call_data},
    plan::AheadStep,
    view::Pathway,
};
use postrider_message::{DutyId, DutyKind};
use std::collections::{BTreeMap, HashMap};

/// The most attestations in one transaction: beyond it the end of a block is wasted.
const MAX_ATTESTATIONS: usize = 25;
/// How many items of a batch may go together that were tried before, and after how many attempts each message
/// goes step by step.
const MAX_TRIED: usize = 5;
const ALONE_AFTER: u32 = 2;
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

/// Puts plans together into calls.
#[derive(Debug, Clone, Copy)]
pub struct Bundler<'a> {
    /// LayerZero on the destination.
    pub here: &'a Deployment,
    /// The attestations that can go.
    pub signed: &'a HashMap<DutyId, ExecuteParam>,
    /// How many signatures each of them has.
    pub quorum: u64,
    /// No batch asks for more gas than this.
    pub transaction_gas: u64,
    /// How often duties were tried before; not at all where they are left out.
    pub attempts: &'a HashMap<DutyId, u32>,
}

impl Bundler<'_> {
    /// The calls for `plans`, attestations before what builds on them. A message whose attestation is
    /// not among those signed although it was to go keeps all its steps back.
    #[must_use]
    pub fn bundles(&self, plans: Vec<MessagePlan>) -> Vec<Outgoing> {
        let attestation = |plan: &MessagePlan| {
            let attests = |action: &Action| matches!(action, Action::Attest { .. });
            plan.decisions.iter().find(|d| attests(&d.action)).map(|d| d.duty)
        };
        let (attested, ready): (Vec<_>, Vec<_>) =
            plans.into_iter().partition(|plan| attestation(plan).is_some());
        let attested: Vec<_> = attested
            .into_iter()
            .filter(|plan| attestation(plan).is_some_and(|duty| self.signed.contains_key(&duty)))
            .collect();
        let mut calls = self.deliveries(&ready);
        for plans in attested.chunks(MAX_ATTESTATIONS) {
            calls.extend(self.attestations(plans));
            calls.extend(self.deliveries(plans));
        }
        calls
    }

    fn attestations(&self, plans: &[MessagePlan]) -> Option<Outgoing> {
        let mut duties = Vec::new();
        let mut params = Vec::new();
        let mut steps = Vec::new();
        for decision in plans.iter().flat_map(|plan| &plan.decisions) {
            let (Action::Attest { .. }, Some(param)) =
                (&decision.action, self.signed.get(&decision.duty))
            else {
                continue;
            };
            duties.push(decision.duty);
            params.push(param.clone());
            steps.extend(decision.step.map(|step| (decision.duty, step)));
        }
        let (count, quorum) = (params.len() as u64, self.quorum);
        let item = ITEM_GAS.saturating_add(SIGNATURE_GAS.saturating_mul(quorum));
        let used = USED_ITEM_GAS.saturating_add(USED_SIGNATURE_GAS.saturating_mul(quorum));
        Some(Outgoing {
            payload: Payload {
                to: self.here.dvn?,
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
    /// the message allows it, one by one otherwise. What was tried in vain goes with fewer others, and at last
    /// step by step: a message that cannot be executed is committed all the same, for those after it.
    fn deliveries(&self, plans: &[MessagePlan]) -> Vec<Outgoing> {
        let mut singles = Vec::new();
        let mut batched: BTreeMap<u32, Vec<(batch::Item, &MessagePlan)>> = BTreeMap::new();
        let tried = self.tried(plans);
        for plan in plans {
            let attempts = pathway(plan).and_then(|pathway| tried.get(&pathway)).copied();
            let attempts = attempts.unwrap_or(0);
            match &plan.item {
                Some(item) if attempts < ALONE_AFTER => {
                    batched.entry(attempts).or_default().push((item.clone(), plan));
                }
                _ => singles.extend(single(plan)),
            }
        }
        // An execution needs the commits of all lower nonces, whichever way those go.
        let commits =
            |call: &Outgoing| call.steps.iter().all(|(_, step)| step.kind() == DutyKind::Commit);
        let (mut calls, singles): (Vec<_>, Vec<_>) = singles.into_iter().partition(commits);
        for (attempts, alike) in batched {
            let (items, plans): (Vec<_>, Vec<_>) = alike.into_iter().unzip();
            let most = if attempts == 0 { batch::MAX_ITEMS } else { MAX_TRIED };
            let mut plans = plans.as_slice();
            for group in batch::group(&items, most, self.transaction_gas) {
                let Some((of_group, rest)) = plans.split_at_checked(group.len()) else { break };
                plans = rest;
                calls.extend(self.batch(group, of_group));
            }
        }
        calls.extend(singles);
        calls
    }

    /// How often what goes on a pathway was tried, at most: all of a pathway keeps its order.
    fn tried(&self, plans: &[MessagePlan]) -> HashMap<Pathway, u32> {
        let mut tried: HashMap<Pathway, u32> = HashMap::new();
        for plan in plans {
            let Some(pathway) = pathway(plan) else { continue };
            let of = |decision: &Decision| self.attempts.get(&decision.duty).copied();
            let attempts = plan.decisions.iter().filter(|d| is_sent(d)).filter_map(of).max();
            let most = tried.entry(pathway).or_default();
            *most = attempts.unwrap_or(0).max(*most);
        }
        tried
    }

    fn batch(&self, group: &[batch::Item], plans: &[&MessagePlan]) -> Option<Outgoing> {
        let (contract, first) = (self.here.batch?, group.first()?);
        let mut duties = Vec::new();
        let mut steps = Vec::new();
        let mut gas = 0u64;
        for decision in plans.iter().flat_map(|plan| &plan.decisions).filter(|d| is_sent(d)) {
            gas = gas.saturating_add(decision.gas.saturating_sub(INTRINSIC_GAS));
            duties.push(decision.duty);
            steps.extend(decision.step.map(|step| (decision.duty, step)));
        }
        let shared = SHARED_GAS.saturating_mul(group.len().saturating_sub(1) as u64);
        Some(Outgoing {
            payload: batch::payload(contract, first.library, group),
            duties,
            purpose: format!("deliver {}", group.len()),
            steps,
            expected_gas: gas.saturating_sub(shared).max(gas / 4).saturating_add(INTRINSIC_GAS),
        })
    }
}

fn is_sent(decision: &Decision) -> bool {
    matches!(decision.action, Action::Send(_))
}

fn pathway(plan: &MessagePlan) -> Option<Pathway> {
    plan.decisions.iter().find_map(|decision| Some(decision.step?.pathway()))
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

/// Those that were not sent, as one list.
pub(crate) fn not_sent(calls: Vec<Outgoing>, reason: &postrider_message::Reason) -> Vec<NotSent> {
    calls.into_iter().map(|call| NotSent { duties: call.duties, reason: reason.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, Bytes, U256};
    use postrider_layerzero::wire::{Address32, Eid, PacketHeader, PacketNonce};
    use postrider_message::MessageId;

    fn here() -> Deployment {
        Deployment {
            eid: Eid(2),
            endpoint: Address::repeat_byte(1),
            send_libraries: vec![],
            receive_libraries: vec![],
            dvn: None,
            executor: None,
            batch: Some(Address::repeat_byte(2)),
            tokens: vec![],
        }
    }

    /// A message that can be executed, from a sender.
    fn plan(sender: u8, nonce: u8) -> MessagePlan {
        let end = Address::repeat_byte(sender);
        let pathway = Pathway { src_eid: 1, sender: end.into_word(), receiver: end };
        let payload =
            Payload { to: end, data: Bytes::new(), value: U256::ZERO, gas_limit: 200_000 };
        let header = PacketHeader {
            nonce: PacketNonce::new(u64::from(nonce)).unwrap(),
            src_eid: Eid(1),
            sender: Address32::from(end),
            dst_eid: Eid(2),
            receiver: Address32::from(end),
        };
        let item = batch::Item {
            library: Address::repeat_byte(3),
            header,
            message: Bytes::new(),
            commit_gas: 0,
            receive_gas: 100_000,
            value: 0,
            expected_gas: 60_000,
        };
        let decision = Decision {
            duty: duty(sender, nonce),
            action: Action::Send(payload),
            step: Some(AheadStep::new(pathway, u64::from(nonce), DutyKind::Execute)),
            gas: 80_000,
        };
        let message = MessageId(B256::repeat_byte(nonce));
        MessagePlan { message, decisions: vec![decision], item: Some(item) }
    }

    fn duty(sender: u8, nonce: u8) -> DutyId {
        let mut id = B256::repeat_byte(sender);
        id.0[31] = nonce;
        DutyId(id)
    }

    fn groups(plans: Vec<MessagePlan>, attempts: &[(DutyId, u32)]) -> Vec<Vec<DutyId>> {
        let (here, signed, attempts) =
            (here(), HashMap::new(), attempts.iter().copied().collect::<HashMap<_, _>>());
        let bundler = Bundler {
            here: &here,
            signed: &signed,
            quorum: 1,
            transaction_gas: u64::MAX,
            attempts: &attempts,
        };
        bundler.bundles(plans).into_iter().map(|call| call.duties).collect()
    }

    #[test]
    fn r6_what_was_tried_in_vain_goes_with_fewer_others() {
        let plans: Vec<_> = (1..=30).map(|nonce| plan(7, nonce)).collect();
        let sizes = |attempts: &[(DutyId, u32)]| -> Vec<usize> {
            groups(plans.clone(), attempts).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [25, 5]);
        assert_eq!(sizes(&[(duty(7, 3), 1)]), [5; 6]);
        assert_eq!(sizes(&[(duty(7, 3), 2)]), [1; 30]);
        assert_eq!(sizes(&[(duty(7, 3), 9)]), [1; 30]);
    }

    #[test]
    fn r6_a_pathway_with_failures_takes_no_place_from_others_and_keeps_its_order() {
        let plans = vec![plan(7, 1), plan(7, 2), plan(8, 1), plan(9, 1)];
        let expected = vec![vec![duty(8, 1), duty(9, 1)], vec![duty(7, 1)], vec![duty(7, 2)]];
        assert_eq!(groups(plans, &[(duty(7, 1), 5)]), expected);
    }
}
