//! Asks one peer in the background, so that one that is slow, down or lies delays nothing else (R6),
//! and keeps what it signs.

use super::client::{AskError, PeerClient};
use crate::{
    config::DvnPeer,
    context::{Context, Network},
    moves::to,
};
use postrider_layerzero::{
    dvn::{ExecuteDigest, SIGNATURE_SIZE, recover_signer},
    request::{Answered, Asked, DvnPlace, MAX_ITEMS, Refused},
};
use postrider_message::{AlarmKind, Detail, Duty, DutyId, DutyState, Reason, UnixMillis};
use postrider_store::{OtherSignature, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// The most messages for which one peer's signature is wanted at once; others wait.
const MAX_WANTED: usize = 1_000;
/// What was wanted for so long without being wanted anew is wanted no more.
const LAPSE: Duration = Duration::from_secs(120);
/// How long to wait before asking again for what the peer has not seen yet.
const SOON: Duration = Duration::from_secs(1);
/// The longest wait before asking again.
const LATEST: Duration = Duration::from_secs(60);

/// A signature that is wanted.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The duty it is for.
    pub duty: Duty,
    /// The DVN, with the id that is signed.
    pub dvn: DvnPlace,
    /// What is asked for.
    pub item: Asked,
    /// What its signature must be over.
    pub digest: ExecuteDigest,
    /// How many signatures are here, this one not among them.
    pub present: u32,
    /// How many the DVN takes.
    pub needed: u32,
}

/// What is known of a wanted signature.
#[derive(Debug)]
struct Wanted {
    ask: Ask,
    lapses: Instant,
    due: Instant,
    tries: u32,
    trouble: Option<Trouble>,
}

/// Why a peer's signature is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The peer's own word for it, if it gave one.
    pub why: Option<Refused>,
    /// For people.
    pub detail: Detail,
}

/// Asks one peer for its signatures for one DVN.
#[derive(Debug)]
pub struct Asker {
    context: Arc<Context>,
    network: Arc<Network>,
    peer: DvnPeer,
    client: PeerClient,
    wanted: Mutex<BTreeMap<DutyId, Wanted>>,
    more: Notify,
}

