//! From a block's events to what the store records: what they say is proven first, in the state after the
//! last block of a step.

use super::{
    channels::{Channel, Channels, ReadError},
    follow::{ReadBlock, before},
    proofs,
};
use crate::{context::Context, cosmos::CosmosNetwork, moves::to};
use postrider_cosmos::StateFact;
use postrider_ibc::{
    Acknowledgement, ChannelEndId, Height, IbcEvent, Order, Packet, Sequence, Timeout,
    acknowledgement_commitment, lane, paths, paths::ListedCommitment,
};
use postrider_message::{
    Certainty, Duty, DutyKind, DutyState, Fact, FactRecord, LaneId, Message, MessageId,
    MessageNonce, NetworkName, Observation, Payload, PayloadHash, Reason, Role, Subject, TxHash,
    UnixMillis,
};
use postrider_store::{DutyMove, ProvenMessage, StoreError};
use postrider_verification::tendermint::{CosmosAnchor, StateKey};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// What waits for a fact is planned when the fact comes, and not by the clock.
const WHEN_FREED: UnixMillis = UnixMillis(253_402_300_799_000);
/// The name of the state of duties that only an operator moves on, or what was missing.
const HELD: &str = "held";
/// A timeout by height is looked at again after this time, in milliseconds.
const LOOK_AGAIN: u64 = 10_000;

/// What is to be recorded.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) messages: Vec<ProvenMessage>,
    pub(super) facts: Vec<FactRecord>,
    pub(super) duties: Vec<Duty>,
}

/// An event on a channel of ours, with what would prove it.
struct Claim<'a> {
    event: &'a IbcEvent,
    channel: Arc<Channel>,
    key: StateKey,
    transaction: TxHash,
}

/// What the events of blocks say, as far as the state that `anchor` names says so too.
pub(super) async fn prove(
    context: &Context,
    network: &CosmosNetwork,
    channels: &Channels,
    anchor: &CosmosAnchor,
    blocks: &[&ReadBlock],
    missing: &[ListedCommitment],
) -> Result<Facts, ReadError> {
    let seen = || blocks.iter().flat_map(|b| b.told.events.iter().map(move |seen| (*b, seen)));
    for (_, seen) in seen() {
        if let IbcEvent::ChannelChanged(end) = &seen.event {
            channels.forget(&network.name, end);
        }
    }
    let mut ends: Vec<ChannelEndId> = seen().filter_map(|(_, s)| here(&s.event)).cloned().collect();
    ends.extend(missing.iter().map(|entry| entry.source.clone()));
    ends.sort();
    ends.dedup();
    let known = channels.find(context, network, anchor, &ends).await?;
    let mut claims = Vec::new();
    for (block, seen) in seen() {
        let Some(channel) = here(&seen.event).and_then(|end| known.get(end)) else { continue };
        let Some(key) = key(&seen.event, channel) else { continue };
        claims.push(Claim {
            event: &seen.event,
            channel: Arc::clone(channel),
            key: StateKey::ibc(key)?,
            transaction: block.hash(seen.transaction),
        });
    }
    let mut facts = judge(context, network, anchor, claims).await?;
    for ProvenMessage { message, .. } in &facts.messages {
        if let Some(Ok(packet)) = Packet::of(message) {
            channels.tokens.note(&message.lane.destination.network, &packet);
        }
    }
    facts.without_data(context, network, &known, anchor, missing).await?;
    Ok(facts)
}

/// The channel end, of this chain, that an event concerns.
fn here(event: &IbcEvent) -> Option<&ChannelEndId> {
    Some(match event {
        IbcEvent::Sent(packet) => &packet.source,
        IbcEvent::Received(packet) | IbcEvent::AcknowledgementWritten { packet, .. } => {
            &packet.destination
        }
        IbcEvent::Acknowledged(place) | IbcEvent::TimedOut(place) => &place.source,
        IbcEvent::ChannelChanged(_) => return None,
    })
}

