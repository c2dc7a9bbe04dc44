//! A folder in which a node works on a development network: keys, journals and configuration.

use crate::failure::Failure;
use alloy_primitives::Address;
use postrider_devnet::{Deployment, DvnPlan, LayerZeroPlan};
use postrider_message::{KeyName, NetworkName};
use postrider_signing::{Journal, JournalStart, Keystore, Password};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// The networks of the development network, in the order of its chains.
pub const NETWORKS: [&str; 2] = ["alpha", "beta"];
/// The password of the keys of a development network, which are worth nothing.
pub const PASSWORD: &str = "development";

/// An upstream of a network, as the configuration names it.
#[derive(Debug, Clone)]
pub struct UpstreamLine {
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub operator: String,
    /// Its URL.
    pub url: String,
}

/// What one node is to have.
#[derive(Debug, Clone)]
pub struct Workspace {
    folder: PathBuf,
    /// Which of the deployed DVNs is this node's.
    pub dvn: usize,
    /// Whether it executes.
    pub executes: bool,
    /// Blocks on top that make a block final.
    pub confirmations: u64,
    /// How often upstreams are asked for news, in milliseconds.
    pub poll_ms: u64,
    /// How long an upstream may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// How many operators must agree.
    pub quorum: u32,
    /// The contract that delivers many messages at once, on each network.
    pub batch: [Option<Address>; 2],
    /// How many of its two keys sign for its DVN.
    pub signers: usize,
    /// Where its peers ask, and who they are, if it has any.
    pub peering: Option<PeeringLines>,
}

/// The part of a node in a DVN that it shares with others.
#[derive(Debug, Clone)]
pub struct PeeringLines {
    /// The address at which it is asked.
    pub listen: String,
    /// The others.
    pub peers: Vec<PeerLine>,
}

/// A peer, as the configuration names it.
#[derive(Debug, Clone)]
pub struct PeerLine {
    /// Its name.
    pub name: String,
    /// Where it is asked.
    pub url: String,
    /// Its identity.
    pub identity: Address,
    /// The keys with which it signs, one a network.
    pub signers: [Address; 2],
}

/// The addresses of one node's keys on one network.
#[derive(Debug, Clone)]
pub struct NodeKeys {
    /// Sign for the DVN.
    pub signers: Vec<Address>,
    /// Pays.
    pub payer: Address,
}

fn key(name: &str) -> Result<KeyName, Failure> {
    name.parse().map_err(|e| Failure::Other(format!("{e}")))
}

