//! `postrider.toml`: what an operator decides, checked as a whole before anything starts.

mod cosmos;
mod evm;
mod file;
mod peering;
mod problem;
mod tokens;

use crate::config::file::{
    ApiTable, ChainIdSetting, File, FinalitySetting, LayerZeroTable, NetworkKind, NetworkTable,
    UpstreamTable,
};
use alloy_primitives::Address;
pub use cosmos::{CosmosConfig, IbcConfig, Paying};
pub use peering::{DvnPeer, PeerConfig, PeeringConfig};
use postrider_evm::{FeePolicy, Finality, UpstreamLimits, presets};
use postrider_jsonrpc::{BadUrl, RpcUrl};
use postrider_layerzero::{Deployment, Deployments, wire::Eid};
use postrider_message::{
    Confirmations, Height, KeyName, NetworkName, OperatorName, Role, UpstreamName,
};
use postrider_verification::QuorumPolicy;
use problem::Problems;
pub use problem::{ConfigError, Problem};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// The most transactions of one account on their way at once, whatever the file says: as many as
/// the store hands out in one look.
pub const MAX_IN_FLIGHT: usize = 1_000;

/// The whole configuration, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the store, the keys and the journals.
    pub data: PathBuf,
    /// Where HTTP is served; not at all if `None`.
    pub api: Option<ApiConfig>,
    /// Who we are to others that sign for the same DVNs, and who they are; nobody if `None`.
    pub peering: Option<PeeringConfig>,
    /// The EVM networks.
    pub networks: BTreeMap<NetworkName, NetworkConfig>,
    /// The Cosmos networks.
    pub cosmos: BTreeMap<NetworkName, CosmosConfig>,
    /// LayerZero on them.
    pub layerzero: BTreeMap<NetworkName, LayerZeroConfig>,
    /// IBC on Cosmos networks.
    pub ibc: BTreeMap<NetworkName, IbcConfig>,
    /// LayerZero as the protocol sees it.
    pub deployments: Deployments,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiConfig {
    /// The address and port; an address of this machine alone unless the operator allowed others.
    pub listen: SocketAddr,
}

/// An EVM network.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The chain's EIP-155 id.
    pub chain_id: u64,
    /// How many operators must agree.
    pub policy: QuorumPolicy,
    /// When a block counts as final.
    pub finality: Finality,
    /// How often upstreams are asked for news.
    pub poll: Duration,
    /// Where to begin where nothing was recorded; the newest final block if not given.
    pub start_height: Option<Height>,
    /// What may be paid for gas.
    pub fees: FeePolicy,
    /// The keys that pay there.
    pub signers: Vec<KeyName>,
    /// The most transactions of one of those keys on their way at once.
    pub max_in_flight: usize,
    /// The most gas that nodes let one transaction ask for, if less than a block has.
    pub transaction_gas_cap: Option<u64>,
    /// Its upstreams.
    pub upstreams: Vec<UpstreamConfig>,
}

/// An upstream.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Its name.
    pub name: UpstreamName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Where it is.
    pub url: RpcUrl,
    /// Bounds on talking to it.
    pub limits: UpstreamLimits,
}

/// LayerZero on a network, and our part in it.
#[derive(Debug, Clone)]
pub struct LayerZeroConfig {
    /// What this node does for messages that arrive there.
    pub roles: BTreeSet<Role>,
    /// The keys that sign for our DVN there.
    pub dvn_keys: Vec<KeyName>,
    /// Other processes that sign for it.
    pub dvn_peers: Vec<DvnPeer>,
    /// The least depth attested for messages sent there.
    pub min_confirmations: Confirmations,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found, each with its line and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::unreadable(path, &e))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, path, folder)
    }

    /// Checks the text of a configuration file. Relative paths in it start at `folder`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|e| ConfigError::syntax(path, text, &e))?;
        let mut problems = Problems::new(path, text);
        let api = file.api.as_ref().and_then(|table| api(table, &mut problems));
        let networks: BTreeMap<_, _> = file
            .networks
            .iter()
            .filter(|(_, table)| table.kind == NetworkKind::Evm)
            .filter_map(|(name, table)| {
                Some((name.clone(), evm::network(name, table, &mut problems)?))
            })
            .collect();
        let cosmos: BTreeMap<_, _> = file
            .networks
            .iter()
            .filter(|(_, table)| table.kind == NetworkKind::Cosmos)
            .filter_map(|(name, table)| {
                Some((name.clone(), cosmos::network(name, table, &mut problems)?))
            })
            .collect();
        let ibc = cosmos::ibc(&file, &mut problems);
        if file.networks.is_empty() {
            problems.add(None, "no network is configured", "add a table [networks.NAME]");
        }
        let mut layerzero = BTreeMap::new();
        let mut deployments = BTreeMap::new();
        for (name, table) in &file.layerzero {
            let evm = file.networks.get(name).filter(|table| table.kind == NetworkKind::Evm);
            let Some(network) = evm else {
                let what = format!("[layerzero.{name}] names no configured network of kind `evm`");
                problems.add(Some(table.eid.span()), &what, "add [networks.NAME] or remove it");
                continue;
            };
            let (mut config, deployment) = deployment(name, network, table, &mut problems);
            config.dvn_peers = peering::of_dvn(&file, name);
            only_watched(name, network, table, &mut problems);
            final_at_once(name, network, table, &mut problems);
            layerzero.insert(name.clone(), config);
            deployments.insert(name.clone(), deployment);
        }
        same_targets(&file, &mut problems);
        let peering = peering::peering(&file, &mut problems);
        let deployments = Deployments::new(deployments).unwrap_or_else(|e| {
            problems.add(None, &e.to_string(), "give every network its own endpoint id");
            Deployments::default()
        });
        problems.finish()?;
        let data = folder.join(file.node.data);
        Ok(Self { data, api, peering, networks, cosmos, layerzero, ibc, deployments })
    }
}

