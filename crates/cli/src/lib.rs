//! The `postrider` command: one file a command, and what they share.

pub mod arguments;
pub mod commands;
pub mod failure;
pub mod output;
pub mod workspace;

pub use failure::Failure;
