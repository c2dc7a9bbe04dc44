//! What a chain and a node demand of transactions and light clients: how long stake is bound, how much gas
//! fits in a block, what a unit of it costs at least. All of it is one upstream's word.

use crate::{gas::GasPrice, upstream::Upstream, wire::number};
use ibc_proto::cosmos::{
    auth::v1beta1::{Bech32PrefixRequest, Bech32PrefixResponse},
    base::node::v1beta1::{ConfigRequest, ConfigResponse},
    staking::v1beta1::{QueryParamsRequest, QueryParamsResponse},
};
use postrider_jsonrpc::UpstreamError;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// The most prices that are read of a node: chains take fees in a handful of denominations.
const MAX_PRICES: usize = 64;

/// How a chain's stake is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staking {
    /// How long: misbehaviour of validators can be punished for so long. Zero if the chain does not say.
    pub unbonding: Duration,
    /// What is staked.
    pub denom: String,
}

#[derive(Debug, Deserialize)]
struct JsonParams {
    consensus_params: JsonConsensus,
}

#[derive(Debug, Deserialize)]
struct JsonConsensus {
    block: JsonBlockParams,
}

#[derive(Debug, Deserialize)]
struct JsonBlockParams {
    #[serde(deserialize_with = "number")]
    max_gas: i64,
}

impl Upstream {
    /// How the chain's stake is bound (`cosmos.staking.v1beta1.Query/Params`).
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] with a positive code by a chain without that module.
    pub async fn staking(&self) -> Result<Staking, UpstreamError> {
        const PATH: &str = "/cosmos.staking.v1beta1.Query/Params";
        let told: QueryParamsResponse = self.grpc(PATH, &QueryParamsRequest {}, None).await?;
        let params = told.params.unwrap_or_default();
        let seconds = params.unbonding_time.map_or(0, |bound| bound.seconds);
        let unbonding = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        Ok(Staking { unbonding, denom: params.bond_denom })
    }

    /// How long the chain's stake is bound, see [`Staking::unbonding`].
    ///
    /// # Errors
    /// As [`Self::staking`].
    pub async fn unbonding_period(&self) -> Result<Duration, UpstreamError> {
        Ok(self.staking().await?.unbonding)
    }

    /// What the chain's addresses begin with (`cosmos.auth.v1beta1.Query/Bech32Prefix`).
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] with a positive code by a chain that does not tell: those before
    /// version 0.46 of the SDK.
    pub async fn address_prefix(&self) -> Result<String, UpstreamError> {
        const PATH: &str = "/cosmos.auth.v1beta1.Query/Bech32Prefix";
        let told: Bech32PrefixResponse = self.grpc(PATH, &Bech32PrefixRequest {}, None).await?;
        Ok(told.bech32_prefix)
    }

    /// The most gas that the transactions of a block may use together (CometBFT RPC `consensus_params`);
    /// `None` if there is no limit.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn block_gas_limit(&self) -> Result<Option<u64>, UpstreamError> {
        let told: JsonParams = self.ask("consensus_params", json!({})).await?;
        // -1 is no limit.
        Ok(u64::try_from(told.consensus_params.block.max_gas).ok())
    }

    /// The least that this node takes for a unit of gas, in each denomination that it takes
    /// (`cosmos.base.node.v1beta1.Service/Config`); none if it takes transactions that pay nothing. A chain
    /// may demand more than its nodes do.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] with a positive code by a node that does not tell,
    /// [`UpstreamError::Garbage`] for prices that are none.
    pub async fn minimum_gas_prices(&self) -> Result<Vec<GasPrice>, UpstreamError> {
        const PATH: &str = "/cosmos.base.node.v1beta1.Service/Config";
        let told: ConfigResponse = self.grpc(PATH, &ConfigRequest {}, None).await?;
        read_prices(&told.minimum_gas_price)
    }
}

fn read_prices(text: &str) -> Result<Vec<GasPrice>, UpstreamError> {
    let parts = text.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
    parts
        .take(MAX_PRICES)
        .map(|part| {
            part.parse().map_err(|_| {
                UpstreamError::Garbage(format!("a minimum gas price of `{part}`").into())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prices_are_read_as_nodes_write_them() {
        let read = |text: &str| -> Vec<String> {
            read_prices(text).unwrap().iter().map(ToString::to_string).collect()
        };
        assert!(read("").is_empty());
        assert_eq!(read("0.025000000000000000uatom"), ["0.025uatom"]);
        assert_eq!(read("0stake,0.1token"), ["0stake", "0.1token"]);
        assert!(matches!(read_prices("cheap"), Err(UpstreamError::Garbage(_))));
    }

    #[test]
    fn a_blocks_gas_limit_is_read_as_cometbft_writes_it() {
        let told = json!({"block_height": "3", "consensus_params":
            {"block": {"max_bytes": "22020096", "max_gas": "-1"}}});
        let read: JsonParams = serde_json::from_value(told).unwrap();
        assert_eq!(read.consensus_params.block.max_gas, -1);
    }

    proptest! {
        #[test]
        fn r10_no_text_is_too_strange_for_prices(text: String) {
            let _ = read_prices(&text);
        }
    }
}
