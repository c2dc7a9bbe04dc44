//! From a follower's findings to what the store records: messages, facts and duties.

use crate::context::{Context, Network};
use alloy_primitives::Address;
use futures::FutureExt;
use postrider_evm::{
    ReceiptLogs,
    follower::{BlockLogs, Hints, ProvenBlock},
};
use postrider_layerzero::{Delivery, decode::text, delivers};
use postrider_message::{
    BlockRef, Certainty, Duty, DutyKind, DutyState, Fact, FactRecord, Message, Observation, Reason,
    Role, Subject, UnixMillis,
};
use postrider_store::{BlockBatch, HintBatch, ProvenMessage};
use postrider_verification::evm::{Assignment, SentDecoder, SentMessage};

/// What one receipt tells.
#[derive(Default)]
struct Told {
    sent: Vec<SentMessage>,
    facts: Vec<FactRecord>,
}

/// Puts together what a step of the durable way found.
pub async fn block_batch(
    context: &Context,
    network: &Network,
    previous: BlockRef,
    blocks: Vec<BlockRef>,
    proven: Vec<ProvenBlock>,
) -> BlockBatch {
    let at = UnixMillis::now();
    let mut batch = BlockBatch {
        network: network.name.clone(),
        previous: Some(previous),
        blocks,
        messages: Vec::new(),
        facts: Vec::new(),
        duties: Vec::new(),
        at,
    };
    for block in proven {
        let here = block.receipts.block().block();
        let indexes: Vec<u64> = block.found.iter().map(|r| r.index).collect();
        let evidence = block.receipts.evidence(&indexes);
        for (receipt, evidence) in block.found.iter().zip(evidence) {
            let told = read(context, network, here, receipt, Certainty::Verified, at).await;
            for sent in told.sent {
                batch.duties.extend(duties(context, &sent));
                let evidence = evidence.to_bytes();
                batch.messages.push(ProvenMessage { message: sent.message, evidence });
            }
            batch.facts.extend(told.facts);
        }
    }
    batch
}

/// Puts together what the hint saw.
pub async fn hint_batch(context: &Context, network: &Network, hints: Hints) -> HintBatch {
    let at = UnixMillis::now();
    let mut batch = HintBatch {
        network: network.name.clone(),
        heights: hints.from..=hints.to,
        messages: Vec::new(),
        facts: Vec::new(),
        at,
    };
    for BlockLogs { block, found } in &hints.blocks {
        for receipt in found {
            let told = read(context, network, *block, receipt, Certainty::Hinted, at).await;
            batch.messages.extend(told.sent.into_iter().map(|sent| sent.message));
            batch.facts.extend(told.facts);
        }
    }
    batch
}

async fn read(
    context: &Context,
    network: &Network,
    block: BlockRef,
    receipt: &ReceiptLogs,
    certainty: Certainty,
    at: UnixMillis,
) -> Told {
    let record = |subject, fact, index: u64| FactRecord {
        subject,
        fact,
        observation: Observation {
            network: network.name.clone(),
            block,
            index: receipt.first_log.saturating_add(index),
            transaction: receipt.transaction,
        },
        certainty,
        at,
    };
    let deployments = &context.deployments;
    let mut told = Told { sent: deployments.sent_in(&network.name, &receipt.logs), facts: vec![] };
    for sent in &told.sent {
        let subject = subject_of(&sent.message);
        told.facts.push(record(subject, Fact::Sent, sent.index_in_receipt));
        for Assignment { role, worker, fee } in sent.assignments.clone() {
            let fact = Fact::Assigned { role, worker, fee };
            told.facts.push(record(subject, fact, sent.index_in_receipt));
        }
    }
    let delivery = delivery(context, network, receipt).await;
    for fact in deployments.facts_in(&network.name, receipt, delivery) {
        told.facts.push(record(fact.subject, fact.fact, fact.index_in_receipt));
    }
    told
}

fn subject_of(message: &Message) -> Subject {
    let payload = Some(message.payload.hash());
    Subject { lane: message.lane.id(), nonce: message.nonce, payload }
}

/// How a receipt's transaction delivered, if it did: by our own call, or by what an upstream says
/// the transaction's call was. That a message is off the list is proven; how it came off is told.
async fn delivery(context: &Context, network: &Network, receipt: &ReceiptLogs) -> Delivery {
    let Some(here) = context.deployments.on(&network.name) else { return Delivery::Unknown };
    if !delivers(here, receipt) {
        return Delivery::Unknown;
    }
    let ours = context.store.is_ours(&[receipt.transaction]).await;
    if ours.is_ok_and(|found| found.contains(&receipt.transaction)) {
        return Delivery::Executed;
    }
    let transaction = receipt.transaction;
    let call = network.upstreams.first(|u| u.transaction_call(transaction).boxed()).await;
    match call {
        Ok(Some((to, input))) if here.is_execution(to, &input) => Delivery::Executed,
        Ok(Some((to, input))) if here.is_clearing(to, &input) => Delivery::Cleared,
        _ => Delivery::Unknown,
    }
}

/// What this node owes a message because of the work its source assigned and our roles where it
/// arrives.
fn duties(context: &Context, sent: &SentMessage) -> Vec<Duty> {
    let lane = &sent.message.lane;
    let deployments = &context.deployments;
    let (Some(from), Some(to)) =
        (deployments.on(&lane.source.network), deployments.on(&lane.destination.network))
    else {
        return Vec::new();
    };
    let Some(config) = context.config.layerzero.get(&lane.destination.network) else {
        return Vec::new();
    };
    let owed = |role: Role, worker: Option<Address>| {
        config.roles.contains(&role)
            && worker.is_some_and(|worker| {
                let worker = text(worker);
                sent.assignments.iter().any(|a| a.role == role && a.worker == worker)
            })
    };
    let mut kinds = Vec::new();
    if owed(Role::Attest, from.dvn) {
        kinds.push((DutyKind::Attest, to.dvn));
    }
    if owed(Role::Execute, from.executor) {
        kinds.extend([(DutyKind::Commit, to.executor), (DutyKind::Execute, to.executor)]);
    }
    kinds.into_iter().filter_map(|(kind, worker)| Some(duty(sent, kind, worker?))).collect()
}

fn duty(sent: &SentMessage, kind: DutyKind, worker: Address) -> Duty {
    Duty {
        message: sent.message.id(),
        kind,
        network: sent.message.lane.destination.network.clone(),
        worker: text(worker),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    }
}
