//! Starts everything a node does, and stops it.

use crate::{
    attest::Attester,
    config::{Config, LayerZeroConfig},
    context::{Context, Network},
    cosmos::CosmosNetwork,
    follow::{FollowStopped, follow},
    ibc::{self, channels::Channels},
    payers::Payers,
    peers::{
        Desk, Gatherer,
        ask::Asker,
        client::{AskError, PeerClient},
    },
    planner::Planner,
    submit::Submitter,
    unsent::watch,
};
use alloy_primitives::Address;
use futures::FutureExt;
use postrider_evm::UpstreamError;
use postrider_layerzero::{Deployment, dvn::Vid, request::DvnPlace};
use postrider_message::{NetworkName, PeerName, Role};
use postrider_signing::{AttestingKey, Journal, JournalError, Keystore, KeystoreError, Password};
use postrider_store::{SqliteStore, Store, StoreError};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long what is under way may take to end once the node is told to stop.
pub const PARKING: Duration = Duration::from_secs(3);

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
    /// A peer.
    #[error("peer {peer}: it {error}")]
    Peer {
        /// The peer.
        peer: PeerName,
        /// Why.
        error: AskError,
    },
    /// A peer is said to sign with a key that is here, or to be this process.
    #[error(
        "peer {peer} is named with {address:#x}, which is a key of this node: name the peer's own"
    )]
    OwnPeer {
        /// The peer.
        peer: PeerName,
        /// The address.
        address: Address,
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
    desk: Option<Arc<Desk>>,
}

