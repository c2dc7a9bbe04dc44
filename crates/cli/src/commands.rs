//! The commands.

pub mod check;
pub mod demo;
pub mod devnet;
pub mod init;
pub mod keys;
pub mod look;
pub mod send;
pub mod start;

use crate::{failure::Failure, output::Output};
use clap::{Args, Subcommand};
use postrider_node::{Config, node::store_path};
use postrider_signing::Password;
use postrider_store::SqliteStore;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start two chains, carry messages between them, and show each message's way.
    Demo(demo::Demo),
    /// Start, stop and look at local chains with LayerZero on them.
    #[command(subcommand)]
    Devnet(devnet::Devnet),
    /// Write a configuration to begin with.
    Init(init::Init),
    /// Compare the configuration with what the networks say.
    Check(check::Check),
    /// Make and list keys and their signing journals.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Run the node.
    Start(start::Start),
    /// Send a message on the development network.
    Send(send::Send),
    /// Show all about one message.
    Trace(look::Trace),
    /// List messages.
    Messages(look::Messages),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Demo(command) => command.run(output).await,
            Self::Devnet(command) => command.run(output).await,
            Self::Init(command) => command.run(output),
            Self::Check(command) => command.run(output).await,
            Self::Keys(command) => command.run(output).await,
            Self::Start(command) => command.run(output).await,
            Self::Send(command) => command.run(output).await,
            Self::Trace(command) => command.run(output).await,
            Self::Messages(command) => command.run(output).await,
        }
    }
}

/// Which configuration to use.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, default_value = "postrider.toml", env = "POSTRIDER_CONFIG")]
    pub config: PathBuf,
}

impl ConfigFile {
    /// Reads and checks it.
    ///
    /// # Errors
    /// [`Failure::Config`].
    pub fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.config)?)
    }

    /// Opens its store for looking.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn store(&self) -> Result<SqliteStore, Failure> {
        Ok(SqliteStore::open_read_only(&store_path(&self.load()?)).await?)
    }
}

/// The password of the keys.
#[derive(Debug, Clone, Args)]
pub struct PasswordArgs {
    /// A file that holds the keys' password; without it the variable `POSTRIDER_PASSWORD` does.
    #[arg(long, env = "POSTRIDER_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// The password.
    ///
    /// # Errors
    /// [`Failure`] if it is given nowhere, or empty.
    pub fn read(&self) -> Result<Password, Failure> {
        let text = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(Failure::io(format!("the password file {}", file.display())))?,
            None => std::env::var("POSTRIDER_PASSWORD").map_err(|_| {
                Failure::Other(
                    "the keys need a password: give --password-file or set POSTRIDER_PASSWORD"
                        .into(),
                )
            })?,
        };
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(Failure::Other("the keys' password is empty; give one".into()));
        }
        Ok(password.into())
    }
}
