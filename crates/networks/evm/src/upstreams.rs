//! All upstreams of a network, and the quorum among them.

use crate::{
    rpc::UpstreamError,
    upstream::{CallOutcome, EthCall, Upstream},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use postrider_message::{Alarm, AlarmKind, Height, NetworkName, UnixMillis, UpstreamName};
use postrider_verification::{
    Answer, QuorumPolicy, Reading, Shortfall,
    evm::{AnchoredBlock, ClaimedHeader, anchor},
    quorum::{agree, reached, read},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Once a quorum has answered alike, how long the rest are waited for at least, so that one who
/// contradicts is still heard.
const GRACE: Duration = Duration::from_millis(100);
/// The most alarms kept until they are taken.
const MAX_ALARMS: usize = 256;

/// When a block counts as final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// When this many blocks stand on top of it.
    Confirmations(u64),
    /// When the node names it `safe`.
    Safe,
    /// When the node names it `finalized`.
    Finalized,
}

impl Finality {
    fn tag(self) -> Option<&'static str> {
        match self {
            Self::Confirmations(_) => None,
            Self::Safe => Some("safe"),
            Self::Finalized => Some("finalized"),
        }
    }
}

/// Why nothing could be agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// Too few upstreams answer, or too few agree.
    #[error("{0}")]
    Quorum(#[from] Shortfall),
    /// No upstream is usable for something that needs only one.
    #[error("no upstream answers; the last error: {0}")]
    Upstream(#[from] UpstreamError),
}

/// The newest blocks that the upstreams tell of.
#[derive(Debug, Clone)]
pub struct Heads {
    latest: Vec<Answer<ClaimedHeader>>,
    /// The height that the M-th highest upstream has reached.
    pub head: Height,
    /// The height that is final for the M-th highest upstream; `None` while nothing is.
    pub final_height: Option<Height>,
}

/// The upstreams of one network.
#[derive(Debug)]
pub struct Upstreams {
    network: NetworkName,
    list: Vec<Arc<Upstream>>,
    policy: QuorumPolicy,
    finality: Finality,
    alarms: Mutex<VecDeque<Alarm>>,
}

impl Upstreams {
    /// The upstreams of `network`, which agree by `policy`.
    #[must_use]
    pub fn new(
        network: NetworkName,
        list: Vec<Arc<Upstream>>,
        policy: QuorumPolicy,
        finality: Finality,
    ) -> Self {
        Self { network, list, policy, finality, alarms: Mutex::default() }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The quorum's size.
    #[must_use]
    pub fn policy(&self) -> &QuorumPolicy {
        &self.policy
    }

    /// When a block counts as final.
    #[must_use]
    pub fn finality(&self) -> Finality {
        self.finality
    }

    /// Every upstream.
    #[must_use]
    pub fn all(&self) -> &[Arc<Upstream>] {
        &self.list
    }

    /// The usable upstreams, the best to ask first.
    #[must_use]
    pub fn by_preference(&self) -> Vec<Arc<Upstream>> {
        let mut usable: Vec<_> = self.list.iter().filter(|u| u.is_usable()).cloned().collect();
        usable.sort_by_key(|u| u.preference());
        usable
    }

    /// Asks the usable upstreams one after the other until one answers.
    ///
    /// # Errors
    /// The last upstream's error.
    pub async fn first<T>(
        &self,
        ask: impl for<'a> Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let mut last = UpstreamError::Unreachable("no upstream is usable now".into());
        for upstream in self.by_preference() {
            match ask(&upstream).await {
                Ok(value) => return Ok(value),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks all usable upstreams at once. Comes back when all have answered or, after a short
    /// grace, when `enough` is satisfied with the answers there are.
    pub(crate) async fn ask_all<T: Clone>(
        &self,
        ask: impl for<'a> Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
        enough: impl Fn(&[Answer<T>]) -> bool,
    ) -> Vec<Answer<T>> {
        let mut answers: Vec<Answer<T>> = self
            .list
            .iter()
            .map(|u| Answer {
                upstream: u.name().clone(),
                operator: u.operator().clone(),
                value: None,
            })
            .collect();
        let started = Instant::now();
        let mut pending: FuturesUnordered<_> = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, u)| u.is_usable())
            .map(|(i, u)| ask(u).map(move |result| (i, result)))
            .collect();
        let mut deadline: Option<Instant> = None;
        while !pending.is_empty() {
            let next = match deadline {
                None => pending.next().await,
                Some(at) => match tokio::time::timeout_at(at.into(), pending.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            let Some((index, result)) = next else { break };
            match result {
                Ok(value) => {
                    if let Some(answer) = answers.get_mut(index) {
                        answer.value = Some(value);
                    }
                }
                Err(error) => {
                    let name = self.list.get(index).map(|u| u.name().as_str());
                    tracing::debug!(network = %self.network, upstream = name, %error, "no answer");
                }
            }
            if deadline.is_none() && enough(&answers) {
                deadline = Some(Instant::now() + GRACE.max(started.elapsed() * 2));
            }
        }
        answers
    }

    /// The newest blocks that the upstreams tell of.
    ///
    /// # Errors
    /// [`Shortfall`] if fewer operators than needed answer.
    pub async fn heads(&self) -> Result<Heads, Shortfall> {
        let tag = self.finality.tag();
        let answers = self
            .ask_all(
                |u| u.newest(tag).boxed(),
                |answers| reached(&self.policy, &heights(answers)).is_ok(),
            )
            .await;
        let head = reached(&self.policy, &heights(&answers))?;
        let finals: Vec<Answer<Height>> = map(&answers, |(latest, tagged)| match self.finality {
            Finality::Confirmations(n) => latest.header.number.checked_sub(n).map(Height),
            Finality::Safe | Finality::Finalized => *tagged,
        });
        Ok(Heads {
            latest: map(&answers, |(latest, _)| Some(latest.clone())),
            head,
            final_height: reached(&self.policy, &finals).ok(),
        })
    }

    /// Anchors the block at `height`, which must not be higher than what is final by `heads`. An
    /// upstream that contradicts the quorum there is quarantined.
    ///
    /// # Errors
    /// [`Shortfall`] if no quorum agrees.
    pub async fn anchor_final(
        &self,
        height: Height,
        heads: &Heads,
    ) -> Result<AnchoredBlock, Shortfall> {
        let (block, dissenters) = self.anchor(height, heads).await?;
        for upstream in dissenters {
            self.quarantine(&upstream, &format!("another block at final height {height}"));
        }
        Ok(block)
    }

    /// Anchors the newest block that a quorum has reached. Upstreams may differ about it without
    /// lying, so none is quarantined; what it holds may still go.
    ///
    /// # Errors
    /// [`Shortfall`] if no quorum agrees.
    pub async fn anchor_latest(&self) -> Result<AnchoredBlock, Shortfall> {
        let heads = self.heads().await?;
        Ok(self.anchor(heads.head, &heads).await?.0)
    }

    async fn anchor(
        &self,
        height: Height,
        heads: &Heads,
    ) -> Result<(AnchoredBlock, Vec<UpstreamName>), Shortfall> {
        let known = map(&heads.latest, |h| (h.header.number == height.0).then(|| h.clone()));
        let try_known = anchor(&self.policy, &self.network, height, heads.head, known);
        if let Ok(found) = try_known {
            return Ok(found);
        }
        let answers = self
            .ask_all(
                |u| async move { one(u.headers(&[height]).await?) }.boxed(),
                |answers| {
                    let hashes = map(answers, |h| h.is_consistent().then_some(h.hash));
                    agree(&self.policy, &hashes).is_ok()
                },
            )
            .await;
        anchor(&self.policy, &self.network, height, heads.head, answers)
    }

    /// What each of `calls` gives in the state after the anchored block `at`, as a quorum says;
    /// `None` for a call that no quorum tells the same of. An upstream that contradicts the quorum
    /// is quarantined: at one block hash there is only one state.
    ///
    /// # Errors
    /// [`Shortfall`] if no call has a quorum.
    pub async fn read(
        &self,
        at: &AnchoredBlock,
        calls: &[EthCall],
    ) -> Result<Reading<Vec<Option<CallOutcome>>>, Shortfall> {
        let block = at.block();
        let calls: Arc<[EthCall]> = calls.into();
        let answers = self
            .ask_all(
                |u| {
                    let calls = Arc::clone(&calls);
                    async move { u.call_at(block.hash.0, &calls).await }.boxed()
                },
                |answers| agree(&self.policy, answers).is_ok(),
            )
            .await;
        let (reading, dissenters) = read(&self.policy, block, calls.len(), &answers)?;
        for upstream in dissenters {
            self.quarantine(&upstream, &format!("another state after block {}", block.height));
        }
        Ok(reading)
    }

    /// Puts an upstream in quarantine, with an alarm.
    pub(crate) fn quarantine(&self, upstream: &UpstreamName, why: &str) {
        let Some(found) = self.list.iter().find(|u| u.name() == upstream) else {
            return;
        };
        if !found.quarantine() {
            return;
        }
        tracing::warn!(network = %self.network, %upstream, why, "upstream quarantined");
        self.raise(AlarmKind::UpstreamDissents, &format!("upstream {upstream} told {why}"));
    }

    /// Records an alarm until [`Self::take_alarms`].
    pub(crate) fn raise(&self, kind: AlarmKind, detail: &str) {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        if alarms.len() >= MAX_ALARMS {
            alarms.pop_front();
        }
        alarms.push_back(Alarm {
            kind,
            network: self.network.clone(),
            message: None,
            detail: detail.into(),
            at: UnixMillis::now(),
        });
    }

    /// Takes the alarms raised since the last call.
    #[must_use]
    pub fn take_alarms(&self) -> Vec<Alarm> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

fn one<T>(list: Vec<T>) -> Result<T, UpstreamError> {
    list.into_iter().next().ok_or(UpstreamError::Missing("the block"))
}

fn map<T, U>(answers: &[Answer<T>], form: impl Fn(&T) -> Option<U>) -> Vec<Answer<U>> {
    answers
        .iter()
        .map(|a| Answer {
            upstream: a.upstream.clone(),
            operator: a.operator.clone(),
            value: a.value.as_ref().and_then(&form),
        })
        .collect()
}

fn heights(answers: &[Answer<(ClaimedHeader, Option<Height>)>]) -> Vec<Answer<Height>> {
    map(answers, |(latest, _)| Some(Height(latest.header.number)))
}
