//! A chain: the processes of all its validators.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{join_all, try_join_all};

use crate::cosmos::account::CosmosAccount;
use crate::cosmos::home::{self, Home};
use crate::cosmos::node::{CosmosNode, Ports};
use crate::cosmos::plan::CosmosPlan;
use crate::cosmos::rpc::CosmosRpc;
use crate::cosmos::simd::Simd;
use crate::error::DevnetError;

/// Until the first block, with all validators on one busy machine.
const FIRST_BLOCK: Duration = Duration::from_secs(120);

/// A running chain. Dropping the handle kills all its processes, and so does the end of this
/// process in whatever way; homes and logs stay in the plan's folder.
#[derive(Debug)]
pub struct CosmosChain {
    chain_id: String,
    accounts: Vec<CosmosAccount>,
    // Never empty: a plan without validators is refused.
    first: CosmosNode,
    others: Vec<CosmosNode>,
}

impl CosmosChain {
    /// Makes the chain of the plan in an empty `<folder>/<chain id>`, removing what an earlier
    /// one left there, and starts it. Returns when every validator has the first block.
    ///
    /// # Errors
    /// [`DevnetError::Plan`], [`DevnetError::Simd`], [`DevnetError::ChainFile`],
    /// [`DevnetError::NodeStart`], [`DevnetError::Rpc`] when no block comes, or
    /// [`DevnetError::File`]. Nothing is left running then.
    pub async fn start(simd: &Simd, plan: &CosmosPlan) -> Result<Self, DevnetError> {
        plan.check()?;
        let folder = empty_folder(plan)?;
        let homes = home::make(simd, plan, &folder).await?;
        let ports = homes.iter().map(|_| Ports::take()).collect::<Result<Vec<_>, _>>()?;
        let mut nodes = Vec::new();
        for (index, (home, own)) in homes.iter().zip(&ports).enumerate() {
            let peers = homes.iter().zip(&ports).enumerate().filter(|(other, _)| *other != index);
            let peers: Vec<String> = peers
                .map(|(_, (peer, at))| format!("{}@127.0.0.1:{}", peer.node_id, at.p2p.number()))
                .collect();
            configure(home, own, &peers.join(","), plan.block_time)?;
        }
        for (home, ports) in homes.into_iter().zip(ports) {
            nodes.push(CosmosNode::new(simd, home, plan, ports)?);
        }
        try_join_all(nodes.iter_mut().map(CosmosNode::start)).await?;
        try_join_all(nodes.iter().map(|node| node.rpc().wait_for_height(1, FIRST_BLOCK))).await?;
        let mut nodes = nodes.into_iter();
        let first = nodes.next().ok_or_else(|| DevnetError::Plan("no validators".to_owned()))?;
        Ok(Self {
            chain_id: plan.chain_id.clone(),
            accounts: plan.accounts.clone(),
            first,
            others: nodes.collect(),
        })
    }

    /// As [`CosmosChain::start`] for several chains at once.
    ///
    /// # Errors
    /// As [`CosmosChain::start`]; [`DevnetError::Plan`] when two have the same chain id.
    pub async fn start_all(simd: &Simd, plans: &[CosmosPlan]) -> Result<Vec<Self>, DevnetError> {
        let mut ids: Vec<&str> = plans.iter().map(|plan| plan.chain_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != plans.len() {
            return Err(DevnetError::Plan("two chains have the same chain id".to_owned()));
        }
        try_join_all(plans.iter().map(|plan| Self::start(simd, plan))).await
    }

    /// CometBFT's chain id.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// A client of the first validator.
    #[must_use]
    pub fn rpc(&self) -> &CosmosRpc {
        self.first.rpc()
    }

    /// The validators, in the order of the plan.
    pub fn nodes(&self) -> impl Iterator<Item = &CosmosNode> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The validators, to be stopped and started one by one.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut CosmosNode> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// The account of a name, when the plan has one.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&CosmosAccount> {
        self.accounts.iter().find(|account| account.name() == name)
    }

    /// Halts every validator where it stands; see [`CosmosNode::halt`].
    ///
    /// # Errors
    /// As [`CosmosNode::halt`].
    pub fn halt(&self) -> Result<(), DevnetError> {
        self.nodes().try_for_each(CosmosNode::halt)
    }

    /// Lets every halted validator go on.
    ///
    /// # Errors
    /// As [`CosmosNode::resume`].
    pub fn resume(&self) -> Result<(), DevnetError> {
        self.nodes().try_for_each(CosmosNode::resume)
    }

    /// Kills every validator as a power failure would.
    pub async fn kill(&mut self) {
        join_all(self.nodes_mut().map(CosmosNode::kill)).await;
    }

    /// Starts every validator that does not run, from its home and on its old ports.
    ///
    /// # Errors
    /// As [`CosmosNode::start`].
    pub async fn restart(&mut self) -> Result<(), DevnetError> {
        try_join_all(self.nodes_mut().map(CosmosNode::start)).await.map(drop)
    }

    /// Ends every validator politely and waits until all have ended.
    ///
    /// # Errors
    /// As [`CosmosNode::stop`].
    pub async fn stop(mut self) -> Result<(), DevnetError> {
        try_join_all(self.nodes_mut().map(CosmosNode::stop)).await.map(drop)
    }
}

/// The chain's own folder, absolute, since it is named to other processes.
fn empty_folder(plan: &CosmosPlan) -> Result<PathBuf, DevnetError> {
    let folder: &Path = &plan.folder.join(&plan.chain_id);
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(DevnetError::file("remove", folder))?;
    }
    std::fs::create_dir_all(folder).map_err(DevnetError::file("create", folder))?;
    folder.canonicalize().map_err(DevnetError::file("open", folder))
}

fn configure(home: &Home, ports: &Ports, peers: &str, time: Duration) -> Result<(), DevnetError> {
    let listen = |port: u16| format!("\"tcp://127.0.0.1:{port}\"");
    let time = format!("\"{}ms\"", time.as_millis());
    home.configure(&[
        ("rpc", "laddr", listen(ports.rpc.number())),
        // One fixed port by default, which only one node could have.
        ("rpc", "pprof_laddr", "\"\"".to_owned()),
        ("p2p", "laddr", listen(ports.p2p.number())),
        ("p2p", "persistent_peers", format!("\"{peers}\"")),
        ("p2p", "pex", "false".to_owned()),
        // All are on one address, and that one is private.
        ("p2p", "addr_book_strict", "false".to_owned()),
        ("p2p", "allow_duplicate_ip", "true".to_owned()),
        ("consensus", "timeout_commit", time.clone()),
        ("consensus", "timeout_propose", time),
    ])
}
