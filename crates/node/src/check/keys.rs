//! Whether the keys that the file names can be used.

use super::Findings;
use crate::config::Config;
use alloy_primitives::Address;
use postrider_message::{KeyName, Role};
use postrider_signing::{
    CosmosAlgorithm, CosmosKey, Keystore, KeystoreError, Password, journal::journal_path,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Attest,
    Pay,
    PayCosmos(CosmosAlgorithm),
    Identity,
}

impl Purpose {
    /// As `postrider keys new` takes it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Attest => "attest",
            Self::Pay | Self::PayCosmos(_) => "pay",
            Self::Identity => "identity",
        }
    }
}

/// Where the file names a key, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    place: String,
    key: KeyName,
    purpose: Purpose,
}

/// Every key that the node opens at its start.
fn uses(config: &Config) -> Vec<Use> {
    let mut uses = Vec::new();
    uses.extend(config.peering.as_ref().map(|peering| Use {
        place: "peering.identity".into(),
        key: peering.identity.clone(),
        purpose: Purpose::Identity,
    }));
    for (name, layerzero) in &config.layerzero {
        let attests = layerzero.roles.contains(&Role::Attest);
        if attests {
            uses.extend(layerzero.dvn_keys.iter().map(|key| Use {
                place: format!("layerzero.{name}.dvn.keys.{key}"),
                key: key.clone(),
                purpose: Purpose::Attest,
            }));
        }
        if attests || layerzero.roles.contains(&Role::Execute) {
            let place = format!("networks.{name}.signer");
            let payers = config.networks.get(name).map(|n| n.signers.as_slice());
            let used = |key: &KeyName| Use {
                place: place.clone(),
                key: key.clone(),
                purpose: Purpose::Pay,
            };
            uses.extend(payers.unwrap_or_default().iter().map(used));
        }
    }
    for (name, network) in &config.cosmos {
        uses.extend(network.signers.iter().map(|key| Use {
            place: format!("networks.{name}.signer"),
            key: key.clone(),
            purpose: Purpose::PayCosmos(network.paying.algorithm),
        }));
    }
    uses
}

/// The keys that could be opened.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The addresses of those for EVM networks, and of the identity.
    pub(super) addresses: BTreeMap<KeyName, Address>,
    /// Those that pay on Cosmos networks.
    pub(super) cosmos: BTreeMap<(KeyName, CosmosAlgorithm), CosmosKey>,
}

enum Opened {
    Evm(Address),
    Cosmos(CosmosKey),
}

