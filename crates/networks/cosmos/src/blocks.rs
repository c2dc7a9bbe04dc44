//! Signed headers and validators (CometBFT RPC `commit`, `validators`): what a light client judges a
//! block by.

use crate::{
    events::AtHeight,
    upstream::Upstream,
    wire::{number, parse},
};
use postrider_jsonrpc::{RpcCall, UpstreamError};
use postrider_message::Height;
use postrider_verification::tendermint::{ClaimedBlock, MAX_VALIDATORS, json};
use serde::Deserialize;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use tendermint::{block::signed_header::SignedHeader, hash::Hash, validator::Info};

/// CometBFT gives no larger pages.
const PER_PAGE: usize = 100;
/// How many validator sets are remembered: they change rarely, and each block needs two.
const REMEMBERED: usize = 8;

#[derive(Debug, Deserialize)]
struct JsonCommit {
    #[serde(deserialize_with = "json::signed_header")]
    signed_header: SignedHeader,
}

#[derive(Debug, Deserialize)]
struct JsonValidators {
    #[serde(deserialize_with = "number")]
    block_height: u64,
    #[serde(deserialize_with = "json::validators")]
    validators: Vec<Info>,
    #[serde(deserialize_with = "number")]
    total: usize,
}

/// Validator sets by their hash, which was computed here: whoever told them, they are right.
#[derive(Debug, Default)]
pub(crate) struct KnownValidators(Mutex<VecDeque<(Hash, Vec<Info>)>>);

impl KnownValidators {
    fn get(&self, hash: Hash) -> Option<Vec<Info>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| *of == hash).map(|(_, set)| set.clone())
    }

    /// Remembers the sets of a block as far as they are those that its header names.
    fn learn(&self, block: &ClaimedBlock) {
        let header = block.header();
        for (named, set) in [
            (header.validators_hash, block.validators()),
            (header.next_validators_hash, block.next_validators()),
        ] {
            if set.hash() != named || self.get(named).is_some() {
                continue;
            }
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.push_back((named, set.validators().clone()));
            if known.len() > REMEMBERED {
                known.pop_front();
            }
        }
    }
}

impl Upstream {
    /// The header at `height` and the commit for it (`commit`). Of the newest block it is the
    /// commit that this node saw, which need not be the one that the next block will name.
    ///
    /// # Errors
    /// [`UpstreamError::Missing`] for a height that it does not have.
    pub async fn commit(&self, height: Height) -> Result<SignedHeader, UpstreamError> {
        let json = match self.at_heights("commit", &[height]).await?.pop() {
            Some(AtHeight::Known(json)) => json,
            Some(AtHeight::Pruned) => {
                return Err(UpstreamError::Missing("that old block any more"));
            }
            Some(AtHeight::NotYet) | None => return Err(UpstreamError::Missing("the block yet")),
        };
        let told: JsonCommit = parse(Some(Ok(json)))?;
        let header = told.signed_header;
        if header.header.height.value() != height.0 {
            let what = format!("block {}, when asked for block {height}", header.header.height);
            return Err(UpstreamError::Garbage(what.into()));
        }
        Ok(header)
    }

    /// The validators that sign the block at `height`, of all pages (`validators`). The set for
    /// the block after the newest one is known already.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn validators(&self, height: Height) -> Result<Vec<Info>, UpstreamError> {
        let mut sets = self.validator_sets(&[height]).await?;
        sets.pop().ok_or(UpstreamError::Garbage("no answer".into()))
    }

    async fn validator_sets(&self, heights: &[Height]) -> Result<Vec<Vec<Info>>, UpstreamError> {
        let first: Vec<_> = heights.iter().map(|height| page(*height, 1)).collect();
        let mut sets = Vec::new();
        for (result, height) in self.calls(&first).await?.into_iter().zip(heights) {
            let first = read_page(parse(Some(result))?, *height)?;
            let pages = first.total.div_ceil(PER_PAGE);
            let rest: Vec<_> = (2..=pages).map(|number| page(*height, number)).collect();
            let (mut set, total) = (first.validators, first.total);
            for result in self.calls(&rest).await? {
                set.extend(read_page(parse(Some(result))?, *height)?.validators);
            }
            if set.len() != total {
                let what = format!("{} of {total} validators", set.len());
                return Err(UpstreamError::Garbage(what.into()));
            }
            sets.push(set);
        }
        Ok(sets)
    }

    /// The block at `height` with its validators and the next ones, as a light client judges it.
    /// Sets whose hash is known are not asked for again.
    ///
    /// # Errors
    /// [`UpstreamError::Missing`] for a height that it does not have, [`UpstreamError::Garbage`]
    /// for what has not the form of a block.
    pub async fn light_block(&self, height: Height) -> Result<ClaimedBlock, UpstreamError> {
        let commit = self.commit(height).await?;
        let header = &commit.header;
        let needed =
            [(height, header.validators_hash), (height.next(), header.next_validators_hash)];
        let known = needed.map(|(_, hash)| self.known_validators().get(hash));
        let lacking: Vec<Height> = needed
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|((height, _), _)| *height)
            .collect();
        let mut fetched = self.validator_sets(&lacking).await?.into_iter();
        let [validators, next] = known.map(|known| known.or_else(|| fetched.next()));
        let block =
            ClaimedBlock::new(commit, validators.unwrap_or_default(), next.unwrap_or_default())
                .map_err(|bad| UpstreamError::Garbage(bad.to_string().into()))?;
        self.known_validators().learn(&block);
        Ok(block)
    }
}

fn page(height: Height, number: usize) -> RpcCall {
    let params = serde_json::json!({
        "height": height.to_string(),
        "page": number.to_string(),
        "per_page": PER_PAGE.to_string(),
    });
    RpcCall { method: "validators", params }
}

fn read_page(page: JsonValidators, height: Height) -> Result<JsonValidators, UpstreamError> {
    let garbage = |what: String| Err(UpstreamError::Garbage(what.into()));
    if page.block_height != height.0 {
        return garbage(format!("validators of block {}, not of {height}", page.block_height));
    }
    if page.total > MAX_VALIDATORS || page.validators.len() > PER_PAGE {
        return garbage(format!("{} validators, more than are taken here", page.total));
    }
    Ok(page)
}
