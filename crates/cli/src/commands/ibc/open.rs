//! `postrider ibc connection` and `postrider ibc channel`.

use super::{ConfigFile, PasswordArgs, client::other, network, side};
use crate::{failure::Failure, output::Output};
use clap::{Args, Subcommand, ValueEnum};
use postrider_devnet::Progress;
use postrider_ibc::{
    ChannelEndId, ClientId, ConnectionId, HandshakeState, Order, PortId,
    state::{ChannelEnd, ConnectionEnd},
};
use postrider_message::NetworkName;
use postrider_node::ibc::{
    ends::{self, Both},
    manage,
    path::{self, Channel, Over, PathSide, Wanted},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Connections.
#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// Open a connection between two networks, or end what anybody has begun of one.
    Create(ConnectionCreate),
    /// List the connections between two networks, with the state of both ends.
    List(ConnectionList),
}

/// Channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Open a channel over a connection, or end what anybody has begun of one.
    Create(ChannelCreate),
    /// List the channels between two networks, with the state of both ends.
    List(ChannelList),
    /// Close a channel on both sides.
    Close(ChannelClose),
}

impl ConnectionCommand {
    pub(super) async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(output).await,
            Self::List(command) => command.run(output).await,
        }
    }
}

impl ChannelCommand {
    pub(super) async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(output).await,
            Self::List(command) => command.run(output).await,
            Self::Close(command) => command.run(output).await,
        }
    }
}

/// Whether packets arrive in order.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum OrderArg {
    /// In order; one that times out closes the channel.
    Ordered,
    /// In any order.
    Unordered,
}

impl From<OrderArg> for Order {
    fn from(order: OrderArg) -> Self {
        match order {
            OrderArg::Ordered => Self::Ordered,
            OrderArg::Unordered => Self::Unordered,
        }
    }
}

/// Opens what is wanted, and tells what there is then.
pub(super) async fn open(
    sides: [&PathSide; 2],
    wanted: &Wanted,
    output: &Output,
) -> Result<(), Failure> {
    let [a, b] = sides;
    let tell = |text: String| output.step(&text);
    let made = path::create(a, b, wanted, &tell)
        .await
        .map_err(|error| Failure::Other(format!("{error}; run this again to go on")))?;
    for side in &made.sides {
        let new = if side.client_created { " (new)" } else { "" };
        let channel = side.end().map(|end| format!(", {end}")).unwrap_or_default();
        let (network, client, connection) = (&side.network, &side.client, &side.connection);
        output.line(&format!("{network}: {client}{new}, {connection}{channel}"));
    }
    output.document(&made);
    Ok(())
}

/// Opens a connection. What is there and fits is taken, so run it again if it was stopped. The first `signer`
/// of each network pays.
#[derive(Debug, Args)]
pub struct ConnectionCreate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that begins.
    a: NetworkName,
    /// The other one.
    b: NetworkName,
    /// The client on the first network; one that fits is taken or made if not given.
    #[arg(long)]
    client_a: Option<ClientId>,
    /// The client on the other one; likewise.
    #[arg(long)]
    client_b: Option<ClientId>,
    /// How long a header must stand before a packet is proven by it, in seconds.
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

impl ConnectionCreate {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let password = self.password.read()?;
        let (a, b) = (side(&config, &self.a, &password)?, side(&config, &self.b, &password)?);
        let delay = Duration::from_secs(self.delay);
        let over = Over::Clients { named: [self.client_a, self.client_b], delay };
        open([&a, &b], &Wanted { over, channel: None }, output).await
    }
}

/// Opens a channel. One that anybody has begun over the connection is ended, also where a module begins its
/// channels itself, as interchain accounts do. The first `signer` of each network pays.
#[derive(Debug, Args)]
pub struct ChannelCreate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that begins.
    a: NetworkName,
    /// The other one.
    b: NetworkName,
    /// The connection on the first network, such as `connection-0`.
    #[arg(long)]
    connection: ConnectionId,
    /// The module's port on the first network.
    #[arg(long, default_value = "transfer")]
    port: PortId,
    /// The module's port on the other one; as on the first if not given.
    #[arg(long)]
    counterparty_port: Option<PortId>,
    /// What the modules speak. If not given, a channel that is there is taken whatever it speaks, and the
    /// modules choose for a new one.
    #[arg(long)]
    channel_version: Option<String>,
    /// Whether packets arrive in order.
    #[arg(long, value_enum, default_value_t = OrderArg::Unordered)]
    order: OrderArg,
}