/// What in the state says whether an event is true; `None` if it names another channel there than the
/// one that this one leads to.
fn key(event: &IbcEvent, channel: &Channel) -> Option<String> {
    let there = match event {
        IbcEvent::Sent(packet) => &packet.destination,
        IbcEvent::Received(packet) | IbcEvent::AcknowledgementWritten { packet, .. } => {
            &packet.source
        }
        IbcEvent::Acknowledged(place) | IbcEvent::TimedOut(place) => &place.destination,
        IbcEvent::ChannelChanged(_) => return None,
    };
    if *there != channel.there {
        return None;
    }
    let here = &channel.here.id;
    Some(match event {
        IbcEvent::Sent(packet) => paths::commitment(here, packet.sequence),
        IbcEvent::Acknowledged(place) | IbcEvent::TimedOut(place) => {
            paths::commitment(here, place.sequence)
        }
        IbcEvent::Received(packet) => match channel.order() {
            Order::Unordered => paths::receipt(here, packet.sequence),
            Order::Ordered => paths::next_sequence_recv(here),
        },
        IbcEvent::AcknowledgementWritten { packet, .. } => {
            paths::acknowledgement(here, packet.sequence)
        }
        IbcEvent::ChannelChanged(_) => return None,
    })
}

/// Whether a state's value says that an event is true.
fn says(event: &IbcEvent, order: Order, value: Option<&[u8]>) -> bool {
    match event {
        IbcEvent::Sent(packet) => value == Some(packet.commitment().as_slice()),
        // What was committed to is deleted when the packet is settled; nor is it there before the packet is
        // sent, which is asked apart.
        IbcEvent::Acknowledged(_) | IbcEvent::TimedOut(_) => value.is_none(),
        IbcEvent::Received(packet) => match order {
            Order::Unordered => value.is_some(),
            Order::Ordered => is_past(value, packet.sequence),
        },
        IbcEvent::AcknowledgementWritten { acknowledgement, .. } => {
            value == Some(acknowledgement_commitment(acknowledgement).as_slice())
        }
        IbcEvent::ChannelChanged(_) => false,
    }
}

/// The key of the counter that tells whether a packet that is settled was ever sent, and its sequence.
fn sent_before(event: &IbcEvent) -> Option<(String, Sequence)> {
    match event {
        IbcEvent::Acknowledged(place) | IbcEvent::TimedOut(place) => {
            Some((paths::next_sequence_send(&place.source), place.sequence))
        }
        _ => None,
    }
}

/// Whether a proven counter of sequences (eight bytes, big-endian) is beyond one.
fn is_past(next: Option<&[u8]>, sequence: Sequence) -> bool {
    let next = next.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    next.is_some_and(|next| next > sequence.get())
}

async fn judge(
    context: &Context,
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    claims: Vec<Claim<'_>>,
) -> Result<Facts, ReadError> {
    // What was acknowledged was received: one proof says both.
    let acknowledged: HashMap<(&ChannelEndId, Sequence), &StateKey> = claims
        .iter()
        .filter_map(|claim| match claim.event {
            IbcEvent::AcknowledgementWritten { packet, .. } => {
                Some(((&packet.destination, packet.sequence), &claim.key))
            }
            _ => None,
        })
        .collect();
    let shown_by = |claim: &Claim<'_>| match claim.event {
        IbcEvent::Received(packet) => {
            acknowledged.get(&(&packet.destination, packet.sequence)).copied()
        }
        _ => None,
    };
    let unshown = claims.iter().filter(|claim| shown_by(claim).is_none());
    let state = read(network, anchor, unshown).await?;
    let mut facts = Facts::default();
    let at = UnixMillis::now();
    let Some(block) = before(anchor) else { return Ok(facts) };
    for (claim, index) in claims.iter().zip(0u64..) {
        let value_at = |key: &StateKey| state.get(key.path()).and_then(StateFact::value);
        let is_so = match shown_by(claim) {
            Some(key) => value_at(key).is_some(),
            None => says(claim.event, claim.channel.order(), value_at(&claim.key)),
        };
        let was_sent = match sent_before(claim.event) {
            Some((counter, sequence)) => is_past(value_at(&StateKey::ibc(counter)?), sequence),
            None => true,
        };
        if !is_so || !was_sent {
            continue;
        }
        let observation = Observation {
            network: network.name.clone(),
            block,
            index,
            transaction: claim.transaction,
        };
        facts.take(context, &network.name, claim, observation, at);
    }
    Ok(facts)
}

