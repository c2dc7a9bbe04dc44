//! Whether a Cosmos network can be heard and believed, whether we can pay there, and how the light clients
//! stand that channels of ours depend on.

mod clients;
mod pay;
mod trust;
mod upstreams;

use super::{Findings, keys::Keys};
use crate::{config::Config, cosmos::CosmosNetwork};
use postrider_message::NetworkName;
use std::{collections::BTreeMap, sync::Arc};

pub(super) type Networks = BTreeMap<NetworkName, Arc<CosmosNetwork>>;

/// The networks, ready to be asked.
pub(super) fn networks(config: &Config, findings: &mut Findings) -> Networks {
    let mut networks = BTreeMap::new();
    for (name, settings) in &config.cosmos {
        match CosmosNetwork::new(name.clone(), settings.clone()) {
            Ok(network) => {
                networks.insert(name.clone(), Arc::new(network));
            }
            Err(error) => findings.error(
                &format!("networks.{name}"),
                error.to_string(),
                "the node cannot start",
                "check this machine's TLS set-up",
            ),
        }
    }
    networks
}

/// In the order in which a packet needs it.
pub(super) async fn of_network(
    config: &Config,
    network: &Arc<CosmosNetwork>,
    all: &Networks,
    keys: &Keys,
    findings: &mut Findings,
) {
    let name = &network.name;
    let is_heard = upstreams::reachable(network, findings).await;
    trust::worth(network, findings);
    let place = format!("ibc.{name}");
    let relays = config.ibc.contains_key(name);
    if !is_heard {
        if relays {
            findings.note(
                &place,
                "its clients were not looked at: no upstream of the network answers",
                "what is wrong with them shows only later",
                "check again once an upstream answers",
            );
        }
        return;
    }
    trust::periods(network, findings).await;
    pay::check(network, keys, findings).await;
    let is_believed = trust::check(config, network, findings).await;
    if relays && is_believed {
        clients::check(config, network, all, findings).await;
    }
}

fn place_of(network: &CosmosNetwork, part: &str) -> String {
    format!("networks.{}.{part}", network.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use std::path::Path;

    /// A network with an upstream of each of `operators` at which nobody answers; 336 h are trusted.
    pub(super) fn network(operators: &[&str], more: &str) -> CosmosNetwork {
        let upstreams: Vec<String> = (0..)
            .zip(operators)
            .map(|(n, operator)| {
                format!(
                    "{{ name = \"u{n}\", operator = \"{operator}\", url = \
                     \"http://127.0.0.1:1/secret-key\" }}"
                )
            })
            .collect();
        let text = format!(
            "[networks.hub]\nkind = \"cosmos\"\nchain_id = \"hub-1\"\nprefix = \"cosmos\"\n\
             gas = {{ price = \"0.1stake\" }}\ntrust = {{ height = 1, hash = \"{}\", period_hours = \
             336 }}\n{more}\nupstreams = [{}]\n",
            "01".repeat(32),
            upstreams.join(", ")
        );
        let mut config = Config::parse(&text, Path::new("f"), Path::new(".")).unwrap();
        let (name, settings) = config.cosmos.pop_first().unwrap();
        CosmosNetwork::new(name, settings).unwrap()
    }

    #[tokio::test]
    async fn r8_an_upstream_that_is_away_is_named_without_its_url() {
        let network = network(&["x", "y"], "");
        let mut findings = Findings::default();
        assert!(!upstreams::reachable(&network, &mut findings).await);
        let found: Vec<_> = findings.0.iter().map(|f| (f.severity, f.place.as_str())).collect();
        let error = |place| (Severity::Error, place);
        let expected = [error("networks.hub.upstreams.u0"), error("networks.hub.upstreams.u1")];
        assert_eq!(found, expected);
        assert!(!format!("{findings:?}").contains("secret-key"));
    }
}
