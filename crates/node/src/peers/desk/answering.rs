//! What becomes of each item of a peer's request.

use crate::{
    attest::{Attester, EXPIRY_SECONDS, Proven, Wanted, prove, raise_conflict},
    context::{Context, Network},
    moves::{Owed, quorum_lost},
    peers::gather::sent_at,
    planning::Planning,
};
use alloy_primitives::{Address, FixedBytes};
use postrider_layerzero::{
    Action, Ahead, Deployment, DvnAttestation, DvnTarget, NotAttestable,
    decode::text,
    dvn::SIGNATURE_SIZE,
    request::{Answered, Asked, DvnPlace, MAX_SIGNATURES, Refused, SignatureRequest},
};
use postrider_message::{
    AlarmKind, Confirmations, Detail, DutyId, DutyKind, DutyState, NetworkName, PeerName, Reason,
    UnixMillis,
};
use postrider_signing::Refusal;
use postrider_store::{OpenMessage, StoreError};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// How much later than its own a peer's clock may be, in seconds, where it sets an expiry.
const SKEW_SECONDS: u64 = 60;

/// Why one item is not signed.
type Refusing = (Refused, Detail);

fn refuse(why: Refused, detail: impl AsRef<str>) -> Refusing {
    (why, detail.into())
}

/// One request of a peer that is known.
pub(super) struct Answering<'a> {
    context: &'a Context,
    peer: &'a PeerName,
    attesters: &'a BTreeMap<NetworkName, Arc<Attester>>,
}

/// Our side of the DVN that is asked for.
#[derive(Clone, Copy)]
struct Ours<'a> {
    network: &'a Network,
    deployment: &'a Deployment,
    attester: &'a Attester,
    dvn: Address,
}

impl<'a> Answering<'a> {
    /// A request of `peer`, to be signed by `attesters`.
    pub(super) fn new(
        context: &'a Context,
        peer: &'a PeerName,
        attesters: &'a BTreeMap<NetworkName, Arc<Attester>>,
    ) -> Self {
        Self { context, peer, attesters }
    }