/// What is so of the keys of claims, by their paths. Proofs of values are kept: the other chain is shown
/// them.
async fn read<'a>(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    claims: impl Iterator<Item = &'a Claim<'a>>,
) -> Result<HashMap<Vec<u8>, StateFact>, ReadError> {
    let (gone, there): (Vec<_>, Vec<_>) = claims.partition(|claim| {
        matches!(claim.event, IbcEvent::Acknowledged(_) | IbcEvent::TimedOut(_))
    });
    let counters: BTreeSet<String> =
        gone.iter().filter_map(|claim| sent_before(claim.event)).map(|(key, _)| key).collect();
    let counters = counters.into_iter().map(StateKey::ibc).collect::<Result<Vec<_>, _>>()?;
    let (gone, there) = (unique(gone), unique(there));
    // What was listed as pending is proven by this very block already.
    let height = anchor.block().height;
    let is_kept = |key: &StateKey| network.proofs.of(key).filter(|(from, _)| *from == height);
    let mut state = HashMap::new();
    let mut unproven = Vec::new();
    for key in there {
        match is_kept(&key) {
            Some((_, proven)) => {
                state.insert(key.path().to_vec(), proven.fact);
            }
            None => unproven.push(key),
        }
    }
    let shown = unproven.len();
    unproven.extend(counters);
    let mut proven = proofs::fetch(network, anchor, &unproven).await?;
    let facts = proven.iter().map(|proven| proven.fact.clone());
    state.extend(unproven.iter().map(|key| key.path().to_vec()).zip(facts));
    // Nobody is shown the counters.
    proven.truncate(shown);
    network.proofs.keep(height, unproven.into_iter().zip(proven));
    let absent = network.light.prove_absences(anchor, &gone).await?;
    state.extend(gone.iter().map(|key| key.path().to_vec()).zip(absent));
    Ok(state)
}

fn unique(claims: Vec<&Claim<'_>>) -> Vec<StateKey> {
    let mut keys: Vec<StateKey> = claims.into_iter().map(|claim| claim.key.clone()).collect();
    keys.sort_by(|a, b| a.path().cmp(b.path()));
    keys.dedup();
    keys
}

impl Facts {
    fn take(
        &mut self,
        context: &Context,
        here: &NetworkName,
        claim: &Claim<'_>,
        observation: Observation,
        at: UnixMillis,
    ) {
        let there = &claim.channel.network;
        let (subject, fact) = match claim.event {
            IbcEvent::Sent(packet) => {
                self.sent(context, packet, (here, there), observation, at);
                return;
            }
            IbcEvent::Received(packet) => (subject(packet, (there, here)), Fact::Received),
            IbcEvent::AcknowledgementWritten { packet, acknowledgement } => {
                (subject(packet, (there, here)), Acknowledgement::fact(acknowledgement.clone()))
            }
            IbcEvent::Acknowledged(place) | IbcEvent::TimedOut(place) => {
                let lane = lane((here, &place.source), (there, &place.destination)).map(|l| l.id());
                let fact = match claim.event {
                    IbcEvent::TimedOut(_) => Fact::TimedOut,
                    _ => Fact::Acknowledged,
                };
                (lane.map(|lane| place_subject(lane, place.sequence)), fact)
            }
            IbcEvent::ChannelChanged(_) => return,
        };
        if let Ok(subject) = subject {
            let certainty = Certainty::Verified;
            self.facts.push(FactRecord { subject, fact, observation, certainty, at });
        }
    }

