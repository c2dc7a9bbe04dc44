//! The result of checking something.

use crate::tendermint::StateRefutation;
use alloy_primitives::B256;
use postrider_message::{BlockRef, Confirmations, Detail, NetworkName};

/// What a verified value rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The network that said it.
    pub network: NetworkName,
    /// The block it stands in.
    pub block: BlockRef,
    /// How many blocks the quorum saw on top of that block; 0 where a block is final as soon as it
    /// is committed.
    pub depth: Confirmations,
    /// Who vouches for the block.
    pub support: Support,
}

/// Who vouches for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Upstreams, each with an operator of its own.
    Operators {
        /// How many operators agreed on the block's hash.
        agreeing: u32,
        /// How many operators were asked.
        configured: u32,
    },
    /// The chain's validators, trusted step by step from a root that the operator named.
    Validators {
        /// The hash of the set that signed the block.
        set: B256,
    },
}

/// A value that was proven. Only this crate makes one, so a function that takes it cannot be
/// called on hearsay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    basis: Basis,
}

impl<T> Verified<T> {
    pub(crate) fn new(value: T, basis: Basis) -> Self {
        Self { value, basis }
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// What it rests on.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }
}

/// The answer to "is it true?". Never a bool: not knowing is not the same as knowing it is false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<T> {
    /// It is proven.
    Accepted(Verified<T>),
    /// It is disproven.
    Refuted(Refutation),
    /// It cannot be told now; waiting may help.
    Undecided(Doubt),
}

/// Why something is not true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refutation {
    /// The evidence does not lead to the anchored block.
    #[error("the evidence stands in block {found}, but the quorum's block there is {anchored}")]
    OtherBlock {
        /// The block the quorum agreed on.
        anchored: BlockRef,
        /// The block the evidence belongs to.
        found: BlockRef,
    },
    /// The evidence is malformed or does not hash to the root it must.
    #[error("the evidence does not hold: {0}")]
    BadEvidence(Detail),
    /// The evidence holds, and proves something else than was claimed.
    #[error("the evidence is sound, but does not say that this message was sent")]
    NotThisMessage,
    /// What was claimed of a Cosmos chain's state does not follow from the proof.
    #[error(transparent)]
    State(#[from] StateRefutation),
}

/// Why something cannot be told now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Too few upstreams answer, or too few agree.
    #[error("{0}")]
    Quorum(crate::quorum::Shortfall),
}
