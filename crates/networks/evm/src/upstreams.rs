//! All upstreams of a network, and the quorum among them.

use crate::{
    simulate::{Code, Sequence, Simulated},
    upstream::{AccountState, CallOutcome, EthCall, Upstream},
};
use alloy_primitives::{Address, B256};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use postrider_jsonrpc::UpstreamError;
use postrider_message::{Alarm, AlarmKind, Height, NetworkName, UnixMillis, UpstreamName};
use postrider_verification::{
    Answer, QuorumPolicy, Reading, Shortfall,
    evm::{AnchoredBlock, ClaimedHeader, anchor},
    quorum::{agree, reached, read},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Once a quorum has answered alike, how long the rest are waited for at least, so that one who
/// contradicts is still heard.
const GRACE: Duration = Duration::from_millis(100);
/// What an upstream said its newest block is, is not asked again for so long: a look at the chain
/// and the work that follows from it share one question.
const FRESH: Duration = Duration::from_millis(200);
/// How many of an upstream's newest blocks are remembered.
const REMEMBERED: usize = 32;
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

/// What an upstream told of its newest block.
#[derive(Debug)]
struct Told {
    at: Instant,
    newest: ClaimedHeader,
    /// What its tag named.
    tagged: Option<Height>,
    /// Its newest blocks before, the latest last.
    before: VecDeque<ClaimedHeader>,
}

impl Told {
    /// The block at `height` on the chain that the upstream tells of: whoever tells of a block tells
    /// of its parents, and those it told of before need not be asked for.
    fn block(&self, height: Height) -> Option<ClaimedHeader> {
        let mut block = &self.newest;
        for parent in self.before.iter().rev() {
            if block.header.number == height.0 {
                break;
            }
            if parent.hash == block.header.parent_hash {
                block = parent;
            }
        }
        (block.header.number == height.0).then(|| block.clone())
    }
}

/// The upstreams of one network.
#[derive(Debug)]
pub struct Upstreams {
    network: NetworkName,
    list: Vec<Arc<Upstream>>,
    policy: QuorumPolicy,
    finality: Finality,
    alarms: Mutex<VecDeque<Alarm>>,
    told: Mutex<HashMap<UpstreamName, Told>>,
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
        Self { network, list, policy, finality, alarms: Mutex::default(), told: Mutex::default() }
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
    pub fn by_preference(&self) -> Vec<&Arc<Upstream>> {
        let mut usable: Vec<_> = self.list.iter().filter(|u| u.is_usable()).collect();
        usable.sort_by_key(|u| u.preference());
        usable
    }

    /// An account after its included transactions, and the tip to offer: of each number the M-th
    /// highest told, so that no single operator can send our transactions to a nonce that does not
    /// come, or drain the account by its tip.
    ///
    /// # Errors
    /// [`Shortfall`] if fewer operators than needed answer.
    pub async fn account(&self, address: Address) -> Result<AccountState, Shortfall> {
        let answers = self
            .ask_all(
                |u| u.account(address).boxed(),
                |answers| reached(&self.policy, &map(answers, |a| Some(a.nonce))).is_ok(),
            )
            .await;
        Ok(AccountState {
            nonce: reached(&self.policy, &map(&answers, |a| Some(a.nonce)))?,
            balance: reached(&self.policy, &map(&answers, |a| Some(a.balance)))?,
            suggested_tip: reached(&self.policy, &map(&answers, |a| Some(a.suggested_tip)))?,
        })
    }

    /// Asks the usable upstreams one after the other until one answers.
    ///
    /// # Errors
    /// The last upstream's error.
    pub async fn first<'a, T>(
        &'a self,
        ask: impl Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let mut last = UpstreamError::Unreachable("no upstream is usable now".into());
        for upstream in self.by_preference() {
            match ask(upstream).await {
                Ok(value) => return Ok(value),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks all usable upstreams at once. Comes back when all have answered or, after a short
    /// grace, when `enough` is satisfied with the answers there are.
    pub(crate) async fn ask_all<'a, T: Clone>(
        &'a self,
        ask: impl Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
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

    /// The newest block of the best upstream, without believing it.
    ///
    /// # Errors
    /// The last upstream's error.
    pub async fn newest(&self) -> Result<ClaimedHeader, UpstreamError> {
        let answer = self.first(|u| self.ask_newest(u).boxed()).await?;
        Ok(answer.0)
    }

    async fn ask_newest(
        &self,
        upstream: &Upstream,
    ) -> Result<(ClaimedHeader, Option<Height>), UpstreamError> {
        let (header, tagged) = upstream.newest(self.finality.tag()).await?;
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = VecDeque::new();
        if let Some(mut told) = all.remove(upstream.name()) {
            before = std::mem::take(&mut told.before);
            if told.newest.hash != header.hash {
                before.push_back(told.newest);
            }
            if before.len() > REMEMBERED {
                before.pop_front();
            }
        }
        let told = Told { at: Instant::now(), newest: header.clone(), tagged, before };
        all.insert(upstream.name().clone(), told);
        Ok((header, tagged))
    }

    /// What the upstream told a moment ago.
    fn just_told(&self, upstream: &Upstream) -> Option<(ClaimedHeader, Option<Height>)> {
        let all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.get(upstream.name())?;
        (told.at.elapsed() < FRESH).then(|| (told.newest.clone(), told.tagged))
    }

    /// The newest blocks that the upstreams tell of, or told a moment ago.
    ///
    /// # Errors
    /// [`Shortfall`] if fewer operators than needed answer.
    pub async fn heads(&self) -> Result<Heads, Shortfall> {
        let answers = self
            .ask_all(
                |u| {
                    async move {
                        match self.just_told(u) {
                            Some(told) => Ok(told),
                            None => self.ask_newest(u).await,
                        }
                    }
                    .boxed()
                },
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

    /// Anchors the blocks at `heights`, none of which may be higher than what is final by `heads`, in
    /// one question to each upstream. Each stands for itself; one that contradicts the quorum is
    /// quarantined.
    ///
    /// # Errors
    /// [`Shortfall`] for a height on which no quorum agrees.
    pub async fn anchor_all_final(
        &self,
        heights: &[Height],
        heads: &Heads,
    ) -> Vec<Result<AnchoredBlock, Shortfall>> {
        let told = self
            .ask_all(
                |u| async move { u.headers(heights).await }.boxed(),
                |answers| {
                    (0..heights.len()).all(|place| agree(&self.policy, &at(answers, place)).is_ok())
                },
            )
            .await;
        let mut anchored = Vec::with_capacity(heights.len());
        for (place, height) in heights.iter().enumerate() {
            let headers = map(&told, |headers| headers.get(place).cloned());
            let found = anchor(&self.policy, &self.network, *height, heads.head, headers);
            anchored.push(found.map(|(block, dissenters)| {
                for upstream in dissenters {
                    self.quarantine(&upstream, &format!("another block at final height {height}"));
                }
                block
            }));
        }
        anchored
    }

    /// The block at `height` as the upstream told of it, if it told of it with its newest one.
    fn known(&self, latest: &Answer<ClaimedHeader>, height: Height) -> Answer<ClaimedHeader> {
        let all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.get(&latest.upstream).zip(latest.value.as_ref());
        // One that is not usable any more has no value.
        let told = told.filter(|(told, latest)| told.newest.hash == latest.hash);
        Answer {
            upstream: latest.upstream.clone(),
            operator: latest.operator.clone(),
            value: told.and_then(|(told, _)| told.block(height)),
        }
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
        let known: Vec<Answer<ClaimedHeader>> =
            heads.latest.iter().map(|latest| self.known(latest, height)).collect();
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

    /// How the calls of each sequence end in the state after the anchored block `at`, as a quorum
    /// says; `None` for a call that no quorum tells the same of. The gas used is the most that an
    /// upstream tells: a hint, for nodes need not agree on it.
    ///
    /// Calls that run `code` of strangers may end differently on honest nodes and may take long, so
    /// for them no upstream is quarantined or rested.
    ///
    /// # Errors
    /// [`Shortfall`] if no call has a quorum.
    pub async fn rehearse(
        &self,
        at: &AnchoredBlock,
        sequences: &[Sequence],
        code: Code,
    ) -> Result<Reading<Vec<Vec<Option<Simulated>>>>, Shortfall> {
        let block = at.block();
        let count = sequences.iter().map(|s| s.steps.len()).sum();
        let gas = Arc::new(Mutex::new(vec![0u64; count]));
        let shared: Arc<[Sequence]> = sequences.into();
        let answers = self
            .ask_all(
                |u| {
                    let (shared, gas) = (Arc::clone(&shared), Arc::clone(&gas));
                    async move {
                        let told = u.simulate_at(block.hash.0, &shared, code).await?;
                        let told: Vec<_> = told.into_iter().flatten().collect();
                        let mut gas = gas.lock().unwrap_or_else(PoisonError::into_inner);
                        for (most, call) in gas.iter_mut().zip(&told) {
                            *most = call.as_ref().map_or(0, |c| c.gas_used).max(*most);
                        }
                        Ok(told.into_iter().map(|c| c.map(|c| c.outcome)).collect())
                    }
                    .boxed()
                },
                |answers| agree(&self.policy, answers).is_ok(),
            )
            .await;
        let (reading, dissenters) = read(&self.policy, block, count, &answers)?;
        for upstream in dissenters.into_iter().filter(|_| code == Code::Known) {
            self.quarantine(&upstream, &format!("another state after block {}", block.height));
        }
        let gas = std::mem::take(&mut *gas.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(reading.map(|outcomes| {
            let mut flat = outcomes
                .into_iter()
                .zip(gas)
                .map(|(outcome, gas_used)| Some(Simulated { outcome: outcome?, gas_used }));
            sequences.iter().map(|s| flat.by_ref().take(s.steps.len()).collect()).collect()
        }))
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

/// What each upstream claims the hash of one of the blocks to be, where its header holds.
fn at(answers: &[Answer<Vec<ClaimedHeader>>], place: usize) -> Vec<Answer<B256>> {
    map(answers, |headers| {
        headers.get(place).filter(|header| header.is_consistent()).map(|header| header.hash)
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Header;

    fn block(number: u64, parent: B256, extra: u8) -> ClaimedHeader {
        let extra_data = vec![extra].into();
        let header = Header { number, parent_hash: parent, extra_data, ..Header::default() };
        ClaimedHeader { hash: header.hash_slow(), header }
    }

    #[test]
    fn what_was_told_before_counts_only_on_the_chain_that_is_told_now() {
        let first = block(1, B256::ZERO, 0);
        let second = block(2, first.hash, 0);
        let replaced = block(2, first.hash, 1);
        let third = block(3, second.hash, 0);
        let before = VecDeque::from([first.clone(), second.clone(), replaced]);
        let told = Told {
            at: Instant::now(),
            newest: third.clone(),
            tagged: None,
            before: before.clone(),
        };
        assert_eq!(told.block(Height(3)), Some(third));
        assert_eq!(told.block(Height(2)), Some(second));
        assert_eq!(told.block(Height(1)), Some(first));
        assert_eq!(told.block(Height(4)), None);
        let other = block(4, B256::repeat_byte(9), 0);
        let told = Told { at: Instant::now(), newest: other, tagged: None, before };
        assert_eq!(told.block(Height(2)), None, "a gap between what was told and what is");
    }
}
