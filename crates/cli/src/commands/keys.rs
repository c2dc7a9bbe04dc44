//! `postrider keys`.

use super::{ConfigFile, PasswordArgs};
use crate::{failure::Failure, output::Output};
use clap::{Args, Subcommand, ValueEnum};
use postrider_message::KeyName;
use postrider_node::node::keys_path;
use postrider_signing::{Journal, JournalStart, Keystore, MAX_EXPIRY_SECONDS};
use std::io::Read;

/// Makes and lists keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a new key.
    New(New),
    /// Take in a private key from standard input (hexadecimal).
    Import(New),
    /// List the keys.
    List {
        #[command(flatten)]
        /// Which configuration to use.
        config: ConfigFile,
    },
    /// Begin the signing journal of a key that may have signed before, because its journal is lost
    /// or the key was used elsewhere. Nothing is signed until what it may have signed has expired.
    Journal(New),
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Signs attestations; has a signing journal.
    Attest,
    /// Pays for transactions.
    Pay,
}

/// Which key.
#[derive(Debug, Args)]
pub struct New {
    name: KeyName,
    /// What the key is for.
    #[arg(long, value_enum, default_value = "pay")]
    purpose: Purpose,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
}

impl Keys {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::New(new) => {
                let store = open(&new.config)?;
                let address = store.create(&new.name, &new.password.read()?)?;
                if new.purpose == Purpose::Attest {
                    Journal::create(store.folder(), address, JournalStart::FreshKey).await?;
                }
                tell(output, &new.name, &format!("{address:#x}"));
            }
            Self::Import(new) => {
                let store = open(&new.config)?;
                let mut text = String::new();
                std::io::stdin()
                    .take(1024)
                    .read_to_string(&mut text)
                    .map_err(Failure::io("reading the private key from standard input"))?;
                let address = store.import(&new.name, &text.into(), &new.password.read()?)?;
                if new.purpose == Purpose::Attest {
                    let start = JournalStart::KeyMayHaveSigned;
                    Journal::create(store.folder(), address, start).await?;
                    output.note(&format!(
                        "it signs nothing for {MAX_EXPIRY_SECONDS} s: it may have signed elsewhere"
                    ));
                }
                tell(output, &new.name, &format!("{address:#x}"));
            }
            Self::List { config } => {
                let names = open(&config)?.names()?;
                for name in &names {
                    output.line(name.as_str());
                }
                output.document(&serde_json::json!({ "keys": names }));
            }
            Self::Journal(new) => {
                let store = open(&new.config)?;
                let key = store.attesting_key(&new.name, &new.password.read()?)?;
                let start = JournalStart::KeyMayHaveSigned;
                Journal::create(store.folder(), key.address(), start).await?;
                output.note(&format!(
                    "the journal begins; nothing is signed for {MAX_EXPIRY_SECONDS} s"
                ));
            }
        }
        Ok(())
    }
}

fn open(config: &ConfigFile) -> Result<Keystore, Failure> {
    // Keys are made before the rest of the file is complete, so a file that is not valid yet, or
    // not there, does not stand in the way: keys then lie where they lie by default.
    let folder = match config.load() {
        Ok(config) => keys_path(&config),
        Err(_) => {
            let beside = config.config.parent().unwrap_or(std::path::Path::new("."));
            beside.join("data").join("keys")
        }
    };
    Ok(Keystore::open(&folder)?)
}

fn tell(output: &Output, name: &KeyName, address: &str) {
    output.line(&format!("{name}  {address}"));
    output.document(&serde_json::json!({ "name": name, "address": address }));
}
