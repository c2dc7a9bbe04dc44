//! Finds what of a path two chains have already. Lists say where to look; what stands there is proven
//! before it is used.

use super::{
    channels::values,
    clients::{self, Client},
    path::PathError,
};
use crate::cosmos::CosmosNetwork;
use futures::FutureExt;
use ibc_proto::{
    cosmos::base::query::v1beta1::{PageRequest, PageResponse},
    ibc::core::{
        channel::v1::{QueryConnectionChannelsRequest, QueryConnectionChannelsResponse},
        client::v1::{QueryClientStatesRequest, QueryClientStatesResponse},
        connection::v1::ClientPaths,
    },
};
use postrider_cosmos::{Need, UpstreamError};
use postrider_ibc::{
    ChannelEndId, ClientId, ConnectionId, HandshakeState, Height as IbcHeight,
    handshake::Ends,
    paths,
    state::{ChannelEnd, ClientState, ConnectionEnd},
};
use postrider_message::{Height, UnixMillis};
use postrider_verification::tendermint::CosmosAnchor;
use prost::Message;
use std::collections::BTreeMap;

/// The most pages of a list that are read, and entries of a page.
const MAX_PAGES: usize = 100;
const PAGE: u64 = 100;
/// The most connections of a client that are read, and those of them whose channels are: anybody may begin
/// more, and those that were begun first are looked at.
const MAX_CONNECTIONS: usize = 2_000;
const MAX_SEARCHED: usize = 200;

/// All pages of a list, as it is in the newest state.
pub(super) async fn list<Request, Response, T>(
    network: &CosmosNetwork,
    path: &'static str,
    ask: impl Fn(PageRequest) -> Request,
    read: impl Fn(Response) -> (Vec<T>, Option<PageResponse>),
) -> Result<Vec<T>, PathError>
where
    Request: Message,
    Response: Message + Default,
{
    list_at(network, (path, None), ask, read).await
}

