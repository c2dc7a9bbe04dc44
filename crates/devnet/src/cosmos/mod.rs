//! Real ibc-go chains on this machine: any number of them, each with any number of validators.
//!
//! The program is `testnet/simd`, ibc-go's test application with a command line; [`Simd::ensure`]
//! builds it once. [`CosmosChain::start`] makes a genesis, starts a process for each validator and
//! returns when blocks come. Everything is asked over CometBFT's RPC, by [`CosmosRpc`].
//!
//! The keys of all accounts follow from their names and are known to everybody.

mod account;
mod chain;
mod config;
mod genesis;
mod home;
mod node;
mod plan;
mod ports;
mod proto;
mod rpc;
mod simd;

pub use account::CosmosAccount;
pub use chain::CosmosChain;
pub use node::CosmosNode;
pub use plan::{CosmosPlan, GenesisPatch};
pub use rpc::{AbciAnswer, AbciQuery, CosmosRpc, NodeStatus};
pub use simd::Simd;
