//! EVM networks: talking to several upstreams, following the chain, and sending transactions.
//! Knows no protocol and no storage.
//!
//! [`upstream`] asks one node typed questions and keeps its health; [`simulate`] rehearses calls that build on each other; [`upstreams`] asks all of them and lets a quorum answer; [`follower`]
//! walks the chain from anchor to anchor; [`fees`] and [`transaction`] price, sign and read
//! transactions. [`presets`] holds what is known of public networks.

pub mod fees;
pub mod follower;
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
mod pace;
pub mod presets;
pub mod simulate;
pub mod transaction;
pub mod upstream;
pub mod upstreams;

pub use fees::{FeePolicy, Fees};
pub use follower::{BlockLogs, FollowError, Follower, LogFilter, ReceiptLogs};
pub use postrider_jsonrpc::{RpcClient, RpcUrl, UpstreamError};
pub use simulate::{Code, Sequence, Simulated, Slot, Step};
pub use upstream::{AccountState, BlockReceipt, CallOutcome, EthCall, Upstream, UpstreamLimits};
pub use upstreams::{Finality, Heads, Unsettled, Upstreams};
