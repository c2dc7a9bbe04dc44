//! The light client and the proofs of state, with what a real chain said (`vectors/simd`) and with
//! blocks that are signed here, where a real chain would not say it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod absence;
mod blocks;
mod conflict;
mod forged;
mod spoiled;
mod state;
mod vectors;
