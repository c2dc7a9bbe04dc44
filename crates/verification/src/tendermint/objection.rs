//! Why a claimed block is not accepted.

use super::block::Validators;
use alloy_primitives::B256;
use postrider_message::{Detail, Height};
use tendermint::{Time, account, chain, hash::Hash, trust_threshold::TrustThresholdFraction};
use tendermint_light_client_verifier::{
    errors::VerificationErrorDetail, operations::voting_power::VotingPowerTally,
};

/// How much of a set's voting power signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{signed} of {total} voting power signed, more than {threshold} of it must have")]
pub struct Tally {
    /// The power that signed.
    pub signed: u64,
    /// The power of the whole set.
    pub total: u64,
    /// The fraction that is too little.
    pub threshold: TrustThresholdFraction,
}

impl From<VotingPowerTally> for Tally {
    fn from(tally: VotingPowerTally) -> Self {
        Self { signed: tally.tallied, total: tally.total, threshold: tally.trust_threshold }
    }
}

/// A block that is signed as it must be, but ahead of this machine's clock. Waiting helps; if not,
/// this machine's clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block's time is {block}, which is further ahead of {now} than clocks may differ")]
pub struct TooEarly {
    /// The block's time.
    pub block: Time,
    /// The time of this machine.
    pub now: Time,
}

/// Nothing follows any more from what was trusted: validators may have left with their stake. The
/// operator must name a new root of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the trusted block is worth nothing since {since}; name a newer block as root of trust")]
pub struct Expired {
    /// When its trusting period ended.
    pub since: Time,
}

/// What is wrong with a claimed block. Whoever claimed it lied, or has another chain; another
/// upstream may have it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockRefutation {
    /// It is of another chain.
    #[error("the block is of chain {found}, not of {expected}")]
    ChainId {
        /// The chain that was configured.
        expected: Detail,
        /// The block's.
        found: Detail,
    },
    /// It has another height than it must have: the root's, or the one before an anchor.
    #[error("the block has height {found} where {expected} was needed")]
    Height {
        /// The height needed.
        expected: Height,
        /// The block's.
        found: Height,
    },
    /// It has another hash than it must have: the root's, or the one its successor names.
    #[error("the block hashes to {found}, but {expected} was needed")]
    Hash {
        /// The hash needed.
        expected: B256,
        /// The block's.
        found: B256,
    },
    /// It is not above the trusted block.
    #[error("the block has height {found}, but at least {needed} is needed")]
    HeightNotIncreasing {
        /// The lowest height that would do.
        needed: Height,
        /// The block's.
        found: Height,
    },
    /// It is not later than the trusted block.
    #[error("the block's time is {found}, which is not after {trusted}")]
    TimeNotIncreasing {
        /// The trusted block's time.
        trusted: Time,
        /// The block's.
        found: Time,
    },
    /// The given validators are not those the header names.
    #[error("the {which} hash to {found}, but the header names {named}")]
    Validators {
        /// Which set.
        which: Validators,
        /// The hash in the header.
        named: B256,
        /// The hash of the validators.
        found: B256,
    },
    /// The validators of the next block are not those the trusted block names.
    #[error(
        "the block is signed by validators {found}, but the trusted block before it names {named}"
    )]
    NotTheNextValidators {
        /// The hash in the trusted header.
        named: B256,
        /// The hash in the block's header.
        found: B256,
    },
    /// The commit is for another block.
    #[error("the commit is for block {committed}, but the header hashes to {header}")]
    OtherCommit {
        /// The hash the commit names.
        committed: B256,
        /// The header's hash.
        header: B256,
    },
    /// The commit has not one entry for each validator.
    #[error("the commit has {signatures} entries for {validators} validators")]
    CommitLength {
        /// How many entries.
        signatures: usize,
        /// How many validators.
        validators: usize,
    },
    /// Nobody signed.
    #[error("nobody signed the block")]
    NoSignatures,
    /// A vote without a signature.
    #[error("a vote for the block has no signature")]
    MissingSignature,
    /// A vote of somebody who is no validator.
    #[error("{0} signed the block, but is no validator of it")]
    ForeignSigner(account::Id),
    /// Two votes of one validator.
    #[error("{0} signed the block twice")]
    DuplicateSigner(account::Id),
    /// A signature that is not the validator's.
    #[error("the signature of {0} does not hold")]
    BadSignature(account::Id),
    /// Two thirds or less of its own validators signed.
    #[error("the block is not committed: {0}")]
    NotCommitted(Tally),
    /// Anything else that the light client objects to.
    #[error("the block does not hold: {0}")]
    Other(Detail),
}

