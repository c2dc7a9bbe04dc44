//! From a follower's findings to what the store records: messages, facts and duties.

use crate::context::{Context, Network};
use alloy_primitives::{Address, B256};
use futures::FutureExt;
use postrider_evm::{
    ReceiptLogs,
    follower::{BlockLogs, Hints, ProvenBlock},
};
use postrider_layerzero::{
    Delivery, Packet,
    decode::text,
    wire::{Guid, Options},
};
use postrider_message::{
    BlockRef, BlockTime, Certainty, Duty, DutyKind, DutyState, Fact, FactRecord, Height, Message,
    Movement, Observation, Reason, Role, Subject, TxHash, UnixMillis, id::content_id,
};
use postrider_store::{
    BlockBatch, HintBatch, MAX_EVIDENCE_BYTES, ProvenMessage, SeenTransaction, StoreError,
};
use postrider_verification::evm::{Assignment, SentDecoder, SentMessage};
use std::collections::{BTreeSet, HashMap};

/// The most composed calls of one message that are followed.
const MAX_COMPOSES: usize = 16;

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
) -> Result<BlockBatch, StoreError> {
    let at = UnixMillis::now();
    let mut batch = BlockBatch {
        network: network.name.clone(),
        previous: Some(previous),
        blocks,
        messages: Vec::new(),
        facts: Vec::new(),
        duties: Vec::new(),
        moves: Vec::new(),
        included: Vec::new(),
        movements: Vec::new(),
        tokens: tokens(context, network),
        tip_time: None,
        at,
    };
    for block in proven {
        let here = block.receipts.block().block();
        let time = BlockTime(block.receipts.block().header().timestamp);
        let indexes: Vec<u64> = block.found.iter().map(|r| r.index).collect();
        let evidence = block.receipts.evidence(&indexes);
        for (receipt, evidence) in block.found.iter().zip(evidence) {
            let told = read(context, network, here, receipt, Certainty::Verified, at).await?;
            batch.movements.extend(movements(context, network, here, time, receipt, &told.sent));
            for sent in told.sent {
                let mut owed = duties(context, &sent);
                let evidence = kept(&mut owed, || evidence.to_bytes());
                batch.duties.extend(owed);
                batch.messages.push(ProvenMessage { message: sent.message, evidence });
            }
            batch.facts.extend(told.facts);
        }
    }
    Ok(batch)
}

/// Stands for the token contracts that are listened to on a network, and what is known of them.
fn tokens(context: &Context, network: &Network) -> B256 {
    let here = context.deployments.on(&network.name);
    let mut named: Vec<Vec<u8>> = here
        .iter()
        .flat_map(|here| &here.tokens)
        .map(|token| {
            let decimals = [token.shared_decimals.0];
            [token.contract.as_slice(), &token.rate.to_be_bytes::<32>(), &decimals].concat()
        })
        .collect();
    named.sort_unstable();
    let parts: Vec<&[u8]> = named.iter().map(Vec::as_slice).collect();
    content_id("postrider/tokens", &parts)
}

/// What token contracts took and gave.
fn movements<'a>(
    context: &Context,
    network: &'a Network,
    block: BlockRef,
    time: BlockTime,
    receipt: &'a ReceiptLogs,
    sent: &[SentMessage],
) -> impl Iterator<Item = Movement> + use<'a> {
    let told = context.deployments.movements_in(&network.name, receipt, sent);
    told.into_iter().map(move |told| Movement {
        lane: told.lane,
        nonce: told.nonce,
        reference: told.reference,
        side: told.side,
        amount: told.amount,
        decimals: told.decimals,
        observation: observation(network, block, receipt, told.index_in_receipt),
        time,
    })
}

fn observation(
    network: &Network,
    block: BlockRef,
    receipt: &ReceiptLogs,
    index: u64,
) -> Observation {
    Observation {
        network: network.name.clone(),
        block,
        index: receipt.first_log.saturating_add(index),
        transaction: receipt.transaction,
    }
}

/// The evidence to keep: only what is to be attested is proven again. A receipt that is too long to
/// be kept stops its own attestation and nothing else.
fn kept(owed: &mut [Duty], evidence: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let Some(attest) = owed.iter_mut().find(|duty| duty.kind == DutyKind::Attest) else {
        return Vec::new();
    };
    let bytes = evidence();
    if bytes.len() <= MAX_EVIDENCE_BYTES {
        return bytes;
    }
    let detail = format!("its receipt makes {} bytes of evidence, too many to keep", bytes.len());
    attest.state = DutyState::Held(Reason::OptionsNotSupported { detail: detail.into() });
    Vec::new()
}

