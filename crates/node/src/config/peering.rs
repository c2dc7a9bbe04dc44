//! Other processes that sign for the same DVNs, and how this one is known to them.

use super::{
    file::{File, PeerTable, PeeringTable},
    problem::Problems,
};
use alloy_primitives::Address;
use postrider_jsonrpc::{BadUrl, RpcUrl};
use postrider_message::{KeyName, NetworkName, PeerName, Role};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Who we are to others, and who they are to us.
#[derive(Debug, Clone)]
pub struct PeeringConfig {
    /// The key by which peers know this process.
    pub identity: KeyName,
    /// Where peers ask; nowhere if `None`.
    pub listen: Option<SocketAddr>,
    /// The peers.
    pub peers: BTreeMap<PeerName, PeerConfig>,
}

/// A peer.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Where it is asked.
    pub url: RpcUrl,
    /// The address of its identity key.
    pub identity: Address,
}

/// A peer's part in one DVN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DvnPeer {
    /// The peer.
    pub name: PeerName,
    /// The address of the key with which it signs for that DVN.
    pub signer: Address,
}

pub(super) fn peering(file: &File, problems: &mut Problems<'_>) -> Option<PeeringConfig> {
    signers(file, problems);
    let Some(table) = &file.peering else {
        if let Some(peer) = file.peers.values().next() {
            let what = "peers are named, and no identity by which they know this process";
            let remedy = "add `[peering]` with `identity = \"NAME\"`; `postrider keys new NAME \
                          --purpose identity` makes the key";
            problems.add(Some(peer.identity.span()), what, remedy);
        }
        return None;
    };
    let listen = listen(file, table, problems);
    identity_is_apart(file, table, problems);
    let mut peers = BTreeMap::new();
    let (mut identities, mut places) = (BTreeMap::new(), BTreeMap::new());
    for (name, table) in &file.peers {
        let span = Some(table.identity.span());
        let identity = *table.identity.get_ref();
        if identity.is_zero() {
            let what = format!("[peers.{name}]: the zero address is nobody's identity");
            problems.add(span.clone(), &what, "ask the peer's operator for it");
        }
        if let Some(other) = identities.insert(identity, name) {
            let what = format!("peers {other} and {name} have one identity");
            problems.add(span.clone(), &what, "they are one process: name it once");
        }
        let Some(url) = url(name, table, problems) else { continue };
        if let Some(other) = places.insert(url.expose().to_owned(), name)
            && other != name
        {
            let what = format!("peers {other} and {name} are at one place, {}", url.shown());
            problems.add(span, &what, "they are one process: name it once");
        }
        peers.insert(name.clone(), PeerConfig { url, identity });
    }
    Some(PeeringConfig { identity: table.identity.get_ref().clone(), listen, peers })
}

fn listen(file: &File, table: &PeeringTable, problems: &mut Problems<'_>) -> Option<SocketAddr> {
    let listen = table.listen.as_ref()?;
    let Ok(address) = listen.get_ref().parse::<SocketAddr>() else {
        let what = "[peering]: `listen` is not an address with a port";
        problems.add(Some(listen.span()), what, "write it as \"10.0.0.5:9700\"");
        return None;
    };
    let api = file.api.as_ref().map(|api| api.listen.get_ref().as_str());
    if address.port() != 0 && api == Some(listen.get_ref()) {
        let what = format!("[peering]: {address} is where [api] listens");
        let remedy = "give it a port of its own, so that a firewall can tell them apart";
        problems.add(Some(listen.span()), &what, remedy);
    }
    Some(address)
}

/// The key that says who we are signs nothing else: what a peer has it sign must mean nothing to a
/// chain.
fn identity_is_apart(file: &File, table: &PeeringTable, problems: &mut Problems<'_>) {
    let identity = table.identity.get_ref();
    let pays = file.networks.values().any(|network| network.signers().contains(identity));
    let attests = file
        .layerzero
        .values()
        .any(|table| table.dvn.as_ref().is_some_and(|dvn| dvn.keys.contains(identity)));
    if pays || attests {
        let what = format!("key `{identity}` is the identity, and pays or attests as well");
        let remedy = "`postrider keys new NAME --purpose identity` makes one for this alone";
        problems.add(Some(table.identity.span()), &what, remedy);
    }
}

fn url(name: &PeerName, table: &PeerTable, problems: &mut Problems<'_>) -> Option<RpcUrl> {
    let span = Some(table.identity.span());
    let url = match (&table.url, &table.url_env) {
        (Some(url), None) => RpcUrl::new(url),
        (None, Some(variable)) => match std::env::var(variable) {
            Ok(url) => RpcUrl::new(&url),
            Err(_) => {
                let what = format!("variable {variable} of peer {name} is not set");
                problems.add(span, &what, "set it to the peer's URL");
                return None;
            }
        },
        _ => {
            let what = format!("peer {name} needs one of `url` and `url_env`");
            problems.add(span, &what, "give exactly one of them");
            return None;
        }
    };
    url.map_err(|BadUrl| {
        let what = format!("the URL of peer {name} is {BadUrl}");
        problems.add(span, &what, "write it with its scheme");
    })
    .ok()
}

/// The peers of one DVN.
pub(super) fn of_dvn(file: &File, name: &NetworkName) -> Vec<DvnPeer> {
    let dvn = file.layerzero.get(name).and_then(|table| table.dvn.as_ref());
    dvn.map(|dvn| dvn.peers.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|p| DvnPeer { name: p.name.get_ref().clone(), signer: p.signer })
        .collect()
}

