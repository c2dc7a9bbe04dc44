//! What the tasks of a node share.

use crate::{
    config::{Config, NetworkConfig},
    cosmos::CosmosNetwork,
};
use alloy_primitives::U256;
use postrider_evm::{RpcClient, Upstream, UpstreamError, Upstreams};
use postrider_layerzero::Deployments;
use postrider_message::{Alarm, AlarmKind, Height, MessageId, NetworkName, UnixMillis};
use postrider_store::{Store, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Notify, watch};

/// A network as the tasks see it.
#[derive(Debug)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// Its settings.
    pub config: NetworkConfig,
    /// Its upstreams.
    pub upstreams: Arc<Upstreams>,
    /// How far it is known.
    pub progress: watch::Sender<Progress>,
    /// Wakes the planner of what is brought there.
    pub work: Notify,
    /// The accounts that pay there.
    pub wallets: Wallets,
}

/// An account and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// The account, in canonical text.
    pub address: String,
    /// What it holds, in the network's smallest unit, as one upstream says.
    pub balance: U256,
}

/// The accounts that pay on a network, with what an upstream last said that they hold.
#[derive(Debug, Default)]
pub struct Wallets(Mutex<BTreeMap<String, U256>>);

impl Wallets {
    /// Notes what an upstream says that an account of ours holds.
    pub fn note(&self, address: &str, balance: U256) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(address.to_owned(), balance);
    }

    /// Those of which something was told, by address.
    #[must_use]
    pub fn all(&self) -> Vec<Wallet> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wallet = |(address, balance): (&String, &U256)| Wallet {
            address: address.clone(),
            balance: *balance,
        };
        all.iter().map(wallet).collect()
    }
}

/// How far a network is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The height the quorum has reached.
    pub head: Height,
    /// The durable cursor's height.
    pub durable: Height,
    /// The height up to which hints were recorded.
    pub hinted: Height,
    /// The last step led to the newest final block, or there was none to take.
    pub caught_up: bool,
    /// The follower ended and does not go on without an operator.
    pub stopped: bool,
}

/// What stays on disk when a node stops, for the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parked {
    /// Transactions signed and not final.
    pub transactions: u64,
    /// Messages that have not ended.
    pub messages: u64,
}

impl Network {
    /// A network with these settings; asks nobody anything yet.
    ///
    /// # Errors
    /// [`UpstreamError`] if no HTTP client can be built.
    pub fn new(name: NetworkName, config: NetworkConfig) -> Result<Self, UpstreamError> {
        let mut list = Vec::new();
        for upstream in &config.upstreams {
            let client = RpcClient::new(upstream.url.clone(), upstream.limits)?;
            let (name, operator) = (upstream.name.clone(), upstream.operator.clone());
            list.push(Arc::new(Upstream::new(name, operator, config.chain_id, client)));
        }
        let upstreams =
            Arc::new(Upstreams::new(name.clone(), list, config.policy, config.finality));
        let progress = watch::Sender::new(Progress::default());
        let (work, wallets) = (Notify::new(), Wallets::default());
        Ok(Self { name, config, upstreams, progress, work, wallets })
    }
}

/// What the tasks of a node share.
pub struct Context {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// The EVM networks.
    pub networks: BTreeMap<NetworkName, Arc<Network>>,
    /// The Cosmos networks.
    pub cosmos: BTreeMap<NetworkName, Arc<CosmosNetwork>>,
    /// LayerZero on them.
    pub deployments: Deployments,
    /// The configuration.
    pub config: Config,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("networks", &self.networks.keys())
            .field("cosmos", &self.cosmos.keys())
            .finish_non_exhaustive()
    }
}

impl Context {
    /// What the tasks of a node with this configuration share; asks nobody anything yet.
    ///
    /// # Errors
    /// The network and the [`UpstreamError`] if no HTTP client can be built.
    pub fn new(
        config: Config,
        store: Arc<dyn Store>,
    ) -> Result<Self, (NetworkName, UpstreamError)> {
        let mut networks = BTreeMap::new();
        for (name, settings) in &config.networks {
            let network = Network::new(name.clone(), settings.clone());
            networks.insert(name.clone(), Arc::new(network.map_err(|e| (name.clone(), e))?));
        }
        let mut cosmos = BTreeMap::new();
        for (name, settings) in &config.cosmos {
            let network = CosmosNetwork::new(name.clone(), settings.clone());
            cosmos.insert(name.clone(), Arc::new(network.map_err(|e| (name.clone(), e))?));
        }
        let deployments = config.deployments.clone();
        Ok(Self { store, networks, cosmos, deployments, config })
    }

    /// What is on disk for the next start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn parked(&self) -> Result<Parked, StoreError> {
        let tally = self.store.tally().await?;
        Ok(Parked {
            transactions: tally.transactions.iter().map(|(.., n)| n).sum(),
            messages: tally.reasons.iter().map(|(_, n)| n).sum(),
        })
    }

    /// A network by its name.
    #[must_use]
    pub fn network(&self, name: &NetworkName) -> Option<&Arc<Network>> {
        self.networks.get(name)
    }

    /// Wakes every planner: something was recorded that may be of use to any of them.
    pub fn wake_all(&self) {
        for network in self.networks.values() {
            network.work.notify_one();
        }
        for network in self.cosmos.values() {
            network.work.notify_one();
        }
    }

    /// Records and logs an alarm. An alarm that cannot be recorded is still logged.
    pub async fn raise(
        &self,
        kind: AlarmKind,
        network: &NetworkName,
        message: Option<MessageId>,
        detail: &str,
    ) {
        let at = UnixMillis::now();
        let alarm = Alarm { kind, network: network.clone(), message, detail: detail.into(), at };
        self.keep(alarm).await;
    }

    /// Logs an alarm that is recorded.
    pub(crate) fn sound(alarm: &Alarm) {
        let (kind, network) = (alarm.kind.as_str(), &alarm.network);
        tracing::error!(kind, %network, "ALARM: {}", alarm.detail);
    }

    /// Records and logs an alarm that was raised elsewhere.
    pub async fn keep(&self, alarm: Alarm) {
        match self.store.raise(alarm.clone()).await {
            Ok(false) => {}
            Ok(true) => Self::sound(&alarm),
            Err(error) => {
                tracing::error!(kind = alarm.kind.as_str(), %error, "ALARM not recorded: {}", alarm.detail);
            }
        }
    }
}