impl Workspace {
    /// A workspace in `folder`, with a quorum of one upstream.
    #[must_use]
    pub fn new(folder: &Path, dvn: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            dvn,
            executes: true,
            confirmations: 1,
            poll_ms: 200,
            timeout_ms: 3_000,
            quorum: 1,
            batch: [None; 2],
            signers: 2,
            peering: None,
        }
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("postrider.toml")
    }

    /// Makes the keys of a network, two signers and a payer, unless they are there.
    ///
    /// # Errors
    /// [`Failure`] of keystore or journal.
    pub async fn keys(&self, network: &NetworkName) -> Result<NodeKeys, Failure> {
        let store = Keystore::open(&self.folder.join("data").join("keys"))?;
        let password = Password::from(PASSWORD);
        let existing = store.names()?;
        let mut addresses = Vec::new();
        for role in ["dvn-1", "dvn-2", "payer"] {
            let name = key(&format!("{network}-{role}"))?;
            if existing.contains(&name) {
                addresses.push(store.transaction_key(&name, &password)?.address());
                continue;
            }
            let address = store.create(&name, &password)?;
            if role != "payer" {
                Journal::create(store.folder(), address, JournalStart::FreshKey).await?;
            }
            addresses.push(address);
        }
        let payer = addresses.pop().unwrap_or_default();
        Ok(NodeKeys { signers: addresses, payer })
    }

    /// Makes the key by which peers know it, unless it is there.
    ///
    /// # Errors
    /// [`Failure`] of the keystore.
    pub fn identity(&self) -> Result<Address, Failure> {
        let store = Keystore::open(&self.folder.join("data").join("keys"))?;
        let (name, password) = (key("identity")?, Password::from(PASSWORD));
        if store.names()?.contains(&name) {
            return Ok(store.identity_key(&name, &password)?.address());
        }
        Ok(store.create(&name, &password)?)
    }

    /// Writes the configuration for these chains and their upstreams.
    ///
    /// # Errors
    /// [`Failure::Io`].
    pub fn write_config(&self, chains: &[(Deployment, Vec<UpstreamLine>)]) -> Result<(), Failure> {
        let mut text = String::from("# Written for a development network.\n");
        self.peers(&mut text).map_err(|e| Failure::Other(e.to_string()))?;
        let each = NETWORKS.iter().zip(chains).zip(self.batch).enumerate();
        for (place, ((name, (deployment, upstreams)), batch)) in each {
            self.network(&mut text, (place, name), deployment, upstreams)
                .and_then(|()| match batch {
                    Some(batch) => writeln!(text, "batch = \"{batch:#x}\""),
                    None => Ok(()),
                })
                .map_err(|e| Failure::Other(e.to_string()))?;
        }
        std::fs::write(self.config_path(), text).map_err(Failure::io("writing the configuration"))
    }

    fn peers(&self, text: &mut String) -> Result<(), std::fmt::Error> {
        let Some(peering) = &self.peering else { return Ok(()) };
        writeln!(text, "\n[peering]\nidentity = \"identity\"\nlisten = \"{}\"", peering.listen)?;
        for PeerLine { name, url, identity, .. } in &peering.peers {
            writeln!(text, "\n[peers.{name}]\nurl = \"{url}\"\nidentity = \"{identity:#x}\"")?;
        }
        Ok(())
    }

    fn network(
        &self,
        text: &mut String,
        (place, name): (usize, &str),
        at: &Deployment,
        upstreams: &[UpstreamLine],
    ) -> Result<(), std::fmt::Error> {
        let dvn = at.dvns.get(self.dvn).copied().unwrap_or_default();
        writeln!(text, "\n[networks.{name}]\nkind = \"evm\"\nchain_id = {}", at.chain_id)?;
        writeln!(
            text,
            "quorum = {}\nfinality = {{ confirmations = {} }}",
            self.quorum, self.confirmations
        )?;
        writeln!(text, "poll_ms = {}\nstart_height = {}", self.poll_ms, at.start_block)?;
        // A local node keeps as many transactions of one account as it is given.
        writeln!(text, "signer = \"{name}-payer\"\nmax_in_flight = 1000\nupstreams = [")?;
        for UpstreamLine { name, operator, url } in upstreams {
            writeln!(
                text,
                "    {{ name = \"{name}\", operator = \"{operator}\", url = \"{url}\", \
                 timeout_ms = {}, batch = 500 }},",
                self.timeout_ms
            )?;
        }
        let roles = if self.executes { "\"attest\", \"execute\"" } else { "\"attest\"" };
        writeln!(
            text,
            "]\n\n[layerzero.{name}]\neid = {}\nendpoint = \"{:#x}\"",
            at.eid, at.endpoint
        )?;
        writeln!(text, "send_libraries = [\"{:#x}\"]", at.send_uln)?;
        writeln!(text, "receive_libraries = [\"{:#x}\"]", at.receive_uln)?;
        writeln!(
            text,
            "tokens = [{{ contract = \"{:#x}\", shared_decimals = 6, local_decimals = 18 }}]",
            at.oft
        )?;
        writeln!(text, "roles = [{roles}]\nexecutor = \"{:#x}\"", at.executor)?;
        let keys: Vec<String> = (1..=self.signers).map(|i| format!("\"{name}-dvn-{i}\"")).collect();
        write!(text, "dvn = {{ address = \"{dvn:#x}\", keys = [{}], peers = [", keys.join(", "))?;
        for peer in self.peering.iter().flat_map(|peering| &peering.peers) {
            let signer = peer.signers.get(place).copied().unwrap_or_default();
            write!(text, "{{ name = \"{}\", signer = \"{signer:#x}\" }}, ", peer.name)?;
        }
        writeln!(text, "] }}")
    }
}

/// The LayerZero plan in which these nodes, each with its keys on both networks, are the DVNs, all
/// of them required, and may all execute.
#[must_use]
pub fn plan(nodes: &[[NodeKeys; 2]]) -> LayerZeroPlan {
    let dvns = nodes
        .iter()
        .map(|networks| DvnPlan {
            signers: networks.iter().flat_map(|k| k.signers.clone()).collect(),
            quorum: 2,
            admins: networks.iter().map(|k| k.payer).collect(),
        })
        .collect();
    let admins = nodes.iter().flatten().map(|k| k.payer).collect();
    LayerZeroPlan::new(dvns, admins)
}
