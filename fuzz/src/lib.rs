//! What must hold of every parser of foreign bytes, whatever the bytes are (R10).
//!
//! Each public function is one fuzz target. It panics where a property does not hold; that a parser
//! itself neither panics nor takes much more memory than its input is part of all of them.

mod blocks;
mod comet;
mod config;
mod cosmos;
mod events;
mod ibc;
mod input;
mod memory;
mod peers;
mod upstream;
mod wire;

pub use blocks::{Sent, evidence, header_json, receipt_json, receipts, sent};
pub use comet::{abci_answer, block_results};
pub use config::config;
pub use cosmos::{state_proof, tendermint_block};
pub use events::{
    ENDPOINT, LIBRARY, batch_report, destination_events, dvn_call, revert, source_events, topics,
};
pub use ibc::{ibc_events, ibc_packet, ibc_state};
pub use peers::peer_text;
pub use upstream::{rpc_answer, simulation};
pub use wire::{lane_points, options, packet};
