//! Proves again, asks the journal, signs: from stored evidence to a DVN's transaction.

use crate::{
    context::Context,
    moves::{failed, held, later, quorum_lost},
    submit::Outgoing,
};
use alloy_primitives::{Address, U256};
use postrider_evm::transaction::Payload;
use postrider_layerzero::{
    DvnAttestation, DvnTarget, NotAttestable,
    dvn::{ExecuteParam, Expiration, assemble_signatures, execute_call_data},
};
use postrider_message::{
    AlarmKind, BlockRef, Confirmations, DutyId, DutyState, MessageId, NetworkName, Reason,
    UnixMillis,
};
use postrider_signing::{Attestable, AttestingKey, Intent, Journal, Refusal};
use postrider_store::{DutyMove, OpenDuty, StoreError};
use postrider_verification::{
    Verdict, Verified,
    evm::{AnchoredBlock, ReceiptEvidence, SentMessage, prove_sent},
};
use std::collections::{BTreeMap, HashMap};

/// The most attestations in one transaction: beyond it the end of a block is wasted.
const BATCH: usize = 25;
/// How long a signature counts, in seconds; well below what the journal allows.
const EXPIRY_SECONDS: u64 = 1800;
/// Gas of `DVN.execute` around its items, and of one item (48k measured, signatures of two).
const BASE_GAS: u64 = 80_000;
const ITEM_GAS: u64 = 75_000;
const SIGNATURE_GAS: u64 = 8_000;

/// An attestation that the plan asks for.
pub struct Wanted<'a> {
    /// The duty, with its message.
    pub open: &'a OpenDuty,
    /// Where it goes.
    pub target: DvnTarget,
    /// The least depth.
    pub needed: Confirmations,
}

/// What came of attesting.
#[derive(Default)]
pub struct Signed {
    /// Transactions to send.
    pub outgoing: Vec<Outgoing>,
    /// Duties that cannot go now, and why.
    pub moves: Vec<DutyMove>,
}

/// The keys that sign for one DVN, each with its journal.
#[derive(Debug)]
pub struct Attester {
    signers: Vec<(AttestingKey, Journal)>,
}

/// A wanted attestation whose message was proven just now.
struct Proven<'a> {
    wanted: Wanted<'a>,
    fact: Verified<SentMessage>,
}

impl Attester {
    /// An attester with these keys.
    #[must_use]
    pub fn new(signers: Vec<(AttestingKey, Journal)>) -> Self {
        Self { signers }
    }

