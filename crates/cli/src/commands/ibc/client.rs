//! `postrider ibc client`.

use super::{ConfigFile, PasswordArgs, network, side};
use crate::{failure::Failure, output::Output};
use clap::{Args, Subcommand};
use postrider_ibc::ClientId;
use postrider_message::{Height, NetworkName};
use postrider_node::{
    Config, CosmosNetwork,
    ibc::{
        manage,
        path::{PathError, PathSide},
        upgrade,
    },
};
use serde_json::json;
use std::sync::Arc;

/// Light clients.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// List the clients on a network, and how long they still believe.
    List(ClientList),
    /// Make a client, whatever clients there are.
    Create(ClientCreate),
    /// Lead a client to the newest block of the chain that it follows.
    Update(ClientUpdate),
    /// Take a client over an upgrade of the chain that it follows.
    Upgrade(ClientUpgrade),
    /// Write the proposal by which governance recovers an expired or frozen client.
    Recover(ClientRecover),
}

impl ClientCommand {
    pub(super) async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List(command) => command.run(output).await,
            Self::Create(command) => command.run(output).await,
            Self::Update(command) => command.run(output).await,
            Self::Upgrade(command) => command.run(output).await,
            Self::Recover(command) => command.run(output),
        }
    }
}

/// Lists the clients on a network. What it says is proven by that network's state.
#[derive(Debug, Args)]
pub struct ClientList {
    #[command(flatten)]
    file: ConfigFile,
    /// The network.
    network: NetworkName,
}

impl ClientList {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let on = network(&config, &self.network)?;
        let mut rows = Vec::new();
        for (client, now) in manage::clients(&on).await.map_err(|error| other(&error))? {
            let trouble = client.unusable(now).map(String::from);
            let left = client.expires().map(|then| then.0.saturating_sub(now.0) / 1000);
            let (id, state) = (&client.id, &client.state);
            let status = match (&trouble, left) {
                (Some(trouble), _) => trouble.clone(),
                (None, left) => format!("expires in {} s", left.unwrap_or_default()),
            };
            output.line(&format!("{id} of {} at {}: {status}", state.chain_id, state.latest));
            rows.push(json!({
                "client": id, "chain_id": state.chain_id, "latest": state.latest.to_string(),
                "trust_level": format!("{}/{}", state.trust_level.0, state.trust_level.1),
                "trusting_period_seconds": state.trusting_period.as_secs(),
                "expires_in_seconds": left, "trouble": trouble,
            }));
        }
        output.document(&json!({ "network": self.network, "clients": rows }));
        Ok(())
    }
}

/// Makes a light client. The first `signer` of the network with the client pays.
#[derive(Debug, Args)]
pub struct ClientCreate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that has the client.
    on: NetworkName,
    /// The network that it follows.
    of: NetworkName,
}

impl ClientCreate {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let password = self.password.read()?;
        let (on, of) = (side(&config, &self.on, &password)?, side(&config, &self.of, &password)?);
        let client = manage::create_client(&on, &of).await.map_err(|error| other(&error))?;
        output.line(&format!("{client} on {} follows {}", self.on, self.of));
        output.document(&json!({ "network": self.on, "follows": self.of, "client": client }));
        Ok(())
    }
}

/// Leads a client on. The first `signer` of its network pays.
#[derive(Debug, Args)]
pub struct ClientUpdate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that has the client.
    on: NetworkName,
    /// The client, such as `07-tendermint-0`.
    client: ClientId,
}

impl ClientUpdate {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let on = side(&config, &self.on, &self.password.read()?)?;
        let of = followed(&config, &on, &self.client).await?;
        let height =
            manage::update_client(&on, &of, &self.client).await.map_err(|error| other(&error))?;
        output.line(&match height {
            Some(height) => format!("{} on {} is at height {height}", self.client, self.on),
            None => format!("{} on {} holds the newest block already", self.client, self.on),
        });
        let height = height.map(|height| height.0);
        output
            .document(&json!({ "network": self.on, "client": self.client, "updated_to": height }));
        Ok(())
    }
}

/// Takes a client over an upgrade, while its chain stands still at the height of the upgrade or before anybody
/// led the client further. The first `signer` of its network pays.
#[derive(Debug, Args)]
pub struct ClientUpgrade {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network that has the client.
    on: NetworkName,
    /// The client, such as `07-tendermint-0`.
    client: ClientId,
    /// The height of the upgrade, if the chain has gone on since.
    #[arg(long)]
    height: Option<u64>,
}

impl ClientUpgrade {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let on = side(&config, &self.on, &self.password.read()?)?;
        let of = followed(&config, &on, &self.client).await?;
        let done = upgrade::upgrade_client(&on, &of, &self.client, self.height.map(Height))
            .await
            .map_err(|error| Failure::Other(error.to_string()))?;
        let (at, state) = (done.at.0, &done.client.state);
        output.line(&format!(
            "{} on {} follows {} from {} on, by the upgrade at height {at}",
            self.client, self.on, state.chain_id, state.latest
        ));
        output.document(&json!({
            "network": self.on, "client": self.client, "upgraded_at": at, "chain_id": state.chain_id,
            "latest": state.latest.to_string(),
            "trusting_period_seconds": state.trusting_period.as_secs(),
            "unbonding_period_seconds": state.unbonding_period.as_secs(),
        }));
        Ok(())
    }
}

/// The network of ours that a client follows.
async fn followed(
    config: &Config,
    on: &PathSide,
    client: &ClientId,
) -> Result<Arc<CosmosNetwork>, Failure> {
    let clients = manage::clients(&on.network).await.map_err(|error| other(&error))?;
    let named = clients.iter().find(|(held, _)| held.id == *client);
    let (client, _) = named
        .ok_or_else(|| Failure::Other(format!("{} has no client {client}", on.network.name)))?;
    network(config, &follows(config, &client.state.chain_id)?)
}

/// The network of ours with this chain id.
fn follows(config: &Config, chain_id: &str) -> Result<NetworkName, Failure> {
    let found = config.cosmos.iter().find(|(_, network)| network.chain_id.as_str() == chain_id);
    found.map(|(name, _)| name.clone()).ok_or_else(|| {
        let demand =
            format!("it follows `{chain_id}`, and the file names no network of that chain id");
        Failure::Other(demand)
    })
}

/// Writes the proposal, to be handed in with the chain's own command line: `tx gov submit-proposal FILE`.
#[derive(Debug, Args)]
pub struct ClientRecover {
    #[command(flatten)]
    file: ConfigFile,
    /// The network that has the client.
    on: NetworkName,
    /// The client that expired or was frozen.
    subject: ClientId,
    /// An active one with the same parameters (`postrider ibc client create` makes it).
    substitute: ClientId,
    /// The proposal's deposit, such as `500000000uatom`.
    #[arg(long, default_value = "")]
    deposit: String,
}

impl ClientRecover {
    fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let on = network(&config, &self.on)?;
        let prefix = &on.config.prefix;
        let proposal =
            manage::recovery_proposal(prefix, &self.subject, &self.substitute, &self.deposit);
        output.line(&format!("{proposal:#}"));
        output.document(&proposal);
        Ok(())
    }
}

pub(super) fn other(error: &PathError) -> Failure {
    Failure::Other(error.to_string())
}
