//! An upstream that lies on request: an HTTP JSON-RPC proxy in front of a real chain of any kind,
//! which counts what it is asked and misbehaves as it is told, at run time.

mod exchange;
mod fault;
mod heights;
mod logs;
mod server;
mod socket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::error::DevnetError;
use crate::rpc::http_client;
pub use fault::{Fault, Lie};
pub use logs::forged_log;
use server::Shared;

/// Names a fault that was added, so that it can be taken away again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(u64);

/// What a faulty upstream was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// HTTP requests; a batch is one.
    pub requests: u64,
    /// Calls by JSON-RPC method; each call of a batch is one.
    pub calls: BTreeMap<String, u64>,
    /// WebSockets that were opened.
    pub sockets: u64,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of answer bodies, without endless ones.
    pub response_bytes: u64,
}

impl Stats {
    /// All calls, whatever their method.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// A running proxy. It ends with the handle.
#[derive(Debug)]
pub struct FaultyUpstream {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    next: AtomicU64,
}

impl FaultyUpstream {
    /// Starts a proxy in front of `target_url`, on a free port of 127.0.0.1 and without faults.
    ///
    /// # Errors
    /// [`DevnetError::Listen`] without a free port, [`DevnetError::Rpc`] without an HTTP client.
    pub async fn start(target_url: impl Into<String>) -> Result<Self, DevnetError> {
        // Slowness is a fault to be asked for, so nothing here times out.
        let shared = Arc::new(Shared::new(target_url.into(), http_client(None)?));
        let (address, server) =
            server::start(Arc::clone(&shared)).await.map_err(DevnetError::Listen)?;
        let next = AtomicU64::new(0);
        Ok(Self { url: format!("http://{address}"), shared, server, next })
    }

    /// The proxy's own URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a fault to those there are. Faults are applied in the order in which they were added.
    pub fn add(&self, fault: Fault) -> FaultId {
        let id = FaultId(self.next.fetch_add(1, Ordering::Relaxed));
        self.shared.change(|faults| faults.push((id, fault)));
        id
    }

    /// Takes a fault away; one that is gone already is no matter.
    pub fn remove(&self, id: FaultId) {
        self.shared.change(|faults| faults.retain(|(other, _)| *other != id));
    }

    /// Replaces all faults.
    pub fn set(&self, faults: impl IntoIterator<Item = Fault>) {
        let faults: Vec<(FaultId, Fault)> = faults
            .into_iter()
            .map(|fault| (FaultId(self.next.fetch_add(1, Ordering::Relaxed)), fault))
            .collect();
        self.shared.change(|old| *old = faults);
    }

    /// Behaves well from now on.
    pub fn clear(&self) {
        self.set([]);
    }

    /// What it was asked so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Counts from zero, and gives what was counted before.
    pub fn reset_stats(&self) -> Stats {
        self.shared.reset_stats()
    }
}

impl Drop for FaultyUpstream {
    fn drop(&mut self) {
        self.server.abort();
        // Connections that are open, and requests that hang, end with the handle.
        self.set([Fault::Dead]);
    }
}
