//! `postrider send`.

use super::devnet::Place;
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_devnet::{Chain, Devnet, layerzero::DEFAULT_OPTIONS};

/// Sends a text from a contract on one chain of the development network to one on another.
#[derive(Debug, Args)]
pub struct Send {
    /// What to say.
    text: String,
    /// The chain that sends.
    #[arg(long, default_value = "alpha")]
    from: String,
    /// The chain that receives.
    #[arg(long, default_value = "beta")]
    to: String,
    #[command(flatten)]
    place: Place,
}

impl Send {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the development network does not run or has no such chain.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let devnet = Devnet::load(&self.place.chains()).await?;
        let eid = chain(&devnet, &self.to)?.deployment().eid;
        let from = chain(&devnet, &self.from)?;
        let transaction = from.apps().send_mock(eid, &self.text, &DEFAULT_OPTIONS).await?;
        output.line(&format!("sent in transaction {transaction}"));
        output.line(&format!("follow it: postrider trace {transaction}"));
        output.document(&serde_json::json!({ "transaction": transaction }));
        Ok(())
    }
}

fn chain<'a>(devnet: &'a Devnet, name: &str) -> Result<&'a Chain, Failure> {
    devnet.chain(name).ok_or_else(|| {
        let known: Vec<&str> = devnet.chains().iter().map(Chain::name).collect();
        Failure::Other(format!("no chain `{name}`; there are {}", known.join(" and ")))
    })
}
