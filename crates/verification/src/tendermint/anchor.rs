//! Anchors of Cosmos chains: blocks that the light client accepted.

use super::{
    block::{ClaimedBlock, bytes32},
    objection::{BlockRefutation, Expired, Objection, Tally, TooEarly},
    options::{RootOfTrust, TrustOptions},
    state::StateHeight,
};
use crate::verdict::{Basis, Support};
use alloy_primitives::B256;
use postrider_message::{BlockHash, BlockRef, Confirmations, Height, NetworkName, UnixMillis};
use std::sync::Arc;
use tendermint::{Time, block::Header};
use tendermint_light_client_verifier::{
    ProdVerifier, Verdict,
    predicates::{ProdPredicates, VerificationPredicates},
    types::TrustedBlockState,
};

/// A block that the light client accepted: a trusted validator set signed it. Only this module makes
/// one. Copies share what they hold.
///
/// After a restart it is made again from its height and hash by [`anchor_from_root`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosmosAnchor {
    network: NetworkName,
    reference: BlockRef,
    block: Arc<ClaimedBlock>,
}

/// What the light client says about a claimed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorVerdict {
    /// It is a block of the chain.
    Accepted(CosmosAnchor),
    /// Too little of the trusted voting power signed it, which is no fault: validators change. A
    /// block between the trusted one and this one must be accepted first.
    NotEnoughTrust(Tally),
    /// It is no block of the chain.
    Refuted(BlockRefutation),
    /// It is signed, but ahead of this machine's clock: ask again later.
    TooEarly(TooEarly),
    /// What it was to be judged by is too old: the operator must name a new root of trust.
    Expired(Expired),
}

/// Accepts the block that the operator, or this program before a restart, named by height and hash;
/// `network` is the name that the anchor carries. It must also be signed by its own validators, so
/// that it can be shown to others, and be within the trusting period.
#[must_use]
pub fn anchor_from_root(
    network: &NetworkName,
    options: &TrustOptions,
    root: &RootOfTrust,
    claimed: ClaimedBlock,
    now: UnixMillis,
) -> AnchorVerdict {
    let judgement = judge_root(options, root, &claimed, now);
    verdict(judgement, network, claimed)
}

/// Accepts a block above `anchor`. The next block must be signed by more than two thirds of the
/// validators that the anchor names. Any later one must be signed by more than two thirds of its own
/// validators, and by more of the anchor's than the options' trust threshold.
#[must_use]
pub fn advance(
    anchor: &CosmosAnchor,
    options: &TrustOptions,
    claimed: ClaimedBlock,
    now: UnixMillis,
) -> AnchorVerdict {
    let judgement = judge(anchor, options, &claimed, now)
        .and_then(|()| is_from_the_past(&claimed, options, now));
    verdict(judgement, &anchor.network, claimed)
}

impl CosmosAnchor {
    /// The network it is a block of.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The block's height and header hash.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        self.reference
    }

    /// The whole block, as it was claimed and is now believed.
    #[must_use]
    pub fn claimed(&self) -> &ClaimedBlock {
        &self.block
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.block.header()
    }

    /// Its time.
    #[must_use]
    pub fn time(&self) -> Time {
        self.block.time()
    }

    /// The revision number of IBC heights on this chain: the digits behind the last `-` of its chain
    /// id, or 0 (ICS-07; `ParseChainID` of ibc-go's `02-client`).
    #[must_use]
    pub fn revision(&self) -> u64 {
        revision(self.header().chain_id.as_str())
    }

    /// The state that its app hash commits to: the one after the block *before* it.
    #[must_use]
    pub fn state(&self) -> StateHeight {
        StateHeight::before(self.reference.height)
    }

    /// The root of that state. `None` if it is no hash: absent, of another length or zeros (R5).
    #[must_use]
    pub fn app_hash(&self) -> Option<B256> {
        let bytes = self.header().app_hash.as_bytes();
        B256::try_from(bytes).ok().filter(|hash| *hash != B256::ZERO)
    }

    /// Whether somebody who names `hash` for this height has the same chain. If not, one of the two
    /// lies, or the validators do: [`super::compare`] tells which.
    #[must_use]
    pub fn agrees(&self, hash: BlockHash) -> bool {
        self.reference.hash == hash
    }

    /// What to make this anchor from again.
    #[must_use]
    pub fn root(&self) -> Option<RootOfTrust> {
        RootOfTrust::new(self.reference.height, self.reference.hash).ok()
    }

    /// When it will be too old to accept blocks by. `None` beyond the year 9999.
    #[must_use]
    pub fn expires_at(&self, options: &TrustOptions) -> Option<Time> {
        (self.time() + options.trusting_period()).ok()
    }

    /// The block before this one, if `claimed` is that: its hash is the one this header names. It
    /// must be committed by its validators too, so that it can be shown to others.
    ///
    /// # Errors
    /// [`BlockRefutation`] if it is not.
    pub fn parent(&self, claimed: ClaimedBlock) -> Result<Self, BlockRefutation> {
        let block = claimed.block();
        let expected = Height(self.reference.height.0.saturating_sub(1));
        if block.height != expected {
            return Err(BlockRefutation::Height { expected, found: block.height });
        }
        let named = self.header().last_block_id.map_or(B256::ZERO, |id| bytes32(id.hash));
        if named != block.hash.0 {
            return Err(BlockRefutation::Hash { expected: named, found: block.hash.0 });
        }
        match is_committed(&claimed) {
            Ok(()) => Ok(Self::new(&self.network, claimed)),
            Err(Objection::Refuted(refutation)) => Err(refutation),
            // What a block says of itself is not judged by clocks or by others' trust.
            Err(other) => Err(BlockRefutation::Other(format!("{other:?}").into())),
        }
    }

    /// What values proven in this block rest on. A committed block is final at once, so its depth
    /// is 0.
    #[must_use]
    pub fn basis(&self) -> Basis {
        Basis {
            network: self.network.clone(),
            block: self.reference,
            depth: Confirmations(0),
            support: Support::Validators { set: bytes32(self.header().validators_hash) },
        }
    }

    fn new(network: &NetworkName, block: ClaimedBlock) -> Self {
        Self { network: network.clone(), reference: block.block(), block: Arc::new(block) }
    }

    fn as_trusted(&self) -> TrustedBlockState<'_> {
        TrustedBlockState {
            chain_id: &self.header().chain_id,
            header_time: self.time(),
            height: self.header().height,
            next_validators: self.block.next_validators(),
            next_validators_hash: self.header().next_validators_hash,
        }
    }
}

