//! The task that follows one network: hints first, then the durable way.

use crate::{
    context::{Context, Network},
    moves::quorum_lost,
    record::{block_batch, hint_batch},
    supply,
};
use postrider_evm::{
    Follower, LogFilter,
    follower::{FollowError, Look, MAX_STEP, ProvenBlock, Step},
};
use postrider_layerzero::topics;
use postrider_message::{AlarmKind, BlockRef, BlockTime, UnixMillis};
use postrider_store::{Cursor, KEEP_BLOCKS, StoreError};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long to wait after a failure before trying again.
const PAUSE: Duration = Duration::from_millis(500);

/// The most logs that are recorded at once: each may tell several facts, and all of them are in memory.
const MAX_LOGS: usize = 4_000;

/// Why following stopped for good.
#[derive(Debug, thiserror::Error)]
pub enum FollowStopped {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain was replaced further back than is remembered.
    #[error(
        "the chain of {network} was replaced below block {below}, further back than is remembered; \
         check the upstreams, then move the store away to rebuild it from the chain"
    )]
    TooDeep {
        /// The network.
        network: String,
        /// The oldest block remembered.
        below: u64,
    },
}

struct Task {
    context: Arc<Context>,
    network: Arc<Network>,
    follower: Follower,
    cursor: Cursor,
    in_trouble: bool,
}

/// Follows `network` until cancelled.
///
/// # Errors
/// [`FollowStopped`] if it cannot go on without an operator.
pub async fn follow(
    context: Arc<Context>,
    network: Arc<Network>,
    stop: CancellationToken,
) -> Result<(), FollowStopped> {
    let filter = LogFilter {
        emitters: context.deployments.on(&network.name).map(|d| d.emitters()).unwrap_or_default(),
        topics: topics(),
    };
    let follower = Follower::new(Arc::clone(&network.upstreams), filter);
    let Some(cursor) =
        stop.run_until_cancelled(first_cursor(&context, &network, &follower)).await.transpose()?
    else {
        return Ok(());
    };
    let mut task = Task { context, network, follower, cursor, in_trouble: false };
    task.publish(None);
    loop {
        // A tick is not cancelled half-way: what it records, it records whole.
        let moved = match task.tick().await {
            Ok(moved) => moved,
            Err(FollowStopped::Store(error)) if !matches!(error, StoreError::Corrupt { .. }) => {
                task.start_over(&error).await
            }
            Err(stopped) => return Err(stopped),
        };
        let poll = task.network.config.poll;
        let pause = if moved { Duration::ZERO } else { task.follower.pause(poll) };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(());
        }
    }
}

