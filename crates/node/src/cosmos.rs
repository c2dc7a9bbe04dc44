//! A Cosmos network as the tasks of a node see it.

use crate::{
    config::CosmosConfig,
    context::{Progress, Wallets},
    ibc::{hosted::Hosted, proofs::Proofs, submit::Gauge},
};
use futures::future::join_all;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{
    LightClient, LightError, RpcClient, TxBuilder, Upstream, UpstreamError, Upstreams,
    light::Anchored,
};
use postrider_message::{Height, NetworkName, UnixMillis};
use postrider_signing::CosmosKey;
use postrider_verification::tendermint::{CosmosAnchor, Misbehaviour, RootOfTrust};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// Where an upstream told of a block not longer ago than this, it is polled more rarely, and this is the
/// longest time between two polls then.
const TOLD: Duration = Duration::from_secs(10);
/// How much more rarely.
const POLLS_TOLD: u32 = 4;
/// So often is a chain told of misbehaviour that it does not take.
const MAX_TOLD: u32 = 20;

/// A Cosmos network as the tasks see it.
#[derive(Debug)]
pub struct CosmosNetwork {
    /// Its name.
    pub name: NetworkName,
    /// Its settings.
    pub config: CosmosConfig,
    /// Its upstreams.
    pub upstreams: Arc<Upstreams>,
    /// Its light client: nothing of the network is believed but through it.
    pub light: LightClient,
    /// Proofs of its state that are of use again.
    pub proofs: Proofs,
    /// The clients on it that follow other networks.
    pub hosted: Hosted,
    /// How far it is known.
    pub progress: watch::Sender<Progress>,
    /// Wakes the planner of what is brought there.
    pub work: Notify,
    /// When an upstream last told of a new block by itself, and who waits for that.
    heard: Mutex<Option<Instant>>,
    block: Notify,
    /// Two chains of it that validators signed, once that was seen.
    misbehaviour: Mutex<Option<Misbehaviour>>,
    /// How often the chain was told of it.
    told: AtomicU32,
    /// The accounts that pay there.
    pub wallets: Wallets,
    /// What its transactions use and offer.
    gauge: Mutex<Gauge>,
}

impl CosmosNetwork {
    /// A network with these settings; asks nobody anything yet.
    ///
    /// # Errors
    /// [`UpstreamError`] if no HTTP client can be built.
    pub fn new(name: NetworkName, config: CosmosConfig) -> Result<Self, UpstreamError> {
        let mut list = Vec::new();
        for upstream in &config.upstreams {
            let client = RpcClient::new(upstream.url.clone(), upstream.limits)?;
            let (name, operator) = (upstream.name.clone(), upstream.operator.clone());
            let chain_id = config.chain_id.clone();
            list.push(Arc::new(Upstream::new(name, operator, chain_id, client)));
        }
        let upstreams = Arc::new(Upstreams::new(name.clone(), list));
        let light = LightClient::new(config.trust.clone(), Arc::clone(&upstreams));
        Ok(Self {
            name,
            config,
            upstreams,
            light,
            proofs: Proofs::default(),
            hosted: Hosted::default(),
            progress: watch::Sender::new(Progress::default()),
            work: Notify::new(),
            heard: Mutex::default(),
            block: Notify::new(),
            misbehaviour: Mutex::default(),
            told: AtomicU32::new(0),
            wallets: Wallets::default(),
            gauge: Mutex::default(),
        })
    }

    /// What its transactions use and offer. Not to be kept: all who pay there share it.
    pub fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom messages name as their signer: the account of `key`, or who granted it to act in their name.
    #[must_use]
    pub fn named_by(&self, key: &CosmosKey) -> String {
        let granter = self.config.paying.granter.clone();
        granter.unwrap_or_else(|| key.address(&self.config.prefix))
    }

