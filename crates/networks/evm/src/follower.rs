//! Walks the chain: a durable way from anchor to anchor that misses nothing, and a hint that runs
//! ahead of it.
//!
//! Headers come from one upstream and are chained by parent hash down from a block that a quorum
//! agreed on, so the quorum is asked once an anchor. A header's bloom either excludes our logs or
//! the block's receipts are fetched and their root is rebuilt: no upstream can forge a log or drop
//! one without being noticed.

mod cache;

use cache::{CachedReceipts, MAX_CACHED, ReceiptCache};

use crate::{
    pace::Pace,
    upstream::{BlockReceipt, Upstream},
    upstreams::{Finality, Heads, Upstreams},
};
use alloy_primitives::{Address, B256};
use futures::{FutureExt, future::join_all};
use postrider_jsonrpc::UpstreamError;
use postrider_message::{AlarmKind, BlockHash, BlockRef, BlockTime, Height, TxHash};
use postrider_verification::{
    Shortfall,
    evm::{AnchoredBlock, ClaimedHeader, ProvenReceipts, ReceiptLog},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// The most blocks one step goes forward.
pub const MAX_STEP: u64 = 500;
/// The most blocks the hint looks at in one go.
pub const MAX_HINT: u64 = 128;
/// The most blocks whose receipts are asked for at once.
const AT_ONCE: usize = 4;
/// After so many looks that show nothing new, all upstreams are asked all the same.
const IDLE_LOOKS: u32 = 5;
/// A newest block further above what a quorum reached is not looked at before a quorum is asked.
const MAX_AHEAD: u64 = 64;

/// Which logs are looked for.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// The contracts that emit them.
    pub emitters: Vec<Address>,
    /// The first topics they have.
    pub topics: Vec<B256>,
}

impl LogFilter {
    fn wants(&self, log: &ReceiptLog) -> bool {
        self.emitters.contains(&log.address)
            && log.topics.first().is_some_and(|topic| self.topics.contains(topic))
    }
}

/// The logs of one receipt that holds at least one log looked for. All of the receipt's logs are
/// there: a protocol may need those around it.
#[derive(Debug, Clone)]
pub struct ReceiptLogs {
    /// The transaction, as the upstream named it: receipts do not commit to it.
    pub transaction: TxHash,
    /// The receipt's position in its block.
    pub index: u64,
    /// The position in the block of the receipt's first log.
    pub first_log: u64,
    /// The logs.
    pub logs: Vec<ReceiptLog>,
}

/// A block of the durable way in which something was found.
#[derive(Debug, Clone)]
pub struct ProvenBlock {
    /// All of its receipts, proven.
    pub receipts: ProvenReceipts,
    /// Those that hold logs looked for.
    pub found: Vec<ReceiptLogs>,
}

/// A block that the hint saw, with what one upstream says stands in it.
#[derive(Debug, Clone)]
pub struct BlockLogs {
    /// The block.
    pub block: BlockRef,
    /// Receipts that hold logs looked for.
    pub found: Vec<ReceiptLogs>,
    /// Every transaction of the block, and whether it did not revert.
    pub transactions: Vec<(TxHash, bool)>,
}

/// What came of looking ahead.
#[derive(Debug, Clone)]
pub enum Look {
    /// Nothing new since the last look.
    Nothing,
    /// These blocks.
    Blocks(Hints),
    /// The upstream claims a block far above what a quorum reached: it may be true, or not.
    FarAhead,
}

/// What the hint saw.
#[derive(Debug, Clone)]
pub struct Hints {
    /// The lowest height it covers.
    pub from: Height,
    /// The highest height it covers.
    pub to: Height,
    /// The blocks that may have something in them.
    pub blocks: Vec<BlockLogs>,
}