    /// Packets that are pending and whose data nobody tells: they are held, and looked for again.
    async fn without_data(
        &mut self,
        context: &Context,
        network: &CosmosNetwork,
        channels: &HashMap<ChannelEndId, Arc<Channel>>,
        anchor: &CosmosAnchor,
        missing: &[ListedCommitment],
    ) -> Result<(), ReadError> {
        let Some(block) = before(anchor) else { return Ok(()) };
        let keys = missing
            .iter()
            .map(|entry| StateKey::ibc(paths::commitment(&entry.source, entry.sequence)))
            .collect::<Result<Vec<_>, _>>()?;
        let proven = proofs::fetch(network, anchor, &keys).await?;
        let at = UnixMillis::now();
        for ((entry, proven), index) in missing.iter().zip(&proven).zip(0u64..) {
            let Some(channel) = channels.get(&entry.source) else { continue };
            let is_pending = proven.fact.value() == Some(entry.commitment.as_slice());
            let ends = ((&network.name, &entry.source), (&channel.network, &channel.there));
            let (true, Ok(lane)) = (is_pending, lane(ends.0, ends.1)) else { continue };
            let hash = PayloadHash(entry.commitment);
            let nonce = MessageNonce(entry.sequence.get());
            let subject = Subject { lane: lane.id(), nonce, payload: Some(hash) };
            let payload = Payload::Committed(hash);
            let (options, reference) = (alloy_primitives::Bytes::new(), None);
            let message = Message { lane, nonce, payload, options, reference };
            let observation = Observation {
                network: network.name.clone(),
                block,
                index,
                transaction: TxHash(alloy_primitives::B256::ZERO),
            };
            let (fact, certainty) = (Fact::Sent, Certainty::Verified);
            self.facts.push(FactRecord { subject, fact, observation, certainty, at });
            if relays(context, &channel.network) {
                let detail = "no upstream has its block's events, or an index of them".into();
                let state = DutyState::Held(Reason::DataNotFound { detail });
                let id = message.id();
                self.duties.push(duty(
                    id,
                    DutyKind::Receive,
                    &channel.network,
                    state,
                    UnixMillis(0),
                ));
            }
            self.messages.push(ProvenMessage { message, evidence: Vec::new() });
        }
        Ok(())
    }

    /// Moves of duties that may have been held for want of data which has been found.
    pub(super) fn held_before(&self) -> Vec<DutyMove> {
        let with_data = self.messages.iter().filter(|m| m.message.payload.bytes().is_some());
        let ids: HashSet<MessageId> = with_data.map(|m| m.message.id()).collect();
        let duties = self
            .duties
            .iter()
            .filter(|duty| duty.kind == DutyKind::Receive && ids.contains(&duty.message));
        let moves = duties.map(|duty| DutyMove {
            from: HELD,
            ..to(duty, DutyState::Waiting(Reason::AwaitingPlan))
        });
        moves.collect()
    }

    /// A packet that is proven to be sent and not settled, from one network to another, and what is owed it.
    pub(super) fn sent(
        &mut self,
        context: &Context,
        packet: &Packet,
        (from, to): (&NetworkName, &NetworkName),
        observation: Observation,
        at: UnixMillis,
    ) {
        let (Ok(message), Ok(subject)) = (packet.message(from, to), subject(packet, (from, to)))
        else {
            return;
        };
        let (fact, certainty) = (Fact::Sent, Certainty::Verified);
        self.facts.push(FactRecord { subject, fact, observation, certainty, at });
        let id = message.id();
        let filter = context.config.ibc.get(from).map(|ibc| &ibc.filter);
        let wait = |kind, network: &NetworkName, reason, not_before| {
            let refused = filter.and_then(|filter| filter.refuses(packet, kind));
            let state = match refused {
                Some(detail) => DutyState::Held(Reason::FilteredOut { detail }),
                None => DutyState::Waiting(reason),
            };
            duty(id, kind, network, state, not_before)
        };
        if relays(context, to) {
            let now = UnixMillis(0);
            self.duties.push(wait(DutyKind::Receive, to, Reason::AwaitingPlan, now));
        }
        if relays(context, from) {
            let reason = Reason::AwaitingAcknowledgement;
            self.duties.push(wait(DutyKind::Acknowledge, from, reason, WHEN_FREED));
            let due = first_look(packet.timeout, at);
            self.duties.push(wait(DutyKind::TimeOut, from, Reason::AwaitingTimeout, due));
        }
        self.messages.push(ProvenMessage { message, evidence: Vec::new() });
    }
}

/// When a packet's timeout is first looked at: nobody knows when a height will be reached.
fn first_look(timeout: Timeout, at: UnixMillis) -> UnixMillis {
    let soon = UnixMillis(at.0.saturating_add(LOOK_AGAIN));
    match timeout.nanoseconds {
        0 => soon,
        nanoseconds if timeout.height == Height::default() => UnixMillis(nanoseconds / 1_000_000),
        nanoseconds => soon.min(UnixMillis(nanoseconds / 1_000_000)),
    }
}

