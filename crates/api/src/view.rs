//! The documents that `--json` and HTTP share, so that both show the same facts in the same words.

pub mod escrow;
pub mod lane;
pub mod message;

pub use escrow::{EscrowReport, EscrowReports};
pub use lane::{LaneReport, LaneReports, OldestReport, TokensReport};
pub use message::{Listed, MessageList, MessageReport, Stage, Trace, stages};
