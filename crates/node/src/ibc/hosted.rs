//! The clients on a network that follow others: which there are, what they hold, and how long they believe
//! still. This is watched whether or not this node relays there, and whether or not it can read the others.

use super::{
    channels::ReadError,
    clients::{self, Client},
    find::list,
    path::PathError,
};
use crate::{context::Context, cosmos::CosmosNetwork};
use futures::FutureExt;
use ibc_proto::ibc::core::{
    client::v1::{QueryClientStatesRequest, QueryClientStatesResponse},
    connection::v1::{QueryClientConnectionsRequest, QueryClientConnectionsResponse},
};
use postrider_cosmos::{Need, UpstreamError};
use postrider_ibc::{ClientId, state::ClientState};
use postrider_message::{AlarmKind, NetworkName, UnixMillis};
use prost::Message;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often clients are looked at, at most and at least.
const MIN_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How long until the next look after one that failed.
const AFTER_ERROR: Duration = Duration::from_secs(10);
/// How often the list of clients is read anew.
const LIST_AGAIN: Duration = Duration::from_secs(600);
/// The most clients of one network on another that are watched.
const MAX_WATCHED: usize = 200;

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    /// A third of its trusting period has passed.
    Update,
    /// Two thirds have: whoever should update it does not.
    Alarm,
    /// It is too late.
    Expired,
}

/// What a client needs at a time, by how long ago the newest block was made that it holds.
fn need(newest: UnixMillis, period: Duration, now: UnixMillis) -> Wants {
    let age = u128::from(now.0.saturating_sub(newest.0));
    let period = period.as_millis();
    match () {
        () if age >= period => Wants::Expired,
        () if age * 3 >= period * 2 => Wants::Alarm,
        () if age * 3 >= period => Wants::Update,
        () => Wants::Nothing,
    }
}

/// What a client needs at a time; nothing if nobody can lead it on any more.
pub(super) fn wants(client: &Client, now: UnixMillis) -> Wants {
    match client.newest {
        Some(newest) if client.state.frozen.is_none() => {
            need(newest.time, client.state.trusting_period, now)
        }
        _ => Wants::Nothing,
    }
}

/// The clients of one other network, as they were last read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// How often they were read.
    pub(super) count: u64,
    /// What they held.
    pub(super) clients: Arc<[Client]>,
}

/// A client as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStanding {
    /// Its id, on the network that hosts it.
    pub id: ClientId,
    /// The network that it follows.
    pub of: NetworkName,
    /// It is frozen: only governance recovers it.
    pub is_frozen: bool,
    /// When it expires, by the clock of the network that hosts it; `None` if it holds nothing.
    pub expires: Option<UnixMillis>,
}

/// The clients on a network, by the network that they follow.
#[derive(Debug, Default)]
pub struct Hosted(Mutex<BTreeMap<NetworkName, Reading>>);

impl Hosted {
    fn readings(&self) -> MutexGuard<'_, BTreeMap<NetworkName, Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clients of another network, as they were last read.
    pub(super) fn of(&self, other: &NetworkName) -> Reading {
        self.readings().get(other).cloned().unwrap_or_default()
    }

    fn note(&self, other: &NetworkName, clients: Vec<Client>) {
        let mut readings = self.readings();
        let reading = readings.entry(other.clone()).or_default();
        *reading = Reading { count: reading.count.wrapping_add(1), clients: clients.into() };
    }

    /// Every client that is watched.
    #[must_use]
    pub fn standings(&self) -> Vec<ClientStanding> {
        let readings = self.readings();
        let standings = readings.iter().flat_map(|(of, reading)| {
            reading.clients.iter().map(|client| ClientStanding {
                id: client.id.clone(),
                of: of.clone(),
                is_frozen: client.state.frozen.is_some(),
                expires: client.expires(),
            })
        });
        standings.collect()
    }
}

/// What is remembered of the clients of one other network between two looks.
#[derive(Debug, Default)]
struct Known {
    ids: Vec<ClientId>,
    listed: Option<Instant>,
    looked: Option<Instant>,
    pause: Duration,
}

