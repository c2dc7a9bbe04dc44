//! The task that follows one Cosmos network: its blocks' events, and the proof of what they say.
//!
//! Headers do not commit to events, so an event only says where to look: what it tells is recorded once
//! the state after its block says so too.

use super::{
    backlog::{self, Found, LookError, Scope},
    channels::{Channels, ReadError},
    clearing::Clearing,
    record::{Facts, prove},
};
use crate::{context::Context, cosmos::CosmosNetwork};
use futures::FutureExt;
use postrider_cosmos::{AtHeight, BlockEvents, LightError, Need, UpstreamError};
use postrider_ibc::{BlockTold, ChannelEndId, HandshakeState, IbcEvent, events};
use postrider_message::{
    AlarmKind, BlockHash, BlockRef, BlockTime, Height, Point, Reason, TxHash, UnixMillis,
};
use postrider_store::{BlockBatch, KEEP_BLOCKS, SeenTransaction, StoreError};
use postrider_verification::tendermint::{CosmosAnchor, RootOfTrust};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How many blocks are searched for what is pending before anything else, where nothing was recorded.
const FIRST_SEARCH: u64 = 200;
/// The most blocks that are read in one step.
const MAX_STEP: u64 = 100;
/// How long to wait after a failure before trying again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a step could not be taken; the next one may.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LookError> for StepError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Read(error) => Self::Read(error),
            LookError::Upstream(error) => Self::Upstream(error),
            LookError::Store(error) => Self::Store(error),
        }
    }
}

impl From<LightError> for StepError {
    fn from(error: LightError) -> Self {
        Self::Read(error.into())
    }
}

/// A block that was read.
pub(super) struct ReadBlock {
    pub(super) told: BlockTold,
    /// The hashes of its transactions, where they were asked for.
    pub(super) transactions: Vec<TxHash>,
}

impl ReadBlock {
    /// The hash of a transaction by its position; zero for what no transaction did, or where it was not
    /// asked for.
    pub(super) fn hash(&self, transaction: Option<usize>) -> TxHash {
        transaction
            .and_then(|index| self.transactions.get(index))
            .copied()
            .unwrap_or(TxHash(alloy_primitives::B256::ZERO))
    }
}

struct Task {
    context: Arc<Context>,
    network: Arc<CosmosNetwork>,
    channels: Arc<Channels>,
    /// The accounts that pay there.
    payers: Vec<String>,
    recent: Vec<BlockRef>,
    clearing: Clearing,
    in_trouble: bool,
}

/// Follows `network` until cancelled. `payers` are the addresses whose transactions are looked for.
///
/// # Errors
/// [`StoreError::Corrupt`]: trying again will not mend it.
pub async fn follow(
    context: Arc<Context>,
    network: Arc<CosmosNetwork>,
    channels: Arc<Channels>,
    payers: Vec<String>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let clearing = Clearing::new(Arc::clone(&context), Arc::clone(&network), Arc::clone(&channels));
    let recent = Vec::new();
    let mut task = Task { context, network, channels, payers, recent, clearing, in_trouble: false };
    loop {
        // A tick is not cancelled half-way: what it records, it records whole.
        let more = match task.tick().await {
            Ok(more) => {
                task.well().await?;
                more
            }
            Err(StepError::Store(error @ StoreError::Corrupt { .. })) => return Err(error),
            Err(error) => {
                // What the store refused happened not at all, or whole: where the cursor is, it says.
                if matches!(error, StepError::Store(_)) {
                    task.recent.clear();
                }
                task.trouble(&error).await;
                tokio::time::sleep(PAUSE).await;
                false
            }
        };
        let network = Arc::clone(&task.network);
        let waiting = async {
            if !more {
                network.next_look().await;
            }
        };
        if stop.run_until_cancelled(waiting).await.is_none() {
            return Ok(());
        }
    }
}

impl Task {
    fn tip(&self) -> Option<BlockRef> {
        self.recent.first().copied()
    }

