//! `postrider start`.

use super::{ConfigFile, PasswordArgs};
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_api::ServeError;
use postrider_node::{Context, Node};
use std::{process, sync::Arc};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Runs the node until it is told to stop (SIGINT, SIGTERM); told a second time, it ends at once.
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
        let stop = CancellationToken::new();
        tokio::spawn(Signals::listen()?.obey(stop.clone(), output.clone()));
        let node = Node::open(config, self.password.read()?).await?;
        let context = Arc::clone(node.context());
        let mut served = Vec::from_iter(serve(&context, output, &stop).await?);
        served.extend(serve_peers(&node, output, &stop).await?);
        output.note("postrider runs; Ctrl-C stops it");
        let ended = node.run(stop.clone()).await;
        stop.cancel();
        for served in served {
            // What went wrong was logged as it happened.
            let _ = served.await;
        }
        ended?;
        let parked = context.parked().await?;
        output.note(&format!(
            "stopped; parked on disk: {} transactions on their way, {} messages that have not \
             ended; the next start takes them up",
            parked.transactions, parked.messages
        ));
        Ok(())
    }
}

/// Serves HTTP beside the node, if the configuration says so.
async fn serve(
    context: &Arc<Context>,
    output: &Output,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(api) = context.config.api else { return Ok(None) };
    let listener = postrider_api::bind(api.listen).await?;
    let address = listener.local_addr()?;
    output.note(&format!("HTTP at http://{address}"));
    let serving = postrider_api::serve(listener, Arc::clone(context), stop.child_token());
    Ok(Some(tokio::spawn(async move {
        // R6: messages are carried on while nobody can look.
        if let Err(error) = serving.await {
            tracing::error!(%error, "HTTP is served no more");
        }
    })))
}

/// Answers peers beside the node, if the configuration says so.
async fn serve_peers(
    node: &Node,
    output: &Output,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let listen = node.context().config.peering.as_ref().and_then(|peering| peering.listen);
    let (Some(listen), Some(desk)) = (listen, node.desk()) else { return Ok(None) };
    let listener = postrider_api::bind(listen).await?;
    let address = listener.local_addr()?;
    output.note(&format!("peers may ask at http://{address}"));
    let serving = postrider_api::peering::serve(listener, Arc::clone(desk), stop.child_token());
    Ok(Some(tokio::spawn(async move {
        // R6: what this node can sign and carry alone goes on.
        if let Err(error) = serving.await {
            tracing::error!(%error, "peers are answered no more");
        }
    })))
}

/// The signals that stop a node.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::io("listening for signals"));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn obey(mut self, stop: CancellationToken, output: Output) {
        self.next().await;
        output.note("stopping; a second signal ends it at once");
        stop.cancel();
        self.next().await;
        output.note("ended at once; what is on disk is taken up at the next start");
        process::exit(1);
    }
}
