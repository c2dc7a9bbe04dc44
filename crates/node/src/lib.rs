//! Puts the parts together: configuration, roles, following, planning, delivery, shutdown. Only
//! this crate knows every other.
//!
//! In a message's order: [`follow`] brings what chains say into the store, [`planner`] decides what
//! is owed and when, [`attest`] proves and signs, [`peers`] has others sign too, [`bundle`] puts together what
//! shares a transaction, `payers` says who pays, [`submit`] sends. [`node`] starts all of it and
//! stops it. Beside that, [`check`] and [`pathway`] compare what is set up with what chains say,
//! and [`introduce`] asks of a chain that is not set up yet.

mod afford;
pub mod attest;
pub mod bundle;
pub mod check;
pub mod config;
pub mod context;
pub mod cosmos;
pub mod deploy;
pub mod follow;
pub mod ibc;
pub mod introduce;
pub mod moves;
pub mod node;
pub mod pathway;
mod payers;
pub mod peers;
pub mod planner;
mod planning;
pub mod record;
pub mod standing;
pub mod submit;
mod supply;
mod unsent;

pub use config::{Config, ConfigError};
pub use context::{Context, Network, Parked};
pub use cosmos::CosmosNetwork;
pub use node::{Node, StartError};
