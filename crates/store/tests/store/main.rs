//! The store's operations against a real file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod blocks;
mod duties;
mod file;
mod hints;
mod look;
mod transactions;
mod world;
