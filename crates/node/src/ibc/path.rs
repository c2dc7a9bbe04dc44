//! Makes a path between two networks: clients, a connection and a channel. What is there and fits is taken,
//! so a run that was killed is ended by the next one.

use super::{
    channels::{ReadError, values},
    clients,
    direct::{SendError, account, send, send_at},
    find::{fitting_client, is_usable},
    shaking::{Pair, Shaking},
};
use crate::cosmos::CosmosNetwork;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{LightError, TxInclusion, UpstreamError};
use postrider_ibc::{
    BadId, ChannelEndId, ClientId, ConnectionId, Order, PortId,
    handshake::{WantedChannel, WantedPath},
    messages::{self, NewClient, Signer},
    paths,
    state::ConnectionEnd,
};
use postrider_message::NetworkName;
use postrider_signing::CosmosKey;
use postrider_verification::tendermint::CosmosAnchor;
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// The part of the voting power that a new client asks for, as ibc-go's own do.
const TRUST_LEVEL: (u64, u64) = (1, 3);
/// A new client bears a clock that is ahead by so much more than this node does: blocks are slow.
const MORE_DRIFT: Duration = Duration::from_secs(30);
/// How often a client is looked for while something else of the account gets into blocks.
const MAX_LOOKS: usize = 40;
/// How long to wait for a block.
const LOOK: Duration = Duration::from_millis(200);
const PATIENCE: u32 = 600;

/// Why there is no path.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// State was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A transaction did not succeed.
    #[error("on {network}: {error}")]
    Send {
        /// Where.
        network: NetworkName,
        /// Why.
        error: SendError,
    },
    /// A list was not told.
    #[error("a list was not told: {0}")]
    Upstream(#[from] UpstreamError),
    /// A name that a chain told is none.
    #[error(transparent)]
    Id(#[from] BadId),
    /// A chain makes no blocks.
    #[error("{0} makes no blocks")]
    Halted(NetworkName),
    /// It does not end.
    #[error("the path was not open after {0} steps; look at its two ends")]
    Endless(usize),
    /// A client that was named is of no use.
    #[error(
        "client {client} on {network} does not follow {other}, or is frozen or expired: name another one, or \
         none"
    )]
    Unfit {
        /// Where the client is.
        network: NetworkName,
        /// The client.
        client: ClientId,
        /// What it should follow.
        other: NetworkName,
    },
    /// A connection that was named is not there.
    #[error("{network} has no {connection}: `postrider ibc connection list` tells which there are")]
    NoConnection {
        /// Where it should be.
        network: NetworkName,
        /// The connection.
        connection: ConnectionId,
    },
}

impl From<LightError> for PathError {
    fn from(error: LightError) -> Self {
        Self::Read(error.into())
    }
}

/// One side of a path, and who pays there.
pub struct PathSide {
    /// The network.
    pub network: Arc<CosmosNetwork>,
    /// Who pays.
    pub key: CosmosKey,
}

impl PathSide {
    pub(super) fn failed(&self, error: SendError) -> PathError {
        PathError::Send { network: self.network.name.clone(), error }
    }
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What stands already.
    pub over: Over,
    /// The channel, as the first side begins it; only a connection if none.
    pub channel: Option<Channel>,
}

/// What of a path is named.
#[derive(Debug, Clone)]
pub enum Over {
    /// The clients, in the order of the sides; where none is named, one that fits is taken or made.
    Clients {
        /// The clients.
        named: [Option<ClientId>; 2],
        /// How long a header must stand before a packet is proven by it.
        delay: Duration,
    },
    /// The connection's end on the first side, in whatever state.
    Connection(ConnectionId),
}

impl Over {
    /// Whatever clients fit, without a delay.
    pub const ANY: Self = Self::Clients { named: [None, None], delay: Duration::ZERO };
}

/// What a channel is to be like, as the first side begins it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// The module here.
    pub port: PortId,
    /// The module there.
    pub counterparty_port: PortId,
    /// Whether packets arrive in order.
    pub order: Order,
    /// What the modules speak, such as `ics20-1`; where none is said, the channel that is there is taken
    /// whatever it speaks, and the modules choose for a new one.
    pub version: Option<String>,
}

/// What one side of a path has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeSide {
    /// The network.
    pub network: NetworkName,
    /// The client there, of the other network.
    pub client: ClientId,
    /// Whether this run made it.
    pub client_created: bool,
    /// The connection's end.
    pub connection: ConnectionId,
    /// The module; none where only a connection was wanted.
    pub port: Option<String>,
    /// The channel's end; likewise.
    pub channel: Option<String>,
}

impl MadeSide {
    /// The channel's end, such as `transfer/channel-0`.
    #[must_use]
    pub fn end(&self) -> Option<ChannelEndId> {
        let (port, channel) = (self.port.as_ref()?, self.channel.as_ref()?);
        Some(ChannelEndId { port: port.parse().ok()?, channel: channel.parse().ok()? })
    }
}

/// A path that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its sides, in the order they were named.
    pub sides: [MadeSide; 2],
    /// Steps of handshakes that this run took.
    pub steps: usize,
}