impl BlockRefutation {
    pub(super) fn chain_id(expected: &chain::Id, found: &chain::Id) -> Self {
        Self::ChainId { expected: expected.as_str().into(), found: found.as_str().into() }
    }
}

/// Why a block is not accepted.
#[derive(Debug)]
pub(super) enum Objection {
    NotEnoughTrust(Tally),
    TooEarly(TooEarly),
    Expired(Expired),
    Refuted(BlockRefutation),
}

impl From<BlockRefutation> for Objection {
    fn from(refutation: BlockRefutation) -> Self {
        Self::Refuted(refutation)
    }
}

impl From<VerificationErrorDetail> for Objection {
    fn from(detail: VerificationErrorDetail) -> Self {
        use VerificationErrorDetail as D;
        Self::Refuted(match detail {
            D::NotEnoughTrust(e) => return Self::NotEnoughTrust(e.tally.into()),
            D::HeaderFromTheFuture(e) => {
                return Self::TooEarly(TooEarly { block: e.header_time, now: e.now });
            }
            D::NotWithinTrustPeriod(e) => return Self::Expired(Expired { since: e.expires_at }),
            D::InsufficientSignersOverlap(e) => BlockRefutation::NotCommitted(e.tally.into()),
            D::InvalidValidatorSet(e) => {
                validators(Validators::Current, e.header_validators_hash, e.validators_hash)
            }
            D::InvalidNextValidatorSet(e) => {
                validators(Validators::Next, e.header_next_validators_hash, e.next_validators_hash)
            }
            D::InvalidCommitValue(e) => BlockRefutation::OtherCommit {
                committed: super::block::bytes32(e.commit_hash),
                header: super::block::bytes32(e.header_hash),
            },
            D::NonIncreasingHeight(e) => BlockRefutation::HeightNotIncreasing {
                needed: Height(e.expected.value()),
                found: Height(e.got.value()),
            },
            D::NonMonotonicBftTime(e) => BlockRefutation::TimeNotIncreasing {
                trusted: e.trusted_header_bft_time,
                found: e.header_bft_time,
            },
            D::ChainIdMismatch(e) => {
                BlockRefutation::ChainId { expected: e.expected.into(), found: e.got.into() }
            }
            D::NoSignatureForCommit(_) => BlockRefutation::NoSignatures,
            D::MissingSignature(_) => BlockRefutation::MissingSignature,
            D::MismatchPreCommitLength(e) => BlockRefutation::CommitLength {
                signatures: e.pre_commit_length,
                validators: e.validator_length,
            },
            D::FaultySigner(e) => BlockRefutation::ForeignSigner(e.signer),
            D::DuplicateValidator(e) => BlockRefutation::DuplicateSigner(e.address),
            D::InvalidSignature(e) => BlockRefutation::BadSignature(e.validator.address),
            D::Tendermint(e) => BlockRefutation::Other(e.to_string().into()),
        })
    }
}

fn validators(which: Validators, named: Hash, found: Hash) -> BlockRefutation {
    let (named, found) = (super::block::bytes32(named), super::block::bytes32(found));
    BlockRefutation::Validators { which, named, found }
}
