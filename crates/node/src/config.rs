//! `postrider.toml`: what an operator decides, checked as a whole before anything starts.

mod file;
mod problem;

use crate::config::file::{File, LayerZeroTable, NetworkTable, UpstreamTable};
use alloy_primitives::Address;
use postrider_evm::{FeePolicy, Finality, RpcUrl, UpstreamLimits, rpc::BadUrl};
use postrider_layerzero::{Deployment, Deployments, wire::Eid};
use postrider_message::{
    Confirmations, Height, KeyName, NetworkName, OperatorName, Role, UpstreamName,
};
use postrider_verification::QuorumPolicy;
use problem::Problems;
pub use problem::{ConfigError, Problem};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

/// The whole configuration, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the store, the keys and the journals.
    pub data: PathBuf,
    /// The networks.
    pub networks: BTreeMap<NetworkName, NetworkConfig>,
    /// LayerZero on them.
    pub layerzero: BTreeMap<NetworkName, LayerZeroConfig>,
    /// The same, as the protocol sees it.
    pub deployments: Deployments,
}

/// A network.
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
    /// The key that pays there.
    pub signer: Option<KeyName>,
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
        let networks: BTreeMap<_, _> = file
            .networks
            .iter()
            .filter_map(|(name, table)| Some((name.clone(), network(name, table, &mut problems)?)))
            .collect();
        if file.networks.is_empty() {
            problems.add(None, "no network is configured", "add a table [networks.NAME]");
        }
        let mut layerzero = BTreeMap::new();
        let mut deployments = BTreeMap::new();
        for (name, table) in &file.layerzero {
            let Some(network) = file.networks.get(name) else {
                let what = format!("[layerzero.{name}] names a network that is not configured");
                problems.add(Some(table.eid.span()), &what, "add [networks.NAME] or remove it");
                continue;
            };
            let (config, deployment) = deployment(name, network, table, &mut problems);
            layerzero.insert(name.clone(), config);
            deployments.insert(name.clone(), deployment);
        }
        same_targets(&file, &mut problems);
        let deployments = Deployments::new(deployments).unwrap_or_else(|e| {
            problems.add(None, &e.to_string(), "give every network its own endpoint id");
            Deployments::default()
        });
        problems.finish()?;
        Ok(Self { data: folder.join(file.node.data), networks, layerzero, deployments })
    }
}

fn network(
    name: &NetworkName,
    table: &NetworkTable,
    problems: &mut Problems<'_>,
) -> Option<NetworkConfig> {
    let upstreams: Vec<UpstreamConfig> =
        table.upstreams.iter().filter_map(|u| upstream(name, u, problems)).collect();
    let mut names = BTreeSet::new();
    for upstream in &table.upstreams {
        if !names.insert(upstream.name.get_ref()) {
            let what = format!("upstream `{}` of {name} is there twice", upstream.name.get_ref());
            problems.add(Some(upstream.name.span()), &what, "give every upstream its own name");
        }
    }
    let operators = table.upstreams.iter().map(|u| &u.operator);
    let policy = match QuorumPolicy::new(operators, *table.quorum.get_ref()) {
        Ok(policy) => policy,
        Err(e) => {
            let what = format!("[networks.{name}]: {e}");
            let remedy = "set `quorum` to more than half of the distinct operators";
            problems.add(Some(table.quorum.span()), &what, remedy);
            return None;
        }
    };
    Some(NetworkConfig {
        chain_id: *table.chain_id.get_ref(),
        policy,
        finality: table.finality.into(),
        poll: Duration::from_millis(table.poll_ms.clamp(20, 60_000)),
        start_height: table.start_height.map(Height),
        fees: FeePolicy {
            max_fee_cap: u128::from(table.max_fee_gwei) * 1_000_000_000,
            ..FeePolicy::default()
        },
        signer: table.signer.clone(),
        upstreams,
    })
}

fn upstream(
    network: &NetworkName,
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
            limits: table.limits(),
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
        (has(Role::Attest) || has(Role::Execute)) && network.signer.is_none(),
        "roles `attest` and `execute` need a key that pays",
        "set `signer` in the network's table",
    );
    demand(
        has(Role::Execute) && table.executor.is_none(),
        "role `execute` needs an executor, whose jobs are ours",
        "set `executor` or drop the role",
    );
    demand(
        network.signer.as_ref().is_some_and(|s| keys.contains(s)),
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
        min_confirmations: Confirmations(table.min_confirmations),
    };
    let deployment = Deployment {
        eid: Eid(*table.eid.get_ref()),
        endpoint: table.endpoint,
        send_libraries: table.send_libraries.clone(),
        receive_libraries: table.receive_libraries.clone(),
        dvn: table.dvn.as_ref().map(|dvn| dvn.address),
        executor: table.executor,
    };
    (config, deployment)
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
