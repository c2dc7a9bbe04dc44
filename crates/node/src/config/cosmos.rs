//! Cosmos networks, and IBC on them, in the file.

use super::{
    MAX_IN_FLIGHT, UpstreamConfig,
    file::{ChainIdSetting, File, GasTable, IbcTable, NetworkKind, NetworkTable, TrustTable},
    problem::Problems,
    upstreams,
};
use alloy_primitives::B256;
use postrider_cosmos::{CosmosChainId, GasPolicy, GasPrice, gas::BadGasPrice, status::BadChainId};
use postrider_ibc::{ClientId, plan::Filter};
use postrider_message::{BlockHash, Height, KeyName, NetworkName, Role};
use postrider_signing::{AddressPrefix, CosmosAlgorithm};
use postrider_verification::tendermint::{RootOfTrust, TrustOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::Range,
    time::Duration,
};
use toml::Spanned;

/// How often is looked for what is pending where the file does not say, in minutes.
const CLEAR_MINUTES: u64 = 10;
/// How many blocks are searched for packets where the file does not say, and at most.
const SEARCH_BLOCKS: u64 = 20_000;
const MAX_SEARCH_BLOCKS: u64 = 5_000_000;
/// The longest time that another relayer can go first, in seconds.
const MAX_STANDBY: u64 = 3_600;
/// How far a chain's clock may be ahead of ours where the file does not say, in seconds.
const CLOCK_DRIFT: u64 = 10;
/// Gas estimates are multiplied with this where the file does not say, in thousandths.
const GAS_MULTIPLIER: u32 = 1_300;
/// The SDK's own bound on memos (`x/auth` `max_memo_characters`), in bytes.
const MAX_MEMO: usize = 256;

/// A Cosmos network.
#[derive(Debug, Clone)]
pub struct CosmosConfig {
    /// The chain's id, as CometBFT knows it.
    pub chain_id: CosmosChainId,
    /// What the bech32 addresses of accounts begin with.
    pub prefix: AddressPrefix,
    /// What is paid for gas.
    pub gas: GasPolicy,
    /// In whose name is paid, and how.
    pub paying: Paying,
    /// The block that is believed without proof.
    pub root: RootOfTrust,
    /// How the light client judges.
    pub trust: TrustOptions,
    /// How often upstreams are asked for news.
    pub poll: Duration,
    /// The keys that pay there.
    pub signers: Vec<KeyName>,
    /// The most transactions of one of those keys on their way at once.
    pub max_in_flight: usize,
    /// Its upstreams.
    pub upstreams: Vec<UpstreamConfig>,
}

/// In whose name transactions are sent on a network, and how they are paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paying {
    /// No unit of gas is paid more for; at least the policy's price, in its denomination.
    pub max_price: GasPrice,
    /// The chain's fee market is asked for the price.
    pub dynamic: bool,
    /// How the paying keys sign there.
    pub algorithm: CosmosAlgorithm,
    /// The bech32 address of who pays the fees, and granted that (`cosmos.feegrant`).
    pub fee_granter: Option<String>,
    /// The bech32 address of whom all messages name as their signer, and who granted that
    /// (`cosmos.authz`).
    pub granter: Option<String>,
    /// The memo of every transaction; 256 bytes at most.
    pub memo: String,
}

/// IBC on a network, and our part in it.
#[derive(Debug, Clone)]
pub struct IbcConfig {
    /// What this node does there.
    pub roles: BTreeSet<Role>,
    /// Which packets that are sent there it relays.
    pub filter: Filter,
    /// How long another relayer goes first, of what is to be brought there.
    pub standby: Duration,
    /// How often is looked for what state says is pending there.
    pub clear_every: Duration,
    /// How many blocks are searched, from the newest down, for the data of packets.
    pub search_blocks: u64,
    /// Whether it ends there the handshakes that others began.
    pub handshakes: bool,
    /// The clients there that are kept from expiring; `None` for all that channels of ours stand on.
    pub clients: Option<BTreeSet<ClientId>>,
}

