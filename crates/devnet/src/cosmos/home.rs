//! The home folders of a chain's validators, from nothing to a common genesis.

use std::path::{Path, PathBuf};

use alloy_primitives::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::try_join_all;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cosmos::account::CosmosAccount;
use crate::cosmos::plan::CosmosPlan;
use crate::cosmos::simd::Simd;
use crate::cosmos::{config, genesis};
use crate::error::DevnetError;

/// What one unit of voting power takes, in `stake`.
const STAKE_OF_A_POWER: u128 = 1_000_000;

/// One validator's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// The folder itself, absolute.
    pub(crate) folder: PathBuf,
    /// The node's id in CometBFT's peer-to-peer network, in hex.
    pub(crate) node_id: String,
}

impl Home {
    pub(crate) fn genesis(&self) -> PathBuf {
        self.folder.join("config/genesis.json")
    }

    /// Changes settings of `config.toml`: section, key and value as it is to be written.
    pub(crate) fn configure(&self, settings: &[(&str, &str, String)]) -> Result<(), DevnetError> {
        let path = self.folder.join("config/config.toml");
        let mut text = std::fs::read_to_string(&path).map_err(DevnetError::file("read", &path))?;
        for (section, key, value) in settings {
            text = config::set(&text, section, key, value)
                .map_err(|reason| DevnetError::ChainFile { path: path.clone(), reason })?;
        }
        std::fs::write(&path, text).map_err(DevnetError::file("write", &path))
    }
}

/// Makes a home for each validator of the plan in `folder`, with the plan's genesis in all.
pub(crate) async fn make(
    simd: &Simd,
    plan: &CosmosPlan,
    folder: &Path,
) -> Result<Vec<Home>, DevnetError> {
    let indices = 0..plan.validators.len();
    let homes = try_join_all(indices.map(|index| init(simd, plan, folder, index))).await?;
    let Some(first) = homes.first() else {
        return Ok(homes);
    };
    edit(&first.genesis(), |genesis| genesis::add_accounts(genesis, funded(plan)))?;
    spread(&homes)?;
    let collected = first.folder.join("config/gentx");
    std::fs::create_dir_all(&collected).map_err(DevnetError::file("create", &collected))?;
    let transactions = homes.iter().zip(&plan.validators).enumerate().map(|(index, it)| {
        bond(simd, plan, index, it.0, *it.1, collected.join(format!("{index}.json")))
    });
    try_join_all(transactions).await?;
    simd.run(&first.folder, &["genesis", "collect-gentxs"]).await?;
    edit(&first.genesis(), |genesis| {
        plan.genesis.iter().for_each(|patch| patch.apply(genesis));
        Ok(())
    })?;
    spread(&homes)?;
    Ok(homes)
}

/// The account that bonds a validator's stake.
pub(crate) fn validator_account(index: usize) -> CosmosAccount {
    CosmosAccount::named(&format!("validator-{index}"))
}

async fn init(
    simd: &Simd,
    plan: &CosmosPlan,
    folder: &Path,
    index: usize,
) -> Result<Home, DevnetError> {
    let folder = folder.join(format!("validator-{index}"));
    let moniker = format!("validator-{index}");
    simd.run(&folder, &["init", &moniker, "--chain-id", &plan.chain_id]).await?;
    let operator = validator_account(index);
    let import = ["keys", "import-hex", operator.name(), &operator.secret_hex()];
    simd.run(&folder, &[&import[..], &["--keyring-backend", "test"]].concat()).await?;
    let path = folder.join("config/node_key.json");
    let node_id = node_id(&read(&path)?)
        .ok_or_else(|| DevnetError::ChainFile { path, reason: "it holds no node key".into() })?;
    Ok(Home { folder, node_id })
}

async fn bond(
    simd: &Simd,
    plan: &CosmosPlan,
    index: usize,
    home: &Home,
    power: u64,
    output: PathBuf,
) -> Result<(), DevnetError> {
    let account = validator_account(index);
    let stake = format!("{}stake", u128::from(power) * STAKE_OF_A_POWER);
    let output = output.display().to_string();
    let arguments = [
        &["genesis", "gentx", account.name(), &stake, "--chain-id", &plan.chain_id][..],
        // Without an address it would ask the network for one.
        &["--keyring-backend", "test", "--ip", "127.0.0.1", "--output-document", &output],
    ];
    simd.run(&home.folder, &arguments.concat()).await.map(drop)
}

/// The accounts of the plan with its funds, and the validators' with twice their stake.
fn funded(plan: &CosmosPlan) -> Vec<(CosmosAccount, Vec<(String, u128)>)> {
    let validators = plan.validators.iter().enumerate().map(|(index, power)| {
        let stake = 2 * u128::from(*power) * STAKE_OF_A_POWER;
        (validator_account(index), vec![("stake".to_owned(), stake)])
    });
    let accounts = plan.accounts.iter().map(|account| (account.clone(), plan.funds.clone()));
    accounts.chain(validators).collect()
}

fn spread(homes: &[Home]) -> Result<(), DevnetError> {
    let Some((first, others)) = homes.split_first() else {
        return Ok(());
    };
    for other in others {
        std::fs::copy(first.genesis(), other.genesis())
            .map_err(DevnetError::file("write", &other.genesis()))?;
    }
    Ok(())
}

fn edit(
    path: &Path,
    change: impl FnOnce(&mut Value) -> Result<(), String>,
) -> Result<(), DevnetError> {
    let mut value = read(path)?;
    change(&mut value)
        .map_err(|reason| DevnetError::ChainFile { path: path.to_owned(), reason })?;
    std::fs::write(path, value.to_string()).map_err(DevnetError::file("write", path))
}

fn read(path: &Path) -> Result<Value, DevnetError> {
    let text = std::fs::read_to_string(path).map_err(DevnetError::file("read", path))?;
    serde_json::from_str(&text).map_err(|error| DevnetError::ChainFile {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// CometBFT's id of a node: the first 20 bytes of the hash of its ed25519 public key. The key
/// file holds the seed with the public key behind it.
fn node_id(key_file: &Value) -> Option<String> {
    let key = BASE64.decode(key_file.pointer("/priv_key/value")?.as_str()?).ok()?;
    let public = key.get(32..64)?;
    Sha256::digest(public).get(..20).map(hex::encode)
}
