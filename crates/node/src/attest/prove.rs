//! From stored evidence to a verified fact, anew for each signature.

use super::Wanted;
use crate::{
    context::Context,
    moves::{Owed, failed, later, quorum_lost},
};
use futures::StreamExt;
use postrider_message::{
    AlarmKind, BlockRef, DutyState, Height, Message, MessageId, NetworkName, Reason, UnixMillis,
};
use postrider_store::{DutyMove, StoreError};
use postrider_verification::{
    Verdict, Verified,
    evm::{AnchoredBlock, ReceiptEvidence, SentMessage, prove_sent},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// How long anchoring a block may take before what it holds is tried later.
const ANCHORING: Duration = Duration::from_secs(8);
/// The most networks whose blocks are anchored at once.
const AT_ONCE: usize = 16;

/// A wanted attestation whose message was proven just now.
pub(crate) struct Proven<'a> {
    pub(crate) wanted: Wanted<'a>,
    pub(crate) fact: Verified<SentMessage>,
}

/// Proves each wanted message from its evidence and a fresh anchor of its block.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn prove<'a>(
    context: &Context,
    wanted: Vec<Wanted<'a>>,
    now: UnixMillis,
    moves: &mut Vec<DutyMove>,
) -> Result<Vec<Proven<'a>>, StoreError> {
    let ids: Vec<MessageId> = wanted.iter().map(|w| w.owed.duty.message).collect();
    let evidence: HashMap<MessageId, (BlockRef, Vec<u8>)> = context
        .store
        .message_evidence(&ids)
        .await?
        .into_iter()
        .map(|(id, block, bytes)| (id, (block, bytes)))
        .collect();
    let blocks = anchors(context, &wanted, &evidence).await;
    let mut proven = Vec::new();
    for wanted in wanted {
        let Owed { duty, message, .. } = wanted.owed;
        let source = message.lane.source.network.clone();
        let Some((block, bytes)) = evidence.get(&duty.message) else {
            let detail = "its evidence is not in the store".into();
            moves.push(later(duty, Reason::Refuted { detail }, now));
            continue;
        };
        let key = (source.clone(), block.height.0);
        match blocks.get(&key) {
            Some(Ok(anchored)) => match verdict(context, anchored, bytes, message) {
                Ok(fact) => proven.push(Proven { wanted, fact }),
                Err(state) => {
                    if let DutyState::Failed(reason) = &state {
                        let (kind, detail) = (AlarmKind::EvidenceRefuted, reason.to_string());
                        context.raise(kind, &source, Some(duty.message), &detail).await;
                    }
                    moves.push(match state {
                        DutyState::Failed(reason) => failed(duty, reason),
                        other => {
                            let reason = other.reason().cloned();
                            later(duty, reason.unwrap_or(Reason::AwaitingPlan), now)
                        }
                    });
                }
            },
            Some(Err(reason)) => moves.push(later(duty, reason.clone(), now)),
            None => {}
        }
    }
    Ok(proven)
}

/// Anchors the blocks of all that is wanted, side by side: a source that is slow delays no other, and
/// none for longer than [`ANCHORING`].
async fn anchors(
    context: &Context,
    wanted: &[Wanted<'_>],
    evidence: &HashMap<MessageId, (BlockRef, Vec<u8>)>,
) -> BTreeMap<(NetworkName, u64), Result<AnchoredBlock, Reason>> {
    let mut heights: BTreeMap<NetworkName, BTreeSet<Height>> = BTreeMap::new();
    for Wanted { owed, .. } in wanted {
        if let Some((block, _)) = evidence.get(&owed.duty.message) {
            let source = owed.message.lane.source.network.clone();
            heights.entry(source).or_default().insert(block.height);
        }
    }
    let anchoring = heights.into_iter().map(|(source, heights)| async move {
        let heights: Vec<Height> = heights.into_iter().collect();
        let anchored = tokio::time::timeout(ANCHORING, anchor(context, &source, &heights)).await;
        let anchored = anchored.unwrap_or_else(|_| vec![Err(not_final(&source)); heights.len()]);
        let place = |height: Height| (source.clone(), height.0);
        heights.into_iter().map(place).zip(anchored).collect::<Vec<_>>()
    });
    let anchored = futures::stream::iter(anchoring).buffer_unordered(AT_ONCE);
    anchored.collect::<Vec<_>>().await.into_iter().flatten().collect()
}

fn not_final(source: &NetworkName) -> Reason {
    Reason::AwaitingFinality { network: source.clone(), more: 0 }
}

/// Anchors blocks of one network anew, or says of each why that cannot be done now.
async fn anchor(
    context: &Context,
    source: &NetworkName,
    heights: &[Height],
) -> Vec<Result<AnchoredBlock, Reason>> {
    let none = |reason: Reason| vec![Err(reason); heights.len()];
    let Some(network) = context.network(source) else { return none(not_final(source)) };
    let heads = match network.upstreams.heads().await {
        Ok(heads) => heads,
        Err(short) => return none(quorum_lost(source, short)),
    };
    let is_final = |height: &Height| heads.final_height.is_some_and(|last| *height <= last);
    let asked: Vec<Height> = heights.iter().copied().filter(is_final).collect();
    let mut anchored = network.upstreams.anchor_all_final(&asked, &heads).await.into_iter();
    let of = |height: &Height| match is_final(height).then(|| anchored.next()).flatten() {
        Some(anchored) => anchored.map_err(|short| quorum_lost(source, short)),
        None => Err(not_final(source)),
    };
    heights.iter().map(of).collect()
}

fn verdict(
    context: &Context,
    anchored: &AnchoredBlock,
    evidence: &[u8],
    message: &Message,
) -> Result<Verified<SentMessage>, DutyState> {
    let refuted = |detail: String| DutyState::Failed(Reason::Refuted { detail: detail.into() });
    let evidence = ReceiptEvidence::from_bytes(evidence).map_err(|e| refuted(e.to_string()))?;
    match prove_sent(anchored, &evidence, &context.deployments, message) {
        Verdict::Accepted(fact) => Ok(fact),
        Verdict::Refuted(postrider_verification::verdict::Refutation::OtherBlock { .. }) => {
            // The follower finds the replaced block and takes the message back.
            let network = message.lane.source.network.clone();
            Err(DutyState::Waiting(Reason::AwaitingFinality { network, more: 0 }))
        }
        Verdict::Refuted(refutation) => Err(refuted(refutation.to_string())),
        Verdict::Undecided(doubt) => {
            Err(DutyState::Waiting(Reason::SimulationFailed { detail: doubt.to_string().into() }))
        }
    }
}
