//! Cosmos chains: from a root of trust that the operator named, by the signatures of validators, to
//! a block ([`CosmosAnchor`]), and from its app hash, by Merkle proofs, to a value in the chain's
//! state or to the certainty that there is none.
//!
//! The light client is CometBFT's (`spec/light-client/verification`), its checks those of the
//! `tendermint-light-client-verifier` crate; proofs are ICS-23's, checked by the `ics23` crate. What
//! is done here is to bound what comes in, to ask in an order in which every answer has one meaning,
//! and to keep apart what must not be confused: what is claimed from what is accepted, and the state
//! after a block from the block that names it.

mod anchor;
mod block;
mod conflict;
pub mod json;
mod objection;
mod options;
mod proof;
mod state;

pub use ::tendermint::validator::Set as ValidatorSet;
pub use anchor::{AnchorVerdict, CosmosAnchor, advance, anchor_from_root};
pub use block::{BadBlock, ClaimedBlock, MAX_BLOCK_BYTES, MAX_VALIDATORS, Validators};
pub use conflict::{Attack, Comparison, Misbehaviour, MisbehaviourKind, compare};
pub use objection::{BlockRefutation, Expired, Tally, TooEarly};
pub use options::{BadOptions, BadRoot, MAX_THRESHOLD_DENOMINATOR, RootOfTrust, TrustOptions};
pub use proof::{BadProof, MAX_DEPTH, MAX_OP_BYTES, MAX_STATE_PROOF_BYTES, StateProof};
pub use state::{
    BadKey, MAX_PATH_BYTES, StateAbsent, StateHeight, StateKey, StateRefutation, StateValue,
    StoreName, prove_absent, prove_value,
};
