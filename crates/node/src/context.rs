//! What the tasks of a node share.

use crate::config::{Config, NetworkConfig};
use postrider_evm::{RpcClient, Upstream, UpstreamError, Upstreams};
use postrider_layerzero::Deployments;
use postrider_message::{Alarm, AlarmKind, Height, MessageId, NetworkName, UnixMillis};
use postrider_store::Store;
use std::{collections::BTreeMap, sync::Arc};
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
        Ok(Self { name, config, upstreams, progress, work: Notify::new() })
    }
}

/// What the tasks of a node share.
pub struct Context {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// The networks.
    pub networks: BTreeMap<NetworkName, Arc<Network>>,
    /// LayerZero on them.
    pub deployments: Deployments,
    /// The configuration.
    pub config: Config,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("networks", &self.networks.keys()).finish_non_exhaustive()
    }
}

impl Context {
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

    /// Records and logs an alarm that was raised elsewhere.
    pub async fn keep(&self, alarm: Alarm) {
        match self.store.raise(alarm.clone()).await {
            Ok(false) => {}
            Ok(true) => {
                let (kind, network) = (alarm.kind.as_str(), &alarm.network);
                tracing::error!(kind, %network, "ALARM: {}", alarm.detail);
            }
            Err(error) => {
                tracing::error!(kind = alarm.kind.as_str(), %error, "ALARM not recorded: {}", alarm.detail);
            }
        }
    }
}
