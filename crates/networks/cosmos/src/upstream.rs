//! One RPC node of a network: typed questions, and what is remembered of its health.

use crate::{
    blocks::KnownValidators,
    events::{self, AtHeight, BlockEvents, BlockTransactions, JsonBlock, may_lack_height},
    query::{AbciQuery, Answer, JsonAnswer},
    status::{CosmosChainId, JsonStatus, Status},
    wire::{self, parse},
};
use postrider_jsonrpc::{
    CallResult, Health, HealthReport, RpcCall, RpcClient, RpcLimits, UpstreamError,
};
use postrider_message::{Height, OperatorName, UpstreamName};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// CometBFT takes so many calls in a batch unless its operator says otherwise
/// (`rpc.max_request_batch_size`).
const BATCH: usize = 10;
/// Results of a block that lies so many blocks back are not to come any more.
const SETTLED: u64 = 10;
/// So often, one time after the other, a node behind which several stand may tell of a block that the next
/// of them does not have yet.
const MAX_UNSHOWN: u32 = 5;
/// The limits for a CometBFT node of which nothing else is known.
#[must_use]
pub fn default_limits() -> RpcLimits {
    RpcLimits { batch: BATCH, ..RpcLimits::default() }
}

/// One RPC node of a network.
#[derive(Debug)]
pub struct Upstream {
    name: UpstreamName,
    operator: OperatorName,
    chain_id: CosmosChainId,
    client: RpcClient,
    health: Mutex<Health>,
    chain_checked: AtomicBool,
    told: Mutex<Option<Told>>,
    unshown: AtomicU32,
    validators: KnownValidators,
}

/// The blocks it told of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    /// The newest.
    pub(crate) height: Height,
    /// The oldest.
    pub(crate) earliest: Height,
    /// Whether it fetches old blocks still.
    pub(crate) catching_up: bool,
    /// When it last said so of itself.
    pub(crate) at: Option<Instant>,
}

