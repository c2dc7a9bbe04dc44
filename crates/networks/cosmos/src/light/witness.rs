//! Whether upstreams of other operators see the same block.

use super::{Anchored, Contradiction, LightClient, LightError};
use crate::upstream::Upstream;
use futures::future::join_all;
use postrider_jsonrpc::UpstreamError;
use postrider_message::{AlarmKind, BlockHash, Height, UnixMillis};
use postrider_verification::tendermint::{
    BlockRefutation, Comparison, CosmosAnchor, Misbehaviour, compare,
};
use std::{collections::BTreeSet, sync::Arc};
use tendermint::hash::Hash;

/// The most witnesses that are asked about one block.
const MAX_WITNESSES: usize = 3;

/// Who else was asked about a block. Witnesses see an attack in which trusted validators sign a
/// second chain for one upstream; without any, it would not be noticed here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// How many were asked: upstreams of other operators than the one that told of the block. 0 is
    /// a warning that stays.
    pub asked: usize,
    /// How many named the same block.
    pub agreed: usize,
}

impl LightClient {
    /// Has the last block of `trace` compared with what others see; what was accepted on the way
    /// from `start` counts only then.
    pub(super) async fn witnessed(
        &self,
        primary: &Upstream,
        start: &CosmosAnchor,
        trace: Vec<CosmosAnchor>,
        now: UnixMillis,
    ) -> Result<Anchored, LightError> {
        let anchor = trace.last().unwrap_or(start).clone();
        let witnesses = self.compare_with_others(primary, start, &anchor, now).await?;
        self.remember(trace);
        self.confirm(&anchor, witnesses);
        Ok(Anchored { anchor, witnesses })
    }

    async fn compare_with_others(
        &self,
        primary: &Upstream,
        start: &CosmosAnchor,
        anchor: &CosmosAnchor,
        now: UnixMillis,
    ) -> Result<Witnesses, LightError> {
        let others = self.others(primary);
        let height = anchor.block().height;
        let told = join_all(others.iter().map(|other| header_hash(other, height))).await;
        let mut witnesses = Witnesses { asked: others.len(), agreed: 0 };
        for (witness, told) in others.into_iter().zip(told) {
            match told {
                Ok(hash) if anchor.agrees(hash) => witnesses.agreed += 1,
                Ok(_) => self.examine(primary, witness, start, anchor, now).await?,
                Err(error) => {
                    let (network, witness) = (self.upstreams().network(), witness.name());
                    tracing::debug!(%network, %witness, %height, %error, "a witness is silent");
                }
            }
        }
        Ok(witnesses)
    }

    /// The best usable upstream of each of a few other operators.
    fn others(&self, primary: &Upstream) -> Vec<&Arc<Upstream>> {
        let mut operators = BTreeSet::from([primary.operator()]);
        let mut others = self.upstreams().by_preference();
        others.retain(|other| operators.insert(other.operator()));
        others.truncate(MAX_WITNESSES);
        others
    }

    /// A witness names another block. If it can show that trusted validators signed it, there are
    /// two chains; if not, it lies, or has another chain, and is in quarantine.
    async fn examine(
        &self,
        primary: &Upstream,
        witness: &Upstream,
        start: &CosmosAnchor,
        own: &CosmosAnchor,
        now: UnixMillis,
    ) -> Result<(), LightError> {
        let height = own.block().height;
        let other = match self.follow(witness, start, height, now).await {
            Ok(trace) => trace.last().unwrap_or(start).clone(),
            Err(error) => {
                let why = format!("another block at height {height}, and cannot show it: {error}");
                self.upstreams().quarantine(witness.name(), &why);
                return Ok(());
            }
        };
        if own.agrees(other.block().hash) {
            // It answered another question otherwise than this one.
            self.upstreams().quarantine(witness.name(), "two headers of one height");
            return Ok(());
        }
        let compared = compare(start, self.options(), own, other.claimed(), now);
        let misbehaviour = match weigh(compared) {
            Ok(misbehaviour) => misbehaviour,
            Err(refutation) => {
                let why = format!("a block that does not hold: {refutation}");
                self.upstreams().quarantine(witness.name(), &why);
                return Ok(());
            }
        };
        let contradiction = Contradiction {
            first: primary.name().clone(),
            second: witness.name().clone(),
            common: start.clone(),
            own: own.clone(),
            other,
            misbehaviour,
        };
        self.upstreams().raise(AlarmKind::UpstreamDissents, &contradiction.to_string());
        Err(LightError::Contradicted(Box::new(contradiction)))
    }
}

/// What a witness's block amounts to once it was followed from the trusted one: two chains, with
/// what proves it if `start` can judge both directly, or a block that does not hold.
///
/// Too little trust at once is no lie: the way to the block was verified in steps, of which each had
/// enough. There are two chains then, of which the trusted block alone cannot convict anybody.
fn weigh(compared: Comparison) -> Result<Option<Misbehaviour>, BlockRefutation> {
    match compared {
        Comparison::Forged(refutation) => Err(refutation),
        Comparison::Misbehaviour(found) => Ok(Some(*found)),
        Comparison::Consistent
        | Comparison::NotCommon
        | Comparison::NotEnoughTrust(_)
        | Comparison::Expired(_) => Ok(None),
    }
}

async fn header_hash(upstream: &Upstream, height: Height) -> Result<BlockHash, UpstreamError> {
    match upstream.commit(height).await?.header.hash() {
        Hash::Sha256(bytes) => Ok(BlockHash(bytes.into())),
        Hash::None => Err(UpstreamError::Garbage("a header without a hash".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_a_witness_whose_block_does_not_hold_is_refuted_and_contradicts_nobody() {
        let refutation = BlockRefutation::ChainId { expected: "a-1".into(), found: "b-1".into() };
        assert_eq!(weigh(Comparison::Forged(refutation.clone())), Err(refutation));
    }

    #[test]
    fn r1_a_block_that_cannot_be_judged_at_once_still_contradicts() {
        for compared in [Comparison::NotCommon, Comparison::Consistent] {
            assert_eq!(weigh(compared), Ok(None));
        }
    }
}
