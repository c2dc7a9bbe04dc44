//! One validator's process, which can be stopped in every way and started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::cosmos::home::Home;
use crate::cosmos::plan::CosmosPlan;
use crate::cosmos::ports::Port;
use crate::cosmos::rpc::CosmosRpc;
use crate::cosmos::simd::Simd;
use crate::error::DevnetError;
use crate::process::{self, Guard};
use crate::rpc::RpcError;

/// Until a node answers, which takes two seconds on a machine that does nothing else.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A validator of a [`crate::CosmosChain`]. Dropping it kills the process, and so does the end of
/// this process in whatever way.
#[derive(Debug)]
pub struct CosmosNode {
    program: PathBuf,
    home: Home,
    chain_id: String,
    min_gas_price: String,
    keep_blocks: Option<u64>,
    ports: Ports,
    more: Vec<String>,
    log: PathBuf,
    rpc: CosmosRpc,
    process: Option<Process>,
}

/// The ports of one node; it keeps them over restarts.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) rpc: Port,
    pub(crate) p2p: Port,
    /// Nothing here uses gRPC, but only with its server on can a transaction be simulated over RPC.
    pub(crate) grpc: Port,
}

impl Ports {
    pub(crate) fn take() -> Result<Self, DevnetError> {
        Ok(Self { rpc: Port::take()?, p2p: Port::take()?, grpc: Port::take()? })
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    pid: u32,
    guard: Option<Guard>,
}

impl Process {
    /// Before the process ends: afterwards its id may be somebody else's.
    async fn disarm(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm().await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
    }
}

impl CosmosNode {
    /// A node that does not run yet.
    pub(crate) fn new(
        simd: &Simd,
        home: Home,
        plan: &CosmosPlan,
        ports: Ports,
    ) -> Result<Self, DevnetError> {
        Ok(Self {
            program: simd.program().to_owned(),
            chain_id: plan.chain_id.clone(),
            min_gas_price: plan.min_gas_price.clone(),
            keep_blocks: plan.keep_blocks,
            rpc: CosmosRpc::new(format!("http://127.0.0.1:{}", ports.rpc.number()))?,
            log: home.folder.with_extension("log"),
            more: Vec::new(),
            ports,
            home,
            process: None,
        })
    }

    /// The URL of its CometBFT RPC.
    #[must_use]
    pub fn url(&self) -> &str {
        self.rpc.url()
    }

    /// The URL of its events over WebSocket.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("{}/websocket", self.url().replacen("http", "ws", 1))
    }

    /// A client of it.
    #[must_use]
    pub fn rpc(&self) -> &CosmosRpc {
        &self.rpc
    }

    /// Its home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home.folder
    }

    /// Where its output goes; a restart appends to it.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Its process id, while it runs or is halted.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Further arguments of `simd start`, from its next start on.
    pub fn set_arguments(&mut self, more: &[&str]) {
        self.more = more.iter().map(|argument| (*argument).to_owned()).collect();
    }

    /// Starts the process, and waits until its RPC answers with the right chain id. Does nothing
    /// when it runs.
    ///
    /// # Errors
    /// [`DevnetError::NodeStart`] with what the node said.
    pub async fn start(&mut self) -> Result<(), DevnetError> {
        if self.process.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(DevnetError::file("open", &self.log))?;
        let second = log.try_clone().map_err(DevnetError::file("write", &self.log))?;
        let child = Command::new(&self.program)
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            .kill_on_drop(true)
            // Ctrl-C in a terminal goes to the whole group; ending chains is the handle's work.
            .process_group(0)
            .spawn()
            .map_err(|error| self.failed(format!("{}: {error}", self.program.display())))?;
        let pid = child.id().ok_or_else(|| self.failed("it ended at once".to_owned()))?;
        let guard = Guard::over(pid).map_err(|error| self.failed(error.to_string()))?;
        let mut process = Process { child, pid, guard: Some(guard) };
        self.answering(&mut process.child).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Halts the process where it stands (`SIGSTOP`): connections stay open and nothing answers.
    ///
    /// # Errors
    /// [`DevnetError::Stop`] when it cannot be signalled.
    pub fn halt(&self) -> Result<(), DevnetError> {
        self.signal(Signal::STOP)
    }

    /// Lets a halted process go on (`SIGCONT`).
    ///
    /// # Errors
    /// [`DevnetError::Stop`] when it cannot be signalled.
    pub fn resume(&self) -> Result<(), DevnetError> {
        self.signal(Signal::CONT)
    }

    /// Kills the process as a power failure would, and waits until it is gone.
    /// [`CosmosNode::start`] starts it again from its home, on the same ports.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.disarm().await;
            let _ = process.child.kill().await;
        }
    }

    /// Ends the process politely and waits until it has ended.
    ///
    /// # Errors
    /// [`DevnetError::Stop`] when it does not end.
    pub async fn stop(&mut self) -> Result<(), DevnetError> {
        // A halted process hears nothing else.
        self.resume()?;
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let home = format!(" --home {} ", self.home.folder.display());
        process.disarm().await;
        process::end(process.pid, &self.what(), |line| line.contains(&home)).await?;
        let _ = process.child.wait().await;
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let home = self.home.folder.display().to_string();
        let grpc = format!("127.0.0.1:{}", self.ports.grpc.number());
        // 0 keeps all.
        let keep = self.keep_blocks.unwrap_or(0).to_string();
        [
            &["start", "--home", &home, "--log_no_color", "--pruning", "nothing"][..],
            &["--minimum-gas-prices", &self.min_gas_price],
            &["--grpc.enable", "--grpc.address", &grpc, "--min-retain-blocks", &keep],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .chain(self.more.iter().cloned())
        .collect()
    }

    async fn answering(&self, child: &mut Child) -> Result<(), DevnetError> {
        let start = Instant::now();
        loop {
            match self.rpc.status().await {
                Ok(status) if status.chain_id == self.chain_id => return Ok(()),
                Ok(status) => {
                    return Err(self.failed(format!("it says that it is {}", status.chain_id)));
                }
                // It refuses calls for a moment after it begins to listen.
                Err(RpcError::Refused { .. }) => {}
                Err(error) if !error.is_transient() => return Err(error.into()),
                Err(_) => {}
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(
                    self.failed(format!("it ended with {status} and said: {}", self.said()))
                );
            }
            if start.elapsed() > START_TIMEOUT {
                let waited = START_TIMEOUT.as_secs();
                return Err(self.failed(format!("it did not answer within {waited} s")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        crate::packages::tail(&text)
    }

    fn signal(&self, signal: Signal) -> Result<(), DevnetError> {
        let Some(process) = &self.process else {
            return Ok(());
        };
        process::signal(process.pid, signal).map_err(|reason| DevnetError::Stop {
            pid: process.pid,
            what: self.what(),
            reason,
        })
    }

    fn what(&self) -> String {
        format!("simd of {} in {}", self.chain_id, self.home.folder.display())
    }

    fn failed(&self, reason: String) -> DevnetError {
        DevnetError::NodeStart { chain_id: self.chain_id.clone(), reason, log: self.log.clone() }
    }
}