/// Has duties go on that were held because the settings left them out, or their data was not known; what
/// the settings leave out still is held again.
pub(super) async fn release(
    context: &Context,
    message: MessageId,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let Some(detail) = context.store.message(message).await? else { return Ok(()) };
    let packet = Packet::of(&detail.message).and_then(Result::ok);
    let is_known = detail.message.payload.bytes().is_some();
    let filter = context.config.ibc.get(&detail.message.lane.source.network).map(|ibc| &ibc.filter);
    let is_free = |duty: &Duty| match &duty.state {
        DutyState::Held(Reason::FilteredOut { .. }) => {
            let Some(packet) = &packet else { return false };
            filter.is_none_or(|filter| filter.refuses(packet, duty.kind).is_none())
        }
        DutyState::Held(Reason::DataNotFound { .. }) => is_known,
        _ => false,
    };
    let moves = detail.duties.iter().filter(|duty| is_free(duty)).map(|duty| {
        let reason = match duty.kind {
            DutyKind::Acknowledge => Reason::AwaitingAcknowledgement,
            DutyKind::TimeOut => Reason::AwaitingTimeout,
            _ => Reason::AwaitingPlan,
        };
        DutyMove { not_before: Some(at), ..to(duty, DutyState::Waiting(reason)) }
    });
    context.store.move_duties(moves.collect(), at).await?;
    // One that has ended in the meantime needs nothing.
    match context.store.retry_message(message, at).await {
        Ok(_) | Err(StoreError::HasEnded { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this node brings packets to a network.
pub(super) fn relays(context: &Context, network: &NetworkName) -> bool {
    context.config.ibc.get(network).is_some_and(|ibc| ibc.roles.contains(&Role::Relay))
}

fn duty(
    message: MessageId,
    kind: DutyKind,
    network: &NetworkName,
    state: DutyState,
    not_before: UnixMillis,
) -> Duty {
    let (network, worker) = (network.clone(), "relayer".to_owned());
    Duty { message, kind, part: 0, network, worker, state, attempts: 0, not_before }
}

fn subject(
    packet: &Packet,
    (from, to): (&NetworkName, &NetworkName),
) -> Result<Subject, postrider_ibc::BadPacket> {
    let lane = packet.lane(from, to)?.id();
    let payload = Some(PayloadHash(packet.commitment()));
    Ok(Subject { lane, nonce: MessageNonce(packet.sequence.get()), payload })
}

/// A fact that names the packet's place only: what was committed to there is deleted.
fn place_subject(lane: LaneId, sequence: Sequence) -> Subject {
    Subject { lane, nonce: MessageNonce(sequence.get()), payload: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class (a): a counter that is not there, or not eight bytes, says nothing of a packet.
    #[test]
    fn r5_a_a_packet_was_sent_only_if_the_counter_is_beyond_it() {
        let seventh = Sequence::try_from(7).unwrap();
        for (next, expected) in [(0, false), (7, false), (8, true), (u64::MAX, true)] {
            assert_eq!(is_past(Some(&next.to_be_bytes()), seventh), expected, "{next}");
        }
        for bytes in [None, Some(&[][..]), Some(&[9][..]), Some(&[9; 9][..])] {
            assert!(!is_past(bytes, seventh), "{bytes:?}");
        }
    }

    #[test]
    fn a_timeout_by_height_does_not_wait_for_that_by_time() {
        let at = UnixMillis(1_000_000);
        let none = Height::default();
        let height = Height { revision_number: 1, revision_height: 50 };
        let look = |height, nanoseconds| first_look(Timeout { height, nanoseconds }, at).0;
        assert_eq!(look(none, 7_000_000_000_000), 7_000_000);
        assert_eq!(look(height, 0), 1_000_000 + LOOK_AGAIN);
        assert_eq!(look(height, 7_000_000_000_000), 1_000_000 + LOOK_AGAIN);
        assert_eq!(look(height, 1_001_000_000_000), 1_001_000);
    }
}