/// A Cosmos network as the file describes it; `None` with the problems told.
pub(super) fn network(
    name: &NetworkName,
    table: &NetworkTable,
    problems: &mut Problems<'_>,
) -> Option<CosmosConfig> {
    let mut refuse = |span: Option<Range<usize>>, setting: &str| {
        if span.is_some() {
            let what = format!("[networks.{name}]: `{setting}` belongs to kind `evm`");
            problems.add(span, &what, "remove it");
        }
    };
    refuse(table.quorum.as_ref().map(|s| s.span()), "quorum");
    refuse(table.finality.as_ref().map(|s| s.span()), "finality");
    refuse(table.max_fee_gwei.as_ref().map(|s| s.span()), "max_fee_gwei");
    let upstreams = upstreams(name, table, problems);
    let span = table.chain_id.span();
    let mut found = Found { name, problems };
    if table.upstreams.is_empty() {
        found.demand(span.clone(), "it has no upstream", "add `upstreams` with at least one");
    }
    let chain_id = found.read(span.clone(), "chain_id", chain_id(table.chain_id.get_ref()));
    let prefix = match &table.prefix {
        Some(prefix) => found.read(prefix.span(), "prefix", prefix.get_ref().parse()),
        None => {
            found.missing(&span, "prefix", "set what its addresses begin with, such as \"cosmos\"")
        }
    };
    let gas = match &table.gas {
        Some(table) => found.read(table.span(), "gas", gas(table.get_ref())),
        None => found.missing(&span, "gas", "add `gas = { price = \"0.025uatom\" }`"),
    };
    let trust = match &table.trust {
        Some(table) => {
            let read = trust(table.get_ref(), chain_id.as_ref()?);
            found.read(table.span(), "trust", read)
        }
        None => {
            let remedy = "add `trust = { height = …, hash = \"…\", period_hours = … }` with a block \
                          that you know from a source you trust";
            found.missing(&span, "trust", remedy)
        }
    };
    let paying = paying(table, (gas.as_ref()?, prefix.as_ref()?), &mut found);
    let (root, trust) = trust?;
    Some(CosmosConfig {
        chain_id: chain_id?,
        prefix: prefix?,
        gas: gas?,
        paying: paying?,
        root,
        trust,
        poll: Duration::from_millis(table.poll_ms.clamp(20, 60_000)),
        signers: table.signers(),
        max_in_flight: table.max_in_flight.clamp(1, MAX_IN_FLIGHT),
        upstreams,
    })
}

/// Tells what is wrong with one network's table.
struct Found<'a, 'p> {
    name: &'a NetworkName,
    problems: &'a mut Problems<'p>,
}

impl Found<'_, '_> {
    fn demand(&mut self, span: Range<usize>, what: &str, remedy: &str) {
        self.problems.add(Some(span), &format!("[networks.{}]: {what}", self.name), remedy);
    }

    fn missing<T>(&mut self, span: &Range<usize>, setting: &str, remedy: &str) -> Option<T> {
        self.demand(span.clone(), &format!("missing field `{setting}`"), remedy);
        None
    }

    fn read<T, E: Display>(
        &mut self,
        span: Range<usize>,
        setting: &str,
        read: Result<T, E>,
    ) -> Option<T> {
        read.map_err(|error| {
            let remedy = "correct it; docs/operate.md says how it is written";
            self.demand(span, &format!("`{setting}`: {error}"), remedy);
        })
        .ok()
    }
}

fn chain_id(setting: &ChainIdSetting) -> Result<CosmosChainId, String> {
    match setting {
        ChainIdSetting::Text(text) => text.parse().map_err(|e: BadChainId| e.to_string()),
        ChainIdSetting::Number(number) => Err(format!("{number} is a number, not a text")),
    }
}

fn gas(table: &GasTable) -> Result<GasPolicy, String> {
    let price: GasPrice = table.price.parse().map_err(|e: BadGasPrice| e.to_string())?;
    let multiplier = table.multiplier_permille.unwrap_or(GAS_MULTIPLIER);
    if !(1_000..=10_000).contains(&multiplier) {
        return Err(format!("`multiplier_permille` is {multiplier}, not between 1000 and 10000"));
    }
    let max_gas = table.max.unwrap_or(u64::MAX);
    Ok(GasPolicy { price, multiplier_permille: multiplier, max_gas })
}

/// Who pays and how; `None` with the problems told.
fn paying(
    table: &NetworkTable,
    (policy, prefix): (&GasPolicy, &AddressPrefix),
    found: &mut Found<'_, '_>,
) -> Option<Paying> {
    let gas = table.gas.as_ref()?;
    let max_price = found.read(gas.span(), "gas", max_price(gas.get_ref(), policy));
    let algorithm = match &table.key_algorithm {
        Some(text) => found.read(text.span(), "key_algorithm", text.get_ref().parse()),
        None => Some(CosmosAlgorithm::Secp256k1),
    };
    let mut address = |text: &Option<Spanned<String>>, setting: &str| {
        let Some(text) = text else { return Some(None) };
        let read = Some(text.get_ref().clone())
            .filter(|text| prefix.is_of(text))
            .ok_or_else(|| format!("`{}` is no address that begins with {prefix}", text.get_ref()));
        found.read(text.span(), setting, read).map(Some)
    };
    let fee_granter = address(&table.fee_granter, "fee_granter");
    let granter = address(&table.granter, "granter");
    let memo = match &table.memo {
        Some(memo) if memo.get_ref().len() > MAX_MEMO => {
            let long = format!("it has {} bytes; chains take {MAX_MEMO}", memo.get_ref().len());
            found.read(memo.span(), "memo", Err(long))
        }
        memo => Some(memo.as_ref().map(|memo| memo.get_ref().clone()).unwrap_or_default()),
    };
    Some(Paying {
        max_price: max_price?,
        dynamic: gas.get_ref().dynamic,
        algorithm: algorithm?,
        fee_granter: fee_granter?,
        granter: granter?,
        memo: memo?,
    })
}

