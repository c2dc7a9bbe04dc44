//! `postrider ibc`.

mod clear;
mod client;
mod escrows;
mod open;

use super::{ConfigFile, PasswordArgs};
use crate::{failure::Failure, output::Output};
use clap::{Args, Subcommand};
use postrider_ibc::{
    ChannelEndId, Height, PortId, Timeout,
    messages::{self, Signer},
};
use postrider_message::{NetworkName, UnixMillis};
use postrider_node::{
    Config, CosmosNetwork,
    ibc::{
        direct,
        path::{Channel, Over, PathSide, Wanted},
    },
    node::keys_path,
};
use postrider_signing::{CosmosKey, Keystore, Password};
use std::{sync::Arc, time::Duration};

/// What is IBC's own.
#[derive(Debug, Subcommand)]
pub enum Ibc {
    /// Make the ways that packets take.
    #[command(subcommand)]
    Path(PathCommand),
    /// Look after light clients.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Open and list connections.
    #[command(subcommand)]
    Connection(open::ConnectionCommand),
    /// Open, list and close channels.
    #[command(subcommand)]
    Channel(open::ChannelCommand),
    /// Send tokens over a channel.
    Transfer(Transfer),
    /// Look for packets that are pending, and take them up.
    Clear(clear::Clear),
    /// Show what is in escrow, and the vouchers for it.
    Escrows(escrows::Escrows),
}

/// Make the ways that packets take.
#[derive(Debug, Subcommand)]
pub enum PathCommand {
    /// Make clients, a connection and a channel between two networks, or end what was begun.
    Create(PathCreate),
}

impl Ibc {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Path(PathCommand::Create(command)) => command.run(output).await,
            Self::Transfer(command) => command.run(output).await,
            Self::Client(command) => command.run(output).await,
            Self::Connection(command) => command.run(output).await,
            Self::Channel(command) => command.run(output).await,
            Self::Clear(command) => command.run(output).await,
            Self::Escrows(command) => command.run(output).await,
        }
    }
}

/// Makes clients, a connection and a channel between two networks. What is there and fits is taken, so
/// run it again if it was stopped: it goes on from what the chains have. The first `signer` of each
/// network pays; stop a node that pays with the same keys meanwhile.
#[derive(Debug, Args)]
pub struct PathCreate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that begins.
    a: NetworkName,
    /// The other one.
    b: NetworkName,
    /// The module's port on the first network.
    #[arg(long, default_value = "transfer")]
    port: PortId,
    /// The module's port on the other one; as on the first if not given.
    #[arg(long)]
    counterparty_port: Option<PortId>,
    /// What the modules speak.
    #[arg(long, default_value = "ics20-1")]
    channel_version: String,
    /// Whether packets arrive in order.
    #[arg(long, value_enum, default_value_t = open::OrderArg::Unordered)]
    order: open::OrderArg,
    /// How long a header must stand before a packet is proven by it, in seconds.
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

impl PathCreate {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let password = self.password.read()?;
        let a = side(&config, &self.a, &password)?;
        let b = side(&config, &self.b, &password)?;
        let counterparty_port = self.counterparty_port.unwrap_or_else(|| self.port.clone());
        let channel = Channel {
            port: self.port,
            counterparty_port,
            order: self.order.into(),
            version: Some(self.channel_version),
        };
        let delay = Duration::from_secs(self.delay);
        let over = Over::Clients { named: [None, None], delay };
        let wanted = Wanted { over, channel: Some(channel) };
        open::open([&a, &b], &wanted, output).await
    }
}

fn network(config: &Config, name: &NetworkName) -> Result<Arc<CosmosNetwork>, Failure> {
    let settings = config.cosmos.get(name).ok_or_else(|| {
        Failure::Other(format!("the file needs [networks.{name}] of kind `cosmos`"))
    })?;
    CosmosNetwork::new(name.clone(), settings.clone())
        .map(Arc::new)
        .map_err(|error| Failure::Other(error.to_string()))
}

fn key(
    config: &Config,
    network: &CosmosNetwork,
    password: &Password,
) -> Result<CosmosKey, Failure> {
    let name = &network.name;
    let signer = network.config.signers.first();
    let signer = signer.ok_or_else(|| {
        Failure::Other(format!("[networks.{name}] has no `signer`, and somebody must pay"))
    })?;
    let keystore = Keystore::open(&keys_path(config))?;
    Ok(keystore.cosmos_key(signer, password, network.config.paying.algorithm)?)
}

fn side(config: &Config, name: &NetworkName, password: &Password) -> Result<PathSide, Failure> {
    let network = network(config, name)?;
    let key = key(config, &network, password)?;
    Ok(PathSide { network, key })
}

/// Sends tokens over a channel (ICS-20). The network's first `signer` sends and pays.
#[derive(Debug, Args)]
pub struct Transfer {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network.
    network: NetworkName,
    /// The channel there, such as `transfer/channel-0`.
    channel: ChannelEndId,
    /// How much of what, such as `1000uatom`.
    amount: String,
    /// Who receives it on the other network.
    receiver: String,
    /// After how many seconds it comes back if it was not received.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// At which height of the other network it comes back besides, with its revision, such as `1-2500`.
    #[arg(long)]
    timeout_height: Option<Height>,
    /// Words for the receiver.
    #[arg(long, default_value = "")]
    memo: String,
    /// So many transfers, in one transaction.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    count: u16,
}

impl Transfer {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let PathSide { network, key } = side(&config, &self.network, &self.password.read()?)?;
        let (amount, denom) = coin(&self.amount).ok_or_else(|| {
            let amount = &self.amount;
            Failure::Other(format!("`{amount}` is no amount: write it as 1000uatom"))
        })?;
        let now = UnixMillis::now().0;
        let until = now.saturating_add(self.timeout.saturating_mul(1000));
        let timeout = Timeout {
            height: self.timeout_height.unwrap_or_default(),
            nanoseconds: until.saturating_mul(1_000_000),
        };
        let address = network.named_by(&key);
        let message = messages::transfer(
            &self.channel,
            (amount, denom),
            &self.receiver,
            timeout,
            &self.memo,
            Signer(&address),
        );
        let all = vec![message; usize::from(self.count)];
        let sent = direct::send(&network, &key, all)
            .await
            .map_err(|error| Failure::Other(error.to_string()))?;
        let (hash, height) = (sent.hash.to_string(), sent.height.0);
        output.line(&format!("sent in transaction {hash}, block {height} of {}", self.network));
        output.document(&serde_json::json!({
            "network": self.network, "transaction": hash, "height": height, "count": self.count,
        }));
        Ok(())
    }
}

fn coin(text: &str) -> Option<(u128, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (amount, denom) = text.split_at_checked(end)?;
    Some((amount.parse().ok()?, denom))
}