/// Makes a path from `a` to `b`, or ends one that was begun. `tell` is told each step.
///
/// # Errors
/// [`PathError`]. Whatever was done stays; the next run goes on from there.
pub async fn create(
    a: &PathSide,
    b: &PathSide,
    wanted: &Wanted,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Made, PathError> {
    for side in [a, b] {
        side.network.begin(None).await?;
    }
    let (clients, created, delay, over) = match &wanted.over {
        Over::Clients { named: [named_a, named_b], delay } => {
            let (client_a, client_b) = tokio::try_join!(
                client(a, b, named_a.as_ref(), tell),
                client(b, a, named_b.as_ref(), tell)
            )?;
            let created = Pair { a: client_a.1, b: client_b.1 };
            (Pair { a: client_a.0, b: client_b.0 }, created, *delay, None)
        }
        Over::Connection(id) => {
            let end = connection_end(a, id).await?;
            let clients = Pair { a: end.client, b: end.counterparty_client };
            tokio::try_join!(usable(a, b, &clients.a), usable(b, a, &clients.b))?;
            (clients, Pair { a: false, b: false }, end.delay, Some(id.clone()))
        }
    };
    let channel = wanted.channel.clone().map(|channel| WantedChannel {
        port_a: channel.port,
        port_b: channel.counterparty_port,
        order: channel.order,
        version: channel.version,
    });
    let path = WantedPath { client_a: clients.a, client_b: clients.b, delay, channel };
    Shaking::new(Pair { a, b }, path, over, created).finish(tell).await
}

/// The end of a connection that was named.
async fn connection_end(side: &PathSide, id: &ConnectionId) -> Result<ConnectionEnd, PathError> {
    let network = &side.network;
    let anchor = network.newest().await?.anchor;
    let told = values(network, &anchor, std::iter::once(paths::connection(id))).await?;
    let value = told.into_iter().flatten().next().ok_or_else(|| PathError::NoConnection {
        network: network.name.clone(),
        connection: id.clone(),
    })?;
    Ok(ConnectionEnd::decode(&value).map_err(ReadError::from)?)
}

/// Refuses a client that was named and is of no use.
async fn usable(side: &PathSide, other: &PathSide, id: &ClientId) -> Result<(), PathError> {
    let anchor = side.network.newest().await?.anchor;
    let mut read = clients::read(&side.network, &anchor, std::slice::from_ref(id)).await?;
    let client = read.remove(id).ok_or_else(|| ReadError::NoClient(id.clone()))?;
    if is_usable(&other.network, &client, clients::time(&anchor)).await? {
        return Ok(());
    }
    Err(PathError::Unfit {
        network: side.network.name.clone(),
        client: id.clone(),
        other: other.network.name.clone(),
    })
}

pub(super) async fn wait_for(network: &CosmosNetwork, height: u64) -> Result<(), PathError> {
    for _ in 0..PATIENCE {
        if network.newest().await?.anchor.block().height.0 >= height {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(PathError::Halted(network.name.clone()))
}

/// The client on one side of the other one, and whether it was made now.
async fn client(
    side: &PathSide,
    other: &PathSide,
    named: Option<&ClientId>,
    tell: &(dyn Fn(String) + Sync),
) -> Result<(ClientId, bool), PathError> {
    if let Some(named) = named {
        usable(side, other, named).await?;
        return Ok((named.clone(), false));
    }
    let (here, there) = (&side.network.name, &other.network.name);
    for _ in 0..MAX_LOOKS {
        let anchor = side.network.newest().await?.anchor;
        if let Some(found) = fitting_client((&side.network, &anchor), &other.network).await? {
            tell(format!("client {found} of {there} found on {here}"));
            return Ok((found, false));
        }
        let messages = vec![new_client_message(side, other).await?];
        if let Some(sent) = send_as_of(side, &anchor, messages).await? {
            let id = created(&sent)?;
            tell(format!("client {id} of {there} created on {here}"));
            return Ok((id, true));
        }
        wait_for(&side.network, anchor.block().height.0.saturating_add(1)).await?;
    }
    Err(side.failed(SendError::Busy))
}

/// Sends what is needed by the state that a block names; `None` if the account has sent something since, or
/// is about to. So what a killed run had handed in is not handed in a second time.
pub(super) async fn send_as_of(
    side: &PathSide,
    anchor: &CosmosAnchor,
    messages: Vec<Any>,
) -> Result<Option<TxInclusion>, PathError> {
    let after = Some(anchor.state().block());
    let sending = async {
        let account = account(&side.network, &side.key, after).await?;
        send_at(&side.network, &side.key, account, messages).await
    };
    sending.await.map_err(|error| side.failed(error))
}

/// Makes a client on one side, of the other one.
pub(super) async fn new_client(side: &PathSide, other: &PathSide) -> Result<ClientId, PathError> {
    let message = new_client_message(side, other).await?;
    let sent = send(&side.network, &side.key, vec![message]).await;
    created(&sent.map_err(|error| side.failed(error))?)
}

async fn new_client_message(side: &PathSide, other: &PathSide) -> Result<Any, PathError> {
    let newest = other.network.newest().await?.anchor;
    let trust = &other.network.config.trust;
    let new = NewClient {
        block: newest.claimed(),
        trust_level: TRUST_LEVEL,
        trusting_period: trust.trusting_period(),
        unbonding_period: unbonding(&other.network).await?.max(trust.trusting_period()),
        max_clock_drift: trust.clock_drift().saturating_add(MORE_DRIFT),
    };
    let address = side.network.named_by(&side.key);
    Ok(messages::create_client(&new, Signer(&address)))
}

fn created(sent: &TxInclusion) -> Result<ClientId, PathError> {
    let created = sent.result.events.iter().find(|event| event.kind == "create_client");
    let id = created.and_then(|event| event.attribute("client_id")).unwrap_or_default();
    Ok(id.parse()?)
}

/// How long a chain's stake is bound.
async fn unbonding(network: &CosmosNetwork) -> Result<Duration, PathError> {
    use futures::FutureExt;
    use postrider_cosmos::Need;
    let upstreams = &network.upstreams;
    Ok(upstreams.first(Need::Newest, |u| u.unbonding_period().boxed()).await?)
}
