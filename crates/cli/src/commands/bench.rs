//! `postrider bench`.

mod chain;
mod ibc;
mod layerzero;
mod process;
mod report;
mod restart;

use crate::{failure::Failure, output::Output};
use clap::Subcommand;

/// What to measure. Each starts chains of its own, with a block a second, and counts at a proxy in
/// front of them; the node runs as a process of its own.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Messages of LayerZero from one chain to another: first all at once, then at a steady rate.
    #[command(name = "layerzero")]
    LayerZero(layerzero::BenchLayerZero),
    /// Transfers of IBC between two chains: first all at once, then one after the other.
    Ibc(ibc::BenchIbc),
    /// A node that starts with many settled messages in its store.
    Restart(restart::BenchRestart),
}

impl Bench {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::LayerZero(bench) => bench.run(output).await,
            Self::Ibc(bench) => bench.run(output).await,
            Self::Restart(bench) => bench.run(output).await,
        }
    }
}
