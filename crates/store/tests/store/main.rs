//! The store's operations against a real file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod blocks;
mod duties;
mod escrows;
mod file;
mod gather;
mod hints;
mod look;
mod steering;
mod supply;
mod transactions;
mod world;