/// R5: each signer is somebody, and counts once; and as our own keys, a peer's signs for one
/// network alone.
fn signers(file: &File, problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<Address, &NetworkName> = BTreeMap::new();
    for (network, table) in &file.layerzero {
        let peers = table.dvn.as_ref().map(|dvn| dvn.peers.as_slice()).unwrap_or_default();
        if let Some(first) = peers.first()
            && !table.roles.contains(&Role::Attest)
        {
            let what = format!("[layerzero.{network}] has peers, and not the role `attest`");
            problems.add(Some(first.name.span()), &what, "add the role, or remove the peers");
        }
        let mut names = BTreeSet::new();
        for peer in peers {
            let (name, signer) = (peer.name.get_ref(), peer.signer);
            let mut refuse = |what: String, remedy: &str| {
                let what = format!("[layerzero.{network}]: {what}");
                problems.add(Some(peer.name.span()), &what, remedy);
            };
            if !file.peers.contains_key(name) {
                refuse(format!("peer `{name}` is nowhere described"), "add `[peers.NAME]` for it");
            }
            if !names.insert(name) {
                refuse(format!("peer `{name}` is there twice"), "a process signs with one key");
            }
            if signer.is_zero() {
                refuse(
                    format!("peer `{name}` signs as the zero address"),
                    "give its key's address",
                );
            }
            match seen.insert(signer, network) {
                Some(other) if other == network => {
                    let what = format!("two peers sign as {signer:#x}");
                    refuse(what, "each signer counts once: give each peer its own key's address");
                }
                Some(other) => {
                    let what = format!("{signer:#x} of peer `{name}` signs for {other} as well");
                    refuse(
                        what,
                        "a key that attests for two networks is refused, a peer's as ours",
                    );
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError};
    use std::path::Path;

    const GOOD: &str = r#"
[networks.alpha]
kind = "evm"
chain_id = 1
quorum = 1
finality = "finalized"
signer = "payer"
upstreams = [{ name = "a", operator = "x", url = "http://localhost:1" }]

[networks.beta]
kind = "evm"
chain_id = 10
quorum = 1
finality = "finalized"
signer = "payer"
upstreams = [{ name = "a", operator = "x", url = "http://localhost:2" }]

[layerzero.alpha]
eid = 30101
endpoint = "0x1111111111111111111111111111111111111111"
receive_libraries = ["0x2222222222222222222222222222222222222222"]
roles = ["attest"]
dvn = { address = "0x3333333333333333333333333333333333333333", keys = ["a"], peers = [
    { name = "bern", signer = "0x00000000000000000000000000000000000000b1" },
    { name = "genf", signer = "0x00000000000000000000000000000000000000c1" },
] }

[layerzero.beta]
eid = 30111
endpoint = "0x1111111111111111111111111111111111111111"
receive_libraries = ["0x2222222222222222222222222222222222222222"]
roles = ["attest"]
dvn = { address = "0x3333333333333333333333333333333333333333", keys = ["b"], peers = [
    { name = "bern", signer = "0x00000000000000000000000000000000000000b2" },
] }

[peering]
identity = "who"
listen = "127.0.0.1:9700"

[peers.bern]
identity = "0x00000000000000000000000000000000000000bb"
url = "https://bern.example/x"

[peers.genf]
identity = "0x00000000000000000000000000000000000000cc"
url = "https://genf.example/x"
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("postrider.toml"), Path::new("/tmp"))
    }

    #[test]
    fn peers_are_taken_with_their_parts() {
        let config = parse(GOOD).unwrap();
        let peering = config.peering.unwrap();
        assert_eq!(peering.peers.len(), 2);
        assert_eq!(peering.listen, Some("127.0.0.1:9700".parse().unwrap()));
        let peers = &config.layerzero[&"alpha".parse().unwrap()].dvn_peers;
        let names: Vec<&str> = peers.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["bern", "genf"]);
    }

    /// Classes (j) and (m): signers that are nobody, count twice, or sign for two networks, and one
    /// process under two names.
    #[test]
    fn r5_j_m_peers_that_contradict_each_other_are_named() {
        let cases = [
            ("00c1\"", "00b1\"", "two peers sign as"),
            ("00c1\"", "0000\"", "zero address"),
            ("00b2\"", "00b1\"", "signs for alpha as well"),
            ("00cc\"", "00bb\"", "one identity"),
            ("00cc\"", "0000\"", "nobody's identity"),
            ("https://genf", "https://bern", "at one place"),
            ("identity = \"who\"", "identity = \"a\"", "pays or attests"),
            ("identity = \"who\"", "identity = \"payer\"", "pays or attests"),
            ("name = \"genf\"", "name = \"bern\"", "there twice"),
            ("[peers.genf]", "[peers.chur]", "nowhere described"),
            ("\"127.0.0.1:9700\"", "\"9700\"", "not an address"),
            ("https://genf.example/x", "genf.example/secret", "the URL of peer genf"),
            ("[\"attest\"]", "[\"watch\"]", "not the role `attest`"),
            ("[peering]", "[api]\nlisten = \"127.0.0.1:9700\"\n\n[peering]", "where [api] listens"),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
            let found = error.problems.iter().find(|p| p.what.contains(expected));
            assert!(found.is_some_and(|p| p.line.is_some()), "{expected}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
        let nobody = GOOD.replace("[peering]\nidentity = \"who\"\nlisten = \"127.0.0.1:9700\"", "");
        assert!(parse(&nobody).unwrap_err().to_string().contains("no identity"));
    }
}