/// Opens every key that is used, and gives those that can be.
pub(super) async fn open(
    config: &Config,
    keystore: &Keystore,
    password: Option<&Password>,
    findings: &mut Findings,
) -> Keys {
    let mut uses = uses(config);
    let known: BTreeSet<KeyName> = match keystore.names() {
        Ok(names) => names.into_iter().collect(),
        Err(error) => {
            let remedy = "see that the folder is readable for this user";
            findings.error("keys", error.to_string(), "the node cannot start", remedy);
            return Keys::default();
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
        return Keys::default();
    };
    let mut keys = Keys::default();
    for used in uses {
        if let Purpose::PayCosmos(algorithm) = used.purpose
            && keys.cosmos.contains_key(&(used.key.clone(), algorithm))
        {
            continue;
        }
        match open_one(&used, keystore, password).await {
            Ok(Opened::Cosmos(key)) => {
                keys.cosmos.insert((used.key, key.algorithm()), key);
            }
            Ok(Opened::Evm(address)) => {
                if used.purpose == Purpose::Attest
                    && !journal_path(keystore.folder(), address).exists()
                {
                    no_journal(&used, address, findings);
                }
                keys.addresses.insert(used.key, address);
            }
            Err(error) => findings.error(
                &used.place,
                error,
                "the node cannot start",
                "give the password that the key was made with",
            ),
        }
    }
    keys
}

async fn open_one(used: &Use, keystore: &Keystore, password: &Password) -> Result<Opened, String> {
    let (name, purpose) = (used.key.clone(), used.purpose);
    let (keystore, password) = (keystore.clone(), password.clone());
    // Opening a key takes a second of computing.
    let opened = tokio::task::spawn_blocking(move || -> Result<Opened, KeystoreError> {
        Ok(match purpose {
            Purpose::Attest => Opened::Evm(keystore.attesting_key(&name, &password)?.address()),
            Purpose::Pay => Opened::Evm(keystore.transaction_key(&name, &password)?.address()),
            Purpose::Identity => Opened::Evm(keystore.identity_key(&name, &password)?.address()),
            Purpose::PayCosmos(algorithm) => {
                Opened::Cosmos(keystore.cosmos_key(&name, &password, algorithm)?)
            }
        })
    });
    let opened = opened.await.map_err(|e| format!("opening key `{}` broke off: {e}", used.key))?;
    opened.map_err(|e| e.to_string())
}

/// Peers that are named with a key of this node: as themselves they would count twice.
pub(super) fn peers(config: &Config, keys: &BTreeMap<KeyName, Address>, findings: &mut Findings) {
    let own =
        |address: &Address| keys.iter().find(|(_, own)| *own == address).map(|(name, _)| name);
    let mut named = Vec::new();
    for (name, peer) in config.peering.iter().flat_map(|peering| &peering.peers) {
        named.push((format!("peers.{name}.identity"), peer.identity));
    }
    for (network, layerzero) in &config.layerzero {
        for peer in &layerzero.dvn_peers {
            let place = format!("layerzero.{network}.dvn.peers.{}", peer.name);
            named.push((place, peer.signer));
        }
    }
    for (place, address) in named {
        let Some(key) = own(&address) else { continue };
        findings.error(
            &place,
            format!("{address:#x} is the key `{key}` of this node"),
            "the node cannot start: it would ask itself, and count its own word twice",
            "give the address of the peer's own key",
        );
    }
}

fn missing(used: &Use, keystore: &Keystore, findings: &mut Findings) {
    let (key, purpose) = (&used.key, used.purpose.as_str());
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
            let keys = open(&config, &store, password, &mut findings).await.addresses;
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

    /// Class (m): a peer that is this node itself counts once.
    #[tokio::test]
    async fn r5_m_a_peer_with_a_key_of_this_node_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (store, password) = (Keystore::open(folder.path()).unwrap(), Password::from("secret"));
        let mut made = BTreeMap::new();
        for name in ["dvn", "payer", "who"] {
            let name: KeyName = name.parse().unwrap();
            made.insert(name.to_string(), store.create(&name, &password).unwrap());
            std::fs::write(journal_path(store.folder(), made[name.as_str()]), "").unwrap();
        }
        let with = |identity: Address, signer: Address| {
            let peers = format!(r#", peers = [{{ name = "bern", signer = "{signer:#x}" }}] }}"#);
            let text = format!(
                "{}\n[peering]\nidentity = \"who\"\n\n[peers.bern]\nidentity = \
                 \"{identity:#x}\"\nurl = \"http://localhost:1\"\n",
                TEXT.replace(r#"keys = ["dvn"] }"#, &format!(r#"keys = ["dvn"]{peers}"#)),
            );
            Config::parse(&text, Path::new("f"), Path::new(".")).unwrap()
        };
        let other = Address::repeat_byte(9);
        for (config, expected) in [
            (with(other, other), None),
            (with(made["who"], other), Some("peers.bern.identity")),
            (with(other, made["dvn"]), Some("layerzero.alpha.dvn.peers.bern")),
            (with(other, made["payer"]), Some("layerzero.alpha.dvn.peers.bern")),
        ] {
            let mut findings = Findings::default();
            let keys = open(&config, &store, Some(&password), &mut findings).await.addresses;
            assert_eq!(keys.len(), 3);
            peers(&config, &keys, &mut findings);
            let found: Vec<String> = findings.in_order().into_iter().map(|f| f.place).collect();
            assert_eq!(found, Vec::from_iter(expected));
        }
    }
}
