//! By which heights packets are proven to a client, and what leads it there. Each height costs an update.

use super::{
    channels::{ReadError, values},
    clients::{self, Client, Clients, Lead},
    show::{Claim, on_chain},
    view::At,
};
use ibc_proto::google::protobuf::Any;
use postrider_ibc::{messages::Signer, paths};
use postrider_message::Height;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Proofs that are kept are of use while they are of no more heights than this.
const MAX_KEPT_HEIGHTS: usize = 2;
/// The shortest time that a chain takes for a block as far as connections' delays are concerned (ICS-03;
/// ibc-go `DefaultTimePerBlock`).
const TIME_PER_BLOCK: Duration = Duration::from_secs(30);

/// What was chosen for a client.
#[derive(Default)]
pub(super) struct Chosen<'a> {
    /// What leads the client to the heights, a transaction each, in their order.
    pub(super) updates: Vec<Vec<Any>>,
    /// By which height each claim is proven.
    pub(super) claims: BTreeMap<Height, Vec<Claim<'a>>>,
    /// What waits for the connection's delay.
    pub(super) waiting: Vec<Claim<'a>>,
    /// What can only be proven by a later height, since the client is beyond this one without holding it.
    pub(super) further: Vec<Claim<'a>>,
}

/// Chooses for one client.
pub(super) struct Heights<'a, 'b> {
    pub(super) clients: &'b mut Clients,
    pub(super) at: &'b At<'a>,
    pub(super) client: &'b Client,
    pub(super) signer: Signer<'b>,
}

impl Heights<'_, '_> {
    /// The heights for these claims.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn choose<'c>(
        mut self,
        claims: Vec<Claim<'c>>,
    ) -> Result<Chosen<'c>, ReadError> {
        let mut chosen = Chosen::default();
        let is_delayed = |claim: &Claim<'_>| !claim.channel().here.connection.delay.is_zero();
        let (delayed, now): (Vec<_>, Vec<_>) = claims.into_iter().partition(is_delayed);
        let usable = self.kept(&now, &mut chosen).await?;
        let newest = self.at.there.block().height;
        let mut fresh = Vec::new();
        for claim in now {
            match claim.kept(self.at.other).filter(|height| usable.contains(height)) {
                Some(height) => chosen.claims.entry(height).or_default().push(claim),
                None => fresh.push(claim),
            }
        }
        if !fresh.is_empty() {
            if self.lead(newest, &mut chosen).await? {
                chosen.claims.entry(newest).or_default().extend(fresh);
            } else {
                chosen.further.extend(fresh);
            }
        }
        if !delayed.is_empty() {
            self.delayed(delayed, &mut chosen).await?;
        }
        Ok(chosen)
    }

    /// The heights of kept proofs that the client can be led to.
    async fn kept(
        &mut self,
        claims: &[Claim<'_>],
        chosen: &mut Chosen<'_>,
    ) -> Result<BTreeSet<Height>, ReadError> {
        let heights: BTreeSet<Height> =
            claims.iter().filter_map(|claim| claim.kept(self.at.other)).collect();
        let mut usable = BTreeSet::new();
        if heights.len() <= MAX_KEPT_HEIGHTS {
            for height in heights {
                if self.lead(height, chosen).await? {
                    usable.insert(height);
                }
            }
        }
        Ok(usable)
    }

    /// Whether the client comes to hold a height.
    async fn lead(&mut self, height: Height, chosen: &mut Chosen<'_>) -> Result<bool, ReadError> {
        let here = (self.at.network, self.at.here);
        match self.clients.lead(here, self.at.other, self.client, height, self.signer).await? {
            Lead::Held => Ok(true),
            Lead::Further => Ok(false),
            Lead::By(messages) => {
                chosen.updates.push(messages);
                Ok(true)
            }
        }
    }

    /// What goes over connections with a delay is proven by a height that the client holds for so long; one
    /// at a time ripens.
    async fn delayed<'c>(
        &mut self,
        claims: Vec<Claim<'c>>,
        chosen: &mut Chosen<'c>,
    ) -> Result<(), ReadError> {
        let Some(height) = self.clients.ripening(&self.client.id) else {
            let newest = self.at.there.block().height;
            if self.lead(newest, chosen).await? {
                self.clients.ripen(&self.client.id, newest);
            }
            chosen.waiting.extend(claims);
            return Ok(());
        };
        let Some(processed) = self.processed(height).await? else {
            if !self.clients.is_led(&self.client.id, height) {
                self.clients.ripened(&self.client.id);
            }
            chosen.waiting.extend(claims);
            return Ok(());
        };
        let mut all_ripe = true;
        for claim in claims {
            if processed.is_ripe(claim.channel().here.connection.delay, self.at) {
                chosen.claims.entry(height).or_default().push(claim);
            } else {
                all_ripe = false;
                chosen.waiting.push(claim);
            }
        }
        if all_ripe {
            self.clients.ripened(&self.client.id);
        }
        Ok(())
    }

    /// When the client was told of a height (ICS-07 `processedTimes` and `processedHeights`); `None` if it
    /// was not.
    async fn processed(&self, height: Height) -> Result<Option<Processed>, ReadError> {
        let state = paths::consensus_state(&self.client.id, on_chain(self.at.other, height));
        let keys = [format!("{state}/processedTime"), format!("{state}/processedHeight")];
        let read = values(self.at.network, self.at.here, keys.into_iter()).await?;
        let [Some(time), Some(at)] = &read[..] else { return Ok(None) };
        let nanoseconds = <[u8; 8]>::try_from(time.as_slice()).map(u64::from_be_bytes);
        let block =
            std::str::from_utf8(at).ok().and_then(|text| text.rsplit_once('-')?.1.parse().ok());
        Ok(nanoseconds.ok().zip(block).map(|(nanoseconds, block)| Processed { nanoseconds, block }))
    }
}

/// When a client was told of a height: the time and the height of its own chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Processed {
    nanoseconds: u64,
    block: u64,
}

impl Processed {
    /// Whether a connection's delay has passed by the newest block.
    fn is_ripe(self, delay: Duration, at: &At<'_>) -> bool {
        let now = clients::time(at.here).0.saturating_mul(1_000_000);
        self.has_passed(delay, now, at.here.block().height.0)
    }

    fn has_passed(self, delay: Duration, now: u64, block: u64) -> bool {
        let nanoseconds = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let blocks = nanoseconds.div_ceil(u64::try_from(TIME_PER_BLOCK.as_nanos()).unwrap_or(1));
        now >= self.nanoseconds.saturating_add(nanoseconds)
            && block >= self.block.saturating_add(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_passes_by_time_and_by_blocks() {
        const SECOND: u64 = 1_000_000_000;
        let processed = Processed { nanoseconds: 100 * SECOND, block: 50 };
        let cases = [
            (0, 100, 50, true),
            (10, 109, 60, false),
            (10, 110, 50, false),
            (10, 110, 51, true),
            (31, 140, 51, false),
            (31, 140, 52, true),
        ];
        for (delay, now, block, passed) in cases {
            let delay = Duration::from_secs(delay);
            assert_eq!(
                processed.has_passed(delay, now * SECOND, block),
                passed,
                "{delay:?} {now} {block}"
            );
        }
    }
}
