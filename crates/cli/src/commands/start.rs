//! `postrider start`.

use super::{ConfigFile, PasswordArgs};
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_node::Node;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs the node until it is told to stop (SIGINT, SIGTERM).
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
}

impl Start {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.config.load()?;
        let node = Node::open(config, self.password.read()?).await?;
        let stop = CancellationToken::new();
        let mut terminate =
            signal(SignalKind::terminate()).map_err(Failure::io("listening for signals"))?;
        let on_signal = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            on_signal.cancel();
        });
        output.note("postrider runs; Ctrl-C stops it");
        node.run(stop).await?;
        output.note("stopped; what was on its way is taken up again at the next start");
        Ok(())
    }
}
