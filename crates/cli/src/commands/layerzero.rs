//! `postrider layerzero`.

use super::{ConfigFile, PasswordArgs, pathway::Inspect};
use crate::{failure::Failure, output::Output};
use alloy_primitives::Address;
use clap::{Args, Subcommand};
use postrider_devnet::Progress;
use postrider_message::{KeyName, NetworkName};
use postrider_node::{
    Config, Network,
    deploy::{self, DeployError},
    node::keys_path,
};
use postrider_signing::{Keystore, Password};
use std::time::Duration;

/// How long the contract may take to appear.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is LayerZero's own.
#[derive(Debug, Subcommand)]
pub enum LayerZero {
    /// Make the contract that delivers many messages in one transaction.
    DeployBatch(DeployBatch),
    /// Compare how applications have set up the ways of their messages on both chains.
    Inspect(Inspect),
}

impl LayerZero {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::DeployBatch(command) => command.run(output).await,
            Self::Inspect(command) => command.run(output).await,
        }
    }
}

/// Makes the BatchDelivery contract for a network's endpoint, unless it stands already. Its address
/// follows from its code; it has no owner and keeps nothing. Stop a node that pays with the same
/// key meanwhile.
#[derive(Debug, Args)]
pub struct DeployBatch {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
    /// The network.
    #[arg(long)]
    network: NetworkName,
    /// The key that pays; the network's first `signer` if not given.
    #[arg(long)]
    key: Option<KeyName>,
}

impl DeployBatch {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let name = &self.network;
        let password = || self.password.read();
        let (address, made) = ensure(&config, name, self.key.as_ref(), password, output).await?;
        let text = format!("{address:#x}");
        output.line(&format!("BatchDelivery stands at {text} on {name}"));
        output.line(&format!("use it: set `batch = \"{text}\"` in [layerzero.{name}]"));
        output.document(&serde_json::json!({ "network": name, "batch": text, "made": made }));
        Ok(())
    }
}

/// Makes the contract for a network's endpoint unless it stands; returns its address, and whether it
/// was made. The password is asked for only where a key is needed.
///
/// # Errors
/// [`Failure`].
pub async fn ensure(
    config: &Config,
    name: &NetworkName,
    key: Option<&KeyName>,
    password: impl FnOnce() -> Result<Password, Failure>,
    output: &Output,
) -> Result<(Address, bool), Failure> {
    let (Some(settings), Some(deployment)) =
        (config.networks.get(name), config.deployments.on(name))
    else {
        let text = format!("the file needs [networks.{name}] and [layerzero.{name}]");
        return Err(Failure::Other(text));
    };
    let network = Network::new(name.clone(), settings.clone())
        .map_err(|error| Failure::Other(error.to_string()))?;
    let endpoint = deployment.endpoint;
    let (making, stands) = deploy::find(&network, endpoint).await?;
    if stands {
        return Ok((making.address, false));
    }
    let key = key.or(settings.signers.first());
    let key = key.ok_or_else(|| Failure::Other(format!("{name} has no signer; give --key")))?;
    let key = Keystore::open(&keys_path(config))?.transaction_key(key, &password()?)?;
    let hash = deploy::send(&network, &making, &key).await?;
    output.step(&format!("sent {hash} to {name}; waiting until it is in a block"));
    let found = async {
        while !deploy::find(&network, endpoint).await?.1 {
            tokio::time::sleep(network.config.poll).await;
        }
        Ok::<(), DeployError>(())
    };
    tokio::time::timeout(PATIENCE, found).await.map_err(|_| {
        Failure::Other(format!("{hash} is in no block after {PATIENCE:?}; run this again"))
    })??;
    Ok((making.address, true))
}