/// Reads the clients of all other networks on `network` now and then, until cancelled, and raises an alarm for
/// each that expires soon, has expired or is frozen.
pub async fn watch(context: Arc<Context>, network: Arc<CosmosNetwork>, stop: CancellationToken) {
    let mut known: BTreeMap<NetworkName, Known> = BTreeMap::new();
    loop {
        let others = context.cosmos.values().filter(|other| other.name != network.name);
        for other in others.filter(|_| network.is_known()) {
            let known = known.entry(other.name.clone()).or_default();
            let looked = look(&context, &network, other, known);
            match stop.run_until_cancelled(looked).await {
                None => return,
                Some(Ok(())) => {}
                // R6: the clients of the others are watched all the same.
                Some(Err(error)) => {
                    let (network, of) = (&network.name, &other.name);
                    tracing::warn!(%network, %of, %error, "clients were not looked at");
                }
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(MIN_PAUSE)).await.is_none() {
            return;
        }
    }
}

/// Looks at the clients of one other network, if it is time to.
async fn look(
    context: &Context,
    network: &CosmosNetwork,
    other: &CosmosNetwork,
    known: &mut Known,
) -> Result<(), PathError> {
    // Whether one was frozen is of interest at once.
    let is_urgent = other.misbehaviour().is_some();
    if !is_urgent && known.looked.is_some_and(|at| at.elapsed() < known.pause) {
        return Ok(());
    }
    known.looked = Some(Instant::now());
    known.pause = AFTER_ERROR;
    list_anew(context, network, other, known).await?;
    let here = network.known_state().await.map_err(ReadError::from)?;
    let mut read: Vec<_> = clients::read(network, &here, &known.ids).await?.into_values().collect();
    read.sort_by(|a, b| a.id.cmp(&b.id));
    let pauses = read.iter().map(|client| client.state.trusting_period / 12);
    known.pause = pauses.min().unwrap_or(MAX_PAUSE).clamp(MIN_PAUSE, MAX_PAUSE);
    let now = clients::time(&here);
    for words in read.iter().filter_map(|client| trouble(client, &other.name, now)) {
        context.raise(AlarmKind::ClientExpires, &network.name, None, &words).await;
    }
    network.hosted.note(&other.name, read);
    Ok(())
}

/// What an alarm says of a client, if there is reason for one.
fn trouble(client: &Client, other: &NetworkName, now: UnixMillis) -> Option<String> {
    let id = &client.id;
    if client.state.frozen.is_some() {
        return Some(format!("client {id}, of {other}, is frozen: only governance recovers it"));
    }
    let how = match wants(client, now) {
        Wants::Nothing | Wants::Update => return None,
        Wants::Alarm => "expires soon",
        Wants::Expired => "has expired",
    };
    let (holds, period) = (client.newest?.time, client.state.trusting_period.as_secs());
    Some(format!(
        "client {id}, of {other}, {how}: the newest block that it holds is of {holds}, and it believes for \
         {period} s"
    ))
}

/// Reads which clients are to be watched, where that is due.
async fn list_anew(
    context: &Context,
    network: &CosmosNetwork,
    other: &CosmosNetwork,
    known: &mut Known,
) -> Result<(), PathError> {
    if known.listed.is_some_and(|at| at.elapsed() < LIST_AGAIN) {
        return Ok(());
    }
    match wanted(context, network, other).await {
        Ok(ids) => {
            known.ids = ids;
            known.listed = Some(Instant::now());
        }
        Err(error) if known.ids.is_empty() => return Err(error),
        // R6: anybody can make the list longer than is read; the clients that are known do not expire for it.
        Err(error) => {
            let (network, of) = (&network.name, &other.name);
            tracing::warn!(%network, %of, %error, "clients were not listed anew");
        }
    }
    Ok(())
}

/// The clients on a network that follow another one and on which a connection stands, or those that the
/// settings name.
async fn wanted(
    context: &Context,
    network: &CosmosNetwork,
    other: &CosmosNetwork,
) -> Result<Vec<ClientId>, PathError> {
    let settings = context.config.ibc.get(&network.name);
    let named = settings.and_then(|ibc| ibc.clients.as_ref());
    let listed = list(
        network,
        "/ibc.core.client.v1.Query/ClientStates",
        |page| QueryClientStatesRequest { pagination: Some(page) },
        |told: QueryClientStatesResponse| (told.client_states, told.pagination),
    )
    .await?;
    let mut ids = Vec::new();
    for client in listed {
        let state = client.client_state.map(|any| any.encode_to_vec()).unwrap_or_default();
        let follows = ClientState::decode(&state)
            .is_ok_and(|state| state.chain_id == other.config.chain_id.as_str());
        let Some(id) = client.client_id.parse::<ClientId>().ok().filter(|_| follows) else {
            continue;
        };
        if ids.len() >= MAX_WATCHED {
            break;
        }
        let wanted = match named {
            Some(named) => named.contains(&id),
            None => has_connection(network, &id).await?,
        };
        if wanted {
            ids.push(id);
        }
    }
    Ok(ids)
}

async fn has_connection(network: &CosmosNetwork, client: &ClientId) -> Result<bool, PathError> {
    const PATH: &str = "/ibc.core.connection.v1.Query/ClientConnections";
    let request = &QueryClientConnectionsRequest { client_id: client.to_string() };
    let told: Result<QueryClientConnectionsResponse, UpstreamError> = network
        .upstreams
        .first(Need::Newest, |u| async move { u.grpc(PATH, request, None).await }.boxed())
        .await;
    match told {
        Ok(told) => Ok(!told.connection_paths.is_empty()),
        // ibc-go says so of a client without any.
        Err(UpstreamError::Refused { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_clients_are_refreshed_long_before_they_expire() {
        let period = Duration::from_secs(300);
        let cases = [
            (0, Wants::Nothing),
            (99, Wants::Nothing),
            (100, Wants::Update),
            (199, Wants::Update),
            (200, Wants::Alarm),
            (299, Wants::Alarm),
            (300, Wants::Expired),
        ];
        for (age, expected) in cases {
            let now = UnixMillis(1_000_000 + age * 1000);
            assert_eq!(need(UnixMillis(1_000_000), period, now), expected, "{age}");
        }
    }
}
