//! Settings of Cosmos networks and IBC that contradict each other. Nobody is asked for them.

use super::Findings;
use crate::{config::Config, ibc::wallet::PACKET_GAS};
use postrider_message::Role;
use std::collections::BTreeMap;

pub(super) fn contradictions(config: &Config, findings: &mut Findings) {
    same_chain(config, findings);
    nothing_to_relay(config, findings);
    for (name, network) in &config.cosmos {
        if network.gas.max_gas < PACKET_GAS {
            findings.error(
                &format!("networks.{name}.gas"),
                format!(
                    "`max` is {}, and a packet with its client update may need {PACKET_GAS}",
                    network.gas.max_gas
                ),
                "what it sends there runs out of gas: the fee is gone and nothing is delivered",
                "raise `max`, or leave it out",
            );
        }
    }
}

/// Channels name a chain by its id alone.
fn same_chain(config: &Config, findings: &mut Findings) {
    let mut seen = BTreeMap::new();
    for (name, network) in &config.cosmos {
        if let Some(first) = seen.insert(&network.chain_id, name) {
            findings.error(
                &format!("networks.{name}.chain_id"),
                format!("{} is the chain of `{first}` too", network.chain_id),
                "a light client names its chain by this id alone: packets would be looked for on \
                 one of the two networks only",
                "keep one of the two, with the upstreams of both",
            );
        }
    }
}

fn nothing_to_relay(config: &Config, findings: &mut Findings) {
    let relays = |name| config.ibc.get(name).is_some_and(|ibc| ibc.roles.contains(&Role::Relay));
    let relaying: Vec<_> = config.cosmos.keys().filter(|name| relays(name)).collect();
    for name in &relaying {
        let place = format!("ibc.{name}.roles");
        if config.cosmos.len() == 1 {
            findings.error(
                &place,
                "it is the only network of kind `cosmos`",
                "there is nothing to relay: a packet needs two networks",
                "add the network at the other end of its channels, with [ibc.NAME] of its own",
            );
        } else if relaying.len() == 1 {
            findings.warning(
                &place,
                "no other network has the role `relay`",
                "packets are received there, but no acknowledgement or timeout is brought back to \
                 where they were sent, and nothing that was sent there is received elsewhere",
                "add `roles = [\"relay\"]` to [ibc.NAME] of the networks at the other ends, unless \
                 another relayer does that part",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use std::path::Path;

    fn network(name: &str, chain_id: &str, gas: &str) -> String {
        format!(
            r#"
[networks.{name}]
kind = "cosmos"
chain_id = "{chain_id}"
prefix = "cosmos"
gas = {{ price = "0.1stake"{gas} }}
trust = {{ height = 1, hash = "{}", period_hours = 336 }}
signer = "payer"
upstreams = [{{ name = "a", operator = "x", url = "http://localhost:1" }}]
"#,
            "01".repeat(32)
        )
    }

    #[test]
    fn contradictions_are_named_where_they_stand() {
        let relay = |name: &str| format!("\n[ibc.{name}]\nroles = [\"relay\"]\n");
        let (alpha, beta) = (network("alpha", "a-1", ""), network("beta", "b-1", ""));
        let cases = [
            (alpha.clone() + &beta + &relay("alpha") + &relay("beta"), None),
            (alpha.clone() + &relay("alpha"), Some((Severity::Error, "ibc.alpha.roles"))),
            (alpha.clone() + &beta + &relay("beta"), Some((Severity::Warning, "ibc.beta.roles"))),
            (
                alpha + &network("beta", "a-1", ""),
                Some((Severity::Error, "networks.beta.chain_id")),
            ),
            (
                network("alpha", "a-1", ", max = 200000"),
                Some((Severity::Error, "networks.alpha.gas")),
            ),
        ];
        for (text, expected) in cases {
            let config = Config::parse(&text, Path::new("f"), Path::new(".")).unwrap();
            let mut findings = Findings::default();
            contradictions(&config, &mut findings);
            let found: Vec<_> = findings.0.iter().map(|f| (f.severity, f.place.as_str())).collect();
            assert_eq!(found, Vec::from_iter(expected), "{text}");
        }
    }
}
