//! Why there is no anchor, or no proof.

use postrider_jsonrpc::UpstreamError;
use postrider_message::{Detail, Height, UpstreamName};
use postrider_verification::tendermint::{
    BlockRefutation, CosmosAnchor, Expired, Misbehaviour, Tally, TooEarly,
};

/// Why there is no anchor, or no proof.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LightError {
    /// [`super::LightClient::start`] comes first.
    #[error("nothing is trusted yet: name a root of trust")]
    NotStarted,
    /// No upstream gave what was needed; asking again may help.
    #[error("{0}")]
    Upstream(UpstreamError),
    /// The last upstream's block does not hold. It is in quarantine.
    #[error("upstream {upstream} told a block that does not hold: {refutation}")]
    Refuted {
        /// Who told it.
        upstream: UpstreamName,
        /// What is wrong with it.
        refutation: BlockRefutation,
    },
    /// The block at the root's height is not the root of trust, or is not signed as it must be:
    /// the operator or the upstreams are wrong.
    #[error("the root of trust does not hold: {0}")]
    BadRoot(BlockRefutation),
    /// Even the next block is not signed by enough of the trusted validators.
    #[error("too few trusted validators signed: {0}")]
    NotEnoughTrust(Tally),
    /// The block is ahead of this machine's clock: ask again later.
    #[error("{0}")]
    TooEarly(TooEarly),
    /// What is trusted is too old: the operator must name a new root of trust.
    #[error("{0}")]
    Expired(Expired),
    /// Halving the way took too many blocks.
    #[error("{steps} blocks were not enough to reach block {height}: name a newer root of trust")]
    TooManySteps {
        /// The block wanted.
        height: Height,
        /// How many blocks were fetched.
        steps: usize,
    },
    /// The block is too far below all that is trusted.
    #[error("block {height} is too far below {oldest}, the oldest one trusted: name an older root")]
    TooFarBack {
        /// The block wanted.
        height: Height,
        /// The oldest block trusted.
        oldest: Height,
    },
    /// Another upstream shows another block at this height, signed by trusted validators too.
    /// Nothing is accepted until the operator decides which chain is right.
    #[error("{0}")]
    Contradicted(Box<Contradiction>),
    /// The last upstream's proof does not hold. It is in quarantine.
    #[error("upstream {upstream} told a proof that does not hold: {why}")]
    BadProof {
        /// Who told it.
        upstream: UpstreamName,
        /// What is wrong with it.
        why: Detail,
    },
}

impl LightError {
    pub(super) fn nobody() -> Self {
        Self::Upstream(UpstreamError::Unreachable("no upstream is usable now".into()))
    }
}

/// Two blocks of one height, each accepted from what was trusted before.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "upstreams {first} and {second} show two blocks at height {}, both signed by trusted \
     validators: {} and {}", own.block().height, own.block().hash, other.block().hash
)]
pub struct Contradiction {
    /// Whose block was accepted first.
    pub first: UpstreamName,
    /// Who shows another one.
    pub second: UpstreamName,
    /// The block below both that was trusted.
    pub common: CosmosAnchor,
    /// The first one's block.
    pub own: CosmosAnchor,
    /// The other's block.
    pub other: CosmosAnchor,
    /// The evidence that light clients can be shown: `None` where `common` is too far below to
    /// judge both by it.
    pub misbehaviour: Option<Misbehaviour>,
}