fn api(table: &ApiTable, problems: &mut Problems<'_>) -> Option<ApiConfig> {
    let span = Some(table.listen.span());
    let Ok(listen) = table.listen.get_ref().parse::<SocketAddr>() else {
        let what = "[api]: `listen` is not an address with a port";
        problems.add(span, what, "write it as \"127.0.0.1:9600\"");
        return None;
    };
    if !listen.ip().is_loopback() && !table.allow_remote {
        let what =
            format!("[api]: {listen} can be reached from other machines, without a password");
        let remedy = "use 127.0.0.1, or set `allow_remote = true` where a proxy or firewall decides who may ask";
        problems.add(span, &what, remedy);
        return None;
    }
    Some(ApiConfig { listen })
}

/// A network's upstreams, each with a name of its own.
fn upstreams(
    name: &NetworkName,
    table: &NetworkTable,
    problems: &mut Problems<'_>,
) -> Vec<UpstreamConfig> {
    let mut names = BTreeSet::new();
    for upstream in &table.upstreams {
        if !names.insert(upstream.name.get_ref()) {
            let what = format!("upstream `{}` of {name} is there twice", upstream.name.get_ref());
            problems.add(Some(upstream.name.span()), &what, "give every upstream its own name");
        }
    }
    table.upstreams.iter().filter_map(|u| upstream(name, table.kind, u, problems)).collect()
}

fn upstream(
    network: &NetworkName,
    kind: NetworkKind,
    table: &UpstreamTable,
    problems: &mut Problems<'_>,
) -> Option<UpstreamConfig> {
    let name = table.name.get_ref();
    let span = Some(table.name.span());
    let url = match (&table.url, &table.url_env) {
        (Some(url), None) => RpcUrl::new(url),
        (None, Some(variable)) => match std::env::var(variable) {
            Ok(url) => RpcUrl::new(&url),
            Err(_) => {
                let what = format!("{network}: variable {variable} of upstream {name} is not set");
                problems.add(span, &what, "set it to the upstream's URL");
                return None;
            }
        },
        _ => {
            let what = format!("{network}: upstream {name} needs one of `url` and `url_env`");
            problems.add(span, &what, "give exactly one of them");
            return None;
        }
    };
    match url {
        Ok(url) => Some(UpstreamConfig {
            name: name.clone(),
            operator: table.operator.clone(),
            url,
            limits: table.limits(kind),
        }),
        Err(BadUrl) => {
            let what = format!("{network}: the URL of upstream {name} is {BadUrl}");
            problems.add(span, &what, "write it with its scheme");
            None
        }
    }
}

