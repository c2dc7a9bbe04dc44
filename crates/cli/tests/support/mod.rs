//! What the tests of the whole program share: real chains with the real contracts, upstreams that
//! can lie, and the real process, which can be killed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::print_stderr)]

pub mod actor;

use postrider_cli::workspace::{NETWORKS, NodeKeys, PASSWORD, UpstreamLine, Workspace, plan};
use postrider_devnet::{
    Chain, Devnet, DevnetPlan, Fault, FaultyUpstream, LayerZeroPlan, Silent,
    layerzero::DEFAULT_OPTIONS,
};
use postrider_message::{MessageStatus, Outcome};
use postrider_node::{Config, node::store_path};
use postrider_store::{MessageDetail, MessageFilter, MessageRow, SqliteStore, Store};
use std::{
    fs::File,
    future::Future,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a condition may take to come true. Generous: a slow machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What a test wants.
pub struct Setup {
    /// How many nodes; each is a DVN, all of them are required, and the first executes.
    pub nodes: usize,
    /// How many upstreams each node has on each network, each with its own operator.
    pub upstreams: usize,
    /// How many of them must agree.
    pub quorum: u32,
    /// Blocks on top that make a block final.
    pub confirmations: u64,
    /// Changes the plan of the contracts.
    pub adapt: fn(&mut LayerZeroPlan),
    /// Whether the chains are of the OP Stack.
    pub op_stack: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { nodes: 1, upstreams: 1, quorum: 1, confirmations: 1, adapt: |_| {}, op_stack: false }
    }
}

/// Chains and nodes.
pub struct World {
    pub devnet: Devnet,
    /// What the chains were made of.
    pub plan: DevnetPlan,
    pub nodes: Vec<NodeHandle>,
    pub folder: TempDir,
}

/// A node, which runs or not.
pub struct NodeHandle {
    pub workspace: Workspace,
    /// Its upstreams on alpha and on beta.
    pub upstreams: [Vec<FaultyUpstream>; 2],
    folder: PathBuf,
    process: Option<Child>,
}

impl World {
    /// Starts the chains and writes the nodes' configurations; starts no node.
    pub async fn new(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut spaces = Vec::new();
        let mut keys: Vec<[NodeKeys; 2]> = Vec::new();
        for i in 0..setup.nodes {
            let place = folder.path().join(format!("node-{i}"));
            std::fs::create_dir_all(&place).unwrap();
            let mut workspace = Workspace::new(&place, i);
            workspace.executes = i == 0;
            workspace.quorum = setup.quorum;
            workspace.confirmations = setup.confirmations;
            let alpha = workspace.keys(&NETWORKS[0].parse().unwrap()).await.unwrap();
            let beta = workspace.keys(&NETWORKS[1].parse().unwrap()).await.unwrap();
            keys.push([alpha, beta]);
            spaces.push((workspace, place));
        }
        let mut layerzero = plan(&keys);
        (setup.adapt)(&mut layerzero);
        let block_time = Some(Duration::from_secs(1));
        let mut wanted = DevnetPlan::two(folder.path().join("devnet"), layerzero, block_time);
        for chain in &mut wanted.chains {
            chain.anvil.optimism = setup.op_stack;
        }
        let devnet = Devnet::up(&wanted, &Silent).await.unwrap();
        let mut nodes = Vec::new();
        for (workspace, folder) in spaces {
            nodes.push(NodeHandle::new(workspace, folder, &devnet, setup.upstreams).await);
        }
        Self { devnet, plan: wanted, nodes, folder }
    }

    /// The same, with every node started.
    pub async fn started(setup: Setup) -> Self {
        let mut world = Self::new(setup).await;
        for node in &mut world.nodes {
            node.start();
        }
        world
    }

    pub fn alpha(&self) -> &Chain {
        &self.devnet.chains()[0]
    }

    pub fn beta(&self) -> &Chain {
        &self.devnet.chains()[1]
    }

    pub fn node(&mut self) -> &mut NodeHandle {
        &mut self.nodes[0]
    }

    /// Makes the contracts that deliver many at once, with the program's own command, and names them
    /// in the first node's configuration.
    pub async fn deploy_batches(&mut self) {
        let node = &mut self.nodes[0];
        for (place, name) in NETWORKS.iter().enumerate() {
            let made = Command::new(env!("CARGO_BIN_EXE_postrider"))
                .args(["--json", "layerzero", "deploy-batch", "--network", name, "--config"])
                .arg(node.workspace.config_path())
                .env("POSTRIDER_PASSWORD", PASSWORD)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&made.stdout);
            let document: serde_json::Value = serde_json::from_str(&text).expect(&text);
            let address = document["batch"].as_str().expect(&text);
            node.workspace.batch[place] = Some(address.parse().unwrap());
        }
        node.write_config(&self.devnet);
    }

    /// Sends a text from alpha to beta.
    pub async fn say(&self, text: &str) {
        say(self.alpha(), self.beta(), text).await;
    }
}

