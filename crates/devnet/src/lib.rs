//! Starts real local chains and deploys real contracts on them: what the demo, the tests and the
//! benchmark stand on.
//!
//! [`Devnet::up`] brings up one anvil process a chain and deploys LayerZero V2 on each, with the
//! chains wired to each other. [`CosmosChain::start`] brings up a real ibc-go chain with as many
//! validators as are wanted. [`FaultyUpstream`] stands in front of a chain and lies on request.
//!
//! Nothing here is meant for a chain whose coins are worth anything: anvil's accounts are public
//! and unlocked, the deployer administers every contract, and the keys of [`CosmosAccount::named`]
//! follow from their names.

pub mod anvil;
mod artifact;
pub mod cosmos;
pub mod devnet;
mod error;
pub mod faulty;
pub mod layerzero;
pub mod packages;
mod process;
pub mod progress;
pub mod rpc;
pub mod state;

pub use anvil::{Anvil, AnvilOptions};
pub use artifact::{Artifact, ContractArtifact};
pub use cosmos::{CosmosAccount, CosmosChain, CosmosNode, CosmosPlan, CosmosRpc, Simd};
pub use devnet::{Chain, ChainPlan, Devnet, DevnetPlan};
pub use error::DevnetError;
pub use faulty::{Fault, FaultyUpstream, Lie};
pub use layerzero::{Deployment, DvnPlan, LayerZeroPlan};
pub use packages::Packages;
pub use progress::{Progress, Silent};
pub use rpc::{Rpc, RpcError};