/// A step on the durable way.
#[derive(Debug)]
pub enum Step {
    /// Nothing new is final.
    Idle {
        /// The height the quorum has reached.
        head: Height,
    },
    /// These blocks follow the cursor.
    Advanced {
        /// Every block, ascending; the last is the new cursor.
        blocks: Vec<BlockRef>,
        /// Those with something in them.
        proven: Vec<ProvenBlock>,
        /// The last one's time; everything until then is read.
        time: BlockTime,
        /// The height the quorum has reached.
        head: Height,
    },
    /// The cursor's block is not on the chain any more.
    Replaced {
        /// The newest block of the past that still is; `None` if none of those known is.
        common: Option<BlockRef>,
    },
}

/// Why a step could not be taken; nothing is skipped, so trying again later goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// No quorum.
    #[error("{0}")]
    Quorum(#[from] Shortfall),
    /// No upstream could serve headers or receipts that hold.
    #[error("no upstream serves the blocks after {after}: {error}")]
    Blocks {
        /// The cursor's height.
        after: Height,
        /// The last error.
        error: UpstreamError,
    },
}

/// Follows one network.
#[derive(Debug)]
pub struct Follower {
    upstreams: Arc<Upstreams>,
    filter: LogFilter,
    receipts: ReceiptCache,
    pace: Pace,
    /// The newest headers that the hint saw, ascending and chained.
    recent: VecDeque<ClaimedHeader>,
    /// Looks in a row that showed nothing new.
    idle: u32,
}