    /// One step; whether there is more to read at once.
    async fn tick(&mut self) -> Result<bool, StepError> {
        if self.recent.is_empty()
            && let Some(cursor) = self.context.store.cursor(&self.network.name).await?
        {
            self.recent = cursor.recent;
        }
        let accepted = self.tip().and_then(|tip| RootOfTrust::new(tip.height, tip.hash).ok());
        self.network.begin(accepted).await?;
        let newest = self.network.upstreams.first(Need::Newest, |u| u.status().boxed()).await?;
        // The state after a block is named by the next one.
        let provable = Height(newest.latest.0.saturating_sub(1));
        let Some(tip) = self.tip() else {
            return self.first(newest.latest).await.map(|()| true);
        };
        if provable <= tip.height {
            self.publish(newest.latest);
            return Ok(false);
        }
        let to = Height(provable.0.min(tip.height.0.saturating_add(MAX_STEP)));
        let anchor = self.network.anchor(to.next()).await?.anchor;
        let blocks = self.read(tip.height.next(), to).await?;
        if to == provable {
            self.clearing.step(&anchor).await;
        }
        self.heed_closed(&anchor, &blocks).await?;
        let changed = self.record(tip, &anchor, blocks).await?;
        self.publish(newest.latest);
        // What was read of them while the step was under way may be old.
        for end in changed {
            self.channels.forget(&self.network.name, &end);
        }
        self.context.wake_all();
        Ok(to < provable)
    }

    /// Where nothing was recorded, what state says is pending comes first.
    async fn first(&mut self, newest: Height) -> Result<(), StepError> {
        let anchor = self.network.anchor(newest).await?.anchor;
        let Some(tip) = before(&anchor) else { return Ok(()) };
        let mut batch = self.batch(None, tip, &anchor);
        let (network, channels) = (&*self.network, &*self.channels);
        let scope = Scope::default();
        let settings = self.context.config.ibc.get(&network.name);
        let depth = settings.map_or(FIRST_SEARCH, |ibc| ibc.search_blocks.min(FIRST_SEARCH));
        let look = (&anchor, depth);
        let Found { blocks, missing } =
            backlog::look(&self.context, network, channels, &scope, look).await?;
        if missing.is_empty() {
            self.clearing.done();
        }
        let facts = prove(
            &self.context,
            network,
            channels,
            &anchor,
            &blocks.iter().collect::<Vec<_>>(),
            &[],
        )
        .await?;
        self.fill(&mut batch, facts);
        self.context.store.record_blocks(batch).await?;
        self.recent = vec![tip];
        self.publish(newest);
        self.context.wake_all();
        Ok(())
    }

    async fn read(
        &self,
        from: Height,
        to: Height,
    ) -> Result<Vec<(Height, Option<ReadBlock>)>, StepError> {
        let heights: Vec<Height> = (from.0..=to.0).map(Height).collect();
        let blocks = read_blocks(&self.network, &heights, &self.payers).await?;
        Ok(heights.into_iter().zip(blocks).collect())
    }

    /// What was sent over a channel that is closed here now need not wait for its timeout: it is looked at
    /// again. Asked for before the blocks are recorded, so that a kill between the two does not lose it.
    async fn heed_closed(
        &self,
        anchor: &CosmosAnchor,
        blocks: &[(Height, Option<ReadBlock>)],
    ) -> Result<(), StepError> {
        let told = blocks.iter().filter_map(|(_, read)| read.as_ref()).flat_map(|b| &b.told.events);
        let changed: Vec<ChannelEndId> = told
            .filter_map(|seen| match &seen.event {
                IbcEvent::ChannelChanged(end) => Some(end.clone()),
                _ => None,
            })
            .collect();
        for end in &changed {
            self.channels.forget(&self.network.name, end);
        }
        let (network, context) = (&*self.network, &*self.context);
        let known = self.channels.find(context, network, anchor, &changed).await?;
        for channel in known.values() {
            let is_closed = channel.here.channel.state == HandshakeState::Closed;
            if !is_closed || !context.config.ibc.contains_key(&channel.network) {
                continue;
            }
            let Ok(point) = Point::try_from(channel.there.to_string()) else { continue };
            let network = channel.network.clone();
            let clearing =
                postrider_store::Clearing { network, point: Some(point), sequences: None };
            // That too many wait already must not stop what is read here: the schedule finds it too.
            match context.store.ask_clearing(clearing).await {
                Err(StoreError::BadBatch { .. }) => {}
                asked => asked?,
            }
        }
        Ok(())
    }

