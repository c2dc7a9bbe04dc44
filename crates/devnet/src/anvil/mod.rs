//! One anvil process: a real EVM chain on this machine.

mod control;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::error::DevnetError;
use crate::process::{self, Guard};
use crate::rpc::Rpc;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What anvil is told.
#[derive(Debug, Clone)]
pub struct AnvilOptions {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The time between blocks; with none, a block is mined for each transaction.
    pub block_time: Option<Duration>,
    /// The TCP port on 127.0.0.1; with none, the system chooses a free one.
    pub port: Option<u16>,
    /// The gas limit of a block; with none, anvil's own of 30 million.
    pub gas_limit: Option<u64>,
    /// How many blocks the `safe` tag lags, and half of what `finalized` lags; anvil's own is 32.
    pub slots_in_an_epoch: Option<u64>,
    /// Whether receipts are those of an OP Stack chain.
    pub optimism: bool,
    /// The URL of a chain that it goes on from, as that is now: what is mined from here on is its
    /// own.
    pub fork_of: Option<String>,
    /// A file from which the state is loaded and to which it is written on a polite end.
    pub state: Option<PathBuf>,
    /// Where anvil's output goes; with none, to a temporary file that goes with the handle.
    pub log_file: Option<PathBuf>,
}

impl AnvilOptions {
    /// A chain that mines on each transaction, on a free port, attached to its handle.
    #[must_use]
    pub fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            block_time: None,
            port: None,
            gas_limit: None,
            slots_in_an_epoch: None,
            optimism: false,
            fork_of: None,
            state: None,
            log_file: None,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--host".to_owned(),
            "127.0.0.1".to_owned(),
            "--chain-id".to_owned(),
            self.chain_id.to_string(),
            // With port 0 the system chooses, so no two processes can race for one.
            "--port".to_owned(),
            self.port.unwrap_or(0).to_string(),
            "--no-request-size-limit".to_owned(),
        ];
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value]);
            }
        };
        option("--block-time", self.block_time.map(|time| time.as_secs_f64().to_string()));
        option("--gas-limit", self.gas_limit.map(|gas| gas.to_string()));
        option("--slots-in-an-epoch", self.slots_in_an_epoch.map(|slots| slots.to_string()));
        option("--network", self.optimism.then(|| "optimism".to_owned()));
        option("--fork-url", self.fork_of.clone());
        option("--state", self.state.as_ref().map(|path| path.display().to_string()));
        arguments
    }
}

/// A running anvil. Dropping the handle kills the process, and so does the end of this process in
/// whatever way, unless [`Anvil::detach`] was called.
#[derive(Debug)]
pub struct Anvil {
    rpc: Rpc,
    chain_id: u64,
    pid: u32,
    log: PathBuf,
    remove_log: bool,
    process: Process,
}

#[derive(Debug)]
struct Process {
    child: Child,
    guard: Option<Guard>,
    attached: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.attached {
            let _ = self.child.start_kill();
        }
    }
}