async fn first_cursor(
    context: &Context,
    network: &Network,
    follower: &Follower,
) -> Result<Cursor, StoreError> {
    loop {
        if let Some(cursor) = context.store.cursor(&network.name).await? {
            return Ok(cursor);
        }
        match follower.start(network.config.start_height).await {
            Ok(Some(block)) => {
                let mut batch = block_batch(context, network, block, vec![block], vec![]).await?;
                batch.previous = None;
                context.store.record_blocks(batch).await?;
            }
            Ok(None) => tokio::time::sleep(network.config.poll).await,
            Err(error) => {
                trouble(context, network, &error).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Task {
    /// What the store refused, such as a write to a full disk, happened not at all: the next tick
    /// begins again from the cursor that the store has.
    async fn start_over(&mut self, error: &StoreError) -> bool {
        tracing::error!(network = %self.network.name, %error, "following is delayed");
        if let Ok(Some(cursor)) = self.context.store.cursor(&self.network.name).await {
            self.cursor = cursor;
        }
        tokio::time::sleep(PAUSE).await;
        false
    }

    /// One look at the hint and one step on the durable way; whether more is to be read at once.
    async fn tick(&mut self) -> Result<bool, FollowStopped> {
        let news = match self.hint().await {
            Ok(news) => news,
            Err(error @ StoreError::Corrupt { .. }) => return Err(error.into()),
            // What cannot be hinted, perhaps because an upstream invents too much, is only late.
            Err(error) => {
                tracing::warn!(network = %self.network.name, %error, "a hint was not recorded");
                true
            }
        };
        if !news && !self.in_trouble && !self.follower.may_step(self.cursor.tip.height) {
            return Ok(false);
        }
        let step = self.follower.step(&self.cursor.recent).await;
        for alarm in self.network.upstreams.take_alarms() {
            self.context.keep(alarm).await;
        }
        match step {
            Ok(step) => {
                if std::mem::take(&mut self.in_trouble) {
                    tracing::info!(network = %self.network.name, "the quorum is back");
                    self.context.store.set_condition(&self.network.name, None).await?;
                }
                self.take(step).await
            }
            Err(error) => {
                self.in_trouble = true;
                self.caught_up(false);
                trouble(&self.context, &self.network, &error).await;
                tokio::time::sleep(PAUSE).await;
                Ok(false)
            }
        }
    }

    /// Looks ahead; false only if the best upstream has nothing new.
    async fn hint(&mut self) -> Result<bool, StoreError> {
        let head = self.network.progress.borrow().head;
        match self.follower.hint(self.cursor.tip.height, head).await {
            Ok(Look::Blocks(hints)) => {
                let to = hints.to;
                let batch = hint_batch(&self.context, &self.network, hints).await?;
                let recorded = self.context.store.record_hints(batch).await?;
                self.network.progress.send_modify(|p| p.hinted = to);
                if !recorded.affected.is_empty() {
                    self.context.wake_all();
                }
            }
            Ok(Look::Nothing) => return Ok(false),
            Ok(Look::FarAhead) => {}
            Err(error) => tracing::debug!(network = %self.network.name, %error, "no hint"),
        }
        Ok(true)
    }

    async fn take(&mut self, step: Step) -> Result<bool, FollowStopped> {
        match step {
            Step::Idle { head } => {
                self.caught_up(true);
                self.publish(Some(head));
                Ok(false)
            }
            Step::Advanced { blocks, proven, time, head } => {
                let whole_step = blocks.len() as u64 >= MAX_STEP;
                self.advance(blocks, proven, time).await?;
                self.caught_up(!whole_step);
                self.publish(Some(head));
                self.context.wake_all();
                Ok(whole_step)
            }
            Step::Replaced { common } => self.unwind(common).await.map(|()| true),
        }
    }

    /// Records blocks, as many at once as the store takes.
    async fn advance(
        &mut self,
        blocks: Vec<BlockRef>,
        proven: Vec<ProvenBlock>,
        time: BlockTime,
    ) -> Result<(), FollowStopped> {
        let last = blocks.last().copied();
        for (blocks, proven) in portions(blocks, proven) {
            let tip = self.cursor.tip;
            let newest = blocks.clone();
            let mut batch = block_batch(&self.context, &self.network, tip, blocks, proven).await?;
            batch.tip_time = (newest.last().copied() == last).then_some(time);
            let recorded = self.context.store.record_blocks(batch).await?;
            recorded.alarms.iter().for_each(Context::sound);
            if recorded.new_messages > 0 {
                let (network, count) = (&self.network.name, recorded.new_messages);
                tracing::info!(%network, count, "messages proven");
            }
            self.cursor.recent.splice(0..0, newest.into_iter().rev());
            self.cursor.recent.truncate(KEEP_BLOCKS);
            if let Some(tip) = self.cursor.recent.first() {
                self.cursor.tip = *tip;
            }
        }
        supply::ask(&self.context, &self.network).await?;
        Ok(())
    }

    /// R9: what came from blocks that are gone is taken back; what was signed for is an alarm.
    async fn unwind(&mut self, common: Option<BlockRef>) -> Result<(), FollowStopped> {
        let network = &self.network.name;
        let Some(common) = common else {
            let below = self.cursor.recent.last().map_or(0, |b| b.height.0);
            return Err(FollowStopped::TooDeep { network: network.to_string(), below });
        };
        let at = UnixMillis::now();
        let unwound = self.context.store.unwind(network, common.height, at).await?;
        let (height, signed) = (common.height, unwound.signed.len());
        tracing::error!(%network, %height, signed, "ALARM: final blocks above were replaced");
        if let Some(cursor) = self.context.store.cursor(network).await? {
            self.cursor = cursor;
        }
        self.context.wake_all();
        Ok(())
    }

    fn caught_up(&self, caught_up: bool) {
        self.network.progress.send_modify(|p| p.caught_up = caught_up);
    }

    fn publish(&self, head: Option<postrider_message::Height>) {
        let durable = self.cursor.tip.height;
        self.network.progress.send_modify(|p| {
            p.durable = durable;
            p.head = head.unwrap_or(durable).max(p.head);
        });
    }
}

/// Blocks in portions that hold no more logs than a batch of the store takes facts.
fn portions(
    blocks: Vec<BlockRef>,
    proven: Vec<ProvenBlock>,
) -> Vec<(Vec<BlockRef>, Vec<ProvenBlock>)> {
    let mut portions: Vec<(Vec<BlockRef>, Vec<ProvenBlock>)> = Vec::new();
    let mut proven = proven.into_iter().peekable();
    let mut logs = 0;
    for block in blocks {
        let found = proven.next_if(|proven| proven.receipts.block().block() == block);
        let here: usize =
            found.iter().flat_map(|proven| &proven.found).map(|receipt| receipt.logs.len()).sum();
        if portions.is_empty() || logs + here > MAX_LOGS {
            portions.push((Vec::new(), Vec::new()));
            logs = 0;
        }
        logs += here;
        if let Some((blocks, proven)) = portions.last_mut() {
            blocks.push(block);
            proven.extend(found);
        }
    }
    portions
}

async fn trouble(context: &Context, network: &Network, error: &FollowError) {
    let name = &network.name;
    match error {
        FollowError::Quorum(short) => {
            let reason = quorum_lost(name, *short);
            context.raise(AlarmKind::QuorumLost, name, None, &reason.to_string()).await;
            if let Err(error) = context.store.set_condition(name, Some(reason)).await {
                tracing::error!(network = %name, %error, "the condition was not recorded");
            }
        }
        FollowError::Blocks { .. } => tracing::warn!(network = %name, %error, "cannot go on yet"),
    }
}