impl Follower {
    /// A follower of the network that `upstreams` serve.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>, filter: LogFilter) -> Self {
        Self {
            upstreams,
            filter,
            receipts: ReceiptCache::default(),
            pace: Pace::default(),
            recent: VecDeque::new(),
            idle: 0,
        }
    }

    /// The block to start from where there is no cursor: the one at `height`, or the newest final
    /// one.
    ///
    /// # Errors
    /// [`FollowError::Quorum`] without agreement.
    pub async fn start(&self, height: Option<Height>) -> Result<Option<BlockRef>, FollowError> {
        let heads = self.upstreams.heads().await?;
        let Some(last) = heads.final_height else {
            return Ok(None);
        };
        let height = height.map_or(last, |h| h.min(last));
        Ok(Some(self.upstreams.anchor_final(height, &heads).await?.block()))
    }

    /// How long to wait before the next look where upstreams may be asked every `poll`: until a
    /// block is due, then in short steps.
    #[must_use]
    pub fn pause(&self, poll: Duration) -> Duration {
        self.pace.pause(poll)
    }

    /// Whether a step may lead on although no new block was seen: where finality is not counted in
    /// blocks, where nothing was seen yet, or where blocks seen are final by now and not passed. It
    /// also says so now and then, for an upstream that stands still is not to be believed.
    pub fn may_step(&mut self, cursor: Height) -> bool {
        self.idle = self.idle.saturating_add(1);
        let behind = match (self.upstreams.finality(), self.recent.back()) {
            (Finality::Confirmations(n), Some(seen)) => {
                seen.header.number.saturating_sub(n) > cursor.0
            }
            _ => true,
        };
        let due = behind || self.idle >= IDLE_LOOKS;
        if due {
            self.idle = 0;
        }
        due
    }

    /// Goes on from the cursor `recent` (newest first, never empty) as far as blocks are final, but
    /// at most [`MAX_STEP`] blocks.
    ///
    /// # Errors
    /// [`FollowError`]; the cursor stays where it is.
    pub async fn step(&mut self, recent: &[BlockRef]) -> Result<Step, FollowError> {
        let heads = self.upstreams.heads().await?;
        let idle = Step::Idle { head: heads.head };
        let (Some(tip), Some(last)) = (recent.first().copied(), heads.final_height) else {
            return Ok(idle);
        };
        if last.0 <= tip.height.0 {
            return self.check_tip(tip, recent, &heads, last).await;
        }
        let target = Height(last.0.min(tip.height.0.saturating_add(MAX_STEP)));
        let anchor = self.upstreams.anchor_final(target, &heads).await?;
        let chain = self.descend(anchor, tip.height.next()).await?;
        let follows = chain.first().is_some_and(|b| b.header().parent_hash == tip.hash.0);
        if !follows {
            return self.replaced(recent, &heads).await;
        }
        let (emitters, topics) = (&self.filter.emitters, &self.filter.topics);
        let wanted: Vec<_> = chain.iter().filter(|b| b.may_contain(emitters, topics)).collect();
        let mut proven = Vec::new();
        for blocks in wanted.chunks(AT_ONCE) {
            let hashes: Vec<B256> = blocks.iter().map(|block| block.block().hash.0).collect();
            self.fetch_ahead(&hashes).await;
            for block in blocks {
                proven.extend(self.prove(block).await?);
            }
        }
        let blocks = chain.iter().map(AnchoredBlock::block).collect();
        let time = BlockTime(chain.last().map_or(0, |b| b.header().timestamp));
        Ok(Step::Advanced { blocks, proven, time, head: heads.head })
    }

    /// With nothing new to go to, makes sure now and then that the cursor still stands: a chain
    /// may be replaced by one that is not longer.
    async fn check_tip(
        &self,
        tip: BlockRef,
        recent: &[BlockRef],
        heads: &Heads,
        last: Height,
    ) -> Result<Step, FollowError> {
        let idle = Step::Idle { head: heads.head };
        if last != tip.height {
            return Ok(idle);
        }
        let anchor = self.upstreams.anchor_final(last, heads).await?;
        if anchor.block() == tip { Ok(idle) } else { self.replaced(recent, heads).await }
    }

    /// Finds the newest known block that a quorum still has.
    async fn replaced(&self, recent: &[BlockRef], heads: &Heads) -> Result<Step, FollowError> {
        let last = heads.final_height.unwrap_or_default();
        for known in recent.iter().filter(|b| b.height <= last) {
            let anchor = self.upstreams.anchor_final(known.height, heads).await?;
            if anchor.block() == *known {
                return Ok(Step::Replaced { common: Some(*known) });
            }
        }
        Ok(Step::Replaced { common: None })
    }

    /// The anchored blocks from `from` up to the anchor, ascending.
    async fn descend(
        &mut self,
        anchor: AnchoredBlock,
        from: Height,
    ) -> Result<Vec<AnchoredBlock>, FollowError> {
        let mut chain = vec![anchor];
        // What the hint saw already need not be fetched again; hashes decide whether it fits.
        while let Some(last) = chain.last().filter(|b| b.block().height > from) {
            let parent = last.header().parent_hash;
            let Some(seen) = self.recent.iter().rev().find(|h| h.hash == parent) else {
                break;
            };
            match last.parent(seen.header.clone()) {
                Ok(block) => chain.push(block),
                Err(_) => break,
            }
        }
        let reached = chain.last().map_or(from, |b| b.block().height);
        let missing: Vec<Height> = (from.0..reached.0).rev().map(Height).collect();
        if !missing.is_empty() {
            self.fetch_chain(&mut chain, &missing).await?;
        }
        chain.reverse();
        Ok(chain)
    }

    async fn fetch_chain(
        &self,
        chain: &mut Vec<AnchoredBlock>,
        missing: &[Height],
    ) -> Result<(), FollowError> {
        let start = chain.len();
        let mut last_error = UpstreamError::Unreachable("no upstream is usable now".into());
        for upstream in self.upstreams.by_preference() {
            chain.truncate(start);
            match upstream.headers(missing).await {
                Ok(headers) => match extend(chain, headers) {
                    Ok(()) => return Ok(()),
                    Err(what) => {
                        self.upstreams.quarantine(upstream.name(), &what);
                        last_error = UpstreamError::Garbage(what.into());
                    }
                },
                Err(error) => last_error = error,
            }
        }
        chain.truncate(start);
        let after = Height(missing.last().map_or(0, |h| h.0.saturating_sub(1)));
        Err(FollowError::Blocks { after, error: last_error })
    }

    /// Fetches receipts that are not there yet, several blocks at once. What fails, or does not hold,
    /// is asked for again when it is proven.
    async fn fetch_ahead(&mut self, hashes: &[B256]) {
        let missing = hashes.iter().filter(|hash| self.receipts.get(hash).is_none());
        let missing: Vec<B256> = missing.copied().collect();
        if missing.len() < 2 {
            return;
        }
        let ask = |hash: B256| {
            let upstreams = Arc::clone(&self.upstreams);
            async move { (hash, upstreams.first(|u| fetch_receipts(u, hash).boxed()).await.ok()) }
        };
        for (hash, fetched) in join_all(missing.into_iter().map(ask)).await {
            if let Some(fetched) = fetched {
                self.receipts.remember(hash, fetched);
            }
        }
    }

    /// Fetches the block's receipts and proves them; the upstream that serves wrong ones is
    /// quarantined and the next one asked.
    async fn prove(&mut self, block: &AnchoredBlock) -> Result<Option<ProvenBlock>, FollowError> {
        let hash = block.block().hash.0;
        if let Some(cached) = self.receipts.get(&hash)
            && let Ok(receipts) = ProvenReceipts::new(block.clone(), cached.encoded.clone())
        {
            return self.found(receipts, &cached.transactions);
        }
        let mut last_error = UpstreamError::Unreachable("no upstream is usable now".into());
        for upstream in self.upstreams.by_preference() {
            match fetch_receipts(upstream, hash).await {
                Ok(fetched) => match ProvenReceipts::new(block.clone(), fetched.encoded) {
                    Ok(receipts) => return self.found(receipts, &fetched.transactions),
                    Err(error) => {
                        let height = block.block().height;
                        let what = format!("false receipts of block {height}: {error}");
                        self.upstreams.quarantine(upstream.name(), &what);
                        self.upstreams.raise(AlarmKind::EvidenceRefuted, &what);
                        last_error = UpstreamError::Garbage(what.into());
                    }
                },
                Err(error) => last_error = error,
            }
        }
        let after = Height(block.block().height.0.saturating_sub(1));
        Err(FollowError::Blocks { after, error: last_error })
    }

    /// Proven receipts that cannot be read stop the follower: to go on would be to skip.
    fn found(
        &self,
        receipts: ProvenReceipts,
        transactions: &[(TxHash, bool)],
    ) -> Result<Option<ProvenBlock>, FollowError> {
        let logs = receipts.logs().map_err(|e| FollowError::Blocks {
            after: Height(receipts.block().block().height.0.saturating_sub(1)),
            error: UpstreamError::Garbage(e.to_string().into()),
        })?;
        let found = wanted(&self.filter, logs, transactions);
        Ok((!found.is_empty()).then_some(ProvenBlock { receipts, found }))
    }

    /// Looks at the blocks above the durable cursor that the best upstream has, without believing
    /// it; `head` is what a quorum has reached.
    ///
    /// # Errors
    /// [`UpstreamError`] of the last upstream asked.
    pub async fn hint(&mut self, cursor: Height, head: Height) -> Result<Look, UpstreamError> {
        let newest = self.upstreams.newest().await?;
        if self.recent.back().is_some_and(|seen| seen.hash == newest.hash) {
            self.pace.looked_in_vain();
            return Ok(Look::Nothing);
        }
        let top = newest.header.number;
        if top > head.0.saturating_add(MAX_AHEAD) {
            return Ok(Look::FarAhead);
        }
        self.pace.saw(top);
        let from = self.keep_chained(&newest, cursor);
        if top < from.0 {
            return Ok(Look::Nothing);
        }
        let from = Height(from.0.max(top.saturating_sub(MAX_HINT)));
        let between: Vec<Height> = (from.0..top).map(Height).collect();
        let mut headers = Vec::new();
        if !between.is_empty() {
            headers = self
                .upstreams
                .first(|u| {
                    let between = between.clone();
                    async move { u.headers(&between).await }.boxed()
                })
                .await?;
        }
        headers.push(newest);
        let mut blocks = Vec::new();
        for headers in headers.chunks(AT_ONCE) {
            let wanted = headers.iter().filter(|header| self.may_hold(header));
            let hashes: Vec<B256> = wanted.map(|header| header.hash).collect();
            self.fetch_ahead(&hashes).await;
            for header in headers {
                blocks.extend(self.hint_block(header.clone()).await?);
            }
        }
        Ok(Look::Blocks(Hints { from, to: Height(top), blocks }))
    }

    /// Drops remembered headers that `newest` does not follow; gives the height from which headers
    /// must be looked at again.
    fn keep_chained(&mut self, newest: &ClaimedHeader, cursor: Height) -> Height {
        let parent_at = newest.header.number.checked_sub(1);
        match self.recent.back() {
            Some(seen) if seen.hash == newest.header.parent_hash => Height(newest.header.number),
            Some(seen) if parent_at.is_some_and(|p| seen.header.number < p) => {
                // A gap: what lies between is fetched, and a replaced block is found when the
                // durable way gets there.
                Height(seen.header.number + 1)
            }
            _ => {
                self.recent.clear();
                cursor.next()
            }
        }
    }

    /// Whether the block may hold logs looked for, by what its header claims.
    fn may_hold(&self, header: &ClaimedHeader) -> bool {
        let bloom = &header.header.logs_bloom;
        let may = |bytes: &[u8]| bloom.contains_input(alloy_primitives::BloomInput::Raw(bytes));
        self.filter.emitters.iter().any(|a| may(a.as_slice()))
            && self.filter.topics.iter().any(|t| may(t.as_slice()))
    }

    async fn hint_block(
        &mut self,
        header: ClaimedHeader,
    ) -> Result<Option<BlockLogs>, UpstreamError> {
        let block = BlockRef { height: Height(header.header.number), hash: BlockHash(header.hash) };
        let wanted_here = self.may_hold(&header);
        if self.recent.back().is_some_and(|last| last.hash != header.header.parent_hash) {
            self.recent.clear();
        }
        self.recent.push_back(header);
        if self.recent.len() > MAX_CACHED {
            self.recent.pop_front();
        }
        if !wanted_here {
            return Ok(None);
        }
        let hash = block.hash.0;
        let fetched = match self.receipts.get(&hash) {
            Some(fetched) => fetched.clone(),
            None => self.upstreams.first(|u| fetch_receipts(u, hash).boxed()).await?,
        };
        let logs = postrider_verification::evm::receipts::read_logs(&fetched.encoded)
            .map_err(|e| UpstreamError::Garbage(e.to_string().into()))?;
        let found = wanted(&self.filter, logs, &fetched.transactions);
        let transactions = fetched.transactions.clone();
        self.receipts.remember(hash, fetched);
        Ok(Some(BlockLogs { block, found, transactions }))
    }
}