    /// Attests what can be: each message is proven anew from its stored evidence and a block that
    /// the quorum names now, whether this node was restarted since or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn attest(
        &self,
        context: &Context,
        dvn: Address,
        quorum: u64,
        wanted: Vec<Wanted<'_>>,
        now: UnixMillis,
    ) -> Result<Signed, StoreError> {
        let mut signed = Signed::default();
        let proven = prove(context, wanted, now, &mut signed).await?;
        let expiration = Expiration(now.0 / 1000 + EXPIRY_SECONDS);
        let mut attestations = Vec::new();
        for Proven { wanted, fact } in &proven {
            match DvnAttestation::new(fact, wanted.target, wanted.needed, expiration) {
                Ok(attestation) => attestations.push((wanted.open, attestation)),
                Err(NotAttestable::TooShallow { seen, needed }) => {
                    let network = wanted.open.message.lane.source.network.clone();
                    let more = needed.0.saturating_sub(seen.0);
                    let reason = Reason::AwaitingConfirmations { network, more };
                    signed.moves.push(later(wanted.open, reason, now));
                }
                Err(NotAttestable::Lane(error)) => {
                    let reason = Reason::Refuted { detail: error.to_string().into() };
                    signed.moves.push(failed(wanted.open, reason));
                }
            }
        }
        let params = self.sign(context, quorum, attestations, now, &mut signed).await;
        signed.outgoing.extend(batches(dvn, quorum, &params));
        Ok(signed)
    }

    /// Collects a quorum of signatures for each attestation. A signature leaves this function only
    /// with the others it needs, and only after the journal of its key has it on disk (R3).
    async fn sign(
        &self,
        context: &Context,
        quorum: u64,
        attestations: Vec<(&OpenDuty, DvnAttestation<'_>)>,
        now: UnixMillis,
        signed: &mut Signed,
    ) -> Vec<(DutyId, ExecuteParam)> {
        let enough = usize::try_from(quorum).is_ok_and(|q| q > 0 && q <= self.signers.len());
        if !enough {
            let detail =
                format!("the DVN takes {quorum} signatures, {} keys are here", self.signers.len());
            let reason = Reason::JournalRefused { detail: detail.into() };
            signed.moves.extend(attestations.iter().map(|(o, _)| held(o, reason.clone())));
            return Vec::new();
        }
        let mut collected: Vec<Vec<(Address, [u8; 65])>> = vec![Vec::new(); attestations.len()];
        let mut refused: BTreeMap<usize, Refusal> = BTreeMap::new();
        let take = usize::try_from(quorum).unwrap_or(usize::MAX);
        for (key, journal) in self.signers.iter().take(take) {
            let intents = attestations.iter().map(|(_, a)| Intent::of(a)).collect();
            let permits = match journal.permits(intents).await {
                Ok(permits) => permits,
                Err(error) => {
                    let reason = Reason::JournalRefused { detail: error.to_string().into() };
                    let moves = attestations.iter().map(|(o, _)| later(o, reason.clone(), now));
                    signed.moves.extend(moves);
                    return Vec::new();
                }
            };
            for (i, (permit, (_, what))) in permits.into_iter().zip(&attestations).enumerate() {
                match permit.map(|permit| key.attest(what, &permit)) {
                    Ok(Ok(signature)) => {
                        if let Some(list) = collected.get_mut(i) {
                            list.push((key.address(), signature));
                        }
                    }
                    Ok(Err(error)) => tracing::error!(%error, "a permitted signature failed"),
                    Err(refusal) => {
                        refused.insert(i, refusal);
                    }
                }
            }
        }
        let mut params = Vec::new();
        for (i, ((open, what), signatures)) in attestations.into_iter().zip(collected).enumerate() {
            if let Some(refusal) = refused.remove(&i) {
                signed.moves.push(refuse(context, open, &what, &refusal, now).await);
                continue;
            }
            match assemble_signatures(signatures, quorum) {
                Ok(joined) => params.push((open.duty.id(), what.param(joined))),
                Err(error) => {
                    let reason = Reason::JournalRefused { detail: error.to_string().into() };
                    signed.moves.push(later(open, reason, now));
                }
            }
        }
        params
    }
}

/// A conflict waits for the operator, with an alarm; anything else for its time.
async fn refuse(
    context: &Context,
    open: &OpenDuty,
    what: &DvnAttestation<'_>,
    refusal: &Refusal,
    now: UnixMillis,
) -> DutyMove {
    let reason = Reason::JournalRefused { detail: refusal.to_string().into() };
    match refusal {
        Refusal::Conflict { .. } => {
            let network = &open.message.lane.source.network;
            let detail = format!("{} {}: {refusal}", what.domain(), what.subject());
            let (kind, id) = (AlarmKind::JournalConflict, Some(open.message.id()));
            context.raise(kind, network, id, &detail).await;
            held(open, reason)
        }
        Refusal::TooEarly(_) | Refusal::Expiry { .. } => later(open, reason, now),
    }
}

