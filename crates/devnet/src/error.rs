//! Everything that can go wrong with a development network, in words for the person who runs it.

use std::path::{Path, PathBuf};

use crate::rpc::RpcError;

/// An error of the development network. The text says what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// A file or folder could not be read, written or locked.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, for example `read`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No folder for the cache is known.
    #[error(
        "no folder to keep the development network's packages in: set POSTRIDER_DEVNET_CACHE or HOME"
    )]
    NoCacheFolder,
    /// `npm` is not installed.
    #[error(
        "npm was not found, and it brings the chain and the contracts of the development network: \
         install Node.js 20 or newer (https://nodejs.org, or `apt-get install nodejs npm`) and try again"
    )]
    NpmMissing,
    /// `npm ci` failed; `output` is the end of what it said.
    #[error(
        "npm could not install the development network's packages: {output}\n\
         check that its registry can be reached (`npm ping`) and try again"
    )]
    NpmFailed {
        /// The end of npm's output.
        output: String,
    },
    /// No anvil program for this machine.
    #[error(
        "anvil was not found: the npm package brings it on Linux x86-64 only; elsewhere install \
         Foundry 1.7 or newer (https://getfoundry.sh), or name the program in POSTRIDER_ANVIL"
    )]
    AnvilMissing,
    /// Go is not installed.
    #[error(
        "go was not found, and it builds the ibc-go chains of the development network: install \
         Go 1.25.9 or newer (https://go.dev/dl) and try again"
    )]
    GoMissing,
    /// `go build` failed; `output` is the end of what it said.
    #[error(
        "go could not build the ibc-go test chain: {output}\n\
         check that its modules can be fetched (`cd testnet/simd && go mod download`) and try again"
    )]
    GoFailed {
        /// The end of Go's output.
        output: String,
    },
    /// A command that prepares an ibc-go chain failed.
    #[error("simd {command} failed in {}: {output}", home.display())]
    Simd {
        /// The command without its arguments.
        command: String,
        /// The home folder it was given.
        home: PathBuf,
        /// The end of its output.
        output: String,
    },
    /// A file that `simd` wrote is not what was expected.
    #[error("{}: {reason}; is testnet/simd of another version?", path.display())]
    ChainFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A validator of an ibc-go chain did not start.
    #[error("a validator of {chain_id} did not start: {reason}\nits log is {}", log.display())]
    NodeStart {
        /// The chain's id.
        chain_id: String,
        /// What it said, or how long was waited.
        reason: String,
        /// Its log file.
        log: PathBuf,
    },
    /// An installed contract is not what its package says.
    #[error("{} is not a usable contract artifact: {reason}; remove the folder {} and try again", path.display(), folder.display())]
    Artifact {
        /// The artifact's file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
        /// The package folder to remove.
        folder: PathBuf,
    },
    /// A chain did not start.
    #[error("anvil for chain {chain_id} did not start: {reason}; its log is {}", log.display())]
    AnvilStart {
        /// The chain id it was to have.
        chain_id: u64,
        /// What it said, or how long was waited.
        reason: String,
        /// Its log file.
        log: PathBuf,
    },
    /// A chain did not answer a question.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A chain answered, but not with what was asked for.
    #[error("{url} answered {method} with something that {reason}")]
    Answer {
        /// The chain's URL.
        url: String,
        /// The JSON-RPC method.
        method: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A transaction was included and failed.
    #[error("{what} failed on chain {chain_id}: transaction {hash} reverted")]
    Reverted {
        /// What the transaction was for.
        what: String,
        /// Where.
        chain_id: u64,
        /// The transaction's hash.
        hash: String,
    },
    /// A plan contradicts itself.
    #[error("the plan of the development network cannot be carried out: {0}")]
    Plan(String),
    /// The state file belongs to chains that no longer run, or is not readable.
    #[error("{}: {reason}; run `postrider devnet down` and then `postrider devnet up`", path.display())]
    State {
        /// The state file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No development network was started from this folder.
    #[error("no development network in {}: run `postrider devnet up` first", .0.display())]
    NotUp(PathBuf),
    /// A process would not end.
    #[error("process {pid} ({what}) does not end: {reason}")]
    Stop {
        /// Its process id.
        pid: u32,
        /// What it is.
        what: String,
        /// Why it could not be stopped.
        reason: String,
    },
    /// Nothing can listen on this machine.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(std::io::Error),
}

impl DevnetError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rpc(error) => error.is_transient(),
            Self::NpmFailed { .. }
            | Self::GoFailed { .. }
            | Self::AnvilStart { .. }
            | Self::NodeStart { .. }
            | Self::Stop { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}
