//! A whole development network: chains, contracts, and the file by which it is found again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use futures::future::{join_all, try_join_all};
use serde::Serialize;

use crate::anvil::{self, Anvil, AnvilOptions};
use crate::error::DevnetError;
use crate::layerzero::{self, Apps, Deployment, LayerZeroPlan, Target};
use crate::packages::Packages;
use crate::progress::Progress;
use crate::rpc::Rpc;
use crate::state::{ChainState, State};

/// 1,000 coins, in wei.
const FUNDS: u128 = 1_000_000_000_000_000_000_000;

/// One chain of a plan.
#[derive(Debug, Clone)]
pub struct ChainPlan {
    /// A permanent local name, distinct from that of the others.
    pub name: String,
    /// The LayerZero endpoint id, 30001 to 39999.
    pub eid: u32,
    /// How its anvil is started; a log file is chosen when none is named.
    pub anvil: AnvilOptions,
}

/// What [`Devnet::up`] brings up.
#[derive(Debug, Clone)]
pub struct DevnetPlan {
    /// Where `state.json` and the logs are kept.
    pub folder: PathBuf,
    /// The chains. Each is connected with every other.
    pub chains: Vec<ChainPlan>,
    /// What is deployed on them.
    pub layerzero: LayerZeroPlan,
    /// Accounts that get 1,000 coins on each chain, besides all signers and admins of the plan.
    pub fund: Vec<Address>,
    /// Whether the chains live on after the handle and this process.
    pub detached: bool,
}

impl DevnetPlan {
    /// Two chains, `alpha` (chain id 31901, endpoint 30901) and `beta` (31902, 30902), that end
    /// with their handle; `block_time` as in [`AnvilOptions`].
    #[must_use]
    pub fn two(folder: PathBuf, layerzero: LayerZeroPlan, block_time: Option<Duration>) -> Self {
        let chain = |name: &str, chain_id, eid| ChainPlan {
            name: name.to_owned(),
            eid,
            anvil: AnvilOptions { block_time, ..AnvilOptions::new(chain_id) },
        };
        let chains = vec![chain("alpha", 31_901, 30_901), chain("beta", 31_902, 30_902)];
        Self { folder, chains, layerzero, fund: Vec::new(), detached: false }
    }

    fn accounts(&self) -> Vec<Address> {
        let dvns = self.layerzero.dvns.iter().flat_map(|dvn| dvn.signers.iter().chain(&dvn.admins));
        let mut accounts: Vec<Address> =
            self.fund.iter().chain(&self.layerzero.executor_admins).chain(dvns).copied().collect();
        accounts.sort();
        accounts.dedup();
        accounts
    }

    fn check(&self) -> Result<(), DevnetError> {
        let count = self.chains.len();
        for key in [
            |chain: &ChainPlan| chain.name.clone(),
            |chain: &ChainPlan| chain.anvil.chain_id.to_string(),
        ] {
            let mut keys: Vec<String> = self.chains.iter().map(key).collect();
            keys.sort();
            keys.dedup();
            if keys.len() != count {
                return Err(DevnetError::Plan(
                    "two chains have the same name or chain id".to_owned(),
                ));
            }
        }
        if count < 2 {
            return Err(DevnetError::Plan(format!("{count} chain; use at least 2")));
        }
        let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        match self.chains.iter().find(|chain| chain.name.is_empty() || chain.name.contains(bad)) {
            Some(chain) => Err(DevnetError::Plan(format!(
                "the chain name {:?} may hold letters, digits, - and _ only",
                chain.name
            ))),
            None => self.layerzero.check(),
        }
    }
}

/// A chain of a running development network.
#[derive(Debug)]
pub struct Chain {
    state: ChainState,
    rpc: Rpc,
    anvil: Option<Anvil>,
}

impl Chain {
    /// The chain's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its HTTP URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// The process id of its anvil.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.state.pid
    }

    /// A client of it.
    #[must_use]
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// What is deployed on it.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.state.deployment
    }

    /// The applications on it.
    #[must_use]
    pub fn apps(&self) -> Apps<'_> {
        Apps::new(&self.rpc, &self.state.deployment)
    }
}

