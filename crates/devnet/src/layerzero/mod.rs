//! LayerZero V2 on the chains of a development network: the real contracts, from their npm
//! packages, in the order of their own deployment scripts.

pub mod abi;
mod apps;
mod deploy;
mod deployment;
mod plan;
mod script;

pub use apps::{Apps, CounterMessage, DEFAULT_OPTIONS};
pub(crate) use deploy::{Target, deploy};
pub use deployment::{BATCH_USER, BURST_USER, DEPLOYER, Deployment, USER};
pub use plan::{DvnPlan, LayerZeroPlan};
