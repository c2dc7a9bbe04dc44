//! The file as it is written.

use alloy_primitives::Address;
use postrider_evm::{Finality, UpstreamLimits};
use postrider_ibc::{
    ClientId,
    plan::{ChannelPattern, Excluded},
};
use postrider_message::{KeyName, NetworkName, OperatorName, PeerName, Role, UpstreamName};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) node: NodeTable,
    pub(super) api: Option<ApiTable>,
    #[serde(default)]
    pub(super) networks: BTreeMap<NetworkName, NetworkTable>,
    #[serde(default)]
    pub(super) layerzero: BTreeMap<NetworkName, LayerZeroTable>,
    #[serde(default)]
    pub(super) ibc: BTreeMap<NetworkName, Spanned<IbcTable>>,
    pub(super) peering: Option<PeeringTable>,
    #[serde(default)]
    pub(super) peers: BTreeMap<PeerName, PeerTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeeringTable {
    pub(super) identity: Spanned<KeyName>,
    pub(super) listen: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerTable {
    pub(super) identity: Spanned<Address>,
    pub(super) url: Option<String>,
    pub(super) url_env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeTable {
    #[serde(default = "data")]
    pub(super) data: PathBuf,
}

impl Default for NodeTable {
    fn default() -> Self {
        Self { data: data() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiTable {
    pub(super) listen: Spanned<String>,
    #[serde(default)]
    pub(super) allow_remote: bool,
}

fn data() -> PathBuf {
    PathBuf::from("data")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NetworkKind {
    Evm,
    Cosmos,
}

/// A chain's id as its kind writes it: EIP-155's number, or CometBFT's text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum ChainIdSetting {
    Number(u64),
    Text(String),
}

/// A network of either kind. What belongs to one kind only is optional here, and
/// [`super::evm`] and [`super::cosmos`] ask for theirs and refuse the other's: places in the file are
/// known only to a plain struct.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkTable {
    pub(super) kind: NetworkKind,
    pub(super) chain_id: Spanned<ChainIdSetting>,
    pub(super) quorum: Option<Spanned<u32>>,
    pub(super) finality: Option<Spanned<FinalitySetting>>,
    pub(super) max_fee_gwei: Option<Spanned<u64>>,
    pub(super) prefix: Option<Spanned<String>>,
    pub(super) gas: Option<Spanned<GasTable>>,
    pub(super) trust: Option<Spanned<TrustTable>>,
    #[serde(default = "poll_ms")]
    pub(super) poll_ms: u64,
    pub(super) key_algorithm: Option<Spanned<String>>,
    pub(super) fee_granter: Option<Spanned<String>>,
    pub(super) granter: Option<Spanned<String>>,
    pub(super) memo: Option<Spanned<String>>,
    pub(super) start_height: Option<u64>,
    #[serde(default)]
    signer: OneOrMany,
    #[serde(default = "max_in_flight")]
    pub(super) max_in_flight: usize,
    pub(super) transaction_gas_cap: Option<u64>,
    #[serde(default)]
    pub(super) upstreams: Vec<UpstreamTable>,
}

impl NetworkTable {
    /// The keys that pay, each once, in the file's order.
    pub(super) fn signers(&self) -> Vec<KeyName> {
        let named = match &self.signer {
            OneOrMany::One(name) => std::slice::from_ref(name),
            OneOrMany::Many(names) => names,
        };
        let mut signers: Vec<KeyName> = Vec::new();
        for name in named {
            if !signers.contains(name) {
                signers.push(name.clone());
            }
        }
        signers
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(KeyName),
    Many(Vec<KeyName>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// What nodes keep of one account without trouble.
fn max_in_flight() -> usize {
    100
}

fn poll_ms() -> u64 {
    1000
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinalitySetting {
    Safe,
    Finalized,
    Confirmations(u64),
}

impl From<FinalitySetting> for Finality {
    fn from(setting: FinalitySetting) -> Self {
        match setting {
            FinalitySetting::Safe => Self::Safe,
            FinalitySetting::Finalized => Self::Finalized,
            FinalitySetting::Confirmations(n) => Self::Confirmations(n),
        }
    }
}

/// What is paid for gas on a Cosmos network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GasTable {
    /// As `0.025uatom`.
    pub(super) price: String,
    pub(super) multiplier_permille: Option<u32>,
    pub(super) max: Option<u64>,
    /// As `price`.
    pub(super) max_price: Option<String>,
    #[serde(default)]
    pub(super) dynamic: bool,
}

/// Where the light client of a Cosmos network begins, and how long it may believe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustTable {
    pub(super) height: u64,
    /// 64 hexadecimal digits.
    pub(super) hash: String,
    pub(super) period_hours: f64,
    pub(super) clock_drift_seconds: Option<u64>,
}

/// IBC on a Cosmos network, and our part in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IbcTable {
    #[serde(default)]
    pub(super) roles: Vec<Role>,
    #[serde(default)]
    pub(super) allow: Vec<ChannelPattern>,
    #[serde(default)]
    pub(super) deny: Vec<ChannelPattern>,
    #[serde(default)]
    pub(super) exclude: Vec<Excluded>,
    pub(super) max_memo_bytes: Option<usize>,
    pub(super) max_receiver_bytes: Option<usize>,
    pub(super) standby_seconds: Option<u64>,
    pub(super) clear_minutes: Option<u64>,
    pub(super) search_blocks: Option<u64>,
    #[serde(default)]
    pub(super) handshakes: bool,
    pub(super) clients: Option<BTreeSet<ClientId>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTable {
    pub(super) name: Spanned<UpstreamName>,
    pub(super) operator: OperatorName,
    pub(super) url: Option<String>,
    pub(super) url_env: Option<String>,
    timeout_ms: Option<u64>,
    requests_per_second: Option<NonZeroU32>,
    batch: Option<usize>,
}

impl UpstreamTable {
    /// Its bounds, where the file does not say as nodes of that kind have them.
    pub(super) fn limits(&self, kind: NetworkKind) -> UpstreamLimits {
        let default = match kind {
            NetworkKind::Evm => UpstreamLimits::default(),
            NetworkKind::Cosmos => postrider_cosmos::upstream::default_limits(),
        };
        UpstreamLimits {
            timeout: self.timeout_ms.map_or(default.timeout, Duration::from_millis),
            requests_per_second: self.requests_per_second,
            batch: self.batch.unwrap_or(default.batch).clamp(1, 1000),
            answer_bytes: default.answer_bytes,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerZeroTable {
    pub(super) eid: Spanned<u32>,
    pub(super) endpoint: Address,
    #[serde(default)]
    pub(super) send_libraries: Vec<Address>,
    #[serde(default)]
    pub(super) receive_libraries: Vec<Address>,
    #[serde(default)]
    pub(super) roles: Vec<Role>,
    pub(super) dvn: Option<DvnTable>,
    pub(super) executor: Option<Address>,
    pub(super) batch: Option<Address>,
    #[serde(default)]
    pub(super) tokens: Vec<Spanned<TokenTable>>,
    #[serde(default = "min_confirmations")]
    pub(super) min_confirmations: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenTable {
    pub(super) contract: Address,
    pub(super) shared_decimals: u8,
    pub(super) local_decimals: u8,
}

fn min_confirmations() -> u64 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DvnTable {
    pub(super) address: Address,
    #[serde(default)]
    pub(super) keys: Vec<KeyName>,
    #[serde(default)]
    pub(super) peers: Vec<DvnPeerTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DvnPeerTable {
    pub(super) name: Spanned<PeerName>,
    pub(super) signer: Address,
}