impl ChannelCreate {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let password = self.password.read()?;
        let (a, b) = (side(&config, &self.a, &password)?, side(&config, &self.b, &password)?);
        let channel = Channel {
            counterparty_port: self.counterparty_port.unwrap_or_else(|| self.port.clone()),
            port: self.port,
            order: self.order.into(),
            version: self.channel_version,
        };
        let over = Over::Connection(self.connection);
        open([&a, &b], &Wanted { over, channel: Some(channel) }, output).await
    }
}

/// Lists connections. What stands at each end is proven by the networks' states.
#[derive(Debug, Args)]
pub struct ConnectionList {
    #[command(flatten)]
    file: ConfigFile,
    /// A network.
    a: NetworkName,
    /// Another one.
    b: NetworkName,
}

impl ConnectionList {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let (a, b) = (network(&config, &self.a)?, network(&config, &self.b)?);
        let found = ends::between(&a, &b).await.map_err(|error| other(&error))?.connections;
        for both in &found {
            output.line(&line([&self.a, &self.b], both, |id, end| {
                format!("{id} over {} is {}", end.client, word(end.state))
            }));
        }
        let rows = rows(&found, |(id, end): &(ConnectionId, ConnectionEnd)| {
            json!({
                "connection": id, "client": end.client, "state": end.state,
                "delay_seconds": end.delay.as_secs(),
            })
        });
        output.document(&json!({ "networks": [self.a, self.b], "connections": rows }));
        Ok(())
    }
}

/// Lists channels. What stands at each end is proven by the networks' states.
#[derive(Debug, Args)]
pub struct ChannelList {
    #[command(flatten)]
    file: ConfigFile,
    /// A network.
    a: NetworkName,
    /// Another one.
    b: NetworkName,
}

impl ChannelList {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let (a, b) = (network(&config, &self.a)?, network(&config, &self.b)?);
        let found = ends::between(&a, &b).await.map_err(|error| other(&error))?.channels;
        for both in &found {
            output.line(&line([&self.a, &self.b], both, |id, end| {
                format!("{id} over {} is {}", end.connection, word(end.state))
            }));
        }
        let rows = rows(&found, |(id, end): &(ChannelEndId, ChannelEnd)| {
            json!({
                "channel": id.to_string(), "connection": end.connection, "state": end.state,
                "ordered": end.order == Order::Ordered, "version": end.version,
            })
        });
        output.document(&json!({ "networks": [self.a, self.b], "channels": rows }));
        Ok(())
    }
}

fn word(state: HandshakeState) -> &'static str {
    match state {
        HandshakeState::Init => "begun",
        HandshakeState::TryOpen => "answered",
        HandshakeState::Open => "open",
        HandshakeState::Closed => "closed",
    }
}

fn line<I, E>(
    networks: [&NetworkName; 2],
    both: &Both<I, E>,
    words: impl Fn(&I, &E) -> String,
) -> String {
    let [a, b] = both.each_ref().map(|end| match end {
        Some((id, end)) => words(id, end),
        None => "nothing".to_owned(),
    });
    let [on_a, on_b] = networks;
    format!("{on_a}: {a}; {on_b}: {b}")
}

fn rows<I, E>(all: &[Both<I, E>], row: impl Fn(&(I, E)) -> Value) -> Vec<Value> {
    let side = |end: &Option<(I, E)>| end.as_ref().map(&row);
    all.iter().map(|both| json!({ "sides": both.each_ref().map(side) })).collect()
}

/// Closes a channel, and confirms that on the other side; what is closed already is left. The first
/// `signer` of each network pays. Token transfers cannot be closed.
#[derive(Debug, Args)]
pub struct ChannelClose {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that begins.
    network: NetworkName,
    /// The channel there, such as `icacontroller-1/channel-0`.
    channel: ChannelEndId,
    /// The other network.
    other: NetworkName,
}

impl ChannelClose {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let password = self.password.read()?;
        let a = side(&config, &self.network, &password)?;
        let b = side(&config, &self.other, &password)?;
        let steps =
            manage::close_channel(&a, &b, &self.channel).await.map_err(|error| other(&error))?;
        output.line(&format!("{} is closed on both sides", self.channel));
        let (network, channel) = (&self.network, &self.channel);
        output.document(
            &json!({ "network": network, "channel": channel.to_string(), "steps": steps }),
        );
        Ok(())
    }
}
