//! What chains' states say is pending: packets that were sent and are not settled, and acknowledgements that
//! were written and not brought back, whenever that was.
//!
//! State says which; the data is only in events. Blocks are searched from the newest down, then indexes of
//! transactions are asked. What is found is proven like what is seen in new blocks.

use super::{
    channels::{Channel, Channels, ReadError},
    follow::{ReadBlock, before, read_blocks},
    proofs,
    record::{relays, release},
};
use crate::{context::Context, cosmos::CosmosNetwork};
use futures::FutureExt;
use ibc_proto::ibc::core::channel::v1::{
    QueryUnreceivedPacketsRequest, QueryUnreceivedPacketsResponse,
};
use postrider_cosmos::{AbciQuery, BlockEvents, TxInclusion, UpstreamError};
use postrider_ibc::{
    ChannelEndId, IbcEvent, Sequence, events,
    packet::lane,
    paths,
    paths::{COMMITMENTS, ListedCommitment, STORE},
    plan::Sequences,
};
use postrider_message::{
    DutyKind, Fact, Height, MessageId, MessageNonce, NetworkName, PayloadHash, UnixMillis,
    message::message_id,
};
use postrider_store::{Clearing, StoreError};
use postrider_verification::tendermint::{CosmosAnchor, StateKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many blocks are asked for at once.
const PORTION: u64 = 50;
/// The most pending packets that are taken up at once.
const MAX_PENDING: usize = 20_000;
/// The most pages of an index that are read for one range of sequences.
const MAX_PAGES: u32 = 50;
/// The most sequences of one range that an index is asked for.
const RANGE: u64 = 1_000;

/// Which packets are looked for: those sent over a channel, of these sequences.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    channel: Option<ChannelEndId>,
    sequences: Option<Sequences>,
}

impl Scope {
    /// What an operator asked for; `None` if that cannot be read.
    pub(super) fn of(clearing: &Clearing) -> Option<Self> {
        let channel = clearing.point.as_ref().map(|point| point.as_str().parse());
        let sequences = clearing.sequences.as_ref().map(|text| text.parse());
        Some(Self { channel: channel.transpose().ok()?, sequences: sequences.transpose().ok()? })
    }

    fn includes(&self, entry: &ListedCommitment) -> bool {
        self.channel.as_ref().is_none_or(|channel| *channel == entry.source)
            && self.sequences.as_ref().is_none_or(|all| all.contains(entry.sequence))
    }