fn deployment(
    name: &NetworkName,
    network: &NetworkTable,
    table: &LayerZeroTable,
    problems: &mut Problems<'_>,
) -> (LayerZeroConfig, Deployment) {
    let span = Some(table.eid.span());
    let roles: BTreeSet<Role> = table.roles.iter().copied().collect();
    let has = |role| roles.contains(&role);
    let mut demand = |wrong: bool, what: &str, remedy: &str| {
        if wrong {
            problems.add(span.clone(), &format!("[layerzero.{name}]: {what}"), remedy);
        }
    };
    let keys = table.dvn.as_ref().map(|dvn| dvn.keys.clone()).unwrap_or_default();
    demand(
        has(Role::Attest) && keys.is_empty(),
        "role `attest` needs a DVN with keys",
        "add `dvn = { address = \"0x…\", keys = [\"NAME\"] }` or drop the role",
    );
    demand(
        (has(Role::Attest) || has(Role::Execute)) && network.signers().is_empty(),
        "roles `attest` and `execute` need a key that pays",
        "set `signer` in the network's table",
    );
    demand(
        has(Role::Execute) && table.executor.is_none(),
        "role `execute` needs an executor, whose jobs are ours",
        "set `executor` or drop the role",
    );
    demand(
        network.signers().iter().any(|signer| keys.contains(signer)),
        "one key both pays and attests",
        "use separate keys",
    );
    demand(
        table.min_confirmations == 0,
        "`min_confirmations` is 0, so a block could be signed for as it appears",
        "set it to 1 or more",
    );
    demand(
        table.receive_libraries.is_empty() && has(Role::Attest),
        "no receive library is pinned, so nothing could be attested",
        "list the libraries you trust in `receive_libraries`",
    );
    let config = LayerZeroConfig {
        roles,
        dvn_keys: keys,
        dvn_peers: Vec::new(),
        min_confirmations: Confirmations(table.min_confirmations),
    };
    let deployment = Deployment {
        eid: Eid(*table.eid.get_ref()),
        endpoint: table.endpoint,
        send_libraries: table.send_libraries.clone(),
        receive_libraries: table.receive_libraries.clone(),
        dvn: table.dvn.as_ref().map(|dvn| dvn.address),
        executor: table.executor,
        batch: table.batch,
        tokens: tokens::tokens(name, table, problems),
    };
    (config, deployment)
}

/// Where the form of blocks was never tested, nothing is signed: neither for messages that arrive
/// there, nor for messages sent from there, for which no work is owed without a send library.
fn only_watched(
    name: &NetworkName,
    network: &NetworkTable,
    table: &LayerZeroTable,
    problems: &mut Problems<'_>,
) {
    let preset = evm_chain(network).and_then(presets::by_chain_id);
    let Some(why) = preset.and_then(|preset| preset.watch_only) else { return };
    let mut refuse = |what: &str, remedy: &str| {
        let what = format!("[layerzero.{name}]: {what} refused, it may only be watched: {why}");
        problems.add(Some(table.eid.span()), &what, remedy);
    };
    if table.roles.iter().any(|role| matches!(role, Role::Attest | Role::Execute)) {
        refuse("roles `attest` and `execute` are", "set `roles = [\"watch\"]`");
    }
    if !table.send_libraries.is_empty() {
        refuse("`send_libraries` is", "remove it: messages are followed, and no work is owed");
    }
}

/// A block that counts as final as it appears is replaced by the next ordinary fork of the tip: what
/// was signed from it cannot be taken back, and upstreams that saw the other block look like liars.
fn final_at_once(
    name: &NetworkName,
    network: &NetworkTable,
    table: &LayerZeroTable,
    problems: &mut Problems<'_>,
) {
    let Some(finality) = &network.finality else { return };
    let is_at_once = matches!(finality.get_ref(), FinalitySetting::Confirmations(0));
    let acts = table.roles.iter().any(|role| matches!(role, Role::Attest | Role::Execute));
    if is_at_once && (acts || !table.send_libraries.is_empty()) {
        let what = format!(
            "[networks.{name}]: with `confirmations = 0` a block is final as it appears, and \
             [layerzero.{name}] signs for messages that arrive there or are sent from there"
        );
        let remedy = "use \"finalized\" or \"safe\", or more confirmations than its forks are deep; \
                      or only watch: no role but `watch`, no `send_libraries`";
        problems.add(Some(finality.span()), &what, remedy);
    }
}

/// The number of an EVM chain.
fn evm_chain(network: &NetworkTable) -> Option<u64> {
    match network.chain_id.get_ref() {
        ChainIdSetting::Number(number) => Some(*number),
        ChainIdSetting::Text(_) => None,
    }
}

/// One key never attests for two networks: the digest names neither, so a signature for one could
/// be used on the other where vid and library are the same.
fn same_targets(file: &File, problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<&KeyName, (&NetworkName, &Address)> = BTreeMap::new();
    for (name, table) in &file.layerzero {
        let Some(dvn) = &table.dvn else { continue };
        for key in &dvn.keys {
            if let Some((other, _)) = seen.insert(key, (name, &dvn.address))
                && other != name
            {
                let what = format!("key `{key}` attests for both {other} and {name}");
                let remedy = "give every network's DVN keys of its own";
                problems.add(Some(table.eid.span()), &what, remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests;