fn max_price(table: &GasTable, policy: &GasPolicy) -> Result<GasPrice, String> {
    let Some(text) = &table.max_price else {
        let without = "`dynamic` needs `max_price`, the most that is paid for a unit of gas";
        return if table.dynamic { Err(without.to_owned()) } else { Ok(policy.price.clone()) };
    };
    let max: GasPrice = text.parse().map_err(|e: BadGasPrice| e.to_string())?;
    if max.denom() != policy.price.denom() || max.is_below(&policy.price) {
        return Err(format!("`max_price` {max} is not `price` {} or more of it", policy.price));
    }
    Ok(max)
}

fn trust(
    table: &TrustTable,
    chain_id: &CosmosChainId,
) -> Result<(RootOfTrust, TrustOptions), String> {
    let hash: B256 =
        table.hash.parse().map_err(|_| format!("`{}` is no block hash", table.hash))?;
    let root = RootOfTrust::new(Height(table.height), BlockHash(hash));
    let period = Duration::try_from_secs_f64(table.period_hours * 3600.0)
        .map_err(|_| format!("`period_hours` is {}, which is no time", table.period_hours))?;
    let drift = Duration::from_secs(table.clock_drift_seconds.unwrap_or(CLOCK_DRIFT));
    let options = TrustOptions::with_two_thirds(chain_id.as_str(), period, drift);
    Ok((root.map_err(|e| e.to_string())?, options.map_err(|e| e.to_string())?))
}

fn ibc_of(table: &IbcTable, roles: BTreeSet<Role>) -> IbcConfig {
    let usual = Filter::default();
    IbcConfig {
        roles,
        filter: Filter {
            allow: table.allow.clone(),
            deny: table.deny.clone(),
            excluded: table.exclude.clone(),
            max_memo: table.max_memo_bytes.unwrap_or(usual.max_memo),
            max_receiver: table.max_receiver_bytes.unwrap_or(usual.max_receiver),
        },
        standby: Duration::from_secs(table.standby_seconds.unwrap_or(0).min(MAX_STANDBY)),
        clear_every: Duration::from_secs(
            table.clear_minutes.unwrap_or(CLEAR_MINUTES).clamp(1, 7 * 24 * 60) * 60,
        ),
        search_blocks: table.search_blocks.unwrap_or(SEARCH_BLOCKS).min(MAX_SEARCH_BLOCKS),
        handshakes: table.handshakes,
        clients: table.clients.clone(),
    }
}

/// IBC on the networks that the file names.
pub(super) fn ibc(file: &File, problems: &mut Problems<'_>) -> BTreeMap<NetworkName, IbcConfig> {
    let mut found = BTreeMap::new();
    for (name, table) in &file.ibc {
        let mut demand = |what: &str, remedy: &str| {
            problems.add(Some(table.span()), &format!("[ibc.{name}]: {what}"), remedy);
        };
        let network = file.networks.get(name).filter(|n| n.kind == NetworkKind::Cosmos);
        let Some(network) = network else {
            demand("it names no configured network of kind `cosmos`", "add [networks.NAME]");
            continue;
        };
        let roles: BTreeSet<Role> = table.get_ref().roles.iter().copied().collect();
        if roles.iter().any(|role| !matches!(role, Role::Relay | Role::Watch)) {
            demand("only `relay` and `watch` are roles of IBC", "remove the others");
        }
        if roles.contains(&Role::Relay) && network.signers().is_empty() {
            demand("role `relay` needs a key that pays", "set `signer` in the network's table");
        }
        if table.get_ref().handshakes && !roles.contains(&Role::Relay) {
            demand("`handshakes` needs role `relay`", "add the role, or remove the setting");
        }
        found.insert(name.clone(), ibc_of(table.get_ref(), roles));
    }
    found
}