/// What is known of a chain that a state file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainStatus {
    /// The chain as it was started.
    #[serde(flatten)]
    pub chain: ChainState,
    /// Whether its process runs.
    pub running: bool,
    /// Its height, when it answers with the right chain id.
    pub block_number: Option<u64>,
}

/// A running development network.
#[derive(Debug)]
pub struct Devnet {
    folder: PathBuf,
    chains: Vec<Chain>,
    was_running: bool,
    detached: bool,
}

impl Devnet {
    /// Brings the plan up, or finds that a network already runs in its folder and returns that
    /// one, whatever its plan was. A network of which a part has died is taken down first.
    ///
    /// # Errors
    /// Any [`DevnetError`]; nothing is left running then.
    pub async fn up(plan: &DevnetPlan, progress: &dyn Progress) -> Result<Self, DevnetError> {
        plan.check()?;
        std::fs::create_dir_all(&plan.folder).map_err(DevnetError::file("create", &plan.folder))?;
        // Logs are named to another process, and the folder may be given relative to this one.
        let folder = plan.folder.canonicalize().map_err(DevnetError::file("open", &plan.folder))?;
        let _lock = lock(&folder).await?;
        if State::read(&folder)?.is_some() {
            if let Ok(devnet) = Self::load(&folder).await {
                progress.step("the development network is already running");
                return Ok(devnet);
            }
            progress.step("taking down what is left of an earlier development network");
            take_down(&folder).await?;
        }
        let packages = Packages::ensure(progress).await?;
        progress.step("starting the chains");
        let starts = plan.chains.iter().map(|chain| start(&packages, &folder, chain));
        let anvils = try_join_all(starts).await?;
        try_join_all(anvils.iter().map(|anvil| fund(anvil.rpc(), plan.accounts()))).await?;
        progress.step("deploying LayerZero V2");
        let deployments = deploy(&packages, plan, &anvils).await?;
        let chains = plan
            .chains
            .iter()
            .zip(anvils)
            .zip(deployments)
            .map(|((plan, anvil), deployment)| chain(plan, anvil, deployment))
            .collect();
        let mut devnet = Self { folder, chains, was_running: false, detached: false };
        State::new(devnet.chains.iter().map(|chain| chain.state.clone()).collect())
            .write(&devnet.folder)?;
        if plan.detached {
            devnet.detached = true;
            for anvil in devnet.chains.iter_mut().filter_map(|chain| chain.anvil.as_mut()) {
                anvil.detach().await;
            }
        }
        progress.step("the development network is up");
        Ok(devnet)
    }

    /// Finds the network that another process started from `folder`.
    ///
    /// # Errors
    /// [`DevnetError::NotUp`] when there is none, [`DevnetError::State`] when a chain of it no
    /// longer answers.
    pub async fn load(folder: &Path) -> Result<Self, DevnetError> {
        let state = State::read(folder)?.ok_or_else(|| DevnetError::NotUp(folder.to_path_buf()))?;
        let mut chains = Vec::with_capacity(state.chains.len());
        for state in state.chains {
            let rpc = Rpc::new(&state.url)?;
            if rpc.chain_id().await.ok() != Some(state.deployment.chain_id) {
                return Err(DevnetError::State {
                    path: State::path(folder),
                    reason: format!("the chain {} does not answer at {}", state.name, state.url),
                });
            }
            chains.push(Chain { state, rpc, anvil: None });
        }
        let folder = folder.to_path_buf();
        Ok(Self { folder, chains, was_running: true, detached: true })
    }

    /// What is left of the network that was started from `folder`, running or not.
    ///
    /// # Errors
    /// [`DevnetError::NotUp`] when there is none, [`DevnetError::State`] when the file is broken.
    pub async fn status(folder: &Path) -> Result<Vec<ChainStatus>, DevnetError> {
        let state = State::read(folder)?.ok_or_else(|| DevnetError::NotUp(folder.to_path_buf()))?;
        Ok(join_all(state.chains.into_iter().map(chain_status)).await)
    }