    /// What becomes of each item, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn items(
        &self,
        request: &SignatureRequest,
    ) -> Result<Vec<Answered>, StoreError> {
        let mut answers: Vec<Option<Answered>> = vec![None; request.items.len()];
        match self.ours(&request.dvn) {
            Err((why, detail)) => answers.fill(Some(Answered::Refused { why, detail })),
            Ok(ours) => {
                let mut open = Vec::new();
                for (place, item) in request.items.iter().enumerate() {
                    match self.find(ours, item).await? {
                        Ok(message) => open.push((place, message)),
                        Err((why, detail)) => {
                            let refused = Some(Answered::Refused { why, detail });
                            answers
                                .iter_mut()
                                .skip(place)
                                .take(1)
                                .for_each(|a| *a = refused.clone());
                        }
                    }
                }
                for (place, answer) in self.sign(ours, request, open).await? {
                    let answer = Some(answer);
                    answers.iter_mut().skip(place).take(1).for_each(|a| *a = answer.clone());
                }
            }
        }
        let silent = || {
            let (why, detail) = refuse(Refused::Other, "it could not be decided; ask again");
            Answered::Refused { why, detail }
        };
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(silent)).collect())
    }

    /// Our part in that DVN, if we have one and the peer has one too.
    fn ours(&self, dvn: &DvnPlace) -> Result<Ours<'a>, Refusing> {
        let none = || refuse(Refused::Unwilling, "this node signs for no such DVN");
        let context = self.context;
        let found = context.deployments.iter().find(|(name, here)| {
            here.dvn == Some(dvn.address)
                && here.eid == dvn.eid
                && context.network(name).is_some_and(|n| n.config.chain_id == dvn.chain_id)
        });
        let (name, deployment) = found.ok_or_else(none)?;
        let config = context.config.layerzero.get(name).ok_or_else(none)?;
        if !config.dvn_peers.iter().any(|peer| peer.name == *self.peer) {
            return Err(refuse(Refused::Unwilling, "you are not named among that DVN's peers"));
        }
        let network = context.network(name).ok_or_else(none)?;
        let attester = self.attesters.get(name).ok_or_else(none)?;
        Ok(Ours { network, deployment, attester, dvn: dvn.address })
    }

    /// The message that this node has proven to be sent there, if it owes its attestation and nothing
    /// here stands against it.
    async fn find(
        &self,
        ours: Ours<'_>,
        item: &Asked,
    ) -> Result<Result<OpenMessage, Refusing>, StoreError> {
        let context = self.context;
        let source = context.deployments.iter().find(|(name, there)| {
            there.eid == item.eid
                && context.network(name).is_some_and(|n| n.config.chain_id == item.chain_id)
        });
        let Some((source, _)) = source else {
            return Ok(Err(refuse(Refused::Unwilling, "that source is not followed here")));
        };
        // First how far we are, then what is there: the other way round a block could come between,
        // and a true message would look like one that never was.
        let cursor = context.store.cursor(source).await?;
        let found = context.store.sent_at(source, item.block(), item.index).await?;
        let detail = match found {
            Some(id) => context.store.message(id).await?,
            None => None,
        };
        let Some(detail) = detail else {
            let tip = cursor.as_ref().map(|cursor| cursor.tip.height);
            if tip.is_none_or(|tip| tip < item.block().height) {
                let at = tip.unwrap_or_default();
                let what = format!("this node has proven {source} up to {at} only");
                return Ok(Err(refuse(Refused::NotYet, what)));
            }
            let recent = cursor.iter().flat_map(|c| &c.recent).map(|b| b.height).min();
            if recent.is_some_and(|oldest| oldest <= item.block().height) {
                self.never_sent(source, item).await;
            }
            let what = format!("no such message is in {} of {source}", item.block());
            return Ok(Err(refuse(Refused::NotThere, what)));
        };
        let worker = text(ours.dvn);
        let duty = detail.duties.into_iter().find(|duty| {
            duty.kind == DutyKind::Attest
                && duty.network == ours.network.name
                && duty.worker == worker
        });
        let Some(mut duty) = duty else {
            return Ok(Err(refuse(Refused::Unwilling, "it was not assigned to that DVN")));
        };
        match &duty.state {
            DutyState::Held(reason) | DutyState::Failed(reason) => {
                return Ok(Err(refuse(Refused::Unwilling, reason.to_string())));
            }
            DutyState::Waiting(reason @ Reason::LanePaused) => {
                return Ok(Err(refuse(Refused::Unwilling, reason.to_string())));
            }
            DutyState::Done | DutyState::NotNeeded(_) => {
                return Ok(Err(refuse(Refused::Other, "its attestation is on the destination")));
            }
            DutyState::Waiting(_) | DutyState::Ready(_) | DutyState::Submitted(_) => {}
        }
        // Planned as if it were due, whatever our own schedule: a peer asks when it is its turn.
        duty.state = DutyState::Waiting(Reason::AwaitingPlan);
        duty.not_before = UnixMillis(0);
        let facts = detail.facts;
        Ok(Ok(OpenMessage { message: detail.message, duties: vec![duty], facts }))
    }

    /// A peer believes in a message that our quorum says is not there: one of both is deceived.
    async fn never_sent(&self, source: &NetworkName, item: &Asked) {
        let (peer, index, block) = (self.peer, item.index, item.block());
        tracing::warn!(%peer, network = %source, index, %block, "asked for what is not there");
        // Always of one text, so that a peer cannot fill the store with alarms.
        let detail = format!(
            "peer {peer} asks for signatures on messages that are not there; either it is deceived \
             about {source}, or this node is"
        );
        self.context.raise(AlarmKind::PeerDissents, source, None, &detail).await;
    }

    /// Plans, proves and signs as for our own work, on the peer's terms where they are within ours.
    async fn sign(
        &self,
        ours: Ours<'_>,
        request: &SignatureRequest,
        mut found: Vec<(usize, OpenMessage)>,
    ) -> Result<Vec<(usize, Answered)>, StoreError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        found.sort_by_cached_key(|(_, open)| (open.message.lane.id(), open.message.nonce));
        let now = UnixMillis::now();
        let mut work = Work { now, refused: HashMap::new(), signed: HashMap::new() };
        let wanted = self.plan(ours, request, &found, &mut work).await;
        let terms: HashMap<DutyId, Asked> = places(&found)
            .filter_map(|(id, place)| Some((id, *request.items.get(place)?)))
            .collect();
        let mut moves = Vec::new();
        let proven = prove(self.context, wanted, now, &mut moves).await?;
        for step in moves {
            let reason = step.to.reason().map_or_else(String::new, ToString::to_string);
            let why = match step.to {
                DutyState::Waiting(_) => Refused::NotYet,
                _ => Refused::Other,
            };
            work.refused.insert(step.duty, refuse(why, reason));
        }
        self.attest(ours, &proven, &terms, &mut work).await;
        Ok(places(&found).filter_map(|(id, place)| Some((place, work.answer(id)?))).collect())
    }

    /// What our own plan attests of it now.
    async fn plan<'m>(
        &self,
        ours: Ours<'_>,
        request: &SignatureRequest,
        found: &'m [(usize, OpenMessage)],
        work: &mut Work,
    ) -> Vec<Wanted<'m>> {
        let Ours { network, deployment, .. } = ours;
        let planning = Planning { context: self.context, network, deployment, block_gas: 0 };
        let jobs: Vec<_> = found.iter().map(|(_, open)| planning.job(open, work.now)).collect();
        let planned = match planning.plan(&jobs, &Ahead::default()).await {
            Ok(planned) => planned,
            Err(short) => {
                let reason = quorum_lost(&network.name, short).to_string();
                for (id, _) in places(found) {
                    work.refused.insert(id, refuse(Refused::Other, &reason));
                }
                return Vec::new();
            }
        };
        let owed: HashMap<DutyId, (usize, Owed<'m>)> = found
            .iter()
            .filter_map(|(place, open)| {
                let duty = open.duties.first()?;
                let owed = Owed { duty, message: &open.message, sent_at: sent_at(open) };
                Some((duty.id(), (*place, owed)))
            })
            .collect();
        let mut wanted = Vec::new();
        for decision in planned.plans.into_iter().flat_map(|plan| plan.decisions) {
            let Some((place, owed)) = owed.get(&decision.duty).copied() else { continue };
            let Some(item) = request.items.get(place) else { continue };
            let within = match decision.action {
                Action::Attest { target, needed } => {
                    within(request, item, target, needed, work.now).map(|()| (target, needed))
                }
                Action::Become(state) => Err(not_now(state.reason())),
                Action::TryLater(reason) => Err(not_now(Some(&reason))),
                Action::Send(_) => continue,
            };
            match within {
                Ok((target, needed)) => wanted.push(Wanted { owed, target, needed }),
                Err(refusing) => {
                    work.refused.insert(decision.duty, refusing);
                }
            }
        }
        wanted
    }

    async fn attest(
        &self,
        ours: Ours<'_>,
        proven: &[Proven<'_>],
        terms: &HashMap<DutyId, Asked>,
        work: &mut Work,
    ) {
        let mut attestations = Vec::new();
        for Proven { wanted: Wanted { owed, target, needed }, fact } in proven {
            let id = owed.duty.id();
            let Some(item) = terms.get(&id) else { continue };
            let (depth, expiration) = (item.depth(), item.expiration());
            match DvnAttestation::at_depth(fact, *target, depth, *needed, expiration) {
                Ok(attestation) => attestations.push((*owed, attestation)),
                Err(why) => {
                    let code = match why {
                        NotAttestable::TooShallow { .. } => Refused::NotYet,
                        NotAttestable::TooFew { .. } => Refused::TooFewConfirmations,
                        NotAttestable::Lane(_) => Refused::Other,
                    };
                    work.refused.insert(id, refuse(code, why.to_string()));
                }
            }
        }
        let texts: Vec<&DvnAttestation<'_>> = attestations.iter().map(|(_, what)| what).collect();
        let signed = match ours.attester.sign(MAX_SIGNATURES, &texts).await {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(%error, "the journal refuses");
                let refusing = refuse(Refused::Journal, "the signing journal cannot be used");
                let ids = attestations.iter().map(|(owed, _)| owed.duty.id());
                work.refused.extend(ids.map(|id| (id, refusing.clone())));
                return;
            }
        };
        for ((owed, what), signatures) in attestations.iter().zip(signed) {
            let id = owed.duty.id();
            match signatures {
                Ok(list) => {
                    let list = list.into_iter().map(|(_, bytes)| FixedBytes(bytes)).collect();
                    work.signed.insert(id, list);
                }
                Err(refusal) => {
                    if matches!(refusal, Refusal::Conflict { .. }) {
                        raise_conflict(self.context, *owed, what, &refusal).await;
                    }
                    work.refused.insert(id, refuse(Refused::Journal, refusal.to_string()));
                }
            }
        }
    }
}