fn verdict(
    judgement: Result<(), Objection>,
    network: &NetworkName,
    claimed: ClaimedBlock,
) -> AnchorVerdict {
    match judgement {
        Ok(()) => AnchorVerdict::Accepted(CosmosAnchor::new(network, claimed)),
        Err(Objection::NotEnoughTrust(tally)) => AnchorVerdict::NotEnoughTrust(tally),
        Err(Objection::Refuted(refutation)) => AnchorVerdict::Refuted(refutation),
        Err(Objection::TooEarly(early)) => AnchorVerdict::TooEarly(early),
        Err(Objection::Expired(expired)) => AnchorVerdict::Expired(expired),
    }
}

fn judge_root(
    options: &TrustOptions,
    root: &RootOfTrust,
    claimed: &ClaimedBlock,
    now: UnixMillis,
) -> Result<(), Objection> {
    is_of_chain(options, claimed)?;
    let (expected, found) = (root.block(), claimed.block());
    if found.height != expected.height {
        return Err(
            BlockRefutation::Height { expected: expected.height, found: found.height }.into()
        );
    }
    if found.hash != expected.hash {
        return Err(BlockRefutation::Hash { expected: expected.hash.0, found: found.hash.0 }.into());
    }
    is_committed(claimed)?;
    ProdPredicates
        .is_within_trust_period(claimed.time(), options.trusting_period(), time(now)?)
        .map_err(|e| Objection::from(e.0))?;
    is_from_the_past(claimed, options, now)
}

/// All that an anchor can say of a claimed block. The clock comes last and elsewhere: only of a
/// block that is signed as it must be does it mean anything that it is early.
pub(super) fn judge(
    anchor: &CosmosAnchor,
    options: &TrustOptions,
    claimed: &ClaimedBlock,
    now: UnixMillis,
) -> Result<(), Objection> {
    is_of_chain(options, anchor.claimed())?;
    is_of_chain(options, claimed)?;
    let verifier = ProdVerifier::default();
    let (untrusted, trusted) = (claimed.as_untrusted(), anchor.as_trusted());
    holds(verifier.verify_validator_sets(&untrusted))?;
    let adjacent = claimed.block().height == anchor.block().height.next();
    let named = anchor.header().next_validators_hash;
    let found = claimed.header().validators_hash;
    holds(verifier.validate_against_trusted(&untrusted, &trusted, options.inner(), time(now)?))
        .map_err(|objection| match objection {
            Objection::Refuted(BlockRefutation::Validators { .. }) if adjacent => {
                BlockRefutation::NotTheNextValidators {
                    named: bytes32(named),
                    found: bytes32(found),
                }
                .into()
            }
            other => other,
        })?;
    holds(verifier.verify_commit_against_trusted(&untrusted, &trusted, options.inner()))
}

fn is_of_chain(options: &TrustOptions, claimed: &ClaimedBlock) -> Result<(), Objection> {
    let (expected, found) = (options.chain_id(), &claimed.header().chain_id);
    if expected == found {
        return Ok(());
    }
    Err(BlockRefutation::chain_id(expected, found).into())
}

/// The given validators are those that the header names, and more than two thirds of them signed
/// it.
fn is_committed(claimed: &ClaimedBlock) -> Result<(), Objection> {
    let (verifier, untrusted) = (ProdVerifier::default(), claimed.as_untrusted());
    holds(verifier.verify_validator_sets(&untrusted))?;
    holds(verifier.verify_commit(&untrusted))
}

fn is_from_the_past(
    claimed: &ClaimedBlock,
    options: &TrustOptions,
    now: UnixMillis,
) -> Result<(), Objection> {
    ProdPredicates
        .is_header_from_past(claimed.time(), options.clock_drift(), time(now)?)
        .map_err(|e| Objection::from(e.0))
}

fn holds(verdict: Verdict) -> Result<(), Objection> {
    match verdict {
        Verdict::Success => Ok(()),
        Verdict::NotEnoughTrust(tally) => Err(Objection::NotEnoughTrust(tally.into())),
        Verdict::Invalid(detail) => Err(detail.into()),
    }
}

/// A clock beyond the year 9999 is later than the end of any trusting period.
fn time(now: UnixMillis) -> Result<Time, Objection> {
    let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    let nanos = u32::try_from(now.0 % 1000).unwrap_or_default().saturating_mul(1_000_000);
    Time::from_unix_timestamp(seconds, nanos)
        .map_err(|_| Objection::Expired(Expired { since: Time::unix_epoch() }))
}

/// ibc-go (`IsRevisionFormat`): a name that does not end in `-`, one `-`, and a number without zeros in
/// front.
fn revision(chain_id: &str) -> u64 {
    let Some((name, digits)) = chain_id.rsplit_once('-') else { return 0 };
    let is_number = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if name.is_empty() || name.ends_with('-') || !is_number {
        return 0;
    }
    digits.parse().unwrap_or(0)
}
