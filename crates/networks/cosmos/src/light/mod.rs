//! The light client at work: fetches blocks, has them judged, and compares the outcome with what
//! others see.
//!
//! What judges is pure and elsewhere ([`postrider_verification::tendermint`]). Here is decided whom
//! to ask for which block: by skipping verification, a block is judged by the last one that was
//! accepted, however far below; where too few of the trusted validators signed it, a block halfway
//! is accepted first (CometBFT `spec/light-client/verification`). A block that was accepted so is
//! compared with what upstreams of other operators say of its height before anybody may use it
//! (`spec/light-client/detector`).

mod error;
mod prove;
mod witness;

pub use error::{Contradiction, LightError};
pub use prove::{Proven, StateFact};
pub use witness::Witnesses;

use crate::{
    upstream::Upstream,
    upstreams::{Need, Upstreams},
};
use postrider_jsonrpc::UpstreamError;
use postrider_message::{Height, UnixMillis};
use postrider_verification::tendermint::{
    AnchorVerdict, ClaimedBlock, CosmosAnchor, RootOfTrust, TrustOptions, advance, anchor_from_root,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The most blocks that are fetched to accept one. Halving the way to a block 2^40 above, with half
/// of the validators changed at every step, takes fewer.
const MAX_STEPS: usize = 128;
/// The most blocks that are walked down from an anchor, by the hashes that headers name.
const MAX_DOWN: u64 = 64;
/// How many anchors are remembered.
const REMEMBERED: usize = 256;

/// An anchor that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The anchor.
    pub anchor: CosmosAnchor,
    /// Who else saw the same block.
    pub witnesses: Witnesses,
}

/// The light client of one network.
#[derive(Debug)]
pub struct LightClient {
    options: TrustOptions,
    upstreams: Arc<Upstreams>,
    known: Mutex<BTreeMap<Height, Known>>,
    /// One verification at a time: the next one finds what the one before it learnt.
    turn: tokio::sync::Mutex<()>,
}

/// An accepted block; whether it was compared with what others see.
#[derive(Debug, Clone)]
struct Known {
    anchor: CosmosAnchor,
    witnesses: Option<Witnesses>,
}