/// Proves each wanted message from its evidence and a fresh anchor of its block.
async fn prove<'a>(
    context: &Context,
    wanted: Vec<Wanted<'a>>,
    now: UnixMillis,
    signed: &mut Signed,
) -> Result<Vec<Proven<'a>>, StoreError> {
    let ids: Vec<MessageId> = wanted.iter().map(|w| w.open.duty.message).collect();
    let evidence: HashMap<MessageId, (BlockRef, Vec<u8>)> = context
        .store
        .message_evidence(&ids)
        .await?
        .into_iter()
        .map(|(id, block, bytes)| (id, (block, bytes)))
        .collect();
    let mut blocks: BTreeMap<(NetworkName, u64), Result<AnchoredBlock, Reason>> = BTreeMap::new();
    let mut proven = Vec::new();
    for wanted in wanted {
        let open = wanted.open;
        let source = open.message.lane.source.network.clone();
        let Some((block, bytes)) = evidence.get(&open.duty.message) else {
            let detail = "its evidence is not in the store".into();
            signed.moves.push(later(open, Reason::Refuted { detail }, now));
            continue;
        };
        let key = (source.clone(), block.height.0);
        if !blocks.contains_key(&key) {
            let anchored = anchor(context, &source, *block).await;
            blocks.insert(key.clone(), anchored);
        }
        match blocks.get(&key) {
            Some(Ok(anchored)) => match verdict(context, anchored, bytes, open) {
                Ok(fact) => proven.push(Proven { wanted, fact }),
                Err(state) => {
                    if let DutyState::Failed(reason) = &state {
                        let (kind, detail) = (AlarmKind::EvidenceRefuted, reason.to_string());
                        context.raise(kind, &source, Some(open.duty.message), &detail).await;
                    }
                    signed.moves.push(match state {
                        DutyState::Failed(reason) => failed(open, reason),
                        other => {
                            let reason = other.reason().cloned();
                            later(open, reason.unwrap_or(Reason::AwaitingPlan), now)
                        }
                    });
                }
            },
            Some(Err(reason)) => signed.moves.push(later(open, reason.clone(), now)),
            None => {}
        }
    }
    Ok(proven)
}

/// Anchors the block anew, or says why that cannot be done now.
async fn anchor(
    context: &Context,
    source: &NetworkName,
    block: BlockRef,
) -> Result<AnchoredBlock, Reason> {
    let not_final = Reason::AwaitingFinality { network: source.clone(), more: 0 };
    let Some(network) = context.network(source) else { return Err(not_final) };
    let lost = |short| quorum_lost(source, short);
    let heads = network.upstreams.heads().await.map_err(lost)?;
    if heads.final_height.is_none_or(|last| last < block.height) {
        return Err(not_final);
    }
    network.upstreams.anchor_final(block.height, &heads).await.map_err(lost)
}

fn verdict(
    context: &Context,
    anchored: &AnchoredBlock,
    evidence: &[u8],
    open: &OpenDuty,
) -> Result<Verified<SentMessage>, DutyState> {
    let refuted = |detail: String| DutyState::Failed(Reason::Refuted { detail: detail.into() });
    let evidence = ReceiptEvidence::from_bytes(evidence).map_err(|e| refuted(e.to_string()))?;
    match prove_sent(anchored, &evidence, &context.deployments, &open.message) {
        Verdict::Accepted(fact) => Ok(fact),
        Verdict::Refuted(postrider_verification::verdict::Refutation::OtherBlock { .. }) => {
            // The follower finds the replaced block and takes the message back.
            let network = open.message.lane.source.network.clone();
            Err(DutyState::Waiting(Reason::AwaitingFinality { network, more: 0 }))
        }
        Verdict::Refuted(refutation) => Err(refuted(refutation.to_string())),
        Verdict::Undecided(doubt) => {
            Err(DutyState::Waiting(Reason::SimulationFailed { detail: doubt.to_string().into() }))
        }
    }
}

fn batches(dvn: Address, quorum: u64, params: &[(DutyId, ExecuteParam)]) -> Vec<Outgoing> {
    params
        .chunks(BATCH)
        .map(|batch| {
            let (duties, params): (Vec<DutyId>, Vec<ExecuteParam>) = batch.iter().cloned().unzip();
            let count = params.len() as u64;
            let item = ITEM_GAS + SIGNATURE_GAS * quorum;
            Outgoing {
                payload: Payload {
                    to: dvn,
                    data: execute_call_data(params),
                    value: U256::ZERO,
                    gas_limit: BASE_GAS + item * count,
                },
                duties,
                purpose: format!("attest {count}"),
            }
        })
        .collect()
}
