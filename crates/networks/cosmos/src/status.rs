//! What a node says of itself (CometBFT RPC `status`).

use crate::wire::number;
use postrider_message::{Height, UnixMillis};
use serde::Deserialize;
use std::{fmt, str::FromStr};
use tendermint::Time;

/// CometBFT allows no longer chain id (`types.MaxChainIDLen`), in bytes.
const MAX_CHAIN_ID: usize = 50;

/// A chain's id as its headers carry it, for example `cosmoshub-4`: 1 to 50 visible ASCII
/// characters (CometBFT `GenesisDoc.chain_id`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CosmosChainId(String);

/// A text is no chain id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a chain id: write 1 to 50 visible ASCII characters, for example cosmoshub-4")]
pub struct BadChainId(String);

impl CosmosChainId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CosmosChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for CosmosChainId {
    type Err = BadChainId;
    fn from_str(text: &str) -> Result<Self, BadChainId> {
        let good =
            (1..=MAX_CHAIN_ID).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadChainId(text.chars().take(80).collect()))
        }
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The height of the newest block. Its events may not be known yet.
    pub latest: Height,
    /// The newest block's time, by its header.
    pub latest_time: UnixMillis,
    /// The height of the oldest block it still has.
    pub earliest: Height,
    /// Whether it still fetches old blocks, so that what it calls newest is not.
    pub catching_up: bool,
    /// Whether it indexes transactions (`tx`, `tx_search`), as it says.
    pub indexes_transactions: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct JsonStatus {
    node_info: JsonNodeInfo,
    sync_info: JsonSyncInfo,
}

#[derive(Debug, Deserialize)]
struct JsonNodeInfo {
    network: String,
    #[serde(default)]
    other: JsonOther,
}

#[derive(Debug, Default, Deserialize)]
struct JsonOther {
    #[serde(default)]
    tx_index: String,
}

#[derive(Debug, Deserialize)]
struct JsonSyncInfo {
    #[serde(deserialize_with = "number")]
    latest_block_height: u64,
    latest_block_time: Time,
    // Absent before Tendermint 0.34.
    #[serde(default = "one", deserialize_with = "number")]
    earliest_block_height: u64,
    catching_up: bool,
}

fn one() -> u64 {
    1
}

impl JsonStatus {
    /// The chain it serves, as it says.
    pub(crate) fn chain_id(&self) -> &str {
        &self.node_info.network
    }
}

impl From<JsonStatus> for Status {
    fn from(status: JsonStatus) -> Self {
        let sync = status.sync_info;
        Self {
            latest: Height(sync.latest_block_height),
            latest_time: millis(sync.latest_block_time),
            earliest: Height(sync.earliest_block_height),
            catching_up: sync.catching_up,
            indexes_transactions: status.node_info.other.tx_index == "on",
        }
    }
}

/// A header's time; one before 1970 is 0.
pub(crate) fn millis(time: Time) -> UnixMillis {
    let nanos = time.unix_timestamp_nanos();
    UnixMillis(u64::try_from(nanos / 1_000_000).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chain_ids_are_checked() {
        for good in ["cosmoshub-4", "a", &"x".repeat(50)] {
            assert_eq!(good.parse::<CosmosChainId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "é", "a\n", &"x".repeat(51)] {
            assert_eq!(bad.parse::<CosmosChainId>(), Err(BadChainId(bad.into())));
        }
    }

    #[test]
    fn a_status_is_read_as_cometbft_writes_it() {
        let told = json!({
            "node_info": {"network": "hub-1", "other": {"tx_index": "on", "rpc_address": ""}},
            "sync_info": {
                "latest_block_height": "12", "latest_block_time": "1970-01-01T00:00:01.5Z",
                "earliest_block_height": "3", "catching_up": false,
            },
            "validator_info": {},
        });
        let read: JsonStatus = serde_json::from_value(told).unwrap();
        assert_eq!(read.chain_id(), "hub-1");
        let expected = Status {
            latest: Height(12),
            latest_time: UnixMillis(1500),
            earliest: Height(3),
            catching_up: false,
            indexes_transactions: true,
        };
        assert_eq!(Status::from(read), expected);
    }
}