    /// An operator named these: they are tried again, though they wait for their time.
    fn is_named(&self) -> bool {
        self.channel.is_some() || self.sequences.is_some()
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Blocks, or parts of them, with the events that were looked for.
    pub(super) blocks: Vec<ReadBlock>,
    /// Packets that are pending and whose data nobody tells.
    pub(super) missing: Vec<ListedCommitment>,
}

/// Looks for packets that were sent from a network and are pending, and for acknowledgements that were
/// written there and are not brought back. The newest `depth` blocks are searched.
///
/// # Errors
/// [`LookError`]; looking again may help.
pub(super) async fn look(
    context: &Context,
    network: &CosmosNetwork,
    channels: &Channels,
    scope: &Scope,
    (anchor, depth): (&CosmosAnchor, u64),
) -> Result<Found, LookError> {
    let Some(block) = before(anchor) else { return Ok(Found::default()) };
    let sent = sent(context, network, channels, scope, anchor).await?;
    let written = written(context, network, channels, scope).await?;
    let mut search = Search { network, sent, written, found: Vec::new() };
    let total = search.sent.len();
    search.blocks(block.height, depth).await?;
    search.indexes().await;
    let Search { sent, found, .. } = search;
    if total > 0 {
        let (network, missing) = (&network.name, sent.len());
        tracing::info!(%network, pending = total, missing, "packets of before are taken up");
    }
    Ok(Found { blocks: found, missing: sent.into_values().collect() })
}

/// Why it was not looked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// State was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An upstream did not answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Place = (ChannelEndId, Sequence);

/// What is pending and not known here, by its place; each is proven.
async fn sent(
    context: &Context,
    network: &CosmosNetwork,
    channels: &Channels,
    scope: &Scope,
    anchor: &CosmosAnchor,
) -> Result<BTreeMap<Place, ListedCommitment>, LookError> {
    let Some(block) = before(anchor) else { return Ok(BTreeMap::new()) };
    let listed = list(network, block.height).await?;
    let ends: BTreeSet<&ChannelEndId> = listed.iter().map(|entry| &entry.source).collect();
    let ends: Vec<ChannelEndId> = ends.into_iter().cloned().collect();
    let known = channels.find(context, network, anchor, &ends).await?;
    let filter = context.config.ibc.get(&network.name).map(|ibc| &ibc.filter);
    let mut wanted: Vec<(MessageId, ListedCommitment)> = listed
        .into_iter()
        .filter(|entry| scope.includes(entry) && filter.is_none_or(|f| f.allows(&entry.source)))
        .filter_map(|entry| {
            let channel = known.get(&entry.source)?;
            Some((id(&network.name, channel, &entry)?, entry))
        })
        .collect();
    wanted.truncate(MAX_PENDING);
    let ids: Vec<MessageId> = wanted.iter().map(|(id, _)| *id).collect();
    let mut stored = context.store.with_payload(&ids).await?;
    // What was seen while this node only watched is not known as long as it owes nothing for that.
    let duties = context.store.duty_kinds(&ids).await?;
    let relays_here = relays(context, &network.name);
    let is_owed = |id: MessageId, kind| duties.contains(&(id, kind));
    for (id, entry) in &wanted {
        let there = known.get(&entry.source).map(|channel| &channel.network);
        let lacks_receive =
            there.is_some_and(|there| relays(context, there)) && !is_owed(*id, DutyKind::Receive);
        let lacks_rest = relays_here && !is_owed(*id, DutyKind::Acknowledge);
        if lacks_receive || lacks_rest {
            stored.remove(id);
        }
    }
    if scope.is_named() {
        for id in &stored {
            release(context, *id, UnixMillis::now()).await?;
        }
    }
    let unknown = wanted.into_iter().filter(|(id, _)| !stored.contains(id)).map(|(_, entry)| entry);
    Ok(proven(network, anchor, unknown.collect()).await?)
}

fn id(network: &NetworkName, channel: &Channel, entry: &ListedCommitment) -> Option<MessageId> {
    let lane = lane((network, &entry.source), (&channel.network, &channel.there)).ok()?;
    let nonce = MessageNonce(entry.sequence.get());
    Some(message_id(lane.id(), nonce, PayloadHash(entry.commitment)))
}

async fn list(network: &CosmosNetwork, at: Height) -> Result<Vec<ListedCommitment>, UpstreamError> {
    let query = AbciQuery {
        path: format!("store/{STORE}/subspace"),
        data: COMMITMENTS.as_bytes().to_vec(),
        height: Some(at),
        prove: false,
    };
    let query = &query;
    let lists = network.upstreams.each(|u| {
        async move {
            let answer = u.query(query).await?.accepted()?;
            paths::listed_commitments(&answer.value)
                .map_err(|error| UpstreamError::Garbage(error.to_string().into()))
        }
        .boxed()
    });
    // Each entry is proven later; that an upstream leaves one out is not noticed by that.
    let mut listed: Vec<ListedCommitment> = lists.await?.into_iter().flatten().collect();
    listed.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
    listed.dedup();
    Ok(listed)
}

fn place_of(entry: &ListedCommitment) -> (&ChannelEndId, Sequence, &[u8]) {
    (&entry.source, entry.sequence, entry.commitment.as_slice())
}

/// Those that are proven, by their place.
async fn proven(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    listed: Vec<ListedCommitment>,
) -> Result<BTreeMap<Place, ListedCommitment>, ReadError> {
    if listed.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys = listed
        .iter()
        .map(|entry| StateKey::ibc(paths::commitment(&entry.source, entry.sequence)))
        .collect::<Result<Vec<_>, _>>()?;
    let proven = proofs::fetch(network, anchor, &keys).await?;
    let holds = listed
        .into_iter()
        .zip(&proven)
        .filter(|(entry, proven)| proven.fact.value() == Some(entry.commitment.as_slice()))
        .map(|(entry, _)| ((entry.source.clone(), entry.sequence), entry))
        .collect();
    network.proofs.keep(anchor.block().height, keys.into_iter().zip(proven));
    Ok(holds)
}

/// What was received here, by its place here, is pending where it was sent, and of which no acknowledgement
/// is known. All of it is what upstreams say: what is found is proven later.
async fn written(
    context: &Context,
    network: &CosmosNetwork,
    channels: &Channels,
    scope: &Scope,
) -> Result<BTreeSet<Place>, LookError> {
    let mut wanted = BTreeSet::new();
    for other in context.cosmos.values().filter(|other| other.name != network.name) {
        if scope.is_named() || other.light.highest().is_none() {
            continue;
        }
        let anchor = other.newest().await.map_err(ReadError::from)?.anchor;
        let Some(block) = before(&anchor) else { continue };
        let listed = list(other, block.height).await?;
        let ends: BTreeSet<&ChannelEndId> = listed.iter().map(|entry| &entry.source).collect();
        let ends: Vec<ChannelEndId> = ends.into_iter().cloned().collect();
        let known = channels.find(context, other, &anchor, &ends).await?;
        let mut by_channel: HashMap<&ChannelEndId, Vec<&ListedCommitment>> = HashMap::new();
        for entry in listed.iter().take(MAX_PENDING) {
            by_channel.entry(&entry.source).or_default().push(entry);
        }
        for (end, entries) in by_channel {
            let Some(channel) = known.get(end).filter(|channel| channel.network == network.name)
            else {
                continue;
            };
            for entry in received(network, channel, entries).await? {
                let id = id(&other.name, channel, entry);
                let detail = match id {
                    Some(id) => context.store.message(id).await?,
                    None => None,
                };
                let is_known = detail.is_some_and(|detail| {
                    let mut facts = detail.facts.iter().map(|record| &record.fact);
                    facts.any(|fact| matches!(fact, Fact::AcknowledgementWritten { .. }))
                });
                if !is_known {
                    wanted.insert((channel.there.clone(), entry.sequence));
                }
            }
        }
    }
    Ok(wanted)
}

/// Those of a channel's pending packets that an upstream says were received
/// (`ibc.core.channel.v1.Query/UnreceivedPackets`).
async fn received<'a>(
    network: &CosmosNetwork,
    channel: &Channel,
    entries: Vec<&'a ListedCommitment>,
) -> Result<Vec<&'a ListedCommitment>, UpstreamError> {
    const PATH: &str = "/ibc.core.channel.v1.Query/UnreceivedPackets";
    let request = &QueryUnreceivedPacketsRequest {
        port_id: channel.there.port.to_string(),
        channel_id: channel.there.channel.to_string(),
        packet_commitment_sequences: entries.iter().map(|entry| entry.sequence.get()).collect(),
    };
    let told: Vec<QueryUnreceivedPacketsResponse> = network
        .upstreams
        .each(|u| async move { u.grpc(PATH, request, None).await }.boxed())
        .await?;
    let unreceived: Vec<BTreeSet<u64>> =
        told.into_iter().map(|told| told.sequences.into_iter().collect()).collect();
    let is_received =
        |entry: &&ListedCommitment| unreceived.iter().any(|u| !u.contains(&entry.sequence.get()));
    Ok(entries.into_iter().filter(is_received).collect())
}

