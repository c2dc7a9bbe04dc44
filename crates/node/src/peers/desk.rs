//! Answers peers. Whoever asks is known by its identity, and what it says is believed of nothing: the
//! message is the one that this node has proven itself, the attestation the one that it plans itself,
//! and the signature is given by the same way, journal included, as for its own work.

mod answering;

use super::{
    fresh::{Fresh, NotFresh},
    read_seal, seal_text,
};
use crate::{attest::Attester, config::PeerConfig, context::Context};
use alloy_primitives::Address;
use answering::Answering;
use postrider_layerzero::request::{BadText, SignatureAnswer, SignatureRequest, VERSION};
use postrider_message::{NetworkName, PeerName, UnixMillis};
use postrider_signing::{IdentityKey, Sealed, SigningError};
use postrider_store::StoreError;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Semaphore;

/// The most requests of one peer that are worked on at once (R6: one that floods us takes no room
/// from the others).
const AT_ONCE: usize = 4;
/// How long a request waits for those before it.
const WAITING: Duration = Duration::from_secs(4);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(14);

/// Why a request is not answered at all. What stands behind the words is told to the log, not to
/// whoever asks.
#[derive(Debug, thiserror::Error)]
pub enum TurnedAway {
    /// It has no seal.
    #[error("it carries no seal")]
    NoSeal,
    /// Its seal is nobody's that is configured.
    #[error("its seal is nobody's that is known here")]
    Unknown,
    /// It is not for this process.
    #[error("it is for another identity")]
    NotForUs,
    /// It is not of now.
    #[error(transparent)]
    NotFresh(#[from] NotFresh),
    /// It is none.
    #[error(transparent)]
    Text(#[from] BadText),
    /// Too much is asked at once, or the node is only starting.
    #[error("busy; ask again later")]
    Busy,
    /// The answer took too long.
    #[error("no answer within {ANSWER:?}; ask again later")]
    Late,
    /// The answer could not be sealed.
    #[error("the answer could not be sealed")]
    Seal(#[from] SigningError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl TurnedAway {
    /// The HTTP status that says it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoSeal => 401,
            Self::Unknown | Self::NotForUs => 403,
            Self::NotFresh(NotFresh::TooMany) => 429,
            Self::NotFresh(_) => 409,
            Self::Text(BadText::TooLong { .. }) => 413,
            Self::Text(_) => 400,
            Self::Busy | Self::Late => 503,
            Self::Seal(_) | Self::Store(_) => 500,
        }
    }
}

/// An answer with its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The seal, as its header carries it.
    pub seal: String,
    /// The answer.
    pub body: Vec<u8>,
}

/// A peer that may ask.
#[derive(Debug)]
struct Known {
    name: PeerName,
    room: Semaphore,
}

/// Where peers ask.
#[derive(Debug)]
pub struct Desk {
    context: Arc<Context>,
    identity: IdentityKey,
    known: BTreeMap<Address, Known>,
    fresh: Fresh,
    /// Those who sign, by network; nobody before the node has opened their journals.
    attesters: OnceLock<BTreeMap<NetworkName, Arc<Attester>>>,
}

impl Desk {
    /// A desk at which the configured peers may ask; it signs nothing before [`Self::open`].
    #[must_use]
    pub fn new(context: Arc<Context>, identity: IdentityKey) -> Self {
        let peers = context.config.peering.as_ref().map(|p| p.peers.clone()).unwrap_or_default();
        let known = |(name, peer): (PeerName, PeerConfig)| {
            (peer.identity, Known { name, room: Semaphore::new(AT_ONCE) })
        };
        let known = peers.into_iter().map(known).collect();
        let fresh = Fresh::new(UnixMillis::now());
        Self { context, identity, known, fresh, attesters: OnceLock::new() }
    }

    /// The identity under which it answers.
    #[must_use]
    pub fn identity(&self) -> &IdentityKey {
        &self.identity
    }

    /// Lets it sign with these. Only the first call has an effect.
    pub fn open(&self, attesters: BTreeMap<NetworkName, Arc<Attester>>) {
        // The node opens it once.
        let _ = self.attesters.set(attesters);
    }

    /// Answers the request in `body`, which came with `seal`.
    ///
    /// # Errors
    /// [`TurnedAway`] if it is not one that is to be answered.
    pub async fn answer(&self, seal: Option<&str>, body: &[u8]) -> Result<Reply, TurnedAway> {
        let answered = self.hear(seal, body).await;
        if let Err(why) = &answered {
            tracing::warn!(%why, "a request for signatures was turned away");
        }
        answered
    }

    async fn hear(&self, seal: Option<&str>, body: &[u8]) -> Result<Reply, TurnedAway> {
        let seal = seal.and_then(read_seal).ok_or(TurnedAway::NoSeal)?;
        let by = Sealed::Request.sealed_by(body, &seal).ok_or(TurnedAway::Unknown)?;
        let peer = self.known.get(&by).ok_or(TurnedAway::Unknown)?;
        let request = SignatureRequest::read(body)?;
        if request.to != self.identity.address() {
            return Err(TurnedAway::NotForUs);
        }
        let attesters = self.attesters.get().ok_or(TurnedAway::Busy)?;
        let room = tokio::time::timeout(WAITING, peer.room.acquire()).await;
        // Never closed, so what is missing is room.
        let Ok(Ok(_room)) = room else { return Err(TurnedAway::Busy) };
        self.fresh.hear(by, request.nonce, request.at, UnixMillis::now())?;
        let answering = Answering::new(&self.context, &peer.name, attesters);
        let items = tokio::time::timeout(ANSWER, answering.items(&request));
        let items = items.await.map_err(|_| TurnedAway::Late)??;
        let request = Sealed::Request.digest(body);
        let body = SignatureAnswer { version: VERSION, request, items }.bytes()?;
        let seal = seal_text(&self.identity.seal(Sealed::Answer, &body)?);
        Ok(Reply { seal, body })
    }
}

#[cfg(test)]
mod tests;
