//! `postrider ibc clear`.

use super::ConfigFile;
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_ibc::{ChannelEndId, plan::Sequences};
use postrider_message::{NetworkName, Point};
use postrider_store::{Clearing, Store};
use serde_json::json;

/// Has the running node look for packets that a network's state says are pending, and take them up: those
/// it does not know, and those that wait for their time. It does so by itself at start and every
/// `clear_minutes`.
#[derive(Debug, Args)]
pub struct Clear {
    #[command(flatten)]
    file: ConfigFile,
    /// The network that the packets were sent from.
    network: NetworkName,
    /// The channel there, such as `transfer/channel-0`; all channels if not given.
    channel: Option<ChannelEndId>,
    /// Only these sequences, such as `1,3..7`.
    #[arg(long, requires = "channel")]
    sequences: Option<Sequences>,
}

impl Clear {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the network is none of IBC, or the store cannot be written.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        let network = self.network;
        if !config.ibc.contains_key(&network) {
            let demand = format!("the file has no [ibc.{network}]: nothing is relayed from there");
            return Err(Failure::Other(demand));
        }
        let channel = self.channel.as_ref().map(ToString::to_string);
        let point = channel.clone().map(Point::try_from).transpose();
        let clearing = Clearing {
            network: network.clone(),
            point: point.map_err(|error| Failure::Other(error.to_string()))?,
            sequences: self.sequences.as_ref().map(ToString::to_string),
        };
        self.file.steering().await?.ask_clearing(clearing).await?;
        let over = channel.as_deref().unwrap_or("every channel");
        output.line(&format!("the node looks for what is pending over {over} of {network}"));
        output.document(&json!({ "network": network, "channel": channel, "asked": true }));
        Ok(())
    }
}
