//! When is looked for what is pending: at start, on a schedule, where blocks could not be read, and when an
//! operator asks.

use super::{
    backlog::{self, Found, Scope},
    channels::Channels,
};
use crate::{context::Context, cosmos::CosmosNetwork};
use postrider_verification::tendermint::CosmosAnchor;
use std::{collections::VecDeque, sync::Arc, time::Instant};
use tokio::task::JoinHandle;

/// The most looks that wait for their turn.
const MAX_WAITING: usize = 1_000;

/// One look at a time, beside the reading of new blocks.
pub(super) struct Clearing {
    context: Arc<Context>,
    network: Arc<CosmosNetwork>,
    channels: Arc<Channels>,
    waiting: VecDeque<Scope>,
    next: Instant,
    running: Option<JoinHandle<Option<Found>>>,
    found: Option<Found>,
}

impl Clearing {
    pub(super) fn new(
        context: Arc<Context>,
        network: Arc<CosmosNetwork>,
        channels: Arc<Channels>,
    ) -> Self {
        let next = Instant::now();
        let waiting = VecDeque::new();
        Self { context, network, channels, waiting, next, running: None, found: None }
    }

    /// Everything is looked for at once.
    pub(super) fn soon(&mut self) {
        self.next = Instant::now();
    }

    /// Everything was looked for.
    pub(super) fn done(&mut self) {
        let every = self.context.config.ibc.get(&self.network.name).map(|ibc| ibc.clear_every);
        self.next = Instant::now() + every.unwrap_or(std::time::Duration::from_secs(600));
    }

    /// Begins a look if it is time for one, and takes in what one has found.
    pub(super) async fn step(&mut self, anchor: &CosmosAnchor) {
        match self.context.store.take_clearings(&self.network.name).await {
            Ok(asked) => self.waiting.extend(asked.iter().filter_map(Scope::of)),
            Err(error) => tracing::warn!(%error, "requests to clear were not read"),
        }
        self.waiting.truncate(MAX_WAITING);
        if self.running.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(running) = self.running.take()
        {
            self.found = running
                .await
                .ok()
                .flatten()
                .filter(|f| !f.blocks.is_empty() || !f.missing.is_empty());
        }
        if self.running.is_some() || self.found.is_some() {
            return;
        }
        let scope = match self.waiting.pop_front() {
            Some(scope) => scope,
            None if self.next <= Instant::now() => {
                self.done();
                Scope::default()
            }
            None => return,
        };
        let (context, network) = (Arc::clone(&self.context), Arc::clone(&self.network));
        let (channels, anchor) = (Arc::clone(&self.channels), anchor.clone());
        let depth = self.context.config.ibc.get(&network.name).map_or(0, |ibc| ibc.search_blocks);
        self.running = Some(tokio::spawn(async move {
            let looked = backlog::look(&context, &network, &channels, &scope, (&anchor, depth));
            looked
                .await
                .inspect_err(|error| {
                    tracing::warn!(network = %network.name, %error, "what is pending was not looked for");
                })
                .ok()
        }));
    }

    /// What was found and is not recorded yet.
    pub(super) fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// What was found is recorded.
    pub(super) fn recorded(&mut self) {
        self.found = None;
    }
}

impl Drop for Clearing {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
