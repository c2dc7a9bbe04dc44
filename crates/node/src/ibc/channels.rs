//! Which channel leads where: read from both chains, proven, and only believed where both sides say so.

use super::supply::seen::Seen;
use crate::{context::Context, cosmos::CosmosNetwork};
use postrider_cosmos::{LightError, Proven};
use postrider_ibc::{
    ChannelEndId, ClientId, ConnectionId, Order, paths,
    state::{BadState, ChannelEnd, ClientState, ConnectionEnd},
};
use postrider_message::{Height, NetworkName};
use postrider_verification::tendermint::{BadKey, CosmosAnchor, StateKey};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A channel that leads nowhere is looked at again after this time: its other side may open.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The most channels that are remembered.
const MAX_KNOWN: usize = 50_000;

/// Why state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was not proven.
    #[error(transparent)]
    Light(#[from] LightError),
    /// What was proven cannot be read.
    #[error(transparent)]
    State(#[from] BadState),
    /// No key of a store.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// A client is not there.
    #[error("there is no client {0}, or none of a kind known here")]
    NoClient(ClientId),
    /// A client was shown a block that our own light client does not know: validators signed two chains.
    #[error(
        "client {client} holds another block at height {height} than the chain that is followed here"
    )]
    Fork {
        /// The client.
        client: ClientId,
        /// The height.
        height: Height,
    },
}

/// One end of a channel, with the connection and the client below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its name.
    pub id: ChannelEndId,
    /// The channel's end.
    pub channel: ChannelEnd,
    /// The connection's end.
    pub connection: ConnectionEnd,
    /// What the client below it said of itself then.
    pub client_state: ClientState,
}

impl End {
    /// The client here, of the other network.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.connection.client
    }

    fn connection_id(&self) -> &ConnectionId {
        &self.channel.connection
    }

    /// Whether each of two ends says that the other is its other side.
    fn meets(&self, other: &Self) -> bool {
        self.channel.counterparty().as_ref() == Some(&other.id)
            && self.connection.counterparty.as_ref() == Some(other.connection_id())
            && self.connection.counterparty_client == other.connection.client
    }
}

/// A channel, as one of its ends tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// This end.
    pub here: End,
    /// The network of ours that has the name of the chain which the client below it follows.
    pub network: NetworkName,
    /// The other end.
    pub there: ChannelEndId,
}

impl Channel {
    /// Whether packets arrive in order.
    #[must_use]
    pub fn order(&self) -> Order {
        self.here.channel.order
    }
}

/// What is remembered of an end: where it leads, or when that was last looked for in vain.
#[derive(Debug, Clone)]
enum Known {
    Leads(Arc<Channel>),
    Nowhere(Instant),
}

/// What is remembered of both ends: the other one, if they name each other, or when they were last seen not to.
#[derive(Debug, Clone)]
enum Meets {
    Yes(Arc<End>),
    No(Instant),
}

type Place = (NetworkName, ChannelEndId);

/// The channels that were looked at.
#[derive(Debug, Default)]
pub struct Channels {
    known: Mutex<HashMap<Place, Known>>,
    meets: Mutex<HashMap<Place, Meets>>,
    /// The tokens that went over them.
    pub(super) tokens: Seen,
    /// Counts what was forgotten: what was read before is not remembered after.
    changes: AtomicU64,
}