impl Asker {
    /// Asks `peer` for what goes to `network`; nothing before [`Self::run`].
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        network: Arc<Network>,
        peer: DvnPeer,
        client: PeerClient,
    ) -> Self {
        let (wanted, more) = (Mutex::default(), Notify::new());
        Self { context, network, peer, client, wanted, more }
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> &DvnPeer {
        &self.peer
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<DutyId, Wanted>> {
        // Nothing panics while it is held, and each entry is whole.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants a signature, and tells what stood in its way so far.
    pub fn want(&self, ask: Ask) -> Option<Trouble> {
        let now = Instant::now();
        let mut wanted = self.wanted();
        let id = ask.duty.id();
        if let Some(known) = wanted.get_mut(&id).filter(|known| known.ask.digest == ask.digest) {
            (known.ask, known.lapses) = (ask, now + LAPSE);
            return known.trouble.clone();
        }
        // R6: what does not fit is wanted again by the next plan, and says so.
        if wanted.len() >= MAX_WANTED && !wanted.contains_key(&id) {
            let detail = format!("{} is asked for {MAX_WANTED} others first", self.peer.name);
            return Some(Trouble { why: None, detail: detail.into() });
        }
        let fresh = Wanted { ask, lapses: now + LAPSE, due: now, tries: 0, trouble: None };
        wanted.insert(id, fresh);
        drop(wanted);
        self.more.notify_one();
        None
    }

    /// What the peer said last of a duty.
    #[must_use]
    pub fn trouble(&self, duty: DutyId) -> Option<Trouble> {
        self.wanted().get(&duty).and_then(|wanted| wanted.trouble.clone())
    }

    /// Asks until cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let (portion, next) = self.due();
            if portion.is_empty() {
                let woken = tokio::time::timeout(next, self.more.notified());
                if stop.run_until_cancelled(woken).await.is_none() {
                    return;
                }
                continue;
            }
            if stop.run_until_cancelled(self.ask(portion)).await.is_none() {
                return;
            }
        }
    }

    /// What is to be asked now, all of one DVN, and how long until more is.
    fn due(&self) -> (Vec<Ask>, Duration) {
        let now = Instant::now();
        let mut wanted = self.wanted();
        wanted.retain(|_, wanted| wanted.lapses > now);
        let mut due: Vec<&Wanted> = wanted.values().filter(|wanted| wanted.due <= now).collect();
        due.sort_by_key(|wanted| wanted.due);
        let dvn = due.first().map(|wanted| wanted.ask.dvn);
        let portion: Vec<Ask> = due
            .into_iter()
            .filter(|wanted| Some(wanted.ask.dvn) == dvn)
            .take(MAX_ITEMS)
            .map(|wanted| wanted.ask.clone())
            .collect();
        let next = wanted.values().map(|wanted| wanted.due).min();
        (portion, next.map_or(LATEST, |next| next.saturating_duration_since(now)))
    }

    async fn ask(&self, portion: Vec<Ask>) {
        let Some(dvn) = portion.first().map(|ask| ask.dvn) else { return };
        let items = portion.iter().map(|ask| ask.item).collect();
        let answered = match self.client.ask(dvn, items).await {
            Ok(answered) => answered,
            Err(error) => return self.no_answer(&portion, &error).await,
        };
        let mut signed = Vec::new();
        for (ask, answer) in portion.iter().zip(answered) {
            match answer {
                Answered::Signed(list) => {
                    match self.ours_among(ask, list.iter().map(|bytes| &bytes.0)) {
                        Some(signature) => signed.push((ask, signature)),
                        None => self.not_a_signature(ask).await,
                    }
                }
                Answered::Refused { why, detail } => self.refused(ask, why, &detail),
            }
        }
        if let Err(error) = self.keep(&signed).await {
            tracing::error!(peer = %self.peer.name, %error, "signatures were not kept");
        }
    }

    /// The signature of the peer's pinned key on what was asked for.
    fn ours_among<'s>(
        &self,
        ask: &Ask,
        mut list: impl Iterator<Item = &'s [u8; SIGNATURE_SIZE]>,
    ) -> Option<[u8; SIGNATURE_SIZE]> {
        let is_it = |bytes: &&[u8; SIGNATURE_SIZE]| {
            recover_signer(ask.digest, bytes) == Ok(self.peer.signer)
        };
        list.find(is_it).copied()
    }

    /// Stores signatures and has their duties planned at once.
    async fn keep(&self, signed: &[(&Ask, [u8; SIGNATURE_SIZE])]) -> Result<(), StoreError> {
        if signed.is_empty() {
            return Ok(());
        }
        let now = UnixMillis::now();
        let mut moves = Vec::new();
        let mut kept = Vec::new();
        for (ask, signature) in signed {
            kept.push(OtherSignature {
                duty: ask.duty.id(),
                digest: ask.digest.0,
                signer: self.peer.signer,
                signature: signature.to_vec(),
            });
            let reason = Reason::AwaitingSignatures {
                present: ask.present.saturating_add(1).min(ask.needed),
                needed: ask.needed,
                detail: format!("{} has signed", self.peer.name).into(),
            };
            let mut step = to(&ask.duty, DutyState::Waiting(reason));
            (step.from, step.not_before) = ("waiting", Some(now));
            moves.push(step);
        }
        let store = &self.context.store;
        store.keep_signatures(kept).await?;
        {
            let mut wanted = self.wanted();
            for (ask, _) in signed {
                let id = ask.duty.id();
                // It may be wanted on other terms by now.
                if wanted.get(&id).is_some_and(|known| known.ask.digest == ask.digest) {
                    wanted.remove(&id);
                }
            }
        }
        store.move_duties(moves, now).await?;
        self.network.work.notify_one();
        Ok(())
    }

    async fn no_answer(&self, portion: &[Ask], error: &AskError) {
        let detail = format!("{} {error}", self.peer.name);
        tracing::warn!(peer = %self.peer.name, network = %self.network.name, %error, "no signatures");
        if error.is_suspicious() {
            // Always of one text, so that a peer cannot fill the store with alarms.
            let what =
                format!("{} answers with what is no answer of its; see the log", self.peer.name);
            self.alarm(&what, None).await;
        }
        let trouble = Trouble { why: None, detail: detail.into() };
        for ask in portion {
            self.later(ask, None, trouble.clone());
        }
    }

    fn refused(&self, ask: &Ask, why: Refused, said: &Detail) {
        let detail = format!("{} refuses: {said}", self.peer.name).into();
        let delay = (why == Refused::NotYet).then_some(SOON);
        self.later(ask, delay, Trouble { why: Some(why), detail });
    }

    /// Signatures came, and none that counts.
    async fn not_a_signature(&self, ask: &Ask) {
        let (name, signer) = (&self.peer.name, self.peer.signer);
        let detail =
            format!("{name} answers with no signature of {signer:#x} on what was asked for");
        self.alarm(&detail, Some(ask)).await;
        self.later(ask, None, Trouble { why: None, detail: detail.into() });
    }

    async fn alarm(&self, detail: &str, about: Option<&Ask>) {
        let message = about.map(|ask| ask.duty.message);
        self.context.raise(AlarmKind::PeerDissents, &self.network.name, message, detail).await;
    }

    fn later(&self, ask: &Ask, delay: Option<Duration>, trouble: Trouble) {
        let mut wanted = self.wanted();
        let id = ask.duty.id();
        let known = wanted.get_mut(&id).filter(|known| known.ask.digest == ask.digest);
        let Some(known) = known else { return };
        let growing = SOON * (1 << known.tries.min(6));
        known.due = Instant::now() + delay.unwrap_or(growing).min(LATEST);
        known.tries = known.tries.saturating_add(1);
        known.trouble = Some(trouble);
    }
}

#[cfg(test)]
mod tests;
