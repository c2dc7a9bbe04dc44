//! The commands.

pub mod bench;
pub mod check;
pub mod completions;
pub mod demo;
pub mod devnet;
pub mod ibc;
pub mod init;
pub mod keys;
pub mod layerzero;
pub mod look;
pub mod pathway;
pub mod send;
pub mod start;
pub mod steer;

use crate::{failure::Failure, output::Output};
use clap::{Args, Subcommand};
use postrider_message::{Lane, MessageId};
use postrider_node::{Config, node::store_path};
use postrider_signing::Password;
use postrider_store::{Found, FoundLanes, SqliteStore, Store};
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
    /// List lanes.
    Lanes(look::Lanes),
    /// Stop planning and signing for a lane.
    Pause(steer::Pause),
    /// Let a paused lane go on.
    Resume(steer::Resume),
    /// Hold a message back.
    Hold(steer::Hold),
    /// Let a held message go on.
    Release(steer::Release),
    /// Try a message again at once.
    Retry(steer::Retry),
    /// What is LayerZero's own: make contracts, inspect pathways.
    #[command(subcommand, name = "layerzero")]
    LayerZero(layerzero::LayerZero),
    /// What is IBC's own: make paths, send tokens.
    #[command(subcommand)]
    Ibc(ibc::Ibc),
    /// Measure how fast, and at what cost, messages are carried.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Print completions for a shell.
    Completions(completions::Completions),
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
            Self::Init(command) => command.run(output).await,
            Self::Check(command) => command.run(output).await,
            Self::Keys(command) => command.run(output).await,
            Self::Start(command) => command.run(output).await,
            Self::Send(command) => command.run(output).await,
            Self::Trace(command) => command.run(output).await,
            Self::Messages(command) => command.run(output).await,
            Self::Lanes(command) => command.run(output).await,
            Self::Pause(command) => command.run(output).await,
            Self::Resume(command) => command.run(output).await,
            Self::Hold(command) => command.run(output).await,
            Self::Release(command) => command.run(output).await,
            Self::Retry(command) => command.run(output).await,
            Self::LayerZero(command) => command.run(output).await,
            Self::Ibc(command) => command.run(output).await,
            Self::Bench(command) => command.run(output).await,
            Self::Completions(command) => command.run(),
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

    /// Opens its store for an operator's decisions, beside a node that may be running.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn steering(&self) -> Result<SqliteStore, Failure> {
        Ok(SqliteStore::open_for_steering(&store_path(&self.load()?)).await?)
    }

    /// Opens its store for looking.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn store(&self) -> Result<SqliteStore, Failure> {
        Ok(SqliteStore::open_read_only(&store_path(&self.load()?)).await?)
    }
}

/// The message that a person means by a text.
///
/// # Errors
/// [`Failure`] if it is none, or several.
pub(crate) async fn find_message(store: &dyn Store, text: &str) -> Result<MessageId, Failure> {
    match store.find(text).await? {
        Found::One(id) => Ok(id),
        Found::None => Err(Failure::Other(format!("no message begins with `{text}`"))),
        Found::Many(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let text = format!("`{text}` fits several messages:\n{}", ids.join("\n"));
            Err(Failure::Other(text))
        }
    }
}

/// The lane that a person means by a text.
///
/// # Errors
/// [`Failure`] if it is none, or several; it names those there are.
pub(crate) async fn find_lane(store: &dyn Store, text: &str) -> Result<Lane, Failure> {
    let list = |lanes: Vec<Lane>| {
        let lines: Vec<String> = lanes.iter().map(|lane| format!("\n  {lane}")).collect();
        lines.concat()
    };
    Err(Failure::Other(match store.find_lanes(text).await? {
        FoundLanes::One(lane) => return Ok(lane),
        FoundLanes::None(known) if known.is_empty() => {
            format!(
                "no lane is called `{text}`; none is known yet: lanes appear with their first message"
            )
        }
        FoundLanes::None(known) => format!("no lane is called `{text}`; there are{}", list(known)),
        FoundLanes::Many(lanes) => {
            format!("`{text}` fits several lanes; name one of{}", list(lanes))
        }
    }))
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
