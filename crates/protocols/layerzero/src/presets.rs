//! LayerZero's own contracts on some public networks.
//!
//! Endpoint ids are those of `@layerzerolabs/lz-definitions` 3.1.13, `MainnetV2EndpointId`;
//! addresses those of `@layerzerolabs/lz-evm-sdk-v2` 3.1.10, `deployments/NETWORK-mainnet/`, each in
//! the file named by its field. Both were compared with configurations that others published. They
//! are where a configuration begins; `check` asks the contracts themselves.

use crate::wire::Eid;
use alloy_primitives::{Address, address};

/// LayerZero's own contracts on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The network's EIP-155 id.
    pub chain_id: u64,
    /// The endpoint's id.
    pub eid: Eid,
    /// The endpoint (`EndpointV2.json`).
    pub endpoint: Address,
    /// The send library that applications have by default (`SendUln302.json`).
    pub send_library: Address,
    /// The receive library that applications have by default (`ReceiveUln302.json`).
    pub receive_library: Address,
    /// The executor that LayerZero Labs runs (`Executor.json`). Its jobs are not ours.
    pub executor: Address,
    /// The DVN that LayerZero Labs runs (`DVN.json`). It is not ours.
    pub dvn: Address,
}

/// Every preset.
#[must_use]
pub fn all() -> &'static [Preset] {
    &PRESETS
}

/// LayerZero's contracts on the network with this EIP-155 id.
#[must_use]
pub fn by_chain_id(chain_id: u64) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.chain_id == chain_id)
}

/// `EndpointV2`, which has one address on all networks here.
const ENDPOINT: Address = address!("0x1a44076050125825900e736c501f859c50fE728c");

static PRESETS: [Preset; 7] = [
    // deployments/ethereum-mainnet
    Preset {
        chain_id: 1,
        eid: Eid(30_101),
        endpoint: ENDPOINT,
        send_library: address!("0xbB2Ea70C9E858123480642Cf96acbcCE1372dCe1"),
        receive_library: address!("0xc02Ab410f0734EFa3F14628780e6e695156024C2"),
        executor: address!("0x173272739Bd7Aa6e4e214714048a9fE699453059"),
        dvn: address!("0x589dEDbD617e0CBcB916A9223F4d1300c294236b"),
    },
    // deployments/arbitrum-mainnet
    Preset {
        chain_id: 42_161,
        eid: Eid(30_110),
        endpoint: ENDPOINT,
        send_library: address!("0x975bcD720be66659e3EB3C0e4F1866a3020E493A"),
        receive_library: address!("0x7B9E184e07a6EE1aC23eAe0fe8D6Be2f663f05e6"),
        executor: address!("0x31CAe3B7fB82d847621859fb1585353c5720660D"),
        dvn: address!("0x2f55C492897526677C5B68fb199ea31E2c126416"),
    },
    // deployments/polygon-mainnet
    Preset {
        chain_id: 137,
        eid: Eid(30_109),
        endpoint: ENDPOINT,
        send_library: address!("0x6c26c61a97006888ea9E4FA36584c7df57Cd9dA3"),
        receive_library: address!("0x1322871e4ab09Bc7f5717189434f97bBD9546e95"),
        executor: address!("0xCd3F213AD101472e1713C72B1697E727C803885b"),
        dvn: address!("0x23DE2FE932d9043291f870324B74F820e11dc81A"),
    },
    // deployments/base-mainnet
    Preset {
        chain_id: 8453,
        eid: Eid(30_184),
        endpoint: ENDPOINT,
        send_library: address!("0xB5320B0B3a13cC860893E2Bd79FCd7e13484Dda2"),
        receive_library: address!("0xc70AB6f32772f59fBfc23889Caf4Ba3376C84bAf"),
        executor: address!("0x2CCA08ae69E0C44b18a57Ab2A87644234dAebaE4"),
        dvn: address!("0x9e059a54699a285714207b43B055483E78FAac25"),
    },
    // deployments/optimism-mainnet
    Preset {
        chain_id: 10,
        eid: Eid(30_111),
        endpoint: ENDPOINT,
        send_library: address!("0x1322871e4ab09Bc7f5717189434f97bBD9546e95"),
        receive_library: address!("0x3c4962Ff6258dcfCafD23a814237B7d6Eb712063"),
        executor: address!("0x2D2ea0697bdbede3F01553D2Ae4B8d0c486B666e"),
        dvn: address!("0x6A02D83e8d433304bba74EF1c427913958187142"),
    },
    // deployments/bsc-mainnet
    Preset {
        chain_id: 56,
        eid: Eid(30_102),
        endpoint: ENDPOINT,
        send_library: address!("0x9F8C645f2D0b2159767Bd6E0839DE4BE49e823DE"),
        receive_library: address!("0xB217266c3A98C8B2709Ee26836C98cf12f6cCEC1"),
        executor: address!("0x3ebD570ed38B1b3b4BC886999fcF507e9D584859"),
        dvn: address!("0xfD6865c841c2d64565562fCc7e05e619A30615f0"),
    },
    // deployments/avalanche-mainnet
    Preset {
        chain_id: 43_114,
        eid: Eid(30_106),
        endpoint: ENDPOINT,
        send_library: address!("0x197D1333DEA5Fe0D6600E9b396c7f1B1cFCc558a"),
        receive_library: address!("0xbf3521d309642FA9B1c91A08609505BA09752c61"),
        executor: address!("0x90E595783E43eb89fF07f63d27B8430e6B44bD9c"),
        dvn: address!("0x962F502A63F5FBeB44DC9ab932122648E8352959"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_network_that_is_known_has_its_contracts() {
        for network in postrider_evm::presets::all() {
            let preset = by_chain_id(network.chain_id).unwrap();
            assert_eq!(preset.chain_id, network.chain_id);
        }
        assert_eq!(all().len(), postrider_evm::presets::all().len());
    }

    /// A slip in copying would most likely name one contract twice on a network.
    #[test]
    fn no_two_contracts_of_a_network_are_the_same() {
        for p in all() {
            let all = [p.endpoint, p.send_library, p.receive_library, p.executor, p.dvn];
            let distinct: BTreeSet<_> = all.into_iter().collect();
            assert_eq!(distinct.len(), all.len(), "{}", p.chain_id);
            assert!(!distinct.contains(&Address::ZERO), "{}", p.chain_id);
        }
        let eids: BTreeSet<_> = all().iter().map(|p| p.eid).collect();
        assert_eq!(eids.len(), all().len());
    }
}
