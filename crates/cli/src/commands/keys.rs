//! `postrider keys`.

use super::{ConfigFile, PasswordArgs};
use crate::{failure::Failure, output::Output};
use alloy_primitives::B256;
use clap::{Args, Subcommand, ValueEnum};
use postrider_message::{Detail, KeyName};
use postrider_node::node::keys_path;
use postrider_signing::{
    AddressPrefix, CosmosAlgorithm, HdPath, Journal, JournalError, JournalStart, Keystore,
    MAX_EXPIRY_SECONDS,
};
use secrecy::{ExposeSecret, SecretString};
use std::io::Read;

/// The most bytes of a key that are read.
const MAX_INPUT: u64 = 16 * 1024;

/// Makes and lists keys, and looks after their signing journals.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a new key.
    New(New),
    /// Take in a key from standard input: a private key, a mnemonic, or a key file of Hermes or of an SDK chain.
    Import(Import),
    /// List the keys.
    List {
        #[command(flatten)]
        /// Which configuration to use.
        config: ConfigFile,
    },
    /// Begin the signing journal of a key that may have signed before, because its journal is lost,
    /// was restored from a copy, or the key was used elsewhere. Nothing is signed until what it may
    /// have signed has expired.
    Journal(New),
    /// Let a key sign another value for what it signed one for before. The node must be stopped.
    Release(Release),
}

/// Which entry of which journal.
#[derive(Debug, Args)]
pub struct Release {
    /// The key.
    #[arg(long)]
    key: KeyName,
    /// The domain, as the alarm `journal_conflict` gives it.
    #[arg(long)]
    domain: String,
    /// The subject, as the alarm gives it: 32 bytes in hexadecimal.
    #[arg(long)]
    subject: B256,
    /// Why another value is right; kept in the journal.
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// Do it. Without this, what was signed is shown and nothing is changed.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Signs attestations; has a signing journal.
    Attest,
    /// Pays for transactions.
    Pay,
    /// Says to peers who asks and who answers; signs nothing else.
    Identity,
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

/// What a key is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A private key: 32 bytes in hexadecimal.
    Hex,
    /// The words of a mnemonic (BIP-39, English).
    Mnemonic,
    /// A key file of Hermes, or what an SDK chain's `keys add --output json` writes.
    KeyFile,
}

/// Which key is taken in.
#[derive(Debug, Args)]
pub struct Import {
    #[command(flatten)]
    key: New,
    /// What standard input holds.
    #[arg(long, value_enum, default_value = "hex")]
    format: Format,
    /// The way from a mnemonic to the key (BIP-32).
    #[arg(long, value_name = "PATH", default_value = "m/44'/118'/0'/0/0")]
    hd_path: HdPath,
    /// How a mnemonic's key makes its address: `secp256k1`, or `eth_secp256k1` and its like. A key file tells it.
    #[arg(long, default_value = "secp256k1")]
    algorithm: CosmosAlgorithm,
    /// Show the key's address on the Cosmos chain whose addresses begin so too.
    #[arg(long)]
    prefix: Option<AddressPrefix>,
}

impl Import {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let Self { key: New { name, purpose, config, password }, format, .. } = &self;
        let store = open(config)?;
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .map_err(Failure::io("reading the key from standard input"))?;
        let (text, password) = (SecretString::from(text), password.read()?);
        let taken = match format {
            Format::Hex => {
                store.import(name, &text, &password)?;
                None
            }
            Format::Mnemonic => {
                let words = SecretString::from(text.expose_secret().trim());
                Some(store.import_mnemonic(
                    name,
                    &words,
                    &self.hd_path,
                    self.algorithm,
                    &password,
                )?)
            }
            Format::KeyFile => {
                Some(store.import_key_file(name, &text, &self.hd_path, &password)?)
            }
        };
        let address = store.attesting_key(name, &password)?.address();
        if *purpose == Purpose::Attest {
            Journal::create(store.folder(), address, JournalStart::KeyMayHaveSigned).await?;
            output.note(&format!(
                "it signs nothing for {MAX_EXPIRY_SECONDS} s: it may have signed elsewhere"
            ));
        }
        let shown = format!("{address:#x}");
        let Some(prefix) = &self.prefix else {
            tell(output, name, &shown);
            return Ok(());
        };
        let key = match taken {
            Some(key) => key,
            None => store.cosmos_key(name, &password, self.algorithm)?,
        };
        let cosmos = key.address(prefix);
        output.line(&format!("{name}  {shown}  {cosmos}"));
        output.document(&serde_json::json!({
            "name": name,
            "address": shown,
            "cosmos_address": cosmos,
            "key_algorithm": key.algorithm().as_str(),
        }));
        Ok(())
    }
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
            Self::Import(import) => import.run(output).await?,
            Self::List { config } => {
                let names = open(&config)?.names()?;
                for name in &names {
                    output.line(name.as_str());
                }
                output.document(&serde_json::json!({ "keys": names }));
            }
            Self::Journal(new) => {
                let store = open(&new.config)?;
                let key = store.attesting_key(&new.name, &new.password.read()?)?.address();
                let start = JournalStart::KeyMayHaveSigned;
                let what = match Journal::create(store.folder(), key, start).await {
                    Err(JournalError::Exists(_)) => {
                        Journal::adopt(store.folder(), key).await?;
                        "is taken over"
                    }
                    made => made.map(|()| "begins")?,
                };
                output.note(&format!(
                    "the journal {what}; nothing is signed for {MAX_EXPIRY_SECONDS} s"
                ));
            }
            Self::Release(release) => release.run(output).await?,
        }
        Ok(())
    }
}

impl Release {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let because = String::from(Detail::from(self.because.trim()));
        if because.is_empty() {
            return Err(Failure::Other("say why with --because: it is kept in the journal".into()));
        }
        let store = open(&self.config)?;
        let key = store.attesting_key(&self.key, &self.password.read()?)?;
        // Its lock: a node that runs would go on with what it knows.
        let journal = Journal::open(store.folder(), key.address()).await?;
        let done = self.release(&journal, &because, output).await;
        journal.close().await;
        done
    }

    async fn release(
        &self,
        journal: &Journal,
        because: &str,
        output: &Output,
    ) -> Result<(), Failure> {
        let Self { key, domain, subject, yes, .. } = self;
        let Some(before) = journal.recorded(domain, *subject).await? else {
            return Err(Failure::Other(format!(
                "the journal of `{key}` has no entry for {domain} {subject}: give domain and subject \
                 as the alarm `journal_conflict` gives them"
            )));
        };
        let released = *yes && journal.release(domain, *subject, because).await?;
        output.line(&format!("key      {key}  {:#x}", journal.key()));
        output.line(&format!("domain   {domain}"));
        output.line(&format!("subject  {subject}"));
        output.line(&format!("value    {}", before.value));
        output.line(&format!(
            "permitted first at {}, signatures count until {} (Unix seconds)",
            before.first_at, before.expires
        ));
        output.document(&serde_json::json!({
            "key": key,
            "domain": domain,
            "subject": subject,
            "value": before.value,
            "first_at": before.first_at,
            "expires": before.expires,
            "released": released,
        }));
        if released {
            output.note("released: the key may sign another value for it, once");
            return Ok(());
        }
        Err(Failure::Told(
            "nothing was released. Signing a second value can make a forged message pass: find out \
             first why the source said two things. Then give --yes".into(),
        ))
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
