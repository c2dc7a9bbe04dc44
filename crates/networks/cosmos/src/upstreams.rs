//! All upstreams of a network: whom to ask, and whom not. What they tell is proven afterwards, so
//! one answer is enough.

use crate::{status::Status, upstream::Upstream};
use futures::future::{BoxFuture, join_all};
use postrider_jsonrpc::UpstreamError;
use postrider_message::{Alarm, AlarmKind, Height, NetworkName, UnixMillis, UpstreamName};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// An upstream that is so many blocks behind the best is not asked for the newest state. Nodes hear
/// of a block one after the other, so one block tells nothing.
const LAG: u64 = 3;
/// How long what an upstream told of its height counts.
const FRESH: Duration = Duration::from_secs(5);
/// The most alarms kept until they are taken.
const MAX_ALARMS: usize = 256;

/// What an upstream must have to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing that one has and another has not.
    Nothing,
    /// The newest state: one that lags is not asked.
    Newest,
    /// The block at this height: those that told of it, or of a later one, are asked first.
    Height(Height),
}

/// The upstreams of one network.
#[derive(Debug)]
pub struct Upstreams {
    network: NetworkName,
    list: Vec<Arc<Upstream>>,
    alarms: Mutex<VecDeque<Alarm>>,
}

impl Upstreams {
    /// The upstreams of `network`.
    #[must_use]
    pub fn new(network: NetworkName, list: Vec<Arc<Upstream>>) -> Self {
        Self { network, list, alarms: Mutex::default() }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.network
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

    /// The usable upstreams, those that are known to have what is needed before others, and of each
    /// the best first.
    pub fn order(&self, need: Need) -> Vec<&Arc<Upstream>> {
        let mut order = self.by_preference();
        if let Need::Height(height) = need {
            order.sort_by_key(|u| u.told().is_none_or(|told| told.height < height));
        }
        order
    }

    /// Asks the usable upstreams that have what is needed, one after the other, until one answers.
    ///
    /// # Errors
    /// The last upstream's error; [`UpstreamError::Unreachable`] if none is usable.
    pub async fn first<'a, T>(
        &'a self,
        need: Need,
        ask: impl Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        self.first_named(need, ask).await.map(|(_, value)| value)
    }

    /// As [`Upstreams::first`], and who answered.
    ///
    /// # Errors
    /// As [`Upstreams::first`].
    pub async fn first_named<'a, T>(
        &'a self,
        need: Need,
        ask: impl Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
    ) -> Result<(&'a Arc<Upstream>, T), UpstreamError> {
        let mut last = UpstreamError::Unreachable("no upstream is usable now".into());
        if need == Need::Newest {
            self.refresh().await;
        }
        for upstream in self.order(need) {
            if need == Need::Newest
                && let Err(error) = self.keeps_up(upstream).await
            {
                last = error;
                continue;
            }
            match ask(upstream).await {
                Ok(value) => return Ok((upstream, value)),
                Err(error) => {
                    let upstream = upstream.name();
                    tracing::debug!(network = %self.network, %upstream, %error, "no answer");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Asks every usable upstream at once, and gives the answers of those that answer: for lists that
    /// nothing proves to be whole, so that what one of them leaves out another one may tell.
    ///
    /// # Errors
    /// The last upstream's error if none answers; [`UpstreamError::Unreachable`] if none is usable.
    pub async fn each<'a, T>(
        &'a self,
        ask: impl Fn(&'a Upstream) -> BoxFuture<'a, Result<T, UpstreamError>>,
    ) -> Result<Vec<T>, UpstreamError> {
        let mut last = UpstreamError::Unreachable("no upstream is usable now".into());
        let mut answers = Vec::new();
        for answer in join_all(self.by_preference().into_iter().map(|u| ask(u))).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => last = error,
            }
        }
        if answers.is_empty() { Err(last) } else { Ok(answers) }
    }

    /// Asks those that did not fail lately what they say of themselves, where that is not fresh: else one
    /// that stands still would hold up what another one knows.
    async fn refresh(&self) {
        let usable = self.list.iter().filter(|u| u.is_usable() && u.preference().0 == 0);
        let stale: Vec<_> = usable.filter(|upstream| !is_fresh(upstream)).collect();
        // One that does not answer is known as such afterwards.
        join_all(stale.iter().map(|upstream| upstream.status())).await;
    }

    /// Whether an upstream is near the highest block that any usable one told of a moment ago.
    async fn keeps_up(&self, upstream: &Upstream) -> Result<(), UpstreamError> {
        if !is_fresh(upstream) {
            upstream.status().await?;
        }
        let told = upstream.told().unwrap_or_default();
        if told.catching_up {
            return Err(UpstreamError::Missing("the newest state: it is catching up"));
        }
        if told.height.0.saturating_add(LAG) < self.highest().0 {
            return Err(UpstreamError::Missing("the newest state: it lags behind others"));
        }
        Ok(())
    }

    /// The highest block that a usable upstream told of; 0 before any did.
    #[must_use]
    pub fn highest(&self) -> Height {
        let told = self.list.iter().filter(|u| u.is_usable()).filter_map(|u| u.told());
        told.map(|told| told.height).max().unwrap_or_default()
    }

    /// Asks every usable upstream at once what it says of itself, and gives the answers of those
    /// that answer. It also tells [`Need::Newest`] who lags.
    pub async fn statuses(&self) -> Vec<(&Arc<Upstream>, Status)> {
        let usable = self.by_preference();
        let told = join_all(usable.iter().map(|upstream| upstream.status())).await;
        let told = usable.into_iter().zip(told);
        told.filter_map(|(upstream, told)| told.ok().map(|status| (upstream, status))).collect()
    }

    /// Puts an upstream in quarantine, with an alarm: it told what was proven to be otherwise.
    pub fn quarantine(&self, upstream: &UpstreamName, why: &str) {
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

/// Whether an upstream said a moment ago which blocks it has.
fn is_fresh(upstream: &Upstream) -> bool {
    upstream.told().and_then(|told| told.at).is_some_and(|at| at.elapsed() < FRESH)
}
