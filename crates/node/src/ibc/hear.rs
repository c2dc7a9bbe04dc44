//! The task that listens for new blocks of one Cosmos network, so that its follower looks at once.

use crate::cosmos::CosmosNetwork;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// One that says nothing for so long is left; chains with slower blocks are polled.
const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait before all upstreams are tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(120);

/// Listens until cancelled, to one upstream after the other.
pub async fn hear(network: Arc<CosmosNetwork>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let upstreams: Vec<_> =
            network.upstreams.by_preference().into_iter().map(Arc::clone).collect();
        for upstream in upstreams {
            let mut has_spoken = false;
            let listening = upstream.hear_blocks(SILENCE, || {
                has_spoken = true;
                network.note_block();
            });
            let listening = Box::pin(stop.run_until_cancelled(listening));
            let Some(error) = listening.await else { return };
            let (name, upstream) = (&network.name, upstream.name());
            tracing::debug!(network = %name, %upstream, %error, "no word of new blocks");
            if has_spoken {
                pause = FIRST_PAUSE;
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
