//! Compares the configuration with what the networks say.
//!
//! In the order of a message's way: `upstreams` asks whether the networks can be heard and their
//! blocks proven, `keys` whether the keys can be used, `contracts` whether the contracts are
//! those the file takes them for, and take us for what the file says we are. `cosmos` asks the same of
//! Cosmos networks, and how the light clients there stand; `settings` compares the file with itself.

mod contracts;
mod cosmos;
mod keys;
mod settings;
mod tokens;
mod upstreams;

use crate::{config::Config, context::Network};
use alloy_primitives::Address;
use futures::future::join_all;
use postrider_message::{KeyName, NetworkName};
use postrider_signing::{Keystore, Password};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// The longest that the checks of one network may take. A network that is slower is reported with
/// what was found until then.
const NETWORK_TIME: Duration = Duration::from_secs(60);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A part of the node will not work, or must not.
    Error,
    /// It works, but something may go wrong that need not.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing in which the configuration and the networks differ, or that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The setting it is about, for example `networks.alpha.upstreams.a`.
    pub place: String,
    /// What was found.
    pub what: String,
    /// What may come of it.
    pub risk: String,
    /// What to do about it.
    pub remedy: String,
}

/// Collects findings.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, place: &str, what: impl Into<String>, risk: &str, remedy: &str) {
        self.add(Severity::Error, place, what.into(), risk, remedy);
    }

    fn warning(&mut self, place: &str, what: impl Into<String>, risk: &str, remedy: &str) {
        self.add(Severity::Warning, place, what.into(), risk, remedy);
    }

    fn note(&mut self, place: &str, what: impl Into<String>, risk: &str, remedy: &str) {
        self.add(Severity::Note, place, what.into(), risk, remedy);
    }

    fn add(&mut self, severity: Severity, place: &str, what: String, risk: &str, remedy: &str) {
        self.0.push(Finding {
            severity,
            place: place.to_owned(),
            what,
            risk: risk.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// By place, the worst of each first.
    fn in_order(mut self) -> Vec<Finding> {
        self.0.sort_by(|a, b| (&a.place, a.severity).cmp(&(&b.place, b.severity)));
        self.0
    }
}

/// Compares `config` with what its networks say, each network for itself: one that is down stops
/// no other's checks. Nothing is written or sent. Without `password` what needs the keys' addresses
/// is left out, with a note.
///
/// `progress` is told of each step, in a short phrase.
///
/// Returns the findings by place; none is an [`Severity::Error`] where all agrees.
pub async fn check(
    config: &Config,
    keystore: &Keystore,
    password: Option<&Password>,
    progress: &dyn Fn(&str),
) -> Vec<Finding> {
    let mut findings = Findings::default();
    progress("opening the keys");
    let keys = keys::open(config, keystore, password, &mut findings).await;
    keys::peers(config, &keys.addresses, &mut findings);
    settings::contradictions(config, &mut findings);
    let addresses = &keys.addresses;
    let checks = config.networks.keys().map(|name| async move {
        let mut findings = Findings::default();
        progress(&format!("asking {name}"));
        let checked = of_network(config, name, addresses, &mut findings);
        let ended = tokio::time::timeout(NETWORK_TIME, checked).await.is_ok();
        in_time(name, ended, &mut findings);
        progress(&format!("{name} is compared"));
        findings.0
    });
    let cosmos = cosmos::networks(config, &mut findings);
    let (cosmos, keys) = (&cosmos, &keys);
    let others = cosmos.values().map(|network| async move {
        let mut findings = Findings::default();
        let name = &network.name;
        progress(&format!("asking {name}"));
        let checked = cosmos::of_network(config, network, cosmos, keys, &mut findings);
        let ended = tokio::time::timeout(NETWORK_TIME, checked).await.is_ok();
        in_time(name, ended, &mut findings);
        progress(&format!("{name} is compared"));
        findings.0
    });
    let (evm, others) = futures::join!(join_all(checks), join_all(others));
    findings.0.extend(evm.into_iter().chain(others).flatten());
    findings.in_order()
}

fn in_time(name: &NetworkName, ended: bool, findings: &mut Findings) {
    if !ended {
        findings.error(
            &format!("networks.{name}"),
            format!("its checks did not end within {NETWORK_TIME:?}"),
            "what comes after the findings named here was not compared",
            "use quicker upstreams, or a smaller `timeout_ms`, and check again",
        );
    }
}

async fn of_network(
    config: &Config,
    name: &NetworkName,
    keys: &BTreeMap<KeyName, Address>,
    findings: &mut Findings,
) {
    let place = format!("networks.{name}");
    let Some(settings) = config.networks.get(name) else {
        return;
    };
    let network = match Network::new(name.clone(), settings.clone()) {
        Ok(network) => network,
        Err(error) => {
            let risk = "the node cannot start";
            findings.error(&place, error.to_string(), risk, "check this machine's TLS set-up");
            return;
        }
    };
    upstreams::reachable(&network, findings).await;
    let Some(anchor) = upstreams::quorum(&network, findings).await else {
        if config.layerzero.contains_key(name) {
            findings.note(
                &format!("layerzero.{name}"),
                "its contracts were not compared: the network has no quorum now",
                "what is wrong with them shows only later",
                "check again once the quorum is back",
            );
        }
        return;
    };
    upstreams::format(&network, &anchor, findings).await;
    if let (Some(layerzero), Some(deployment)) =
        (config.layerzero.get(name), config.deployments.on(name))
    {
        let ours =
            contracts::Ours::new(&network, (deployment, &config.deployments), layerzero, keys);
        ours.check(&network, findings).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_in_the_order_of_their_places_the_worst_first() {
        let mut findings = Findings::default();
        findings.note("networks.b", "", "", "");
        findings.error("networks.b", "", "", "");
        findings.warning("networks.a", "", "", "");
        let order: Vec<_> =
            findings.in_order().into_iter().map(|f| (f.place, f.severity)).collect();
        let expected = [
            ("networks.a", Severity::Warning),
            ("networks.b", Severity::Error),
            ("networks.b", Severity::Note),
        ];
        assert_eq!(order, expected.map(|(place, s)| (place.to_owned(), s)));
    }

    #[test]
    fn a_finding_is_plain_json() {
        let mut findings = Findings::default();
        findings.error("networks.a", "it is away", "nothing comes", "bring it back");
        let json = serde_json::to_value(&findings.0).unwrap();
        let expected = serde_json::json!([{
            "severity": "error", "place": "networks.a", "what": "it is away",
            "risk": "nothing comes", "remedy": "bring it back",
        }]);
        assert_eq!(json, expected);
    }
}
