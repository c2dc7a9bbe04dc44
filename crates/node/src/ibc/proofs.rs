//! Proofs that were fetched once and are of use again: what the follower proves of a packet, the relayer
//! shows to the other chain.

use crate::cosmos::CosmosNetwork;
use postrider_cosmos::{LightError, Proven, StateFact};
use postrider_message::Height;
use postrider_verification::tendermint::{CosmosAnchor, StateKey};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// The most proofs that are kept, of some 1.5 KB each.
const MAX_KEPT: usize = 8_192;

/// What is so of a key, and the proof as messages carry it: a tenth of what it takes when it is decoded.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// What is so.
    pub fact: StateFact,
    /// An encoded `ibc.core.commitment.v1.MerkleProof`.
    pub proof: Arc<[u8]>,
}

impl From<Proven> for Encoded {
    fn from(proven: Proven) -> Self {
        Self { fact: proven.fact, proof: proven.proof.merkle_proof_bytes().into() }
    }
}

/// So many proofs are decoded at once.
const AT_ONCE: usize = 200;

/// Proves keys, in their order, as [`postrider_cosmos::LightClient::prove`] does, a part at a time: decoded
/// proofs of all together would take many times what is kept.
///
/// # Errors
/// [`LightError`].
pub async fn fetch(
    network: &CosmosNetwork,
    anchor: &CosmosAnchor,
    keys: &[StateKey],
) -> Result<Vec<Encoded>, LightError> {
    let mut proven = Vec::with_capacity(keys.len());
    for part in keys.chunks(AT_ONCE) {
        let found = network.light.prove(anchor, part).await?;
        proven.extend(found.into_iter().map(Encoded::from));
    }
    Ok(proven)
}

/// The newest proof of each of the newest keys.
#[derive(Debug, Default)]
pub struct Proofs {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    proofs: HashMap<Vec<u8>, (Height, Encoded)>,
    order: VecDeque<Vec<u8>>,
}

impl Proofs {
    /// Keeps proofs that hold from the block at `anchor`.
    pub fn keep(&self, anchor: Height, proofs: impl IntoIterator<Item = (StateKey, Encoded)>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Absence is never shown by an old proof: the value may have come since.
        for (key, proven) in proofs.into_iter().filter(|(_, p)| p.fact.value().is_some()) {
            let key = key.path().to_vec();
            if kept.proofs.insert(key.clone(), (anchor, proven)).is_none() {
                kept.order.push_back(key);
            }
        }
        while kept.order.len() > MAX_KEPT {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.proofs.remove(&oldest);
        }
    }

    /// The proof of a key, and the height of the block from which it holds.
    #[must_use]
    pub fn of(&self, key: &StateKey) -> Option<(Height, Encoded)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.proofs.get(key.path()).cloned()
    }
}
