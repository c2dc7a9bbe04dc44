//! What is known of some public networks, so that an operator need not look it up.
//!
//! A preset is where a configuration begins, not an authority: networks change, and `check`
//! compares what the file says with what the network does. What could not be confirmed is left out.
//! Two things are held to: the least tip of a network, and that a network whose blocks could not be
//! tested here is only watched ([`Preset::watch_only`]).

use crate::upstreams::Finality;
use postrider_message::ChainId;

/// What is known of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The local name that `init` gives it.
    pub name: &'static str,
    /// The name by which people know it.
    pub title: &'static str,
    /// Its EIP-155 id.
    pub chain_id: u64,
    /// The time between two blocks on average, in milliseconds; `None` where the chain changes it
    /// by itself.
    pub block_time_ms: Option<u64>,
    /// When a block counts as final.
    pub finality: Finality,
    /// What makes a block final by that rule, in a few words.
    pub final_when: &'static str,
    /// The least tip (`maxPriorityFeePerGas`) that its nodes take, in wei a gas. All networks here
    /// take EIP-1559 transactions.
    pub min_tip: u128,
    /// How the network charges for data that it posts to another one.
    pub data_fee: DataFee,
    /// The most gas in a block, where it is steady.
    pub block_gas_limit: Option<u64>,
    /// The most gas that one transaction may ask for, where there is such a bound (EIP-7825).
    pub transaction_gas_cap: Option<u64>,
    /// How its headers are hashed.
    pub header: HeaderFormat,
    /// How its receipts are encoded.
    pub receipts: ReceiptsFormat,
    /// Why nothing may be signed for this network; `None` if its headers and receipts were tested
    /// against blocks of that format.
    pub watch_only: Option<&'static str>,
}

/// How a network charges for data that it posts to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFee {
    /// It posts none.
    None,
    /// On top of what the gas costs (OP Stack, `GasPriceOracle.getL1Fee`).
    OnTop,
    /// As gas of the transaction itself (Arbitrum Nitro, `NodeInterface.gasEstimateL1Component`).
    InGas,
}

/// How a block's header is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFormat {
    /// As on Ethereum, each fork's fields behind the older ones. Arbitrum's `sendRoot`, `sendCount`
    /// and `l1BlockNumber` are no fields of their own: they are read out of `extraData` and
    /// `mixHash`. BNB Smart Chain's `milliTimestamp` is read out of `mixHash`.
    Ethereum,
    /// With `extDataHash` between Ethereum's fields, and `extDataGasUsed`, `blockGasCost`,
    /// `timestampMilliseconds` and `minDelayExcess` behind them (coreth, `HeaderSerializable`;
    /// ACP-226). Not hashed here.
    Avalanche,
}

/// How the receipts under a block's receipts root are encoded. All have the fields of Ethereum's in
/// the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptsFormat {
    /// Types 0 to 4.
    Ethereum,
    /// Deposits (type 0x7e) besides, with `depositNonce` and `depositReceiptVersion` behind the logs
    /// (OP Stack specification, "Deposit receipt", since Canyon).
    OpStack,
    /// Types 0x64 to 0x6a besides, with no field more (Arbitrum Nitro).
    Arbitrum,
    /// State-sync (type 0x7f) besides, under the root since Madhugiri (PIP-74).
    Polygon,
}

impl ReceiptsFormat {
    /// The name of the format, as test vectors have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ethereum => "ethereum",
            Self::OpStack => "op-stack",
            Self::Arbitrum => "arbitrum",
            Self::Polygon => "polygon",
        }
    }
}

impl Preset {
    /// Its CAIP-2 id.
    #[must_use]
    pub fn caip2(&self) -> ChainId {
        ChainId::eip155(self.chain_id)
    }
}

/// Every preset.
#[must_use]
pub fn all() -> &'static [Preset] {
    &PRESETS
}

/// The preset with this local name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The preset of the network with this EIP-155 id, under whatever name it is configured.
#[must_use]
pub fn by_chain_id(chain_id: u64) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.chain_id == chain_id)
}

/// 2^24 (EIP-7825).
const EIP_7825: u64 = 16_777_216;

