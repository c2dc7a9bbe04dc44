//! Starts real local chains and deploys real contracts on them: what the demo, the tests and the
//! benchmark stand on.
//!
//! [`Devnet::up`] brings up one anvil process a chain and deploys LayerZero V2 on each, with the
//! chains wired to each other. [`FaultyUpstream`] stands in front of a chain and lies on request.
//!
//! Nothing here is meant for a chain whose coins are worth anything: anvil's accounts are public
//! and unlocked, and the deployer administers every contract.

pub mod anvil;
mod artifact;
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
pub use devnet::{Chain, ChainPlan, Devnet, DevnetPlan};
pub use error::DevnetError;
pub use faulty::{Fault, FaultyUpstream};
pub use layerzero::{Deployment, DvnPlan, LayerZeroPlan};
pub use packages::Packages;
pub use progress::{Progress, Silent};
pub use rpc::{Rpc, RpcError};