impl Channels {
    /// Where those of `ends` lead that lead to a network of ours; what is not known is read in the state
    /// that `anchor` names. It is what this side says: see [`Channels::meet`].
    ///
    /// # Errors
    /// [`ReadError`] if the state here was not proven.
    pub async fn find(
        &self,
        context: &Context,
        network: &CosmosNetwork,
        anchor: &CosmosAnchor,
        ends: &[ChannelEndId],
    ) -> Result<HashMap<ChannelEndId, Arc<Channel>>, ReadError> {
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        for end in ends {
            match self.known(&network.name, end) {
                Some(Known::Leads(channel)) => {
                    found.insert(end.clone(), channel);
                }
                Some(Known::Nowhere(at)) if at.elapsed() < LOOK_AGAIN => {}
                _ if unknown.contains(end) => {}
                _ => unknown.push(end.clone()),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let changes = self.changes.load(Ordering::SeqCst);
        let mut read: HashMap<ChannelEndId, End> = read_ends(network, anchor, &unknown)
            .await?
            .into_iter()
            .map(|end| (end.id.clone(), end))
            .collect();
        for end in unknown {
            let channel = read.remove(&end).and_then(|here| {
                let chain_id = here.client_state.chain_id.as_str();
                let leads = |other: &&Arc<CosmosNetwork>| {
                    other.config.chain_id.as_str() == chain_id && other.name != network.name
                };
                let network = context.cosmos.values().find(leads)?.name.clone();
                let there = here.channel.counterparty()?;
                Some(Arc::new(Channel { here, network, there }))
            });
            let known = match &channel {
                Some(channel) => Known::Leads(Arc::clone(channel)),
                None => Known::Nowhere(Instant::now()),
            };
            self.keep(&self.known, (network.name.clone(), end.clone()), known, changes);
            found.extend(channel.map(|channel| (end, channel)));
        }
        Ok(found)
    }

    /// The other ends of those of `channels` whose other end names them too. A client may follow a chain that
    /// only has the name of ours: nothing is brought over its channels.
    ///
    /// # Errors
    /// [`ReadError`] if the state there was not proven.
    pub async fn meet(
        &self,
        network: &CosmosNetwork,
        other: &CosmosNetwork,
        there: &CosmosAnchor,
        channels: impl Iterator<Item = Arc<Channel>>,
    ) -> Result<HashMap<ChannelEndId, Arc<End>>, ReadError> {
        let mut met = HashMap::new();
        let mut unknown: Vec<Arc<Channel>> = Vec::new();
        for channel in channels {
            let id = &channel.here.id;
            let place = (network.name.clone(), id.clone());
            match get(&self.meets, &place) {
                Some(Meets::Yes(end)) => {
                    met.insert(id.clone(), end);
                }
                Some(Meets::No(at)) if at.elapsed() < LOOK_AGAIN => {}
                _ if unknown.iter().any(|known| known.here.id == *id) => {}
                _ => unknown.push(channel),
            }
        }
        if unknown.is_empty() {
            return Ok(met);
        }
        let changes = self.changes.load(Ordering::SeqCst);
        let wanted: Vec<_> = unknown.iter().map(|channel| channel.there.clone()).collect();
        let ends = read_ends(other, there, &wanted).await?;
        for channel in unknown {
            let meets = |end: &&End| {
                channel.here.meets(end)
                    && end.meets(&channel.here)
                    && end.client_state.chain_id == network.config.chain_id.as_str()
            };
            let end = ends.iter().find(meets).map(|end| Arc::new(end.clone()));
            let meets = match &end {
                Some(end) => Meets::Yes(Arc::clone(end)),
                None => Meets::No(Instant::now()),
            };
            let id = channel.here.id.clone();
            self.keep(&self.meets, (network.name.clone(), id.clone()), meets, changes);
            met.extend(end.map(|end| (id, end)));
        }
        Ok(met)
    }

    /// The ends on a network of the known channels that lead to another one, as this side says.
    #[must_use]
    pub fn leading(&self, network: &NetworkName, to: &NetworkName) -> Vec<ChannelEndId> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let leads = known.iter().filter(|((name, _), known)| {
            name == network && matches!(known, Known::Leads(channel) if channel.network == *to)
        });
        leads.map(|((_, end), _)| end.clone()).collect()
    }

    fn known(&self, network: &NetworkName, end: &ChannelEndId) -> Option<Known> {
        get(&self.known, &(network.clone(), end.clone()))
    }

    /// Forgets a channel that changed, on both its sides.
    pub fn forget(&self, network: &NetworkName, end: &ChannelEndId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let is_it = |name: &NetworkName, id: &ChannelEndId| name == network && id == end;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut meets = self.meets.lock().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<Place> = known
            .iter()
            .filter(|(_, known)| {
                matches!(known, Known::Leads(channel) if is_it(&channel.network, &channel.there))
            })
            .map(|(place, _)| place.clone())
            .collect();
        for place in others.into_iter().chain([(network.clone(), end.clone())]) {
            known.remove(&place);
            meets.remove(&place);
        }
    }

    /// Remembers what was read, unless something changed since the reading began.
    fn keep<T>(&self, map: &Mutex<HashMap<Place, T>>, place: Place, what: T, changes: u64) {
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::SeqCst) != changes {
            return;
        }
        if map.len() >= MAX_KNOWN {
            map.clear();
        }
        map.insert(place, what);
    }
}

fn get<T: Clone>(map: &Mutex<HashMap<Place, T>>, place: &Place) -> Option<T> {
    map.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
}

/// Proven values of keys, or `None` where there are none.
pub(super) async fn values(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    keys: impl Iterator<Item = String>,
) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
    let keys = keys.map(StateKey::ibc).collect::<Result<Vec<_>, _>>()?;
    let proven = network.light.prove(anchor, &keys).await?;
    Ok(proven.iter().map(|Proven { fact, .. }| fact.value().map(<[u8]>::to_vec)).collect())
}

/// Reads ends with what is below them; those that are not there, or not of a kind known here, are left out.
async fn read_ends(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    ids: &[ChannelEndId],
) -> Result<Vec<End>, ReadError> {
    let channels: Vec<(ChannelEndId, ChannelEnd)> =
        values(network, anchor, ids.iter().map(paths::channel))
            .await?
            .into_iter()
            .zip(ids)
            .filter_map(|(value, id)| Some((id.clone(), ChannelEnd::decode(&value?).ok()?)))
            .collect();
    let connections = unique(channels.iter().map(|(_, channel)| channel.connection.clone()));
    let connections: HashMap<ConnectionId, ConnectionEnd> =
        values(network, anchor, connections.iter().map(paths::connection))
            .await?
            .into_iter()
            .zip(&connections)
            .filter_map(|(value, id)| Some((id.clone(), ConnectionEnd::decode(&value?).ok()?)))
            .collect();
    let clients = unique(connections.values().map(|connection| connection.client.clone()));
    let clients: HashMap<ClientId, ClientState> =
        values(network, anchor, clients.iter().map(paths::client_state))
            .await?
            .into_iter()
            .zip(&clients)
            .filter_map(|(value, id)| Some((id.clone(), ClientState::decode(&value?).ok()?)))
            .collect();
    let ends = channels.into_iter().filter_map(|(id, channel)| {
        let connection = connections.get(&channel.connection)?.clone();
        let client_state = clients.get(&connection.client)?.clone();
        Some(End { id, channel, connection, client_state })
    });
    Ok(ends.collect())
}

fn unique<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items.dedup();
    items
}