/// Puts together what the hint saw.
pub async fn hint_batch(
    context: &Context,
    network: &Network,
    hints: Hints,
) -> Result<HintBatch, StoreError> {
    let at = UnixMillis::now();
    let mut batch = HintBatch {
        network: network.name.clone(),
        // Above its newest block an upstream claims nothing: what was hinted there goes.
        heights: hints.from..=Height(u64::MAX),
        messages: Vec::new(),
        facts: Vec::new(),
        transactions: Vec::new(),
        at,
    };
    for BlockLogs { block, found, transactions } in &hints.blocks {
        let seen = |(hash, succeeded): &(TxHash, bool)| SeenTransaction {
            hash: *hash,
            block: *block,
            succeeded: *succeeded,
        };
        batch.transactions.extend(transactions.iter().map(seen));
        for receipt in found {
            let told = read(context, network, *block, receipt, Certainty::Hinted, at).await?;
            batch.messages.extend(told.sent.into_iter().map(|sent| sent.message));
            batch.facts.extend(told.facts);
        }
    }
    Ok(batch)
}

async fn read(
    context: &Context,
    network: &Network,
    block: BlockRef,
    receipt: &ReceiptLogs,
    certainty: Certainty,
    at: UnixMillis,
) -> Result<Told, StoreError> {
    let record = |subject, fact, index: u64| FactRecord {
        subject,
        fact,
        observation: observation(network, block, receipt, index),
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
    let delivery = delivery(context, network, receipt).await?;
    let known = known(context, network, receipt).await?;
    for fact in deployments.facts_in(&network.name, receipt, delivery, &known) {
        told.facts.push(record(fact.subject, fact.fact, fact.index_in_receipt));
    }
    Ok(told)
}

fn subject_of(message: &Message) -> Subject {
    let payload = Some(message.payload.hash());
    Subject { lane: message.lane.id(), nonce: message.nonce, payload }
}

/// The packets that a receipt names by their guid alone.
async fn known(
    context: &Context,
    network: &Network,
    receipt: &ReceiptLogs,
) -> Result<HashMap<Guid, Packet>, StoreError> {
    let guids = context.deployments.guids_in(&network.name, receipt);
    let found = messages(context, &guids).await?;
    // The guid is computed from the lane and the nonce, which the message's id binds.
    Ok(found.iter().filter_map(Packet::of).filter(|(guid, _)| guids.contains(guid)).collect())
}

async fn messages(context: &Context, guids: &BTreeSet<Guid>) -> Result<Vec<Message>, StoreError> {
    if guids.is_empty() {
        return Ok(Vec::new());
    }
    let references: Vec<B256> = guids.iter().map(|guid| guid.0).collect();
    context.store.messages_by_reference(&references).await
}

/// How a receipt's transaction delivered, if it did: by our own call, or by what an upstream says
/// the transaction's call was. That a message is off the list is proven; how it came off is told.
/// It is asked for unknown messages of our lanes too: a node that reads both chains anew may see a
/// delivery before it sees what was sent, and a receipt is recorded once.
async fn delivery(
    context: &Context,
    network: &Network,
    receipt: &ReceiptLogs,
) -> Result<Delivery, StoreError> {
    let Some(here) = context.deployments.on(&network.name) else { return Ok(Delivery::Unknown) };
    let delivered = context.deployments.delivered_in(&network.name, receipt);
    if delivered.is_empty() {
        return Ok(Delivery::Unknown);
    }
    let transaction = receipt.transaction;
    if context.store.is_ours(&[transaction]).await?.contains(&transaction) {
        return Ok(Delivery::Executed);
    }
    let call = network.upstreams.first(|u| u.transaction_call(transaction).boxed()).await;
    Ok(match call {
        Ok(Some((to, input))) if here.is_execution(to, &input) => Delivery::Executed,
        Ok(Some((to, input))) if here.is_clearing(to, &input) => Delivery::Cleared,
        _ => Delivery::Unknown,
    })
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
        kinds.push((DutyKind::Attest, 0, to.dvn));
    }
    if owed(Role::Execute, from.executor) {
        kinds.extend([(DutyKind::Commit, 0, to.executor), (DutyKind::Execute, 0, to.executor)]);
        let composes = Options::decode(&sent.message.options).map(|options| options.composes);
        let parts = composes.unwrap_or_default().into_keys().take(MAX_COMPOSES);
        kinds.extend(parts.map(|part| (DutyKind::Compose, part, to.executor)));
    }
    let owed = kinds.into_iter();
    owed.filter_map(|(kind, part, worker)| Some(duty(sent, kind, part, worker?))).collect()
}

fn duty(sent: &SentMessage, kind: DutyKind, part: u16, worker: Address) -> Duty {
    Duty {
        message: sent.message.id(),
        kind,
        part,
        network: sent.message.lane.destination.network.clone(),
        worker: text(worker),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    }
}
