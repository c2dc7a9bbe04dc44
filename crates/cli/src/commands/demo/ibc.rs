//! The part of the demo that IBC plays: two ibc-go chains, a path between them, and transfers over it.

use crate::{failure::Failure, output::Output, workspace::PASSWORD};
use postrider_devnet::{CosmosAccount, CosmosChain, CosmosPlan, DevnetError, Progress, Simd};
use postrider_ibc::{
    ChannelEndId, Height, Order, PortId, Timeout,
    messages::{self, Signer},
};
use postrider_message::{KeyName, NetworkName, UnixMillis};
use postrider_node::{
    Config, CosmosNetwork,
    ibc::{
        direct,
        path::{self, Channel, MadeSide, Over, PathSide, Wanted},
    },
    node::keys_path,
};
use postrider_signing::{CosmosAlgorithm, Keystore, Password};
use serde_json::{Value, json};
use std::{fmt::Display, fmt::Write as _, path::Path, sync::Arc, time::Duration};

/// The networks; others than those of LayerZero's part.
const NAMES: [&str; 2] = ["gamma", "delta"];
/// Until a chain has the block that its light client begins with.
const FIRST_BLOCKS: Duration = Duration::from_secs(120);
/// Who relays, and who sends.
const KEYS: [&str; 2] = ["relayer", "alice"];

/// Two chains with a path between them.
pub(super) struct Ibc {
    // Held so that they run.
    _chains: Vec<CosmosChain>,
    senders: Vec<PathSide>,
    channels: Vec<ChannelEndId>,
}

impl Ibc {
    /// Starts the chains, adds them to the configuration, and opens a channel. `None`, with a note, where
    /// the chain program cannot be built for want of Go.
    pub(super) async fn start(
        config: &Path,
        folder: &Path,
        output: &Output,
    ) -> Result<Option<Self>, Failure> {
        let simd = match Simd::ensure(output).await {
            Ok(simd) => simd,
            Err(error @ DevnetError::GoMissing) => {
                output.note(&format!("IBC is left out: {error}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        output.step("starting the ibc-go chains gamma and delta");
        let plan = |name: &str| CosmosPlan::new(format!("{name}-1"), folder.join(name));
        let chains = CosmosChain::start_all(&simd, &NAMES.map(plan)).await?;
        add(config, &chains).await?;
        let config = Config::load(config)?;
        import(&config)?;
        let made = connect(&sides(&config, "relayer")?, output).await?;
        let senders = sides(&config, "alice")?;
        Ok(Some(Self { _chains: chains, senders, channels: made }))
    }

    /// Alice sends `count` transfers to Bob in one transaction, from the first network or the second.
    pub(super) async fn send(&self, way: usize, count: usize) -> Result<(), Failure> {
        let (Some(side), Some(channel)) = (self.senders.get(way), self.channels.get(way)) else {
            return Err(Failure::Other("the demo of IBC needs two networks".into()));
        };
        let until = UnixMillis::now().0.saturating_add(3_600_000).saturating_mul(1_000_000);
        let timeout = Timeout { height: Height::default(), nanoseconds: until };
        let (from, to) =
            (side.key.address(&side.network.config.prefix), CosmosAccount::named("bob"));
        let coin = (7, "token");
        let one = messages::transfer(channel, coin, to.address(), timeout, "", Signer(&from));
        let sent = direct::send(&side.network, &side.key, vec![one; count]).await;
        sent.map(|_| ()).map_err(|error| other(&error))
    }
}

fn other(error: &dyn Display) -> Failure {
    Failure::Other(error.to_string())
}

/// Adds the chains to the configuration.
async fn add(config: &Path, chains: &[CosmosChain]) -> Result<(), Failure> {
    let mut text =
        std::fs::read_to_string(config).map_err(Failure::io("reading the configuration"))?;
    for (name, chain) in NAMES.iter().zip(chains) {
        chain.rpc().wait_for_height(2, FIRST_BLOCKS).await?;
        let commit = chain.rpc().call("commit", json!({ "height": "1" })).await?;
        let hash = commit.pointer("/signed_header/commit/block_id/hash").and_then(Value::as_str);
        let (hash, url) = (hash.unwrap_or_default(), chain.rpc().url());
        write!(
            text,
            "\n[networks.{name}]\nkind = \"cosmos\"\nchain_id = \"{name}-1\"\nprefix = \"cosmos\"\n\
             gas = {{ price = \"0stake\" }}\n\
             trust = {{ height = 1, hash = \"{hash}\", period_hours = 336 }}\n\
             poll_ms = 250\nsigner = \"relayer\"\n\
             upstreams = [{{ name = \"local\", operator = \"local-operator\", url = \"{url}\" }}]\n\
             \n[ibc.{name}]\nroles = [\"relay\"]\n"
        )
        .map_err(|error| other(&error))?;
    }
    std::fs::write(config, text).map_err(Failure::io("writing the configuration"))
}

/// The development accounts' keys, which are worth nothing.
fn import(config: &Config) -> Result<(), Failure> {
    let keystore = Keystore::open(&keys_path(config))?;
    let there = keystore.names()?;
    for name in KEYS {
        let key: KeyName = name.parse().map_err(|error| other(&error))?;
        if !there.contains(&key) {
            let secret = CosmosAccount::named(name).secret_hex();
            keystore.import(&key, &secret.into(), &Password::from(PASSWORD))?;
        }
    }
    Ok(())
}

/// Both networks, in the order of [`NAMES`], with a key that pays there.
fn sides(config: &Config, key: &str) -> Result<Vec<PathSide>, Failure> {
    let keystore = Keystore::open(&keys_path(config))?;
    let name: KeyName = key.parse().map_err(|error| other(&error))?;
    let password = Password::from(PASSWORD);
    let key = keystore.cosmos_key(&name, &password, CosmosAlgorithm::Secp256k1)?;
    let mut sides = Vec::new();
    for name in NAMES {
        let name: NetworkName = name.parse().map_err(|error| other(&error))?;
        let settings = config.cosmos.get(&name).cloned();
        let settings =
            settings.ok_or_else(|| Failure::Other(format!("{name} is not configured")))?;
        let network = CosmosNetwork::new(name, settings).map_err(|error| other(&error))?;
        sides.push(PathSide { network: Arc::new(network), key: key.clone() });
    }
    Ok(sides)
}

/// Opens a channel for transfers; gives its two ends.
async fn connect(sides: &[PathSide], output: &Output) -> Result<Vec<ChannelEndId>, Failure> {
    let [a, b] = sides else {
        return Err(Failure::Other("the demo of IBC needs two networks".into()));
    };
    let port: PortId = "transfer".parse().map_err(|error| other(&error))?;
    let channel = Channel {
        port: port.clone(),
        counterparty_port: port,
        order: Order::Unordered,
        version: Some("ics20-1".to_owned()),
    };
    let wanted = Wanted { over: Over::ANY, channel: Some(channel) };
    let tell = |text: String| output.step(&text);
    let made = path::create(a, b, &wanted, &tell).await.map_err(|error| other(&error))?;
    Ok(made.sides.iter().filter_map(MadeSide::end).collect())
}