    /// A transaction of these messages that `key` is to sign, with the network's memo, in the name of who
    /// granted that, and paid for by who granted that. The messages name [`Self::named_by`].
    #[must_use]
    pub fn transaction(&self, messages: Vec<Any>, key: &CosmosKey) -> TxBuilder {
        let paying = &self.config.paying;
        let mut builder = TxBuilder::new(self.config.chain_id.clone(), messages).memo(&paying.memo);
        if paying.granter.is_some() {
            builder = builder.authorized(&key.address(&self.config.prefix));
        }
        match &paying.fee_granter {
            Some(granter) => builder.fee_granter(granter),
            None => builder,
        }
    }

    /// Notes that an upstream told of a new block.
    pub fn note_block(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.block.notify_one();
    }

    /// Waits until it is time to look for blocks: when one is told of, or after a while. Where an upstream
    /// tells of them, that is several times the configured one.
    pub async fn next_look(&self) {
        let poll = self.config.poll;
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = heard.is_some_and(|at| at.elapsed() < TOLD);
        let pause = if is_told { (poll * POLLS_TOLD).min(TOLD).max(poll) } else { poll };
        // Whichever comes first.
        let _ = tokio::time::timeout(pause, self.block.notified()).await;
    }

    /// Two blocks of one height that validators signed, if that was seen.
    #[must_use]
    pub fn misbehaviour(&self) -> Option<Misbehaviour> {
        self.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what shows that validators signed two chains; what was seen first stays.
    pub fn note_misbehaviour(&self, found: &Misbehaviour) {
        let mut known = self.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| found.clone());
    }

    /// Tells the chain itself of the misbehaviour that was seen, by every upstream: each takes what is
    /// not of its own chain, once it has the block after. Called again until one took it.
    pub async fn tell_misbehaviour(&self) {
        let Some(found) = self.misbehaviour() else { return };
        let attempt = self.told.load(Ordering::Relaxed);
        if attempt >= MAX_TOLD {
            return;
        }
        self.told.store(attempt + 1, Ordering::Relaxed);
        let upstreams = self.upstreams.all();
        let told = join_all(upstreams.iter().map(|upstream| upstream.convict(&found))).await;
        for (upstream, told) in upstreams.iter().zip(told) {
            let (network, upstream) = (&self.name, upstream.name());
            match told {
                Ok(()) => {
                    tracing::error!(%network, %upstream, "evidence of misbehaviour was taken");
                    self.told.store(MAX_TOLD, Ordering::Relaxed);
                }
                Err(error) => {
                    tracing::warn!(%network, %upstream, %error, "evidence of misbehaviour was not taken");
                }
            }
        }
    }

    /// Lets the light client begin, from a block that was accepted before or else from the operator's
    /// root of trust. Does nothing if it has begun.
    ///
    /// # Errors
    /// [`LightError`].
    pub async fn begin(&self, accepted: Option<RootOfTrust>) -> Result<(), LightError> {
        if self.light.highest().is_some() {
            return Ok(());
        }
        let now = UnixMillis::now();
        if let Some(root) = accepted
            && self.light.start(&root, now).await.is_ok()
        {
            return Ok(());
        }
        self.light.start(&self.config.root, now).await.map(|_| ())
    }

    /// Whether anything of it was read since this node runs.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.progress.borrow().durable.0 > 0
    }

    /// The newest block whose state was read to its end, anchored.
    ///
    /// # Errors
    /// [`LightError`]: [`LightError::NotStarted`] if nothing was read yet.
    pub async fn known_state(&self) -> Result<CosmosAnchor, LightError> {
        let durable = self.progress.borrow().durable;
        if durable.0 == 0 {
            return Err(LightError::NotStarted);
        }
        Ok(self.anchor(durable.next()).await?.anchor)
    }

    /// The newest block that the best upstream tells of, anchored.
    ///
    /// # Errors
    /// [`LightError`].
    pub async fn newest(&self) -> Result<Anchored, LightError> {
        self.light.anchor_newest(UnixMillis::now()).await
    }

    /// The block at a height, anchored.
    ///
    /// # Errors
    /// [`LightError`].
    pub async fn anchor(&self, height: Height) -> Result<Anchored, LightError> {
        self.light.anchor_at(height, UnixMillis::now()).await
    }
}