/// What became of the messages of one request.
struct Work {
    now: UnixMillis,
    refused: HashMap<DutyId, Refusing>,
    signed: HashMap<DutyId, Vec<FixedBytes<SIGNATURE_SIZE>>>,
}

impl Work {
    fn answer(&mut self, id: DutyId) -> Option<Answered> {
        if let Some((why, detail)) = self.refused.remove(&id) {
            return Some(Answered::Refused { why, detail });
        }
        self.signed.remove(&id).map(Answered::Signed)
    }
}

/// Each duty with the place of its item in the request.
fn places(found: &[(usize, OpenMessage)]) -> impl Iterator<Item = (DutyId, usize)> {
    found.iter().filter_map(|(place, open)| Some((open.duties.first()?.id(), *place)))
}

/// Whether what is asked for is what we would say ourselves, on terms within our own bounds.
fn within(
    request: &SignatureRequest,
    item: &Asked,
    target: DvnTarget,
    needed: Confirmations,
    now: UnixMillis,
) -> Result<(), Refusing> {
    if target.vid != request.dvn.vid || target.library != item.library {
        let what = format!("here it goes to library {:#x}, vid {}", target.library, target.vid);
        return Err(refuse(Refused::Other, what));
    }
    let seconds = now.0 / 1000;
    let latest = seconds.saturating_add(EXPIRY_SECONDS + SKEW_SECONDS);
    if item.expires <= seconds || item.expires > latest {
        let what = format!("expiry {} is not between {seconds} and {latest}", item.expires);
        return Err(refuse(Refused::Expiry, what));
    }
    if item.depth() < needed {
        let what = format!("{} confirmations are too few, {needed} needed", item.confirmations);
        return Err(refuse(Refused::TooFewConfirmations, what));
    }
    Ok(())
}

fn not_now(reason: Option<&Reason>) -> Refusing {
    let why = match reason {
        Some(Reason::AwaitingConfirmations { .. } | Reason::AwaitingFinality { .. }) => {
            Refused::NotYet
        }
        Some(
            Reason::LibraryNotPinned { .. }
            | Reason::AttesterNotCounted { .. }
            | Reason::UnsafeConfiguration { .. },
        ) => Refused::Unwilling,
        _ => Refused::Other,
    };
    refuse(why, reason.map_or_else(|| "nothing is to be attested".into(), ToString::to_string))
}
