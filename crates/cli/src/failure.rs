//! How a command fails, for people and for programs.

use postrider_devnet::DevnetError;
use postrider_node::{ConfigError, StartError};
use postrider_signing::{JournalError, KeystoreError};
use postrider_store::StoreError;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration and the networks do not fit each other.
    #[error("{0} problems were found; see above")]
    Check(usize),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// A signing journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The node.
    #[error(transparent)]
    Start(Box<StartError>),
    /// HTTP.
    #[error(transparent)]
    Serve(#[from] postrider_api::ServeError),
    /// The development network.
    #[error(transparent)]
    Devnet(#[from] DevnetError),
    /// A call to a chain of the development network.
    #[error(transparent)]
    Rpc(#[from] postrider_devnet::RpcError),
    /// A contract could not be made.
    #[error(transparent)]
    Deploy(#[from] postrider_node::deploy::DeployError),
    /// A message was not delivered.
    #[error("{0}")]
    NotDelivered(String),
    /// A command told what it would do, and was not told to do it.
    #[error("{0}")]
    Told(String),
    /// A file.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Anything that needs only words.
    #[error("{0}")]
    Other(String),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

impl Failure {
    /// An I/O failure.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The exit code: 3 for the configuration, 4 for a message that was not delivered, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Check(_) => 3,
            Self::NotDelivered(_) => 4,
            _ => 1,
        })
    }
}
