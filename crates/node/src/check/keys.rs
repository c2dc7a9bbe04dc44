//! Whether the keys that the file names can be used.

use super::Findings;
use crate::config::Config;
use alloy_primitives::Address;
use postrider_message::{KeyName, Role};
use postrider_signing::{Keystore, KeystoreError, Password, journal::journal_path};
use std::collections::{BTreeMap, BTreeSet};

/// Where the file names a key, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    place: String,
    key: KeyName,
    attests: bool,
}

/// Every key that the node opens at its start.
fn uses(config: &Config) -> Vec<Use> {
    let mut uses = Vec::new();
    for (name, layerzero) in &config.layerzero {
        let attests = layerzero.roles.contains(&Role::Attest);
        if attests {
            uses.extend(layerzero.dvn_keys.iter().map(|key| Use {
                place: format!("layerzero.{name}.dvn.keys.{key}"),
                key: key.clone(),
                attests: true,
            }));
        }
        let signer = config.networks.get(name).and_then(|n| n.signer.clone());
        if let Some(key) = signer.filter(|_| attests || layerzero.roles.contains(&Role::Execute)) {
            uses.push(Use { place: format!("networks.{name}.signer"), key, attests: false });
        }
    }
    uses
}

/// Opens every key that is used, and gives the addresses of those that can be.
pub(super) async fn open(
    config: &Config,
    keystore: &Keystore,
    password: Option<&Password>,
    findings: &mut Findings,
) -> BTreeMap<KeyName, Address> {
    let mut uses = uses(config);
    let known: BTreeSet<KeyName> = match keystore.names() {
        Ok(names) => names.into_iter().collect(),
        Err(error) => {
            let remedy = "see that the folder is readable for this user";
            findings.error("keys", error.to_string(), "the node cannot start", remedy);
            return BTreeMap::new();
        }
    };
    uses.retain(|used| {
        let is_there = known.contains(&used.key);
        if !is_there {
            missing(used, keystore, findings);
        }
        is_there
    });
    let Some(password) = password else {
        if !uses.is_empty() {
            findings.note(
                "keys",
                "no password was given, so these were not compared: who the DVN counts as its \
                 signers, what the account that pays may do, its balance, and the signing journals",
                "what is wrong with them shows only when the node starts or a message arrives",
                "check again with --password-file or POSTRIDER_PASSWORD",
            );
        }
        return BTreeMap::new();
    };
    let mut addresses = BTreeMap::new();
    for used in uses {
        match address(&used, keystore, password).await {
            Ok(address) => {
                if used.attests && !journal_path(keystore.folder(), address).exists() {
                    no_journal(&used, address, findings);
                }
                addresses.insert(used.key, address);
            }
            Err(error) => findings.error(
                &used.place,
                error,
                "the node cannot start",
                "give the password that the key was made with",
            ),
        }
    }
    addresses
}

async fn address(used: &Use, keystore: &Keystore, password: &Password) -> Result<Address, String> {
    let (name, attests) = (used.key.clone(), used.attests);
    let (keystore, password) = (keystore.clone(), password.clone());
    // Opening a key takes a second of computing.
    let opened = tokio::task::spawn_blocking(move || -> Result<Address, KeystoreError> {
        if attests {
            Ok(keystore.attesting_key(&name, &password)?.address())
        } else {
            Ok(keystore.transaction_key(&name, &password)?.address())
        }
    });
    let opened = opened.await.map_err(|e| format!("opening key `{}` broke off: {e}", used.key))?;
    opened.map_err(|e| e.to_string())
}

fn missing(used: &Use, keystore: &Keystore, findings: &mut Findings) {
    let (key, purpose) = (&used.key, if used.attests { "attest" } else { "pay" });
    findings.error(
        &used.place,
        format!("there is no key `{key}` in {}", keystore.folder().display()),
        "the node cannot start",
        &format!("`postrider keys new {key} --purpose {purpose}` makes one"),
    );
}

fn no_journal(used: &Use, address: Address, findings: &mut Findings) {
    let key = &used.key;
    findings.error(
        &used.place,
        format!("key `{key}` ({address:#x}) has no signing journal"),
        "the node cannot start: without its journal a key could sign two different values for one \
         message",
        &format!(
            "put the journal back; if it is lost, or the key was used elsewhere, run `postrider \
             keys journal {key}`, which waits until what it signed has expired"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use std::path::Path;

    const TEXT: &str = r#"
[networks.alpha]
kind = "evm"
chain_id = 1
quorum = 1
finality = "safe"
signer = "payer"
upstreams = [{ name = "a", operator = "x", url = "http://localhost:1" }]

[layerzero.alpha]
eid = 30101
endpoint = "0x1111111111111111111111111111111111111111"
receive_libraries = ["0x2222222222222222222222222222222222222222"]
roles = ["attest"]
dvn = { address = "0x3333333333333333333333333333333333333333", keys = ["dvn"] }
"#;

    fn config(roles: &str) -> Config {
        let text = TEXT.replace(r#"["attest"]"#, roles);
        Config::parse(&text, Path::new("f"), Path::new(".")).unwrap()
    }

    #[test]
    fn only_keys_that_the_roles_need_are_asked_for() {
        let places =
            |roles| -> Vec<String> { uses(&config(roles)).into_iter().map(|u| u.place).collect() };
        let both = ["layerzero.alpha.dvn.keys.dvn", "networks.alpha.signer"];
        assert_eq!(places(r#"["attest"]"#), both);
        assert!(places(r#"["watch"]"#).is_empty());
    }

    #[tokio::test]
    async fn keys_missing_locked_and_without_a_journal_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Keystore::open(folder.path()).unwrap();
        let (config, password) = (config(r#"["attest"]"#), Password::from("secret"));

        let check = async |password: Option<&Password>| {
            let mut findings = Findings::default();
            let keys = open(&config, &store, password, &mut findings).await;
            (keys, findings.in_order())
        };
        let (_, found) = check(None).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].remedy.contains("keys new dvn --purpose attest"));
        assert!(found[1].remedy.contains("keys new payer --purpose pay"));

        let dvn = store.create(&"dvn".parse().unwrap(), &password).unwrap();
        store.create(&"payer".parse().unwrap(), &password).unwrap();
        let (keys, found) = check(None).await;
        assert!(keys.is_empty());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].severity, found[0].place.as_str()), (Severity::Note, "keys"));

        let (keys, found) = check(Some(&password)).await;
        assert_eq!(keys.len(), 2);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].place, "layerzero.alpha.dvn.keys.dvn");
        assert!(found[0].remedy.contains("keys journal dvn"));

        std::fs::write(journal_path(store.folder(), dvn), "").unwrap();
        assert!(check(Some(&password)).await.1.is_empty());

        let (keys, found) = check(Some(&"other".into())).await;
        assert!(keys.is_empty());
        assert!(found.iter().all(|f| f.severity == Severity::Error));
        assert!(!format!("{found:?}").contains("other"));
    }
}