/// A search for events.
struct Search<'a> {
    network: &'a CosmosNetwork,
    /// Packets that were sent here.
    sent: BTreeMap<Place, ListedCommitment>,
    /// Packets that were received here, by their place here.
    written: BTreeSet<Place>,
    found: Vec<ReadBlock>,
}

impl Search<'_> {
    fn is_done(&self) -> bool {
        self.sent.is_empty() && self.written.is_empty()
    }

    /// Searches blocks from the newest down.
    async fn blocks(&mut self, newest: Height, depth: u64) -> Result<(), UpstreamError> {
        let lowest = newest.0.saturating_sub(depth).max(1);
        let mut top = newest.0;
        while !self.is_done() && top >= lowest {
            let from = top.saturating_sub(PORTION - 1).max(lowest);
            let heights: Vec<Height> = (from..=top).map(Height).collect();
            let blocks = read_blocks(self.network, &heights, &[]).await?;
            let pruned = blocks.iter().all(Option::is_none);
            for block in blocks.into_iter().flatten() {
                self.take(block);
            }
            if pruned {
                break;
            }
            top = from - 1;
        }
        Ok(())
    }

    /// Asks an index for what is still looked for, a range of sequences at a time. Nodes without an index
    /// are common: what they do not tell stays unknown.
    async fn indexes(&mut self) {
        let sent: Vec<Place> = self.sent.keys().cloned().collect();
        let written: Vec<Place> = self.written.iter().cloned().collect();
        for (kind, side, places) in
            [("send_packet", "src", sent), ("write_acknowledgement", "dst", written)]
        {
            for (end, from, to) in ranges(&places) {
                let query = format!(
                    "{kind}.packet_{side}_port='{}' AND {kind}.packet_{side}_channel='{}' \
                     AND {kind}.packet_sequence>={from} AND {kind}.packet_sequence<={to}",
                    end.port, end.channel
                );
                if let Err(error) = self.index(&query).await {
                    let network = &self.network.name;
                    tracing::debug!(%network, %error, query, "no index tells");
                    break;
                }
            }
        }
    }

    async fn index(&mut self, query: &str) -> Result<(), UpstreamError> {
        for page in 1..=MAX_PAGES {
            let asked = self.network.upstreams.each(|u| u.tx_search(query, page).boxed());
            let told = asked.await?;
            let total = told.iter().map(|told| told.total).max().unwrap_or_default();
            let more = total > u64::from(page).saturating_mul(100);
            for transaction in told.into_iter().flat_map(|told| told.transactions) {
                let TxInclusion { hash, height, result, .. } = transaction;
                let events = BlockEvents { height, transactions: vec![result], block: Vec::new() };
                let told = events::read(&events);
                self.take(ReadBlock { told, transactions: vec![hash] });
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Takes from a block the events that are looked for.
    fn take(&mut self, mut block: ReadBlock) {
        let (sent, written) = (&mut self.sent, &mut self.written);
        let mut received = BTreeSet::new();
        block.told.events.retain(|seen| match &seen.event {
            IbcEvent::Sent(packet) => {
                let place = (packet.source.clone(), packet.sequence);
                let is_it =
                    sent.get(&place).is_some_and(|entry| entry.commitment == packet.commitment());
                if is_it {
                    sent.remove(&place);
                }
                is_it
            }
            IbcEvent::AcknowledgementWritten { packet, .. } => {
                let place = (packet.destination.clone(), packet.sequence);
                let is_it = written.remove(&place);
                if is_it {
                    received.insert(place);
                }
                is_it
            }
            IbcEvent::Received(_) => true,
            _ => false,
        });
        block.told.events.retain(|seen| match &seen.event {
            IbcEvent::Received(packet) => {
                received.contains(&(packet.destination.clone(), packet.sequence))
            }
            _ => true,
        });
        block.told.used.clear();
        block.told.malformed = 0;
        if !block.told.events.is_empty() {
            self.found.push(block);
        }
    }
}

/// Places as ranges of sequences, each of one channel and at most [`RANGE`] wide.
fn ranges(places: &[Place]) -> Vec<(ChannelEndId, u64, u64)> {
    let mut ranges: Vec<(ChannelEndId, u64, u64)> = Vec::new();
    for (end, sequence) in places {
        let sequence = sequence.get();
        match ranges.last_mut() {
            Some((last, from, to)) if last == end && sequence.saturating_sub(*from) < RANGE => {
                *to = sequence;
            }
            _ => ranges.push((end.clone(), sequence, sequence)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_asked_for_by_ranges() {
        let place = |channel: &str, sequence: u64| -> Place {
            (format!("transfer/{channel}").parse().unwrap(), sequence.try_into().unwrap())
        };
        let places = [
            place("channel-0", 1),
            place("channel-0", 3),
            place("channel-0", RANGE),
            place("channel-0", RANGE + 1),
            place("channel-1", RANGE + 2),
        ];
        let ranges: Vec<_> = ranges(&places)
            .into_iter()
            .map(|(end, from, to)| (end.channel.to_string(), from, to))
            .collect();
        let expected = [
            ("channel-0", 1, RANGE),
            ("channel-0", RANGE + 1, RANGE + 1),
            ("channel-1", RANGE + 2, RANGE + 2),
        ];
        assert_eq!(ranges, expected.map(|(channel, from, to)| (channel.to_owned(), from, to)));
    }
}