impl Anvil {
    /// Starts `program` and waits until it answers with the right chain id.
    ///
    /// # Errors
    /// [`DevnetError::AnvilStart`] with what anvil said, or [`DevnetError::File`] when the log
    /// cannot be written.
    pub async fn start(program: &Path, options: &AnvilOptions) -> Result<Self, DevnetError> {
        let log = options.log_file.clone().unwrap_or_else(temporary_log);
        let file = std::fs::File::create(&log).map_err(DevnetError::file("create", &log))?;
        let second = file.try_clone().map_err(DevnetError::file("write", &log))?;
        let shown_log = log.clone();
        let failed = |reason: String| DevnetError::AnvilStart {
            chain_id: options.chain_id,
            reason,
            log: shown_log.clone(),
        };
        let child = Command::new(program)
            .args(options.arguments())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second)
            // Ctrl-C in a terminal goes to the whole group; ending chains is the handle's work.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", program.display())))?;
        let pid = child.id().ok_or_else(|| failed("it ended at once".to_owned()))?;
        let mut process = Process { child, guard: None, attached: true };
        process.guard = Some(Guard::over(pid).map_err(|error| failed(error.to_string()))?);
        let url = listening(&mut process.child, &log).await.map_err(failed)?;
        let rpc = Rpc::new(url)?;
        let id = rpc.chain_id().await?;
        if id != options.chain_id {
            return Err(failed(format!("it says that its chain id is {id}")));
        }
        let remove_log = options.log_file.is_none();
        Ok(Self { rpc, chain_id: options.chain_id, pid, log, remove_log, process })
    }

    /// The HTTP URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.rpc.url()
    }

    /// The WebSocket URL; anvil serves both on one port.
    #[must_use]
    pub fn ws_url(&self) -> String {
        self.url().replacen("http", "ws", 1)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where anvil's output goes.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// A client of this chain, which also controls it: [`Rpc::mine`], [`Rpc::reorg`] and others.
    #[must_use]
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// Ends the process and waits until it has ended. A state file is written first.
    ///
    /// # Errors
    /// [`DevnetError::Stop`] when it cannot be ended.
    pub async fn stop(mut self) -> Result<(), DevnetError> {
        if let Some(guard) = self.process.guard.take() {
            guard.disarm().await;
        }
        end(self.pid, self.chain_id).await?;
        let _ = self.process.child.wait().await;
        Ok(())
    }

    /// Lets the process live on when the handle is dropped and when this process ends. Its log
    /// stays too.
    pub async fn detach(&mut self) {
        self.remove_log = false;
        self.process.attached = false;
        if let Some(guard) = self.process.guard.take() {
            guard.disarm().await;
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        if self.remove_log {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// Whether the process `pid` is an anvil of this chain id.
pub(crate) fn is_running(pid: u32, chain_id: u64) -> bool {
    process::command_line(pid).is_some_and(|line| is_anvil(&line, chain_id))
}

/// Ends an anvil that this or another process started.
pub(crate) async fn end(pid: u32, chain_id: u64) -> Result<(), DevnetError> {
    let what = format!("anvil of chain {chain_id}");
    process::end(pid, &what, |line| is_anvil(line, chain_id)).await
}

fn is_anvil(line: &str, chain_id: u64) -> bool {
    line.contains("anvil") && line.contains(&format!("--chain-id {chain_id} "))
}

/// Waits until anvil writes where it listens; gives its URL.
async fn listening(child: &mut Child, log: &Path) -> Result<String, String> {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(address) = listening_address(&text) {
            return Ok(format!("http://{address}"));
        }
        if let Ok(Some(status)) = child.try_wait() {
            let said = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
            return Err(format!("it ended with {status} and said: {said}"));
        }
        if start.elapsed() > START_TIMEOUT {
            return Err(format!("it did not listen within {} s", START_TIMEOUT.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A line is complete only with its end, which may still be on the way to the file.
fn listening_address(log: &str) -> Option<std::net::SocketAddr> {
    let (_, rest) = log.split_once("Listening on ")?;
    let (address, _) = rest.split_once('\n')?;
    address.trim().parse().ok()
}

fn temporary_log() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("postrider-anvil-{}-{next}.log", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_whole_line() {
        for (log, port) in [
            ("Gas Limit\n30000000\n\nListening on 127.0.0.1:4567\n", Some(4567)),
            ("Listening on 127.0.0.1:45", None),
            ("Listening on nowhere\n", None),
            ("", None),
        ] {
            assert_eq!(listening_address(log).map(|address| address.port()), port, "{log:?}");
        }
    }

    #[test]
    fn a_chain_id_is_not_mistaken_for_a_longer_one() {
        let line = AnvilOptions::new(319).arguments().join(" ");
        let line = format!("/x/anvil {line}");
        assert!(is_anvil(&line, 319));
        assert!(!is_anvil(&line, 31));
        assert!(!is_anvil(&line.replace("319 ", "3190 "), 319));
        assert!(!is_anvil("sleep --chain-id 319 ", 319));
    }

    #[tokio::test]
    async fn a_program_that_ends_is_reported_with_its_words() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let log_file = Some(log.path().to_path_buf());
        let options = AnvilOptions { log_file, ..AnvilOptions::new(1) };
        let error = Anvil::start(Path::new("/bin/false"), &options).await.unwrap_err();
        assert!(matches!(error, DevnetError::AnvilStart { chain_id: 1, .. }), "{error}");
        let error = Anvil::start(Path::new("/nowhere/anvil"), &options).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/anvil"), "{error}");
    }
}