/// All pages of a list in the state after a block: an upstream that lags has no such state, and cannot tell
/// too little. The newest state if no block is named.
async fn list_at<Request, Response, T>(
    network: &CosmosNetwork,
    (path, after): (&'static str, Option<Height>),
    ask: impl Fn(PageRequest) -> Request,
    read: impl Fn(Response) -> (Vec<T>, Option<PageResponse>),
) -> Result<Vec<T>, PathError>
where
    Request: Message,
    Response: Message + Default,
{
    let need = after.map_or(Need::Newest, Need::Height);
    let mut all = Vec::new();
    let mut page = PageRequest { limit: PAGE, ..PageRequest::default() };
    for _ in 0..MAX_PAGES {
        let request = &ask(page.clone());
        let told: Response = network
            .upstreams
            .first(need, |u| async move { u.grpc(path, request, after).await }.boxed())
            .await?;
        let (entries, next) = read(told);
        all.extend(entries);
        match next {
            Some(next) if !next.next_key.is_empty() => page.key = next.next_key,
            _ => return Ok(all),
        }
    }
    Err(UpstreamError::Garbage(format!("a list of more than {MAX_PAGES} pages at {path}").into())
        .into())
}

/// The lowest client on a network that follows the other one, is neither frozen nor expired, believes no longer
/// than this node does, and holds a block of the chain that our own light client accepts: a chain that only
/// has the same name is not taken for it.
pub(super) async fn fitting_client(
    (network, anchor): (&CosmosNetwork, &CosmosAnchor),
    other: &CosmosNetwork,
) -> Result<Option<ClientId>, PathError> {
    let ids = clients_named_after(network, anchor, other).await?;
    let mut clients = clients::read(network, anchor, &ids).await?;
    for id in ids {
        let Some(client) = clients.remove(&id) else { continue };
        if is_fitting(other, &client, clients::time(anchor)).await? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The clients of a chain with the name of the other network, the oldest first, as one upstream says.
pub(super) async fn clients_named_after(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    other: &CosmosNetwork,
) -> Result<Vec<ClientId>, PathError> {
    let listed = list_at(
        network,
        ("/ibc.core.client.v1.Query/ClientStates", Some(anchor.state().block())),
        |page| QueryClientStatesRequest { pagination: Some(page) },
        |told: QueryClientStatesResponse| (told.client_states, told.pagination),
    )
    .await?;
    let mut ids: Vec<ClientId> = Vec::new();
    for client in listed {
        let state = client.client_state.map(|any| any.encode_to_vec()).unwrap_or_default();
        let follows = ClientState::decode(&state)
            .is_ok_and(|state| state.chain_id == other.config.chain_id.as_str());
        ids.extend(client.client_id.parse().ok().filter(|_| follows));
    }
    ids.sort_by_key(|id| (id.as_str().len(), id.clone()));
    Ok(ids)
}

async fn is_fitting(
    other: &CosmosNetwork,
    client: &Client,
    now: UnixMillis,
) -> Result<bool, PathError> {
    let (state, chain_id) = (&client.state, other.config.chain_id.as_str());
    let is_as_wanted = state.trusting_period <= other.config.trust.trusting_period()
        && state.latest == IbcHeight::on_chain(chain_id, state.latest.revision_height);
    Ok(is_as_wanted && is_usable(other, client, now).await?)
}

/// Whether a client follows the other network, and is neither frozen nor expired.
pub(super) async fn is_usable(
    other: &CosmosNetwork,
    client: &Client,
    now: UnixMillis,
) -> Result<bool, PathError> {
    let state = &client.state;
    let is_active = state.chain_id == other.config.chain_id.as_str()
        && state.has_known_proofs
        && client.unusable(now).is_none();
    Ok(is_active && clients::follows(other, client).await?)
}

/// The connections over a client, as proven state names them, and their ends.
pub(super) async fn connections_over(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    client: &ClientId,
) -> Result<BTreeMap<ConnectionId, ConnectionEnd>, PathError> {
    let named = paths::client_connections(client);
    let told = values(network, anchor, std::iter::once(named)).await?;
    let told = told.into_iter().flatten().next().unwrap_or_default();
    let told = ClientPaths::decode(told.as_slice()).map_err(|error| {
        UpstreamError::Garbage(format!("the connections of client {client}: {error}").into())
    })?;
    let ids: Vec<ConnectionId> = told.paths.iter().filter_map(|id| id.parse().ok()).collect();
    let ids = ids.get(..MAX_CONNECTIONS).map_or(ids.clone(), <[_]>::to_vec);
    let ends = values(network, anchor, ids.iter().map(paths::connection)).await?;
    let ends = ids.into_iter().zip(ends);
    Ok(ends.filter_map(|(id, end)| Some((id, ConnectionEnd::decode(&end?).ok()?))).collect())
}

/// The channels over connections, which one upstream lists, and their ends, as proven state tells them.
pub(super) async fn channels_over(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    connections: impl Iterator<Item = &ConnectionId>,
) -> Result<BTreeMap<ChannelEndId, ChannelEnd>, PathError> {
    let mut ids: Vec<ChannelEndId> = Vec::new();
    for over in connections {
        let listed = list_at(
            network,
            ("/ibc.core.channel.v1.Query/ConnectionChannels", Some(anchor.state().block())),
            |page| QueryConnectionChannelsRequest {
                connection: over.to_string(),
                pagination: Some(page),
            },
            |told: QueryConnectionChannelsResponse| (told.channels, told.pagination),
        )
        .await?;
        ids.extend(listed.into_iter().filter_map(|listed| {
            let (port, channel) = (listed.port_id.parse().ok()?, listed.channel_id.parse().ok()?);
            Some(ChannelEndId { port, channel })
        }));
    }
    let ends = values(network, anchor, ids.iter().map(paths::channel)).await?;
    let ends = ids.into_iter().zip(ends);
    Ok(ends.filter_map(|(id, end)| Some((id, ChannelEnd::decode(&end?).ok()?))).collect())
}

/// What a network has over a client.
pub(super) async fn ends_over(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    client: &ClientId,
) -> Result<Ends, PathError> {
    let connections = connections_over(network, anchor, client).await?;
    // Open ones first, since over others there is hardly ever a channel.
    let is_open = |end: &ConnectionEnd| end.state == HandshakeState::Open;
    let of = |open: bool| connections.iter().filter(move |(_, end)| is_open(end) == open);
    let searched = of(true).chain(of(false)).map(|(id, _)| id).take(MAX_SEARCHED);
    let channels = channels_over(network, anchor, searched).await?;
    Ok(Ends { connections, channels })
}
