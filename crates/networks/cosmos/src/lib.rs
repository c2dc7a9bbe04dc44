//! Cosmos networks over CometBFT RPC alone: `abci_query` serves every gRPC query by its path, so no
//! other address of a node is needed. Knows no protocol and no storage.
//!
//! [`upstream`] asks one node typed questions and keeps its health; [`upstreams`] chooses whom to
//! ask, and keeps away from who lags or lied; [`events`], [`query`] and [`broadcast`] hold what is
//! asked and answered; [`light`] anchors blocks and proves state; [`tx`] and [`gas`] build, price
//! and sign transactions.
//!
//! Nothing that one upstream tells is believed for what matters: state is proven against an anchor
//! of the light client, and events are reconciled with proven state by whoever uses them.

pub mod account;
mod blocks;
pub mod broadcast;
pub mod events;
mod evidence;
#[doc(hidden)]
pub mod fuzzing;
pub mod gas;
pub mod grpc;
mod hear;
pub mod light;
pub mod market;
pub mod params;
pub mod query;
pub mod status;
mod transactions;
pub mod tx;
pub mod upstream;
pub mod upstreams;
mod wire;

pub use account::Account;
pub use broadcast::{CheckTx, Simulation, SimulationFailure};
pub use events::{AtHeight, BlockEvents, BlockTransactions, Event, TxEvents, TxInclusion, TxPage};
pub use gas::{Fee, GasPolicy, GasPrice};
pub use light::{Anchored, Contradiction, LightClient, LightError, Proven, StateFact, Witnesses};
pub use postrider_jsonrpc::{RpcClient, RpcLimits, RpcUrl, UpstreamError};
pub use query::{AbciQuery, Answer};
pub use status::{CosmosChainId, Status};
pub use tx::{SignedTx, TxBuilder};
pub use upstream::Upstream;
pub use upstreams::{Need, Upstreams};
