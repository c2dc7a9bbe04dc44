//! Starts everything a node does, and stops it.

use crate::{
    attest::Attester,
    config::{Config, LayerZeroConfig},
    context::{Context, Network},
    follow::{FollowStopped, follow},
    planner::Planner,
    submit::Submitter,
};
use postrider_evm::UpstreamError;
use postrider_message::{KeyName, NetworkName, Role};
use postrider_signing::{Journal, JournalError, Keystore, KeystoreError, Password};
use postrider_store::{SqliteStore, Store, StoreError};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Why a node cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// A signing journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An upstream.
    #[error("an upstream of {network}: {error}")]
    Upstream {
        /// The network.
        network: NetworkName,
        /// Why.
        error: UpstreamError,
    },
    /// A network cannot be followed any more.
    #[error(transparent)]
    Follow(#[from] FollowStopped),
    /// The data folder cannot be made.
    #[error("the data folder {folder} cannot be made: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A task ended in a way it must not.
    #[error("a part of the node broke off: {0}")]
    Broke(String),
}

/// The file of the store in a data folder.
#[must_use]
pub fn store_path(config: &Config) -> PathBuf {
    config.data.join("postrider.sqlite")
}

/// The folder of keys and journals in a data folder.
#[must_use]
pub fn keys_path(config: &Config) -> PathBuf {
    config.data.join("keys")
}

/// A node that is about to run.
#[derive(Debug)]
pub struct Node {
    context: Arc<Context>,
    keystore: Keystore,
    password: Password,
}

impl Node {
    /// Opens the store and the keys of a node. Nothing is asked of any network yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config, password: Password) -> Result<Self, StartError> {
        std::fs::create_dir_all(&config.data)
            .map_err(|source| StartError::Folder { folder: config.data.clone(), source })?;
        let store = Arc::new(SqliteStore::open(&store_path(&config)).await?);
        let keystore = Keystore::open(&keys_path(&config))?;
        let mut networks = BTreeMap::new();
        for (name, settings) in &config.networks {
            let network = Network::new(name.clone(), settings.clone())
                .map_err(|error| StartError::Upstream { network: name.clone(), error })?;
            networks.insert(name.clone(), Arc::new(network));
        }
        let deployments = config.deployments.clone();
        let context = Arc::new(Context { store, networks, deployments, config });
        Ok(Self { context, keystore, password })
    }

    /// What its tasks share.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Runs until `stop` is cancelled. What is in flight is on disk, and is taken up again at the
    /// next start.
    ///
    /// # Errors
    /// [`StartError`] if a key or journal is missing, or a part cannot go on without an operator.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StartError> {
        let mut tasks: JoinSet<Result<(), StartError>> = JoinSet::new();
        let mut planners = Vec::new();
        // Every key is opened before anything starts: a node with half its keys is a surprise.
        for (name, settings) in &self.context.config.layerzero {
            planners.extend(self.planner(name, settings).await?);
        }
        for network in self.context.networks.values() {
            let following =
                follow(Arc::clone(&self.context), Arc::clone(network), stop.child_token());
            let name = network.name.clone();
            // R6: a network that cannot go on stops alone; the others do not wait for it.
            tasks.spawn(async move {
                if let Err(error) = following.await {
                    tracing::error!(network = %name, %error, "following stopped");
                }
                Ok(())
            });
        }
        for planner in planners {
            let stop = stop.child_token();
            tasks.spawn(async move { Ok(planner.run(stop).await?) });
        }
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.unwrap_or_else(|e| Err(StartError::Broke(e.to_string())));
            if let Err(error) = ended {
                tracing::error!(%error, "stopping");
                stop.cancel();
                result = Err(error);
            }
        }
        result
    }

    async fn planner(
        &self,
        name: &NetworkName,
        settings: &LayerZeroConfig,
    ) -> Result<Option<Planner>, StartError> {
        let acts =
            settings.roles.contains(&Role::Attest) || settings.roles.contains(&Role::Execute);
        let (Some(network), Some(deployment)) =
            (self.context.network(name), self.context.deployments.on(name))
        else {
            return Ok(None);
        };
        let Some(payer) = network.config.signer.clone().filter(|_| acts) else { return Ok(None) };
        let key = self.keystore.transaction_key(&payer, &self.password)?;
        let store: Arc<dyn Store> = Arc::clone(&self.context.store);
        let submitter = Arc::new(Submitter::new(Arc::clone(network), store, key));
        let attester = if settings.roles.contains(&Role::Attest) {
            Some(self.attester(&settings.dvn_keys).await?)
        } else {
            None
        };
        Ok(Some(Planner::new(
            Arc::clone(&self.context),
            Arc::clone(network),
            deployment.clone(),
            submitter,
            attester,
        )))
    }

    async fn attester(&self, keys: &[KeyName]) -> Result<Attester, StartError> {
        let mut signers = Vec::new();
        for name in keys {
            let key = self.keystore.attesting_key(name, &self.password)?;
            let journal = Journal::open(self.keystore.folder(), key.address()).await?;
            signers.push((key, journal));
        }
        Ok(Attester::new(signers))
    }
}
