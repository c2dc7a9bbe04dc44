//! `postrider demo`.

mod ibc;

use super::devnet::bring_up;
use crate::{
    failure::Failure,
    output::Output,
    workspace::{PASSWORD, Workspace},
};
use clap::Args;
use ibc::Ibc;
use postrider_api::view::MessageReport;
use postrider_devnet::{Chain, Devnet, Progress, layerzero::DEFAULT_OPTIONS};
use postrider_message::{MessageStatus, Outcome};
use postrider_node::{Config, Node, StartError};
use postrider_store::{MessageFilter, Store};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a message may take before the demo calls it undelivered.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the store is looked at for what to show.
const LOOK: Duration = Duration::from_millis(100);

/// Starts two chains with LayerZero's contracts, two ibc-go chains with a channel between them, and one
/// node for all of them that attests, commits, executes and relays; lets contracts talk and tokens
/// cross; and shows each message's way.
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep everything running until Ctrl-C.
    #[arg(long)]
    stay: bool,
    /// Work in this folder and leave it there, instead of one that goes away.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure::NotDelivered`] if a message did not arrive.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let temporary = tempfile::tempdir().map_err(Failure::io("making a folder for the demo"))?;
        let folder = self.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
        let workspace = Workspace::new(&folder, 0);
        let devnet = bring_up(&workspace, &folder.join("devnet"), false, output).await?;
        let ibc = Ibc::start(&workspace.config_path(), &folder.join("ibc"), output).await?;
        output.step("starting postrider as DVN, committer, executor and relayer");
        let node = Running::start(&workspace).await?;
        let told = self.converse(output, &devnet, ibc.as_ref(), &node).await;
        if self.stay && told.is_ok() {
            output.note(&format!(
                "everything runs on; look with `postrider messages --config {}`; Ctrl-C ends it",
                workspace.config_path().display()
            ));
            tokio::signal::ctrl_c().await.map_err(Failure::io("waiting for Ctrl-C"))?;
        }
        node.stop().await?;
        output.step("stopping the chains");
        devnet.down().await?;
        told
    }

    async fn converse(
        &self,
        output: &Output,
        devnet: &Devnet,
        ibc: Option<&Ibc>,
        node: &Running,
    ) -> Result<(), Failure> {
        let [alpha, beta] = devnet.chains() else {
            return Err(Failure::Other("the demo needs exactly two chains".into()));
        };
        let mut screen = Screen::new(output, node);
        output.step("alpha says \"Hello, beta!\"");
        say(alpha, beta, "Hello, beta!").await?;
        screen.until_settled(1).await?;
        let heard = beta.apps().read_mock_data().await?;
        output.step(&format!("beta's contract heard {heard:?} and answers \"Hello, alpha!\""));
        say(beta, alpha, "Hello, alpha!").await?;
        screen.until_settled(2).await?;
        let answer = alpha.apps().read_mock_data().await?;
        output.step(&format!("alpha's contract heard {answer:?}"));
        output.step("alpha says three things in one transaction, while beta says one");
        let texts = ["one", "two", "three"];
        let eid = beta.deployment().eid;
        alpha.apps().send_mock_many_in_one_tx(eid, &texts, &DEFAULT_OPTIONS).await?;
        say(beta, alpha, "I am listening").await?;
        let mut sent = 6;
        if let Some(ibc) = ibc {
            output.step("three transfers of tokens leave gamma meanwhile, and two leave delta");
            ibc.send(0, 3).await?;
            ibc.send(1, 2).await?;
            sent += 5;
        }
        screen.until_settled(sent).await?;
        let heard_all = heard == "Hello, beta!" && answer == "Hello, alpha!";
        screen.end(heard_all).await
    }
}

async fn say(from: &Chain, to: &Chain, text: &str) -> Result<(), Failure> {
    from.apps().send_mock(to.deployment().eid, text, &DEFAULT_OPTIONS).await?;
    Ok(())
}

/// A node that runs beside the command.
struct Running {
    store: Arc<dyn Store>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), StartError>>,
}

impl Running {
    async fn start(workspace: &Workspace) -> Result<Self, Failure> {
        let config = Config::load(&workspace.config_path())?;
        let node = Node::open(config, PASSWORD.into()).await?;
        let store = Arc::clone(&node.context().store);
        let stop = CancellationToken::new();
        let task = tokio::spawn(node.run(stop.clone()));
        Ok(Self { store, stop, task })
    }

    async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        let ended =
            self.task.await.map_err(|e| Failure::Other(format!("the node broke off: {e}")))?;
        Ok(ended?)
    }
}

/// Shows each message's stages as they are reached.
struct Screen<'a> {
    output: &'a Output,
    node: &'a Running,
    shown: HashMap<String, usize>,
}

impl<'a> Screen<'a> {
    fn new(output: &'a Output, node: &'a Running) -> Self {
        Self { output, node, shown: HashMap::new() }
    }

    async fn until_settled(&mut self, count: usize) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let reports = self.reports().await?;
            for report in &reports {
                self.show(report);
            }
            let settled = |r: &&MessageReport| r.status == MessageStatus::Settled.as_str();
            if reports.iter().filter(settled).count() >= count {
                return Ok(());
            }
            if self.node.task.is_finished() {
                return Err(Failure::NotDelivered("the node stopped; see above".into()));
            }
            if started.elapsed() > PATIENCE {
                let stuck: Vec<String> = reports
                    .iter()
                    .filter(|r| !settled(r))
                    .map(|r| format!("{}: {}", r.id, r.reason.clone().unwrap_or_default()))
                    .collect();
                let what =
                    if stuck.is_empty() { "nothing was seen".into() } else { stuck.join("; ") };
                let text = format!("not delivered within {} s: {what}", PATIENCE.as_secs());
                return Err(Failure::NotDelivered(text));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every message, the oldest first.
    async fn reports(&self) -> Result<Vec<MessageReport>, Failure> {
        let store = &self.node.store;
        let conditions = store.conditions().await?;
        let mut reports = Vec::new();
        for row in store.messages(MessageFilter::default()).await?.into_iter().rev() {
            if let Some(detail) = store.message(row.id).await? {
                let standing = detail.row.standing.clone().under(&conditions);
                reports.push(MessageReport::new(&detail, &standing));
            }
        }
        Ok(reports)
    }

    fn show(&mut self, report: &MessageReport) {
        let shown = self.shown.entry(report.id.clone()).or_default();
        for stage in report.stages.iter().skip(*shown) {
            let id: String = report.id.chars().take(10).collect();
            let protocol = report.lane.split(':').next().unwrap_or_default();
            self.output.line(&format!(
                "  {protocol:<9}  {id}  #{}  {:>5.1} s  {:<9}  {}",
                report.nonce, stage.seconds, stage.name, stage.detail
            ));
        }
        *shown = report.stages.len().max(*shown);
    }

    async fn end(&mut self, heard: bool) -> Result<(), Failure> {
        let reports = self.reports().await?;
        let good = [Outcome::Executed, Outcome::Succeeded].map(|outcome| Some(outcome.as_str()));
        let delivered = reports.iter().filter(|r| good.contains(&r.outcome)).count();
        self.output.line("");
        self.output
            .line(&format!("{delivered} of {} messages delivered and settled", reports.len()));
        self.output.document(&serde_json::json!({ "messages": reports }));
        if delivered != reports.len() || !heard {
            return Err(Failure::NotDelivered("not every message was delivered; see above".into()));
        }
        Ok(())
    }
}