impl LightClient {
    /// A light client that trusts nothing yet.
    #[must_use]
    pub fn new(options: TrustOptions, upstreams: Arc<Upstreams>) -> Self {
        Self { options, upstreams, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// What it judges by.
    #[must_use]
    pub fn options(&self) -> &TrustOptions {
        &self.options
    }

    /// Whom it asks.
    #[must_use]
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// The highest block that was accepted; `None` before [`LightClient::start`]. After a restart it
    /// can start again from this block's height and hash.
    #[must_use]
    pub fn highest(&self) -> Option<CosmosAnchor> {
        self.known().last_key_value().map(|(_, known)| known.anchor.clone())
    }

    /// About how long the chain takes for a block, by those that were accepted; `None` if too few were.
    #[must_use]
    pub fn block_time(&self) -> Option<Duration> {
        let known = self.known();
        let ((low, first), (high, last)) = (known.first_key_value()?, known.last_key_value()?);
        let blocks = u32::try_from(high.0.checked_sub(low.0)?).ok().filter(|n| *n > 0)?;
        let passed = last.anchor.time().duration_since(first.anchor.time()).ok()?;
        Some(passed / blocks)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Height, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts from a block that the operator named, or that was accepted before a restart. An
    /// upstream with another block at that height is only passed over, since the operator may be
    /// wrong.
    ///
    /// # Errors
    /// [`LightError`]: of the last upstream that was asked.
    pub async fn start(
        &self,
        root: &RootOfTrust,
        now: UnixMillis,
    ) -> Result<CosmosAnchor, LightError> {
        let height = root.block().height;
        let mut last = LightError::nobody();
        for upstream in self.upstreams.order(Need::Height(height)) {
            let started = match upstream.light_block(height).await {
                Ok(claimed) => self.judge_root(root, claimed, now, upstream),
                Err(error) => Err(error.into()),
            };
            match started {
                Ok(anchor) => return Ok(anchor),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts from a block that was accepted before a restart and stored, asking nobody: upstreams
    /// may not have it any more.
    ///
    /// # Errors
    /// [`LightError::Expired`] if it is too old, [`LightError::BadRoot`] if it is not that block.
    pub fn resume(
        &self,
        root: &RootOfTrust,
        stored: ClaimedBlock,
        now: UnixMillis,
    ) -> Result<CosmosAnchor, LightError> {
        let network = self.upstreams.network();
        match anchor_from_root(network, &self.options, root, stored, now) {
            AnchorVerdict::Accepted(anchor) => {
                self.remember(vec![anchor.clone()]);
                Ok(anchor)
            }
            AnchorVerdict::Refuted(refutation) => Err(LightError::BadRoot(refutation)),
            AnchorVerdict::NotEnoughTrust(tally) => Err(LightError::NotEnoughTrust(tally)),
            AnchorVerdict::TooEarly(early) => Err(LightError::TooEarly(early)),
            AnchorVerdict::Expired(expired) => Err(LightError::Expired(expired)),
        }
    }

    fn judge_root(
        &self,
        root: &RootOfTrust,
        claimed: ClaimedBlock,
        now: UnixMillis,
        upstream: &Upstream,
    ) -> Result<CosmosAnchor, LightError> {
        let started = self.resume(root, claimed, now);
        if let Err(error) = &started {
            let (network, upstream) = (self.upstreams.network(), upstream.name());
            tracing::warn!(%network, %upstream, %error, "the root of trust does not hold there");
        }
        started
    }

    /// Anchors the newest block that the best upstream tells of.
    ///
    /// # Errors
    /// As [`LightClient::anchor_at`].
    pub async fn anchor_newest(&self, now: UnixMillis) -> Result<Anchored, LightError> {
        use futures::FutureExt;
        let status = self.upstreams.first(Need::Newest, |u| u.status().boxed()).await?;
        self.anchor_at(status.latest, now).await
    }

    /// Anchors the block at `height`: it is signed as it must be, and no upstream of another
    /// operator that was asked sees another block there. An upstream whose block does not hold, or
    /// that tells of blocks and again and again does not show them, is quarantined, and another asked.
    ///
    /// # Errors
    /// [`LightError`]; [`LightError::Contradicted`] means that validators signed two chains, or
    /// that one of two upstreams has a chain of its own: nothing is accepted then.
    pub async fn anchor_at(&self, height: Height, now: UnixMillis) -> Result<Anchored, LightError> {
        if let Some(anchored) = self.remembered(height) {
            return Ok(anchored);
        }
        let _turn = self.turn.lock().await;
        if let Some(anchored) = self.remembered(height) {
            return Ok(anchored);
        }
        let mut last = LightError::nobody();
        for upstream in self.upstreams.order(Need::Height(height)) {
            let start = self.nearest(height)?;
            match self.follow(upstream, &start, height, now).await {
                Ok(trace) => {
                    upstream.shows();
                    return self.witnessed(upstream, &start, trace, now).await;
                }
                Err(LightError::Refuted { refutation, .. }) => {
                    let why = format!("a block that does not hold: {refutation}");
                    self.upstreams.quarantine(upstream.name(), &why);
                    last = LightError::Refuted { upstream: upstream.name().clone(), refutation };
                }
                // Only an error of the upstream's can be another's success.
                Err(LightError::Upstream(error)) => {
                    if matches!(error, UpstreamError::Missing(_)) && upstream.hides(height) {
                        let why = format!("of block {height}, which it does not show");
                        self.upstreams.quarantine(upstream.name(), &why);
                    }
                    last = error.into();
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn remembered(&self, height: Height) -> Option<Anchored> {
        let known = self.known();
        let Known { anchor, witnesses } = known.get(&height)?;
        Some(Anchored { anchor: anchor.clone(), witnesses: (*witnesses)? })
    }

    /// The nearest block to judge by: the highest one that is not above, else the lowest.
    fn nearest(&self, height: Height) -> Result<CosmosAnchor, LightError> {
        let known = self.known();
        let below = known.range(..=height).next_back();
        let (_, nearest) =
            below.or_else(|| known.first_key_value()).ok_or(LightError::NotStarted)?;
        Ok(nearest.anchor.clone())
    }

    /// The blocks that were accepted on the way from `start` to `height`, the last at `height`.
    async fn follow(
        &self,
        upstream: &Upstream,
        start: &CosmosAnchor,
        height: Height,
        now: UnixMillis,
    ) -> Result<Vec<CosmosAnchor>, LightError> {
        match height.cmp(&start.block().height) {
            std::cmp::Ordering::Equal => Ok(vec![start.clone()]),
            std::cmp::Ordering::Greater => self.follow_up(upstream, start, height, now).await,
            std::cmp::Ordering::Less => follow_down(upstream, start, height).await,
        }
    }

    async fn follow_up(
        &self,
        upstream: &Upstream,
        start: &CosmosAnchor,
        height: Height,
        now: UnixMillis,
    ) -> Result<Vec<CosmosAnchor>, LightError> {
        let mut trace: Vec<CosmosAnchor> = Vec::new();
        let mut ahead = vec![upstream.light_block(height).await?];
        let mut fetched = 1;
        while let Some(target) = ahead.last() {
            let trusted = trace.last().unwrap_or(start);
            match advance(trusted, &self.options, target.clone(), now) {
                AnchorVerdict::Accepted(anchor) => {
                    trace.push(anchor);
                    ahead.pop();
                }
                AnchorVerdict::NotEnoughTrust(tally) => {
                    let (low, high) = (trusted.block().height.0, target.block().height.0);
                    let middle = low.midpoint(high);
                    if middle == low {
                        return Err(LightError::NotEnoughTrust(tally));
                    }
                    if fetched >= MAX_STEPS {
                        return Err(LightError::TooManySteps { height, steps: MAX_STEPS });
                    }
                    ahead.push(upstream.light_block(Height(middle)).await?);
                    fetched += 1;
                }
                AnchorVerdict::Refuted(refutation) => {
                    let upstream = upstream.name().clone();
                    return Err(LightError::Refuted { upstream, refutation });
                }
                AnchorVerdict::TooEarly(early) => return Err(LightError::TooEarly(early)),
                AnchorVerdict::Expired(expired) => return Err(LightError::Expired(expired)),
            }
        }
        Ok(trace)
    }

    /// Remembers what was accepted, the last of it as compared with what others see.
    fn remember(&self, trace: Vec<CosmosAnchor>) {
        let mut known = self.known();
        for anchor in trace {
            known.entry(anchor.block().height).or_insert(Known { anchor, witnesses: None });
        }
        while known.len() > REMEMBERED {
            known.pop_first();
        }
    }

    fn confirm(&self, anchor: &CosmosAnchor, witnesses: Witnesses) {
        if let Some(known) = self.known().get_mut(&anchor.block().height) {
            known.witnesses = Some(witnesses);
        }
    }
}

/// Walks down from an anchor, by the hash of its predecessor that each header names.
async fn follow_down(
    upstream: &Upstream,
    start: &CosmosAnchor,
    height: Height,
) -> Result<Vec<CosmosAnchor>, LightError> {
    let oldest = start.block().height;
    if oldest.0.saturating_sub(height.0) > MAX_DOWN || height.0 == 0 {
        return Err(LightError::TooFarBack { height, oldest });
    }
    let mut trace = vec![start.clone()];
    for below in (height.0..oldest.0).rev() {
        let claimed = upstream.light_block(Height(below)).await?;
        let upper = trace.last().unwrap_or(start);
        let anchor = upper.parent(claimed).map_err(|refutation| LightError::Refuted {
            upstream: upstream.name().clone(),
            refutation,
        })?;
        trace.push(anchor);
    }
    Ok(trace)
}

impl From<UpstreamError> for LightError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}
