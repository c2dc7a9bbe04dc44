//! Puts the parts together: configuration, roles, following, planning, delivery, shutdown. Only
//! this crate knows every other.
//!
//! In a message's order: [`follow`] brings what chains say into the store, [`planner`] decides what
//! is owed and when, [`attest`] proves and signs, [`submit`] sends. [`node`] starts all of it and
//! stops it.

pub mod attest;
pub mod check;
pub mod config;
pub mod context;
pub mod follow;
mod moves;
pub mod node;
pub mod planner;
pub mod record;
pub mod submit;

pub use config::{Config, ConfigError};
pub use context::{Context, Network};
pub use node::{Node, StartError};
