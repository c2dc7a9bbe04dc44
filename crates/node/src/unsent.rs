//! The task that looks, long before anything is final, whether more messages were delivered to a
//! token contract than its peer ever sent.
//!
//! What is credited is compared with what was debited from proven receipts, which takes as long as
//! both networks take to be final. That a message was never sent shows at once in two numbers of
//! the newest state: how far the destination has delivered a lane, and how many messages the source
//! has sent on it. The second is read after the first, so it is never the smaller one where nothing
//! was forged, however many messages are on their way.

use crate::context::{Context, Network};
use postrider_layerzero::{
    Question, View,
    tokens::{ask_sent, told_sent},
    view::Pathway,
    wire::{Eid, PacketHeader, PacketNonce},
};
use postrider_message::{AlarmKind, BlockTime, Lane, NetworkName};
use postrider_verification::Shortfall;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often the destination is looked at: an alarm is to come within a minute, and clocks may
/// differ by a quarter of that.
const EVERY: Duration = Duration::from_secs(5);
/// The most lanes that are looked at on one network.
const MAX_LANES: usize = 10_000;
/// The most states of a lane that wait for its source; more come again later.
const MAX_WAITING: usize = 32;

/// How far a lane was delivered, and when, by its destination's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivered {
    nonce: u64,
    time: BlockTime,
}

/// What is known of a lane.
#[derive(Debug, Default)]
struct Known {
    /// Up to which nonce it was compared: each is told of once.
    compared: u64,
    /// What waits until the source is known to be further than the destination was, ascending.
    waiting: VecDeque<Delivered>,
}

impl Known {
    /// Notes how far the lane is delivered.
    fn note(&mut self, delivered: Delivered) {
        let last = self.waiting.back().map_or(self.compared, |last| last.nonce);
        if delivered.nonce > last && self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(delivered);
        }
    }

    /// The furthest that can be compared with what the source had sent at `time`.
    fn due(&self, time: BlockTime) -> Option<Delivered> {
        self.waiting.iter().rev().find(|d| time.is_surely_after(d.time)).copied()
    }

    /// Notes that it was compared up to `nonce`.
    fn compared(&mut self, nonce: u64) {
        self.compared = self.compared.max(nonce);
        self.waiting.retain(|waiting| waiting.nonce > nonce);
    }
}

type Lanes = BTreeMap<Lane, Known>;

