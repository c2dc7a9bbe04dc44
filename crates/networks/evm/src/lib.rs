//! EVM networks: talking to several upstreams, following the chain, and sending transactions.
//! Knows no protocol and no storage.
//!
//! [`rpc`] speaks JSON-RPC to one URL, with bounds; [`upstream`] asks one node typed questions and
//! keeps its [`health`]; [`upstreams`] asks all of them and lets a quorum answer; [`follower`]
//! walks the chain from anchor to anchor; [`fees`] and [`transaction`] price, sign and read
//! transactions.

pub mod fees;
pub mod follower;
pub mod health;
pub mod json;
pub mod rpc;
pub mod transaction;
pub mod upstream;
pub mod upstreams;

pub use fees::{FeePolicy, Fees};
pub use follower::{BlockLogs, FollowError, Follower, LogFilter, ReceiptLogs, Step};
pub use rpc::{RpcClient, RpcUrl, UpstreamError};
pub use upstream::{CallOutcome, EthCall, Upstream, UpstreamLimits};
pub use upstreams::{Finality, Heads, Unsettled, Upstreams};