    /// Records blocks up to the one before the anchor. Returns the channels that changed in them.
    async fn record(
        &mut self,
        tip: BlockRef,
        anchor: &CosmosAnchor,
        blocks: Vec<(Height, Option<ReadBlock>)>,
    ) -> Result<Vec<ChannelEndId>, StepError> {
        let Some(block) = before(anchor) else { return Ok(Vec::new()) };
        for (height, _) in blocks.iter().filter(|(_, read)| read.is_none()) {
            // What it held is found again by what state says is pending.
            tracing::warn!(network = %self.network.name, %height, "no upstream has this block's events");
            self.clearing.soon();
        }
        let read: Vec<ReadBlock> = blocks.into_iter().filter_map(|(_, read)| read).collect();
        let malformed: usize = read.iter().map(|block| block.told.malformed).sum();
        if malformed > 0 {
            tracing::warn!(network = %self.network.name, malformed, "events could not be read");
        }
        let mut told: Vec<&ReadBlock> = read.iter().collect();
        let mut missing: &[_] = &[];
        if let Some(found) = self.clearing.found() {
            told.extend(&found.blocks);
            missing = &found.missing;
        }
        let (network, channels) = (&*self.network, &*self.channels);
        let facts = prove(&self.context, network, channels, anchor, &told, missing).await?;
        let freed = self.clearing.found().map(|_| facts.held_before()).unwrap_or_default();
        let mut batch = self.batch(Some(tip), block, anchor);
        self.fill(&mut batch, facts);
        batch.moves = freed;
        batch.included = self.included(block, &read);
        let recorded = self.context.store.record_blocks(batch).await?;
        recorded.alarms.iter().for_each(Context::sound);
        if recorded.new_messages > 0 {
            let (network, count) = (&self.network.name, recorded.new_messages);
            tracing::info!(%network, count, "messages proven");
        }
        self.clearing.recorded();
        self.recent.insert(0, block);
        self.recent.truncate(KEEP_BLOCKS);
        let events = read.into_iter().flat_map(|block| block.told.events);
        let changed = events.filter_map(|seen| match seen.event {
            IbcEvent::ChannelChanged(end) => Some(end),
            _ => None,
        });
        Ok(changed.collect())
    }

    /// Which transactions of our accounts are in blocks.
    fn included(&self, block: BlockRef, read: &[ReadBlock]) -> Vec<SeenTransaction> {
        let mut seen: HashMap<TxHash, SeenTransaction> = HashMap::new();
        for read in read {
            let ours = read.told.used.iter().filter(|used| self.payers.contains(&used.address));
            for used in ours {
                let hash = read.hash(Some(used.transaction));
                let succeeded = used.succeeded;
                self.network.gauge().included(hash, used);
                seen.insert(hash, SeenTransaction { hash, block, succeeded });
            }
        }
        seen.into_values().collect()
    }

    fn batch(
        &self,
        previous: Option<BlockRef>,
        block: BlockRef,
        anchor: &CosmosAnchor,
    ) -> BlockBatch {
        let seconds = anchor.time().unix_timestamp();
        BlockBatch {
            network: self.network.name.clone(),
            previous,
            blocks: vec![block],
            messages: Vec::new(),
            facts: Vec::new(),
            duties: Vec::new(),
            moves: Vec::new(),
            included: Vec::new(),
            movements: Vec::new(),
            tokens: alloy_primitives::B256::ZERO,
            tip_time: u64::try_from(seconds).ok().map(BlockTime),
            at: UnixMillis::now(),
        }
    }

    fn fill(&self, batch: &mut BlockBatch, facts: Facts) {
        batch.messages = facts.messages;
        batch.facts = facts.facts;
        batch.duties = facts.duties;
    }

    fn publish(&self, head: Height) {
        let Some(tip) = self.tip() else { return };
        self.network.progress.send_modify(|p| {
            p.durable = tip.height;
            p.hinted = tip.height;
            p.head = head.max(p.head);
            p.caught_up = tip.height.next() >= head;
        });
    }

    async fn well(&mut self) -> Result<(), StoreError> {
        for alarm in self.network.upstreams.take_alarms() {
            self.context.keep(alarm).await;
        }
        if !self.in_trouble {
            return Ok(());
        }
        match self.context.store.set_condition(&self.network.name, None).await {
            Ok(()) => {
                self.in_trouble = false;
                tracing::info!(network = %self.network.name, "it goes on");
                Ok(())
            }
            Err(error @ StoreError::Corrupt { .. }) => Err(error),
            // It is tried again after the next step.
            Err(error) => {
                tracing::warn!(network = %self.network.name, %error, "its condition was not recorded");
                Ok(())
            }
        }
    }

