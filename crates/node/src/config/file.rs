//! The file as it is written.

use alloy_primitives::Address;
use postrider_evm::{Finality, UpstreamLimits};
use postrider_message::{KeyName, NetworkName, OperatorName, Role, UpstreamName};
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, time::Duration};
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) node: NodeTable,
    #[serde(default)]
    pub(super) networks: BTreeMap<NetworkName, NetworkTable>,
    #[serde(default)]
    pub(super) layerzero: BTreeMap<NetworkName, LayerZeroTable>,
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

fn data() -> PathBuf {
    PathBuf::from("data")
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NetworkKind {
    Evm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkTable {
    #[serde(rename = "kind")]
    pub(super) _kind: NetworkKind,
    pub(super) chain_id: Spanned<u64>,
    pub(super) quorum: Spanned<u32>,
    pub(super) finality: FinalitySetting,
    #[serde(default = "poll_ms")]
    pub(super) poll_ms: u64,
    pub(super) start_height: Option<u64>,
    #[serde(default = "max_fee_gwei")]
    pub(super) max_fee_gwei: u64,
    pub(super) signer: Option<KeyName>,
    #[serde(default)]
    pub(super) upstreams: Vec<UpstreamTable>,
}

fn poll_ms() -> u64 {
    1000
}

fn max_fee_gwei() -> u64 {
    500
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
    pub(super) fn limits(&self) -> UpstreamLimits {
        let default = UpstreamLimits::default();
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
    #[serde(default = "min_confirmations")]
    pub(super) min_confirmations: u64,
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
}
