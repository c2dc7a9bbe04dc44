//! What may be believed, and why: agreement of upstreams, anchors, proofs and verdicts. Pure
//! functions over bytes that somebody else fetched; nothing here does I/O.
//!
//! [`quorum`] turns many upstreams' answers into one or none. [`evm`] starts from a block that a
//! quorum agreed on and proves what stands in it. [`tendermint`] starts from a block that the operator
//! named, follows the signatures of validators, and proves what stands in the chain's state.
//! [`verdict`] holds the result: a [`Verified`] value, which can be made nowhere else.

pub mod evm;
pub mod quorum;
pub mod tendermint;
pub mod verdict;

pub use quorum::{Agreement, Answer, QuorumPolicy, Reading, Shortfall};
pub use verdict::{Basis, Support, Verdict, Verified};