    async fn trouble(&mut self, error: &StepError) {
        let name = &self.network.name;
        for alarm in self.network.upstreams.take_alarms() {
            self.context.keep(alarm).await;
        }
        self.network.progress.send_modify(|p| p.caught_up = false);
        tracing::warn!(network = %name, %error, "cannot go on yet");
        // What is there a moment later is nobody's fault.
        let is_of_an_upstream = match error {
            StepError::Upstream(UpstreamError::Missing(_))
            | StepError::Read(ReadError::Light(LightError::TooEarly(_))) => return,
            StepError::Upstream(_) => true,
            StepError::Read(ReadError::Light(error)) => matches!(error, LightError::Upstream(_)),
            StepError::Read(_) | StepError::Store(_) => return,
        };
        let mut alarm = AlarmKind::QuorumLost;
        if let StepError::Read(ReadError::Light(LightError::Contradicted(found))) = error {
            alarm = AlarmKind::Misbehaviour;
            if let Some(found) = &found.misbehaviour {
                self.network.note_misbehaviour(found);
                self.context.wake_all();
                self.network.tell_misbehaviour().await;
            }
        }
        let (kind, reason) = (
            alarm,
            Reason::QuorumLost { network: name.clone(), agreeing: 0, needed: 1, configured: 1 },
        );
        if !self.in_trouble && !is_of_an_upstream {
            self.context.raise(kind, name, None, &error.to_string()).await;
        }
        self.in_trouble = true;
        if let Err(error) = self.context.store.set_condition(name, Some(reason)).await {
            tracing::error!(network = %name, %error, "the condition was not recorded");
        }
    }
}

/// The block before an anchor, whose state the anchor names: its hash stands in the anchor's header.
pub(super) fn before(anchor: &CosmosAnchor) -> Option<BlockRef> {
    let hash = anchor.header().last_block_id?.hash;
    let hash = alloy_primitives::B256::try_from(hash.as_bytes()).ok()?;
    Some(BlockRef { height: anchor.state().block(), hash: BlockHash(hash) })
}

/// Reads the events of blocks, and the hashes of the transactions of those that tell something; `None` for
/// a block that no upstream has any more.
pub(super) async fn read_blocks(
    network: &CosmosNetwork,
    heights: &[Height],
    payers: &[String],
) -> Result<Vec<Option<ReadBlock>>, UpstreamError> {
    let found = events_of(network, heights).await?;
    let mut read = Vec::with_capacity(found.len());
    for events in found {
        read.push(match events.known() {
            Some(events) => Some(with_hashes(network, &events, payers).await?),
            None => None,
        });
    }
    Ok(read)
}

/// What the first upstream tells that has all of the blocks; else what the first one tells that has the
/// last of them.
async fn events_of(
    network: &CosmosNetwork,
    heights: &[Height],
) -> Result<Vec<AtHeight<BlockEvents>>, UpstreamError> {
    let Some(last) = heights.last().copied() else { return Ok(Vec::new()) };
    let mut in_part = None;
    let mut failed = UpstreamError::Unreachable("no upstream is usable now".into());
    for upstream in network.upstreams.order(Need::Height(last)) {
        match upstream.block_events(heights).await {
            Ok(told) if told.iter().any(|events| matches!(events, AtHeight::NotYet)) => {
                failed = UpstreamError::Missing("the events of its newest block yet");
            }
            Ok(told) if told.iter().any(|events| matches!(events, AtHeight::Pruned)) => {
                in_part.get_or_insert(told);
            }
            Ok(told) => return Ok(told),
            Err(error) => failed = error,
        }
    }
    in_part.ok_or(failed)
}

async fn with_hashes(
    network: &CosmosNetwork,
    block: &BlockEvents,
    payers: &[String],
) -> Result<ReadBlock, UpstreamError> {
    let told = events::read(block);
    let ours = told.used.iter().any(|used| payers.contains(&used.address));
    let mut transactions = Vec::new();
    if ours || told.events.iter().any(|seen| seen.transaction.is_some()) {
        let height = block.height;
        let found = network
            .upstreams
            .first(Need::Height(height), |u| u.block_transactions(height).boxed())
            .await?;
        transactions = found.known().map(|block| block.hashes).unwrap_or_default();
    }
    Ok(ReadBlock { told, transactions })
}