static PRESETS: [Preset; 7] = [
    Preset {
        name: "ethereum",
        title: "Ethereum",
        chain_id: 1,
        block_time_ms: Some(12_000),
        finality: Finality::Finalized,
        final_when: "two epochs of validators voted for it, about 15 minutes",
        min_tip: 1,
        data_fee: DataFee::None,
        // `gasLimit` of block 24,630,100.
        block_gas_limit: Some(60_000_000),
        transaction_gas_cap: Some(EIP_7825),
        header: HeaderFormat::Ethereum,
        receipts: ReceiptsFormat::Ethereum,
        watch_only: None,
    },
    Preset {
        name: "arbitrum",
        title: "Arbitrum One",
        chain_id: 42_161,
        block_time_ms: Some(250),
        finality: Finality::Finalized,
        final_when: "its batch stands in a final block of Ethereum (Nitro 2.0.10)",
        min_tip: 1,
        data_fee: DataFee::InGas,
        // The header says 2^50, which bounds nothing.
        block_gas_limit: None,
        // ArbOS 51 "Dia".
        transaction_gas_cap: Some(32_000_000),
        header: HeaderFormat::Ethereum,
        receipts: ReceiptsFormat::Arbitrum,
        watch_only: None,
    },
    Preset {
        name: "polygon",
        title: "Polygon PoS",
        chain_id: 137,
        // PIP-86: 1.75 s since May 2026, and 1.5 s after that.
        block_time_ms: Some(1_750),
        finality: Finality::Finalized,
        final_when: "a milestone of Heimdall covers it, some seconds (PIP-11)",
        // PIP-35.
        min_tip: 25_000_000_000,
        data_fee: DataFee::None,
        block_gas_limit: None,
        // bor, `params.MaxTxGas` since Madhugiri.
        transaction_gas_cap: Some(33_554_432),
        header: HeaderFormat::Ethereum,
        receipts: ReceiptsFormat::Polygon,
        watch_only: Some(
            "no block with a state-sync receipt was at hand to test its receipts root against",
        ),
    },
    Preset {
        name: "base",
        title: "Base",
        chain_id: 8453,
        block_time_ms: Some(2_000),
        finality: Finality::Finalized,
        final_when: "it is derived from a final block of Ethereum",
        min_tip: 1,
        data_fee: DataFee::OnTop,
        // `gasLimit` of block 50,543,461.
        block_gas_limit: Some(400_000_000),
        // The Azul hard fork.
        transaction_gas_cap: Some(EIP_7825),
        header: HeaderFormat::Ethereum,
        receipts: ReceiptsFormat::OpStack,
        watch_only: None,
    },
    Preset {
        name: "optimism",
        title: "OP Mainnet",
        chain_id: 10,
        block_time_ms: Some(2_000),
        finality: Finality::Finalized,
        final_when: "it is derived from a final block of Ethereum",
        min_tip: 1,
        data_fee: DataFee::OnTop,
        // `gasLimit` of block 151,534,589.
        block_gas_limit: Some(40_000_000),
        // The Karst hard fork (Upgrade 19), 8 July 2026.
        transaction_gas_cap: Some(EIP_7825),
        header: HeaderFormat::Ethereum,
        receipts: ReceiptsFormat::OpStack,
        watch_only: None,
    },
    Preset {
        name: "bnb",
        title: "BNB Smart Chain",
        chain_id: 56,
        // BEP-619 (Fermi).
        block_time_ms: Some(450),
        finality: Finality::Finalized,
        final_when: "validators voted for it and for its child, a few blocks (BEP-126)",
        min_tip: 1,
        data_fee: DataFee::None,
        block_gas_limit: None,
        // BEP-652 sets one; from which block could not be confirmed.
        transaction_gas_cap: None,
        header: HeaderFormat::Ethereum,
        receipts: ReceiptsFormat::Ethereum,
        watch_only: Some(
            "its headers were tested, but no block of it was at hand with all its receipts",
        ),
    },
    Preset {
        name: "avalanche",
        title: "Avalanche C-Chain",
        chain_id: 43_114,
        // Validators set the delay (ACP-226).
        block_time_ms: None,
        finality: Finality::Finalized,
        final_when: "validators accepted it, a second or two; no other block is ever shown",
        min_tip: 1,
        data_fee: DataFee::None,
        block_gas_limit: None,
        transaction_gas_cap: None,
        header: HeaderFormat::Avalanche,
        receipts: ReceiptsFormat::Ethereum,
        watch_only: Some("its headers have fields of their own, which are not hashed here"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_message::NetworkName;
    use serde_json::Value;
    use std::{collections::BTreeSet, fs, path::Path};

    fn vectors() -> Vec<(String, Value)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../verification/tests/vectors");
        let mut found = Vec::new();
        for network in fs::read_dir(folder).unwrap() {
            for file in fs::read_dir(network.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|kind| kind != "json") {
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.display().to_string(), serde_json::from_str(&text).unwrap()));
            }
        }
        found
    }

    #[test]
    fn presets_are_found_by_name_and_by_chain_id() {
        let names: BTreeSet<_> = all().iter().map(|p| p.name).collect();
        let ids: BTreeSet<_> = all().iter().map(|p| p.chain_id).collect();
        assert_eq!((names.len(), ids.len()), (all().len(), all().len()));
        for preset in all() {
            assert!(preset.name.parse::<NetworkName>().is_ok(), "{}", preset.name);
            assert_eq!(by_name(preset.name), Some(preset));
            assert_eq!(by_chain_id(preset.chain_id), Some(preset));
            assert_eq!(preset.caip2().as_eip155(), Some(preset.chain_id));
        }
        assert_eq!(by_name("Ethereum"), None);
        assert_eq!(by_chain_id(0), None);
    }

    /// Nothing is signed for a network unless a header of it, and all receipts of a block of its
    /// format, are among the vectors that `postrider-verification` hashes.
    #[test]
    fn r1_every_network_that_may_be_signed_for_has_its_vectors() {
        let vectors = vectors();
        for preset in all().iter().filter(|p| p.watch_only.is_none()) {
            let name = preset.name;
            let header = vectors.iter().find(|(_, v)| v["chain_id"] == preset.chain_id);
            let (_, header) = header.unwrap_or_else(|| panic!("{name} has no header"));
            assert_eq!(header["format"], preset.receipts.as_str(), "{name}");
            if let Some(limit) = preset.block_gas_limit {
                assert_eq!(header["header"]["gasLimit"], format!("{limit:#x}"), "{name}");
            }
            let has_receipts = vectors.iter().any(|(_, v)| {
                v["format"] == preset.receipts.as_str()
                    && v["receipts"].as_array().is_some_and(|r| !r.is_empty())
            });
            assert!(has_receipts, "{name}: no block with receipts of its format");
            assert_eq!(preset.header, HeaderFormat::Ethereum, "{name}");
        }
    }

    #[test]
    fn what_may_only_be_watched_says_why() {
        let watched: Vec<_> =
            all().iter().filter(|p| p.watch_only.is_some()).map(|p| p.name).collect();
        assert_eq!(watched, ["polygon", "bnb", "avalanche"]);
        assert!(all().iter().filter_map(|p| p.watch_only).all(|why| why.len() > 20));
    }
}