/// What is started for one destination.
struct Parts {
    planner: Planner,
    attester: Option<Arc<Attester>>,
    askers: Vec<Arc<Asker>>,
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
        let context = Context::new(config, store)
            .map_err(|(network, error)| StartError::Upstream { network, error })?;
        let context = Arc::new(context);
        let desk = match &context.config.peering {
            Some(peering) => {
                let identity = keystore.identity_key(&peering.identity, &password)?;
                let own = identity.address();
                let named = peering.peers.iter().find(|(_, peer)| peer.identity == own);
                if let Some((peer, _)) = named {
                    return Err(StartError::OwnPeer { peer: peer.clone(), address: own });
                }
                Some(Arc::new(Desk::new(Arc::clone(&context), identity)))
            }
            None => None,
        };
        Ok(Self { context, keystore, password, desk })
    }

    /// Where peers ask, if this node has an identity by which they know it.
    #[must_use]
    pub fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.as_ref()
    }

    /// What its tasks share.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Runs until `stop` is cancelled; what is under way then may end within [`PARKING`], and what
    /// has not is cut off. What is in flight is on disk, and is taken up again at the next start.
    ///
    /// # Errors
    /// [`StartError`] if a key or journal is missing, or a part cannot go on without an operator.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StartError> {
        let mut tasks: JoinSet<Result<(), StartError>> = JoinSet::new();
        let mut all = Vec::new();
        let mut attesters = BTreeMap::new();
        // Every key is opened before anything starts: a node with half its keys is a surprise.
        for (name, settings) in &self.context.config.layerzero {
            let parts = self.parts(name, settings).await?;
            let attester = parts.as_ref().and_then(|parts| parts.attester.clone());
            attesters.extend(attester.map(|attester| (name.clone(), attester)));
            all.extend(parts);
        }
        if let Some(desk) = &self.desk {
            desk.open(attesters);
        }
        for network in self.context.networks.values() {
            let (context, network) = (Arc::clone(&self.context), Arc::clone(network));
            let stop = stop.child_token();
            // R6: a network that cannot go on stops alone; the others do not wait for it.
            tasks.spawn(async move {
                if let Err(error) = follow(context, Arc::clone(&network), stop).await {
                    network.progress.send_modify(|p| p.stopped = true);
                    tracing::error!(network = %network.name, %error, "following stopped");
                }
                Ok(())
            });
        }
        self.start_ibc(&mut tasks, &stop)?;
        for (name, deployment) in self.context.deployments.iter() {
            let Some(network) = self.context.network(name) else { continue };
            if !deployment.tokens.is_empty() {
                let (context, network) = (Arc::clone(&self.context), Arc::clone(network));
                let stop = stop.child_token();
                tasks.spawn(async move {
                    watch(context, network, stop).await;
                    Ok(())
                });
            }
        }
        for Parts { planner, askers, .. } in all {
            let ends = stop.child_token();
            tasks.spawn(async move { Ok(planner.run(ends).await?) });
            for asker in askers {
                let ends = stop.child_token();
                tasks.spawn(async move {
                    asker.run(ends).await;
                    Ok(())
                });
            }
        }
        join(tasks, &stop).await
    }

    /// Follows the Cosmos networks, and relays where that is our role.
    fn start_ibc(
        &self,
        tasks: &mut JoinSet<Result<(), StartError>>,
        stop: &CancellationToken,
    ) -> Result<(), StartError> {
        let channels = Arc::new(Channels::default());
        for network in self.context.cosmos.values() {
            self.start_cosmos(network, &channels, tasks, stop)?;
        }
        self.watch_supplies(tasks, &channels, stop);
        Ok(())
    }

    fn start_cosmos(
        &self,
        network: &Arc<CosmosNetwork>,
        channels: &Arc<Channels>,
        tasks: &mut JoinSet<Result<(), StartError>>,
        stop: &CancellationToken,
    ) -> Result<(), StartError> {
        let mut payers = Vec::new();
        let algorithm = network.config.paying.algorithm;
        for name in &network.config.signers {
            let key = self.keystore.cosmos_key(name, &self.password, algorithm)?;
            let store: Arc<dyn Store> = Arc::clone(&self.context.store);
            payers.push(ibc::submit::Submitter::new(Arc::clone(network), store, key));
        }
        let addresses: Vec<String> =
            payers.iter().map(|payer| payer.address().to_owned()).collect();
        let granter = network.config.paying.fee_granter.clone().filter(|_| !payers.is_empty());
        for address in granter.map_or_else(|| addresses.clone(), |granter| vec![granter]) {
            let watched = ibc::wallet::watch(Arc::clone(network), address, stop.child_token());
            tasks.spawn(watched.map(Ok));
        }
        tasks.spawn(ibc::hear::hear(Arc::clone(network), stop.child_token()).map(Ok));
        let context = Arc::clone(&self.context);
        let watched = ibc::hosted::watch(context, Arc::clone(network), stop.child_token());
        tasks.spawn(watched.map(Ok));
        let (context, followed) = (Arc::clone(&self.context), Arc::clone(network));
        let (known, ends) = (Arc::clone(channels), stop.child_token());
        tasks.spawn(async move {
            // R6: a network that cannot go on stops alone; the others do not wait for it.
            let (name, progress) = (followed.name.clone(), followed.progress.clone());
            let ended = ibc::follow::follow(context, followed, known, addresses, ends).await;
            if let Err(error) = ended {
                progress.send_modify(|p| p.stopped = true);
                tracing::error!(network = %name, %error, "following stopped");
            }
            Ok(())
        });
        let relays = self.context.config.ibc.get(&network.name);
        let relays = relays.is_some_and(|ibc| ibc.roles.contains(&Role::Relay));
        if let (true, Some(payers)) = (relays, ibc::submit::Payers::new(payers)) {
            let (context, network) = (Arc::clone(&self.context), Arc::clone(network));
            let relayer = ibc::relay::Relayer::new(context, network, Arc::clone(channels), payers);
            let ends = stop.child_token();
            tasks.spawn(async move { Ok(relayer.run(ends).await?) });
        }
        Ok(())
    }

    /// Watches the tokens that cross between each two networks of IBC.
    fn watch_supplies(
        &self,
        tasks: &mut JoinSet<Result<(), StartError>>,
        channels: &Arc<Channels>,
        stop: &CancellationToken,
    ) {
        let lists = Arc::new(ibc::supply::Lists::default());
        for both in ibc::supply::pairs(&self.context) {
            let (context, ends) = (Arc::clone(&self.context), stop.child_token());
            let known = (Arc::clone(channels), Arc::clone(&lists));
            tasks.spawn(async move {
                ibc::supply::watch(context, known, both, ends).await;
                Ok(())
            });
        }
    }

    async fn parts(
        &self,
        name: &NetworkName,
        settings: &LayerZeroConfig,
    ) -> Result<Option<Parts>, StartError> {
        let acts =
            settings.roles.contains(&Role::Attest) || settings.roles.contains(&Role::Execute);
        let (Some(network), Some(deployment)) =
            (self.context.network(name), self.context.deployments.on(name))
        else {
            return Ok(None);
        };
        if !acts || network.config.signers.is_empty() {
            return Ok(None);
        }
        let mut payers = Vec::new();
        for name in &network.config.signers {
            let key = self.keystore.transaction_key(name, &self.password)?;
            let store: Arc<dyn Store> = Arc::clone(&self.context.store);
            payers.push(Arc::new(Submitter::new(Arc::clone(network), store, key)));
        }
        let (attester, askers) = if settings.roles.contains(&Role::Attest) {
            let (attester, askers) = self.attester(network, deployment, settings).await?;
            (Some(Arc::new(attester)), askers)
        } else {
            (None, Vec::new())
        };
        let planner = Planner::new(
            Arc::clone(&self.context),
            Arc::clone(network),
            deployment.clone(),
            Payers::new(payers),
            attester.clone(),
        );
        Ok(Some(Parts { planner, attester, askers }))
    }

    async fn attester(
        &self,
        network: &Arc<Network>,
        deployment: &Deployment,
        settings: &LayerZeroConfig,
    ) -> Result<(Attester, Vec<Arc<Asker>>), StartError> {
        let mut signers = Vec::new();
        for name in &settings.dvn_keys {
            let key = self.keystore.attesting_key(name, &self.password)?;
            let journal = Journal::open(self.keystore.folder(), key.address()).await?;
            signers.push((key, journal));
        }
        let askers = self.askers(network, settings, &signers)?;
        let own = signers.iter().map(|(key, _)| key.address()).min();
        let gatherer = match (own, deployment.dvn) {
            (Some(own), Some(address)) if !askers.is_empty() => {
                let (chain_id, eid) = (network.config.chain_id, deployment.eid);
                // The id that is signed is read from the contract, with each plan.
                let dvn = DvnPlace { chain_id, eid, address, vid: Vid(0) };
                let context = Arc::clone(&self.context);
                Some(Arc::new(Gatherer::new(context, dvn, own, askers.clone())))
            }
            _ => None,
        };
        Ok((Attester::new(signers, gatherer), askers))
    }

    /// Those who ask the DVN's other signers, one a peer.
    fn askers(
        &self,
        network: &Arc<Network>,
        settings: &LayerZeroConfig,
        signers: &[(AttestingKey, Journal)],
    ) -> Result<Vec<Arc<Asker>>, StartError> {
        let (Some(desk), Some(peering)) = (&self.desk, &self.context.config.peering) else {
            return Ok(Vec::new());
        };
        let mut askers = Vec::new();
        for dvn_peer in &settings.dvn_peers {
            let peer = dvn_peer.name.clone();
            if signers.iter().any(|(key, _)| key.address() == dvn_peer.signer) {
                return Err(StartError::OwnPeer { peer, address: dvn_peer.signer });
            }
            let Some(config) = peering.peers.get(&peer) else { continue };
            let client = PeerClient::new(config.clone(), desk.identity().clone())
                .map_err(|error| StartError::Peer { peer, error })?;
            let (context, network) = (Arc::clone(&self.context), Arc::clone(network));
            askers.push(Arc::new(Asker::new(context, network, dvn_peer.clone(), client)));
        }
        Ok(askers)
    }
}

/// Waits for all tasks; one that fails stops the others.
async fn join(
    mut tasks: JoinSet<Result<(), StartError>>,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(PARKING).await;
    };
    tokio::pin!(overdue);
    let mut cut_off = false;
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            () = &mut overdue, if !cut_off => {
                // Whatever waits for an answer is dropped there: an operation of the store or of a
                // journal happens entirely or not at all.
                cut_off = true;
                tasks.abort_all();
                continue;
            }
        };
        let error = match ended {
            None => return result,
            Some(Ok(Ok(()))) => continue,
            Some(Ok(Err(error))) => error,
            Some(Err(broke)) if broke.is_cancelled() => continue,
            Some(Err(broke)) => StartError::Broke(broke.to_string()),
        };
        tracing::error!(%error, "stopping");
        stop.cancel();
        result = Err(error);
    }
}