    /// Ends the network that was started from `folder`, or what is left of it.
    ///
    /// # Errors
    /// [`DevnetError::NotUp`] when there is none, [`DevnetError::Stop`] when a process stays.
    pub async fn down_at(folder: &Path) -> Result<(), DevnetError> {
        if !folder.is_dir() {
            return Err(DevnetError::NotUp(folder.to_path_buf()));
        }
        let _lock = lock(folder).await?;
        if !State::path(folder).exists() {
            return Err(DevnetError::NotUp(folder.to_path_buf()));
        }
        take_down(folder).await
    }

    /// Ends this network.
    ///
    /// # Errors
    /// As [`Devnet::down_at`].
    pub async fn down(mut self) -> Result<(), DevnetError> {
        for chain in &mut self.chains {
            if let Some(anvil) = chain.anvil.take() {
                anvil.stop().await?;
            }
        }
        Self::down_at(&self.folder).await
    }

    /// The chains, in the order of the plan.
    #[must_use]
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The chain of that name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name() == name)
    }

    /// Whether it ran already when [`Devnet::up`] was called.
    #[must_use]
    pub fn was_running(&self) -> bool {
        self.was_running
    }

    /// The folder of its state and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // The chains end with their handles; a file that names them would mislead.
        if !self.detached {
            let _ = State::remove(&self.folder);
        }
    }
}

async fn start(packages: &Packages, folder: &Path, plan: &ChainPlan) -> Result<Anvil, DevnetError> {
    let mut options = plan.anvil.clone();
    options.log_file.get_or_insert_with(|| folder.join(format!("{}.log", plan.name)));
    Anvil::start(packages.anvil(), &options).await
}

async fn fund(rpc: &Rpc, accounts: Vec<Address>) -> Result<(), DevnetError> {
    for account in accounts {
        rpc.set_balance(account, U256::from(FUNDS)).await?;
    }
    Ok(())
}

async fn deploy(
    packages: &Packages,
    plan: &DevnetPlan,
    anvils: &[Anvil],
) -> Result<Vec<Deployment>, DevnetError> {
    let targets: Vec<Target<'_>> = plan
        .chains
        .iter()
        .zip(anvils)
        .map(|(chain, anvil)| Target {
            rpc: anvil.rpc(),
            chain_id: chain.anvil.chain_id,
            eid: chain.eid,
        })
        .collect();
    layerzero::deploy(packages, &plan.layerzero, &targets).await
}

fn chain(plan: &ChainPlan, anvil: Anvil, deployment: Deployment) -> Chain {
    let state = ChainState {
        name: plan.name.clone(),
        url: anvil.url().to_owned(),
        pid: anvil.pid(),
        log: anvil.log_file().to_path_buf(),
        deployment,
    };
    Chain { state, rpc: anvil.rpc().clone(), anvil: Some(anvil) }
}

async fn chain_status(chain: ChainState) -> ChainStatus {
    let running = anvil::is_running(chain.pid, chain.deployment.chain_id);
    let block_number = match Rpc::new(&chain.url) {
        Ok(rpc) if rpc.chain_id().await.ok() == Some(chain.deployment.chain_id) => {
            rpc.block_number().await.ok()
        }
        _ => None,
    };
    ChainStatus { chain, running, block_number }
}

async fn take_down(folder: &Path) -> Result<(), DevnetError> {
    if let Some(state) = State::read(folder)? {
        let ends =
            state.chains.iter().map(|chain| anvil::end(chain.pid, chain.deployment.chain_id));
        try_join_all(ends).await?;
    }
    State::remove(folder)
}

/// One `up` or `down` a folder at a time.
async fn lock(folder: &Path) -> Result<File, DevnetError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(DevnetError::file("create", &path))?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(DevnetError::file("lock", &folder.join("lock")))
}
