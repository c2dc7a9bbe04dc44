//! How the clients stand on which open channels to networks of ours depend.

use super::{
    clients::{self, Client},
    find::list,
    path::PathError,
};
use crate::cosmos::CosmosNetwork;
use futures::FutureExt;
use ibc_proto::ibc::core::{
    channel::v1::{QueryConnectionChannelsRequest, QueryConnectionChannelsResponse, State},
    client::v1::{QueryClientStatesRequest, QueryClientStatesResponse},
    connection::v1::{QueryClientConnectionsRequest, QueryClientConnectionsResponse},
};
use postrider_cosmos::{Need, UpstreamError};
use postrider_ibc::{ClientId, state::ClientState};
use postrider_message::UnixMillis;
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// The most clients whose connections are listed, and connections whose channels are: a client rarely has more
/// than a few.
const MAX_CLIENTS: usize = 200;
const MAX_CONNECTIONS: usize = 200;

/// A client with open channels over it.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// The client, as proven state tells it.
    pub client: Client,
    /// The network of ours that has the name of the chain which it follows.
    pub follows: Arc<CosmosNetwork>,
    /// Whether it holds a block of that network; `None` if that cannot be told now.
    pub is_of_it: Option<bool>,
    /// How many open channels stand on it, as one upstream says.
    pub channels: usize,
    /// The time of the chain that it is on.
    pub now: UnixMillis,
}

/// The clients on `network` of `others` over which channels are open. Which there are is one upstream's word;
/// what is told of each is proven.
///
/// # Errors
/// [`PathError`] if a list was not told or state was not proven.
pub async fn survey(
    network: &CosmosNetwork,
    others: &[Arc<CosmosNetwork>],
) -> Result<Vec<Surveyed>, PathError> {
    let of_ours = clients_of(network, others).await?;
    let channels = channels_over(network, &of_ours).await?;
    let ids: Vec<ClientId> = channels.keys().cloned().collect();
    let anchor = network.newest().await?.anchor;
    let mut read = clients::read(network, &anchor, &ids).await?;
    let mut found = Vec::new();
    for (id, channels) in channels {
        let Some(client) = read.remove(&id) else { continue };
        let has_name = |other: &&Arc<CosmosNetwork>| {
            other.config.chain_id.as_str() == client.state.chain_id && other.name != network.name
        };
        let Some(follows) = others.iter().find(has_name).cloned() else { continue };
        let is_of_it = clients::follows(&follows, &client).await.ok();
        let now = clients::time(&anchor);
        found.push(Surveyed { client, follows, is_of_it, channels, now });
    }
    Ok(found)
}

/// The clients that say they follow one of `others`.
pub(super) async fn clients_of(
    network: &CosmosNetwork,
    others: &[Arc<CosmosNetwork>],
) -> Result<Vec<ClientId>, PathError> {
    let listed = list(
        network,
        "/ibc.core.client.v1.Query/ClientStates",
        |page| QueryClientStatesRequest { pagination: Some(page) },
        |told: QueryClientStatesResponse| (told.client_states, told.pagination),
    )
    .await?;
    let follows = |state: &ClientState| {
        others.iter().any(|other| other.config.chain_id.as_str() == state.chain_id)
    };
    let ids = listed.into_iter().filter_map(|listed| {
        let state = ClientState::decode(&listed.client_state?.encode_to_vec()).ok()?;
        listed.client_id.parse().ok().filter(|_| follows(&state))
    });
    Ok(ids.collect())
}

/// How many open channels stand on each of `clients`; those without any are left out.
async fn channels_over(
    network: &CosmosNetwork,
    clients: &[ClientId],
) -> Result<BTreeMap<ClientId, usize>, PathError> {
    let mut connections: Vec<(String, &ClientId)> = Vec::new();
    for client in clients.iter().take(MAX_CLIENTS) {
        let found = connections_over(network, client).await?;
        connections.extend(found.into_iter().map(|connection| (connection, client)));
    }
    connections.truncate(MAX_CONNECTIONS);
    let mut channels = BTreeMap::new();
    for (connection, client) in connections {
        let listed = list(
            network,
            "/ibc.core.channel.v1.Query/ConnectionChannels",
            |page| QueryConnectionChannelsRequest {
                connection: connection.clone(),
                pagination: Some(page),
            },
            |told: QueryConnectionChannelsResponse| (told.channels, told.pagination),
        )
        .await?;
        let open = listed.iter().filter(|channel| channel.state == State::Open as i32).count();
        if open > 0 {
            *channels.entry(client.clone()).or_insert(0) += open;
        }
    }
    Ok(channels)
}

/// The ids of the connections over a client. Chains have thousands of connections, and a client few.
pub(super) async fn connections_over(
    network: &CosmosNetwork,
    client: &ClientId,
) -> Result<Vec<String>, UpstreamError> {
    const PATH: &str = "/ibc.core.connection.v1.Query/ClientConnections";
    let request = &QueryClientConnectionsRequest { client_id: client.to_string() };
    let asked = network
        .upstreams
        .first(Need::Newest, |u| async move { u.grpc(PATH, request, None).await }.boxed());
    let told: QueryClientConnectionsResponse = match asked.await {
        // A client that never had one is refused as not found.
        Err(UpstreamError::Refused { code: 1.., .. }) => return Ok(Vec::new()),
        told => told?,
    };
    Ok(told.connection_paths)
}