impl Upstream {
    /// An upstream that must serve the chain `chain_id`.
    #[must_use]
    pub fn new(
        name: UpstreamName,
        operator: OperatorName,
        chain_id: CosmosChainId,
        client: RpcClient,
    ) -> Self {
        Self {
            name,
            operator,
            chain_id,
            client: client.leaving_results(),
            health: Mutex::default(),
            chain_checked: AtomicBool::new(false),
            told: Mutex::default(),
            unshown: AtomicU32::new(0),
            validators: KnownValidators::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &UpstreamName {
        &self.name
    }

    /// Who runs it.
    #[must_use]
    pub fn operator(&self) -> &OperatorName {
        &self.operator
    }

    /// The client under it. Its results are as the node gave them: see
    /// [`RpcClient::leaving_results`].
    #[must_use]
    pub fn client(&self) -> &RpcClient {
        &self.client
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its health.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        self.health().report()
    }

    /// Whether it is asked at all now: it is neither in quarantine nor resting after failures.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.health().is_usable()
    }

    /// Puts it in quarantine; true if it was not in it already. What it told of its blocks counts no more.
    pub(crate) fn quarantine(&self) -> bool {
        *self.told_now() = None;
        self.unshown.store(0, Ordering::Relaxed);
        self.health().quarantine()
    }

    /// What orders upstreams from the best to ask to the worst: failing ones last, then slow ones.
    pub(crate) fn preference(&self) -> (u32, Duration) {
        self.health().preference()
    }

    fn told_now(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blocks it told of.
    pub(crate) fn told(&self) -> Option<Told> {
        *self.told_now()
    }

    /// It showed a block that it was asked for.
    pub(crate) fn shows(&self) {
        self.unshown.store(0, Ordering::Relaxed);
    }

    /// It did not show the block at `height`. Whether it told of it, and that too often to be a node
    /// behind which several stand, of which one is a moment late.
    pub(crate) fn hides(&self, height: Height) -> bool {
        let told = self.told();
        let claims = told.is_some_and(|told| told.earliest <= height && height <= told.height);
        claims && self.unshown.fetch_add(1, Ordering::Relaxed) >= MAX_UNSHOWN
    }

    pub(crate) fn known_validators(&self) -> &KnownValidators {
        &self.validators
    }

    /// It told of a block at this height.
    pub(crate) fn reached(&self, height: Height) {
        let mut told = self.told_now();
        let told = told.get_or_insert_default();
        if told.height <= height {
            told.height = height;
            self.health().reached(height);
        }
    }

    /// A text of a result without what is secret of the URL.
    pub(crate) fn blank(&self, text: &str) -> String {
        self.client.url().blank(text)
    }

    /// Makes calls; before the first, asks which chain it serves, and again after every failure,
    /// since what answers at a URL can change.
    pub(crate) async fn calls(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        self.noted(async {
            self.check_once().await?;
            self.client.call_many(calls).await
        })
        .await
    }

    pub(crate) async fn noted<T>(
        &self,
        asking: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let started = Instant::now();
        let result = asking.await;
        if matches!(&result, Err(e) if !matches!(e, UpstreamError::Refused { .. })) {
            self.chain_checked.store(false, Ordering::Relaxed);
        }
        self.health().note(started.elapsed(), &result);
        result
    }

    pub(crate) async fn check_once(&self) -> Result<(), UpstreamError> {
        if self.chain_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.ask_status().await.map(|_| ())
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        parse(self.calls(&[RpcCall { method, params }]).await?.pop())
    }

    async fn ask_status(&self) -> Result<Status, UpstreamError> {
        let call = RpcCall { method: "status", params: json!({}) };
        let told: JsonStatus = parse(self.client.call_many(&[call]).await?.pop())?;
        if told.chain_id() != self.chain_id.as_str() {
            return Err(UpstreamError::WrongChain {
                expected: self.chain_id.as_str().into(),
                found: self.blank(told.chain_id()).into(),
            });
        }
        self.chain_checked.store(true, Ordering::Relaxed);
        let status = Status::from(told);
        // A node can fall back too, so what it says last counts.
        *self.told_now() = Some(Told {
            height: status.latest,
            earliest: status.earliest,
            catching_up: status.catching_up,
            at: Some(Instant::now()),
        });
        self.health().reached(status.latest);
        Ok(status)
    }

    /// What it says of itself (`status`).
    ///
    /// # Errors
    /// [`UpstreamError::WrongChain`] if it serves another chain than configured.
    pub async fn status(&self) -> Result<Status, UpstreamError> {
        self.noted(self.ask_status()).await
    }

    /// What happened in the blocks at `heights`, in that order (`block_results`).
    ///
    /// # Errors
    /// [`UpstreamError`] if it cannot tell of one of them for another reason than that it does not
    /// have it.
    pub async fn block_events(
        &self,
        heights: &[Height],
    ) -> Result<Vec<AtHeight<BlockEvents>>, UpstreamError> {
        let results = self.at_heights("block_results", heights).await?;
        results
            .into_iter()
            .zip(heights)
            .map(|(result, height)| match result {
                AtHeight::Known(json) => {
                    events::read_results(json.get(), *height).map(AtHeight::Known)
                }
                AtHeight::NotYet => Ok(AtHeight::NotYet),
                AtHeight::Pruned => Ok(AtHeight::Pruned),
            })
            .collect()
    }

    /// Which transactions the block at `height` holds (`block`).
    ///
    /// # Errors
    /// [`UpstreamError`] if it cannot tell for another reason than that it does not have it.
    pub async fn block_transactions(
        &self,
        height: Height,
    ) -> Result<AtHeight<BlockTransactions>, UpstreamError> {
        Ok(match self.at_heights("block", &[height]).await?.pop() {
            Some(AtHeight::Known(json)) => {
                let block: JsonBlock = parse(Some(Ok(json)))?;
                AtHeight::Known(block.at(height)?)
            }
            Some(AtHeight::Pruned) => AtHeight::Pruned,
            Some(AtHeight::NotYet) | None => AtHeight::NotYet,
        })
    }

    /// What a method that takes a height gives at each of `heights`.
    pub(crate) async fn at_heights(
        &self,
        method: &'static str,
        heights: &[Height],
    ) -> Result<Vec<AtHeight<Box<serde_json::value::RawValue>>>, UpstreamError> {
        let calls: Vec<_> = heights
            .iter()
            .map(|height| RpcCall { method, params: json!({ "height": height.to_string() }) })
            .collect();
        let results = self.calls(&calls).await?;
        let lacks = results.iter().any(|r| matches!(r, Err(error) if may_lack_height(error)));
        // Asked afterwards, it can only have more blocks, and have dropped more.
        let status = if lacks { Some(self.status().await?) } else { None };
        results
            .into_iter()
            .zip(heights)
            .map(|(result, height)| match (result, &status) {
                (Ok(json), _) => {
                    self.reached(*height);
                    Ok(AtHeight::Known(json))
                }
                (Err(error), Some(status)) if may_lack_height(&error) => {
                    let settled = height.0.saturating_add(SETTLED) < status.latest.0;
                    let pruned = *height < status.earliest || settled;
                    Ok(if pruned { AtHeight::Pruned } else { AtHeight::NotYet })
                }
                (Err(error), _) => Err(wire::refused(&error)),
            })
            .collect()
    }

    /// Asks the application (`abci_query`).
    ///
    /// # Errors
    /// [`UpstreamError`]; that the application refuses is in the answer.
    pub async fn query(&self, query: &AbciQuery) -> Result<Answer, UpstreamError> {
        let answers = self.queries(std::slice::from_ref(query)).await?;
        answers.into_iter().next().ok_or(UpstreamError::Garbage("no answer".into()))
    }

    /// Asks the application many questions, in batches; the answers are in the same order.
    ///
    /// # Errors
    /// [`UpstreamError`] if it answers one of them not at all; that the application refuses one is
    /// in its answer.
    pub async fn queries(&self, queries: &[AbciQuery]) -> Result<Vec<Answer>, UpstreamError> {
        let calls: Vec<_> = queries.iter().map(AbciQuery::call).collect();
        let results = self.calls(&calls).await?;
        results
            .into_iter()
            .map(|result| parse::<JsonAnswer>(Some(result))?.read(|log| self.blank(log)))
            .collect()
    }
}
