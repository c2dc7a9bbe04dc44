//! Lanes as their two chains see them: what the plan looks at.

use super::{
    channels::{Channel, End, ReadError, values},
    clients::{self, Client},
    relay::Owed,
};
use crate::cosmos::CosmosNetwork;
use postrider_ibc::{
    ClientId, Height as IbcHeight, Order, Sequence, paths,
    plan::{ChainTime, EndView, LaneView, PacketJob},
};
use postrider_message::{NetworkName, Reason};
use postrider_verification::tendermint::CosmosAnchor;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// About how long a chain takes for a block where nothing is known of it.
const BLOCK_TIME: Duration = Duration::from_secs(5);

/// Two networks, and the newest blocks of both whose state was read to its end.
pub(super) struct At<'a> {
    /// To where is brought.
    pub(super) network: &'a CosmosNetwork,
    /// What it is told of.
    pub(super) other: &'a CosmosNetwork,
    pub(super) here: &'a CosmosAnchor,
    pub(super) there: &'a CosmosAnchor,
}

/// What is owed to one network over one channel in one direction.
pub(super) struct Lane<'a> {
    pub(super) here: Arc<Channel>,
    pub(super) there: Arc<End>,
    /// Its packets are received on the network that is owed; else they were sent there.
    pub(super) is_received_here: bool,
    pub(super) owed: Vec<Owed<'a>>,
}

impl Lane<'_> {
    pub(super) fn jobs(&self) -> Vec<PacketJob<'_>> {
        let jobs = self.owed.iter().map(|owed| PacketJob {
            packet: &owed.packet,
            duties: std::slice::from_ref(owed.duty),
            facts: &owed.open.facts,
        });
        jobs.collect()
    }

    /// What an ordered channel takes next, here and there; no keys over an unordered one.
    fn next_keys(&self) -> Option<(String, Option<String>)> {
        if self.here.order() != Order::Ordered {
            return None;
        }
        let (here, there) = (&self.here.here.id, &self.there.id);
        Some(if self.is_received_here {
            (paths::next_sequence_recv(here), None)
        } else {
            (paths::next_sequence_ack(here), Some(paths::next_sequence_recv(there)))
        })
    }
}

/// The views of lanes, in their order.
///
/// # Errors
/// [`ReadError`] if state was not proven.
pub(super) async fn read(
    at: &At<'_>,
    lanes: &[Lane<'_>],
    known: &HashMap<ClientId, Client>,
) -> Result<Vec<LaneView>, ReadError> {
    let keys: Vec<_> = lanes.iter().filter_map(Lane::next_keys).collect();
    let here = values(at.network, at.here, keys.iter().map(|(key, _)| key.clone())).await?;
    let there = keys.iter().filter_map(|(_, key)| key.clone());
    let there = values(at.other, at.there, there).await?;
    let (mut here, mut there) = (here.into_iter(), there.into_iter());
    let views = lanes.iter().map(|lane| {
        let (mut next_here, mut next_there) = (None, None);
        if let Some((_, key_there)) = lane.next_keys() {
            next_here = here.next().flatten().and_then(|value| sequence(&value));
            if key_there.is_some() {
                next_there = there.next().flatten().and_then(|value| sequence(&value));
            }
        }
        let client = lane.here.here.client();
        let unusable = match known.get(client) {
            Some(client) => client.unusable(clients::time(at.here)),
            None => Some("it is not there any more".into()),
        };
        let unusable = unusable.map(|detail| clients::reason(at.network, client, detail));
        let end = |network: &NetworkName, end: &End, next, client: Option<Reason>| EndView {
            network: network.clone(),
            end: Some(end.channel.clone()),
            next,
            client,
        };
        let own = end(&at.network.name, &lane.here.here, next_here, unusable);
        let far = end(&at.other.name, &lane.there, next_there, None);
        if lane.is_received_here {
            view(far, own, at.network, at.here)
        } else {
            view(own, far, at.other, at.there)
        }
    });
    Ok(views.collect())
}

fn view(
    source: EndView,
    destination: EndView,
    network: &CosmosNetwork,
    at: &CosmosAnchor,
) -> LaneView {
    let chain_id = network.config.chain_id.as_str();
    let nanoseconds = u64::try_from(at.time().unix_timestamp_nanos()).unwrap_or(u64::MAX);
    let time = |height| ChainTime { height: IbcHeight::on_chain(chain_id, height), nanoseconds };
    let proven = at.block().height.0;
    LaneView {
        source,
        destination,
        newest: time(network.progress.borrow().head.0.max(proven)),
        proven: time(proven),
        block_time: network.light.block_time().unwrap_or(BLOCK_TIME),
    }
}

fn sequence(value: &[u8]) -> Option<Sequence> {
    u64::from_be_bytes(value.try_into().ok()?).try_into().ok()
}
