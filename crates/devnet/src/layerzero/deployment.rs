//! Where everything is on one chain.

use alloy_primitives::{Address, address};
use serde::{Deserialize, Serialize};

/// Anvil's first account: deploys, owns and administers all contracts.
pub const DEPLOYER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
/// Anvil's second account: sends single messages.
pub const USER: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
/// Anvil's third account: sends several messages in one transaction.
pub const BATCH_USER: Address = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
/// Anvil's fourth account: sends many transactions at once.
pub const BURST_USER: Address = address!("90F79bf6EB2c4f870365E785982E1f101E93b906");

/// LayerZero V2 as it stands on one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The chain's EIP-155 id.
    pub chain_id: u64,
    /// The endpoint's id.
    pub eid: u32,
    /// The verifier id that DVN signatures are bound to: `eid % 30000`.
    pub vid: u32,
    /// The first block that can hold anything of the deployment.
    pub start_block: u64,
    /// `EndpointV2`.
    pub endpoint: Address,
    /// `SendUln302`.
    pub send_uln: Address,
    /// `ReceiveUln302`.
    pub receive_uln: Address,
    /// `PriceFeed`.
    pub price_feed: Address,
    /// `DVNFeeLib`.
    pub dvn_fee_lib: Address,
    /// `ExecutorFeeLib`.
    pub executor_fee_lib: Address,
    /// `DVN` contracts, in the order of the plan.
    pub dvns: Vec<Address>,
    /// `Executor`.
    pub executor: Address,
    /// `Treasury`, when the plan has one.
    pub treasury: Option<Address>,
    /// `EndpointV2View`.
    pub endpoint_view: Address,
    /// `ReceiveUln302View`.
    pub receive_uln_view: Address,
    /// `LzExecutor`: commits and executes in one call, for anybody.
    pub lz_executor: Address,
    /// `MultiCall`.
    pub multi_call: Address,
    /// `OAppMock`, with its peers set.
    pub oapp_mock: Address,
    /// `OmniCounter`, with its peers set.
    pub omni_counter: Address,
    /// A token. On the first chain it is an ERC-20 of its own; elsewhere it is the OFT itself.
    pub token: Address,
    /// What sends the token, with its peers set: on the first chain an `OFTAdapter`, which locks
    /// it; elsewhere an OFT, which burns and mints it. 18 local decimals, 6 shared ones.
    pub oft: Address,
}
