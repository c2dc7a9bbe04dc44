//! `postrider devnet`.

use crate::{
    failure::Failure,
    output::{Output, table},
    workspace::{NETWORKS, PASSWORD, UpstreamLine, Workspace, plan},
};
use clap::{Args, Subcommand};
use postrider_devnet::{Chain, Devnet as Chains, DevnetPlan};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Starts, stops and looks at local chains.
#[derive(Debug, Subcommand)]
pub enum Devnet {
    /// Start two chains with LayerZero on them, and write keys and a configuration for a node.
    Up(Place),
    /// Stop the chains.
    Down(Place),
    /// Show the chains.
    Status(Place),
}

/// Where the development network lives.
#[derive(Debug, Args)]
pub struct Place {
    /// The folder of its state, keys and configuration.
    #[arg(long, default_value = ".devnet")]
    pub folder: PathBuf,
}

impl Place {
    /// The folder of the chains' own state.
    #[must_use]
    pub fn chains(&self) -> PathBuf {
        self.folder.join("devnet")
    }
}

impl Devnet {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Up(place) => up(&place, output).await,
            Self::Down(place) => {
                Chains::down_at(&place.chains()).await?;
                output.line("stopped");
                output.document(&serde_json::json!({ "stopped": true }));
                Ok(())
            }
            Self::Status(place) => {
                let chains = Chains::status(&place.chains()).await?;
                let rows: Vec<Vec<String>> = chains
                    .iter()
                    .map(|c| {
                        let height = c.block_number.map_or("-".into(), |h| h.to_string());
                        let state = if c.running { "running" } else { "stopped" };
                        vec![c.chain.name.clone(), state.into(), height, c.chain.url.clone()]
                    })
                    .collect();
                for line in table(&["chain", "state", "block", "url"], &rows) {
                    output.line(&line);
                }
                output.document(&serde_json::json!({ "chains": chains }));
                Ok(())
            }
        }
    }
}

async fn up(place: &Place, output: &Output) -> Result<(), Failure> {
    std::fs::create_dir_all(&place.folder).map_err(Failure::io("making the folder"))?;
    let workspace = Workspace::new(&place.folder, 0);
    let chains = bring_up(&workspace, &place.chains(), true, output).await?;
    let config = workspace.config_path();
    for chain in chains.chains() {
        output.line(&format!("{}  {}", chain.name(), chain.url()));
    }
    output.line(&format!(
        "start a node: POSTRIDER_PASSWORD={PASSWORD} postrider start --config {}",
        config.display()
    ));
    let urls: Vec<_> = chains.chains().iter().map(|c| (c.name(), c.url())).collect();
    output.document(&serde_json::json!({ "config": config, "chains": urls }));
    Ok(())
}

/// Makes the keys, starts the chains with this one node as their DVN, and writes its
/// configuration.
///
/// # Errors
/// [`Failure`].
pub async fn bring_up(
    workspace: &Workspace,
    folder: &Path,
    detached: bool,
    output: &Output,
) -> Result<Chains, Failure> {
    let mut keys = Vec::new();
    for name in NETWORKS {
        let name = name.parse().map_err(|e| Failure::Other(format!("{e}")))?;
        keys.push(workspace.keys(&name).await?);
    }
    let keys: [_; 2] =
        keys.try_into().map_err(|_| Failure::Other("two networks, two sets of keys".into()))?;
    let block_time = Some(Duration::from_secs(1));
    let mut wanted = DevnetPlan::two(folder.to_owned(), plan(&[keys]), block_time);
    wanted.detached = detached;
    let chains = Chains::up(&wanted, output).await?;
    let described: Vec<_> =
        chains.chains().iter().map(|c| (c.deployment().clone(), vec![only_upstream(c)])).collect();
    workspace.write_config(&described)?;
    Ok(chains)
}

/// The one upstream that a chain of the development network has.
fn only_upstream(chain: &Chain) -> UpstreamLine {
    UpstreamLine {
        name: "local".to_owned(),
        operator: "local-operator".to_owned(),
        url: chain.url().to_owned(),
    }
}
