//! Over which channels tokens travel between two networks.

use super::{Direction, Path};
use crate::{
    context::Context,
    cosmos::CosmosNetwork,
    ibc::{
        channels::{Channel, Channels, End, ReadError},
        clients,
        find::list,
        path::PathError,
        shaking::Pair,
        survey::{clients_of, connections_over},
    },
};
use ibc_proto::ibc::core::channel::v1::{
    QueryConnectionChannelsRequest, QueryConnectionChannelsResponse, State,
};
use postrider_ibc::{
    ChannelEndId, ClientId, HandshakeState, handshake::Side, lane, state::ChannelEnd,
    transfer::TRANSFER_VERSION,
};
use postrider_verification::tendermint::CosmosAnchor;
use std::{collections::BTreeSet, sync::Arc};

/// The most connections whose channels are listed, and channels of two networks that are watched.
const MAX_CONNECTIONS: usize = 50;
const MAX_PATHS: usize = 100;

/// The clients on a network that follow the other one. Those that can be shown nothing any more are left out:
/// tokens cross over them no longer.
///
/// # Errors
/// [`PathError`] if a list was not told or state was not proven.
pub(super) async fn clients(
    network: &CosmosNetwork,
    other: &Arc<CosmosNetwork>,
) -> Result<Vec<ClientId>, PathError> {
    let ids = clients_of(network, std::slice::from_ref(other)).await?;
    let anchor = network.known_state().await?;
    let read = clients::read(network, &anchor, &ids).await?;
    let now = clients::time(&anchor);
    let live = |id: &ClientId| read.get(id).is_some_and(|client| client.unusable(now).is_none());
    Ok(ids.into_iter().filter(live).collect())
}

/// The ends on a network of open channels over `clients` that carry tokens, as one upstream says.
///
/// # Errors
/// [`PathError`] if a list was not told.
pub(super) async fn ends(
    network: &CosmosNetwork,
    clients: &[ClientId],
) -> Result<BTreeSet<ChannelEndId>, PathError> {
    let mut connections = Vec::new();
    for client in clients {
        connections.extend(connections_over(network, client).await?);
    }
    let mut ends = BTreeSet::new();
    for connection in connections.into_iter().take(MAX_CONNECTIONS) {
        let channels = list(
            network,
            "/ibc.core.channel.v1.Query/ConnectionChannels",
            |page| QueryConnectionChannelsRequest {
                connection: connection.clone(),
                pagination: Some(page),
            },
            |told: QueryConnectionChannelsResponse| (told.channels, told.pagination),
        )
        .await?;
        let open = channels
            .into_iter()
            .filter(|told| told.state == State::Open as i32)
            .filter(|told| told.version.contains(TRANSFER_VERSION));
        ends.extend(open.filter_map(|told| {
            Some(ChannelEndId {
                port: told.port_id.parse().ok()?,
                channel: told.channel_id.parse().ok()?,
            })
        }));
    }
    Ok(ends)
}

/// Whether an end is open and carries tokens; modules before the one of transfers wrap its version.
fn carries_tokens(end: &ChannelEnd) -> bool {
    end.state == HandshakeState::Open && end.version.contains(TRANSFER_VERSION)
}

/// The open channels between two networks over which tokens travel, and both of whose clients hold blocks of
/// the chains that are followed here: others are no business of theirs. `listed` are ends on A; what is in
/// `known` was looked at before.
///
/// # Errors
/// [`PathError`] if state was not proven.
pub(super) async fn find(
    context: &Context,
    channels: &Channels,
    networks: &Pair<Arc<CosmosNetwork>>,
    (listed, known): (&BTreeSet<ChannelEndId>, &[Path]),
) -> Result<Vec<Path>, PathError> {
    let (a, b) = (&networks.a, &networks.b);
    let leading: BTreeSet<_> = channels.leading(&a.name, &b.name).into_iter().collect();
    let ends: Vec<ChannelEndId> = listed.union(&leading).cloned().collect();
    let anchors = Pair { a: a.known_state().await?, b: b.known_state().await? };
    let mut found: Vec<Arc<Channel>> = channels
        .find(context, a, &anchors.a, &ends)
        .await?
        .into_values()
        .filter(|channel| channel.network == b.name && carries_tokens(&channel.here.channel))
        .collect();
    found.sort_by(|x, y| x.here.id.cmp(&y.here.id));
    let met = channels.meet(a, b, &anchors.b, found.iter().cloned()).await?;
    let mut paths = Vec::new();
    for channel in found {
        let Some(there) = met.get(&channel.here.id).filter(|end| carries_tokens(&end.channel))
        else {
            continue;
        };
        let Some(path) = path(networks, &channel.here, there) else { continue };
        let is_known = known.iter().any(|known| known.ends.a == path.ends.a);
        if paths.len() < MAX_PATHS && (is_known || is_verified(networks, &anchors, &path).await) {
            paths.push(path);
        }
    }
    // What an upstream does not tell of any more is watched all the same.
    for known in known {
        let is_there = paths.iter().any(|path| path.ends.a == known.ends.a);
        if !is_there && paths.len() < MAX_PATHS {
            paths.push(known.clone());
        }
    }
    Ok(paths)
}

/// Whether both clients below a channel hold blocks of the chains that are followed here. Where that cannot be
/// told now, it is asked again.
async fn is_verified(
    networks: &Pair<Arc<CosmosNetwork>>,
    anchors: &Pair<CosmosAnchor>,
    path: &Path,
) -> bool {
    for side in [Side::A, Side::B] {
        match follows(networks, anchors, path.clients.of(side), side).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                let (network, client) = (&networks.of(side).name, path.clients.of(side));
                tracing::debug!(%network, %client, %error, "a channel's client is not known yet");
                return false;
            }
        }
    }
    true
}

async fn follows(
    networks: &Pair<Arc<CosmosNetwork>>,
    anchors: &Pair<CosmosAnchor>,
    id: &ClientId,
    side: Side,
) -> Result<bool, ReadError> {
    let read = clients::read(networks.of(side), anchors.of(side), std::slice::from_ref(id)).await?;
    match read.get(id) {
        Some(client) => clients::follows(networks.of(side.other()), client).await,
        None => Ok(false),
    }
}

fn path(networks: &Pair<Arc<CosmosNetwork>>, a: &End, b: &End) -> Option<Path> {
    let (to_a, to_b) = ((&networks.a.name, &a.id), (&networks.b.name, &b.id));
    let direction = |from: Side, source: &End, destination: &End, lane| Direction {
        from,
        lane,
        source: source.id.clone(),
        destination: destination.id.clone(),
        denoms: Vec::new(),
    };
    Some(Path {
        ends: Pair { a: a.id.clone(), b: b.id.clone() },
        clients: Pair { a: a.client().clone(), b: b.client().clone() },
        directions: [
            direction(Side::A, a, b, lane(to_a, to_b).ok()?),
            direction(Side::B, b, a, lane(to_b, to_a).ok()?),
        ],
    })
}
