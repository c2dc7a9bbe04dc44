//! The configuration file.

use crate::memory::bounded;
use postrider_evm::Finality;
use postrider_message::Role;
use postrider_node::Config;
use std::{collections::BTreeSet, path::Path};

/// A configuration: it is valid in every way that matters for safety, or each problem is named with
/// a line that exists and a remedy.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parse = || Config::parse(text, Path::new("f"), Path::new("."));
    let config = match bounded(data.len(), 500, parse) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in error.problems {
                assert!(!problem.what.is_empty() && !problem.remedy.is_empty());
                let lines = text.bytes().filter(|b| *b == b'\n').count() + 1;
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
            }
            return;
        }
    };
    assert!(!config.networks.is_empty());
    for network in config.networks.values() {
        let operators: BTreeSet<_> = network.upstreams.iter().map(|u| &u.operator).collect();
        let threshold = network.policy.threshold() as usize;
        assert!(threshold <= operators.len() && 2 * threshold > operators.len());
    }
    let mut attesting = BTreeSet::new();
    for (name, layerzero) in &config.layerzero {
        let network = &config.networks[name];
        let deployment = config.deployments.on(name).expect("the same table");
        let acts = [Role::Attest, Role::Execute].iter().any(|r| layerzero.roles.contains(r));
        if acts || !deployment.send_libraries.is_empty() {
            assert_ne!(network.finality, Finality::Confirmations(0));
        }
        assert!(layerzero.min_confirmations.0 > 0);
        if acts {
            assert!(!network.signers.is_empty());
        }
        if layerzero.roles.contains(&Role::Attest) {
            assert!(deployment.dvn.is_some() && !deployment.receive_libraries.is_empty());
            assert!(!layerzero.dvn_keys.is_empty());
            assert!(layerzero.dvn_keys.iter().all(|key| !network.signers.contains(key)));
            let own: BTreeSet<_> = layerzero.dvn_keys.iter().collect();
            assert!(own.into_iter().all(|key| attesting.insert(key)), "a key of two networks");
        }
    }
}