fn extend(chain: &mut Vec<AnchoredBlock>, headers: Vec<ClaimedHeader>) -> Result<(), String> {
    for header in headers {
        let Some(child) = chain.last() else {
            return Ok(());
        };
        let parent = child
            .parent(header.header)
            .map_err(|e| format!("headers that do not lead to the anchor: {e}"))?;
        chain.push(parent);
    }
    Ok(())
}

async fn fetch_receipts(upstream: &Upstream, hash: B256) -> Result<CachedReceipts, UpstreamError> {
    let form = |r: BlockReceipt| ((r.transaction, r.succeeded), r.encoded);
    let (transactions, encoded) = upstream.receipts(hash).await?.into_iter().map(form).unzip();
    Ok(CachedReceipts { transactions, encoded })
}

/// The receipts among `all` that hold a log looked for.
fn wanted(
    filter: &LogFilter,
    all: Vec<Vec<ReceiptLog>>,
    transactions: &[(TxHash, bool)],
) -> Vec<ReceiptLogs> {
    let mut first_log = 0u64;
    let mut found = Vec::new();
    for ((logs, (transaction, _)), index) in all.into_iter().zip(transactions).zip(0u64..) {
        let count = logs.len() as u64;
        if logs.iter().any(|log| filter.wants(log)) {
            found.push(ReceiptLogs { transaction: *transaction, index, first_log, logs });
        }
        first_log += count;
    }
    found
}
