//! Proofs on EVM chains: from a block that a quorum agreed on, down by parent hash, to a receipt.

pub mod anchor;
pub mod receipts;
pub mod sent;

pub use anchor::{AnchoredBlock, ChainBreak, ClaimedHeader, anchor};
pub use receipts::{BadReceipts, ProvenReceipts, ReceiptEvidence, ReceiptLog};
pub use sent::{Assignment, SentDecoder, SentMessage, prove_sent};