/// Looks at the token contracts of `network` until cancelled.
pub(crate) async fn watch(context: Arc<Context>, network: Arc<Network>, stop: CancellationToken) {
    let mut lanes = Lanes::new();
    let work = async {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(short) = delivered(&context, &network, &mut lanes).await {
                tracing::debug!(network = %network.name, %short, "deliveries are not looked at");
            }
            let sources: BTreeSet<NetworkName> =
                lanes.keys().map(|lane| lane.source.network.clone()).collect();
            for source in sources {
                if let Err(short) = sent(&context, &source, &mut lanes).await {
                    tracing::debug!(network = %source, %short, "sends are not looked at");
                }
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Reads how far the lanes to the network's token contracts are delivered.
async fn delivered(
    context: &Context,
    network: &Network,
    lanes: &mut Lanes,
) -> Result<(), Shortfall> {
    let Some(here) = context.deployments.on(&network.name) else { return Ok(()) };
    let block = network.upstreams.anchor_latest().await?;
    let time = BlockTime(block.header().timestamp);
    let others: Vec<Eid> =
        context.deployments.iter().map(|(_, d)| d.eid).filter(|eid| *eid != here.eid).collect();
    let ask = async |questions: Vec<Question>| {
        let calls: Vec<_> = questions.iter().map(|q| q.call(here.endpoint)).collect();
        Ok(View::new(questions, &network.upstreams.read(&block, &calls).await?))
    };
    let ends =
        || here.tokens.iter().flat_map(|token| others.iter().map(|eid| (token.contract, *eid)));
    let peers = ask(ends().map(|(token, eid)| Question::Peer(token, eid)).collect()).await?;
    let headers: Vec<PacketHeader> = ends()
        .filter_map(|(token, eid)| {
            let sender = peers.peer(token, eid).filter(|peer| !peer.0.is_zero())?;
            let (src_eid, receiver) = (eid, token.into());
            let nonce = PacketNonce::FIRST;
            Some(PacketHeader { nonce, src_eid, sender, dst_eid: here.eid, receiver })
        })
        .collect();
    let pathways: Vec<(Pathway, Lane)> = headers
        .iter()
        .filter_map(|header| Some((Pathway::of(header)?, context.deployments.lane(header)?)))
        .collect();
    let view = ask(pathways.iter().map(|(p, _)| Question::LazyNonce(*p)).collect()).await?;
    // A lane that its contract knows no more goes, once nothing of it waits.
    let current: BTreeSet<&Lane> = pathways.iter().map(|(_, lane)| lane).collect();
    lanes.retain(|lane, known| current.contains(lane) || !known.waiting.is_empty());
    for (pathway, lane) in pathways {
        if lanes.len() >= MAX_LANES && !lanes.contains_key(&lane) {
            continue;
        }
        if let Some(nonce) = view.lazy_nonce(pathway) {
            lanes.entry(lane).or_default().note(Delivered { nonce, time });
        }
    }
    Ok(())
}

/// Reads how many messages `source` sent on the lanes that wait, once it is surely further than
/// their destination was.
async fn sent(context: &Context, source: &NetworkName, lanes: &mut Lanes) -> Result<(), Shortfall> {
    let (Some(network), Some(there)) = (context.network(source), context.deployments.on(source))
    else {
        return Ok(());
    };
    let block = network.upstreams.anchor_latest().await?;
    let time = BlockTime(block.header().timestamp);
    let from_there = lanes.iter_mut().filter(|(lane, _)| lane.source.network == *source);
    let (due, calls): (Vec<_>, Vec<_>) = from_there
        .filter_map(|(lane, known)| {
            let delivered = known.due(time)?.nonce;
            Some(((lane, known, delivered), ask_sent(there.endpoint, lane)?))
        })
        .unzip();
    if calls.is_empty() {
        return Ok(());
    }
    let told = network.upstreams.read(&block, &calls).await?;
    for ((lane, known, delivered), outcome) in due.into_iter().zip(told.value()) {
        let Some(sent) = outcome.as_ref().and_then(told_sent) else { continue };
        known.compared(delivered);
        if delivered > sent {
            let detail = format!(
                "{delivered} messages are delivered or skipped and {sent} were ever sent: {lane}"
            );
            let at = &lane.destination.network;
            context.raise(AlarmKind::DeliveredUnsent, at, None, &detail).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_message::supply::CLOCK_SKEW;

    fn at(nonce: u64, time: u64) -> Delivered {
        Delivered { nonce, time: BlockTime(time) }
    }

    #[test]
    fn a_lane_is_compared_once_the_source_is_further() {
        let mut known = Known::default();
        known.note(at(0, 90));
        known.note(at(3, 100));
        known.note(at(3, 105));
        known.note(at(4, 110));
        assert_eq!(known.waiting, [at(3, 100), at(4, 110)]);
        assert_eq!(known.due(BlockTime(100 + CLOCK_SKEW)), None);
        assert_eq!(known.due(BlockTime(101 + CLOCK_SKEW)), Some(at(3, 100)));
        assert_eq!(known.due(BlockTime(200)), Some(at(4, 110)));
        known.compared(3);
        assert_eq!(known.waiting, [at(4, 110)]);
        known.compared(4);
        known.note(at(4, 120));
        assert_eq!((known.due(BlockTime(200)), known.compared), (None, 4));
    }

    /// R6: a source that stands still makes nothing grow.
    #[test]
    fn r6_what_waits_is_bounded() {
        let mut known = Known::default();
        (1..1_000).for_each(|n| known.note(at(n, n)));
        assert_eq!(known.waiting.len(), MAX_WAITING);
        assert_eq!(known.due(BlockTime(2_000)), Some(at(MAX_WAITING as u64, 32)));
    }
}