/// Sends a text from one chain's application to the other's.
pub async fn say(from: &Chain, to: &Chain, text: &str) {
    from.apps().send_mock(to.deployment().eid, text, &DEFAULT_OPTIONS).await.unwrap();
}

impl NodeHandle {
    async fn new(workspace: Workspace, folder: PathBuf, devnet: &Devnet, count: usize) -> Self {
        let mut upstreams = [Vec::new(), Vec::new()];
        for (chain, list) in devnet.chains().iter().zip(&mut upstreams) {
            for _ in 0..count {
                list.push(FaultyUpstream::start(chain.url()).await.unwrap());
            }
        }
        let node = Self { workspace, upstreams, folder, process: None };
        node.write_config(devnet);
        node
    }

    /// Writes its configuration anew, as its workspace is by now.
    pub fn write_config(&self, devnet: &Devnet) {
        let line = |(i, upstream): (usize, &FaultyUpstream)| UpstreamLine {
            name: format!("up-{i}"),
            operator: format!("operator-{i}"),
            url: upstream.url().to_owned(),
        };
        let described: Vec<_> = devnet
            .chains()
            .iter()
            .zip(&self.upstreams)
            .map(|(chain, list)| {
                (chain.deployment().clone(), list.iter().enumerate().map(line).collect())
            })
            .collect();
        self.workspace.write_config(&described).unwrap();
    }

    /// Starts the real process.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        // A file that may not grow is to be a failed write, as a full disk is, and no signal.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_postrider")])
            .args(["--log", "info", "start", "--config"])
            .arg(self.workspace.config_path())
            .env("POSTRIDER_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    /// Kills the process at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the process to stop (SIGTERM), waits until it has, and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signals(&["-TERM"])
    }

    /// Sends signals, waits until the process has ended, and gives its exit code.
    pub fn signals(&mut self, signals: &[&str]) -> Option<i32> {
        let mut child = self.process.take().expect("it runs");
        for signal in signals {
            let sent = Command::new("kill").args([*signal, &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
        }
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it did not stop");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets no file of the process grow beyond this many bytes from now on; with none, lets them.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        // The soft limit alone: a process without privileges may not raise the hard one again.
        let limit = format!("--fsize={limit}:");
        let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(done.unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| p.try_wait().unwrap().is_none())
    }

    fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The store, for looking.
    pub async fn store(&self) -> SqliteStore {
        let config = Config::load(&self.workspace.config_path()).unwrap();
        let path = store_path(&config);
        until("the store is there", self, || async { open(&path).await.is_some() }).await;
        open(&path).await.unwrap()
    }

    /// Waits until this many messages are settled; gives all messages.
    pub async fn settled(&self, count: usize) -> Vec<MessageRow> {
        let store = self.store().await;
        let what = format!("{count} messages are settled");
        until(&what, self, || async {
            let all = rows(&store).await;
            all.iter().filter(|r| r.standing.status == MessageStatus::Settled).count() >= count
        })
        .await;
        rows(&store).await
    }

    /// Everything about every message.
    pub async fn details(&self) -> Vec<MessageDetail> {
        let store = self.store().await;
        let mut details = Vec::new();
        for row in rows(&store).await {
            details.extend(store.message(row.id).await.unwrap());
        }
        details
    }

    /// Sets the faults of one upstream on alpha.
    pub fn lie_on_alpha(&self, upstream: usize, faults: impl IntoIterator<Item = Fault>) {
        self.upstreams[0][upstream].set(faults);
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let text = self.log_text();
            let from = text.len().saturating_sub(6000);
            let from = (from..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            eprintln!("--- the node's log ends with ---\n{}", &text[from..]);
        }
    }
}

async fn open(path: &Path) -> Option<SqliteStore> {
    SqliteStore::open_read_only(path).await.ok()
}

pub async fn rows(store: &SqliteStore) -> Vec<MessageRow> {
    store.messages(MessageFilter { limit: 1000, ..MessageFilter::default() }).await.unwrap()
}

/// Waits on a condition with a generous deadline.
pub async fn until<F: Future<Output = bool>>(
    what: &str,
    node: &NodeHandle,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        if started.elapsed() > PATIENCE {
            let mut state = String::new();
            if let Ok(config) = Config::load(&node.workspace.config_path())
                && let Some(store) = open(&store_path(&config)).await
            {
                for row in rows(&store).await {
                    state += &format!("{} #{} {:?}\n", row.lane, row.nonce, row.standing);
                }
            }
            panic!("it did not come true that {what}; messages:\n{state}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every message ended by being executed.
pub fn assert_executed(rows: &[MessageRow], count: usize) {
    assert_eq!(rows.len(), count);
    for row in rows {
        assert_eq!(row.standing.outcome, Some(Outcome::Executed), "{row:?}");
    }
}
