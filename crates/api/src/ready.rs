//! Whether the node does its work.

use postrider_message::UnixMillis;
use postrider_node::Context;
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// A probe of the store counts for so long: asking often must not mean writing often.
const PROBE_COUNTS: Duration = Duration::from_secs(2);
/// A store that takes longer than this to take one row cannot be written.
const PROBE_LASTS: Duration = Duration::from_secs(5);

/// Whether the node does its work, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether all of it does.
    pub ready: bool,
    /// What does not.
    pub why_not: Vec<NotReady>,
}

/// A part that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// `not_caught_up`, `follower_stopped`, `store_not_readable`, `store_not_writable`, or the code of
    /// the reason for which a network does not go on.
    pub code: &'static str,
    /// The network, where it is about one.
    pub network: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Probes the store now and then.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    last: Mutex<Option<(Instant, bool)>>,
}

impl Probe {
    /// Whether the store could be written when it was last tried. One question at a time tries it.
    async fn is_writable(&self, context: &Context) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, writable)) = *last
            && at.elapsed() < PROBE_COUNTS
        {
            return writable;
        }
        let tried = context.store.check_writable(UnixMillis::now());
        let writable = match tokio::time::timeout(PROBE_LASTS, tried).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store cannot be written");
                false
            }
            Err(_) => false,
        };
        *last = Some((Instant::now(), writable));
        writable
    }
}

/// Looks at every part.
pub(crate) async fn readiness(context: &Arc<Context>, probe: &Probe) -> Readiness {
    let mut why_not = Vec::new();
    match context.store.conditions().await {
        Ok(conditions) => {
            why_not.extend(conditions.into_iter().map(|(network, reason)| NotReady {
                code: reason.code(),
                network: Some(network.to_string()),
                what: reason.to_string(),
                remedy: reason.remedy().unwrap_or("wait"),
            }));
        }
        Err(error) => {
            tracing::warn!(%error, "the store could not be read");
            why_not.push(NotReady {
                code: "store_not_readable",
                network: None,
                what: "the store could not be read".to_owned(),
                remedy: "look at the disk; the node's log says more",
            });
        }
    }
    for standing in context.standings() {
        let progress = standing.progress;
        let name = standing.name.to_string();
        if progress.stopped {
            why_not.push(NotReady {
                code: "follower_stopped",
                what: format!("{name} is followed no more"),
                network: Some(name),
                remedy: "the node's log says why; it needs an operator",
            });
        } else if !progress.caught_up {
            why_not.push(NotReady {
                code: "not_caught_up",
                what: format!("{name} is read up to block {} only", progress.durable),
                network: Some(name),
                remedy: "wait; if it does not move, look at the network's upstreams",
            });
        }
    }
    if !probe.is_writable(context).await {
        why_not.push(NotReady {
            code: "store_not_writable",
            network: None,
            what: "the store cannot be written".to_owned(),
            remedy: "look at the disk's room and health; the node's log says more",
        });
    }
    Readiness { ready: why_not.is_empty(), why_not }
}
