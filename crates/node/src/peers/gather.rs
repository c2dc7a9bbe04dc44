//! Whose turn it is to gather the signatures for a message, on which terms, and what is missing.

use super::ask::{Ask, Asker, Trouble};
use crate::{
    attest::{EXPIRY_SECONDS, Proven, Signatures, Wanted, not_attestable},
    config::DvnPeer,
    context::Context,
    moves::{Owed, to},
};
use alloy_primitives::{Address, B256};
use postrider_layerzero::{
    DvnAttestation,
    dvn::{Expiration, SIGNATURE_SIZE, recover_signer},
    header_of,
    request::{Asked, DvnPlace, Refused},
};
use postrider_message::{
    BlockRef, Certainty, DutyId, DutyState, Fact, FactRecord, Message, Reason, UnixMillis,
};
use postrider_signing::Attestable;
use postrider_store::{DutyMove, Gathering, OpenMessage, OtherSignature, StoreError};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How long each process waits for the one before it, in milliseconds.
const STANDBY: u64 = 15_000;
/// A turn that began so long ago is forgotten, in milliseconds.
const FORGET: u64 = 3_600_000;
/// Terms that expire within so many seconds are not asked for any more.
const MIN_LEFT: u64 = 300;
/// Terms that a peer refuses are replaced after so many seconds. Not at once, or one that refuses
/// whatever it is asked would take away what the others have signed before it is of use.
const RENEW: u64 = 60;
/// The most attestations whose turns are remembered; with more, nobody is waited for.
const MAX_TURNS: usize = 50_000;
/// The longest until a message whose signatures are missing is planned again, in milliseconds.
const LOOK_AGAIN: u64 = 30_000;

/// Gathers signatures for one DVN.
#[derive(Debug)]
pub struct Gatherer {
    context: Arc<Context>,
    /// The DVN's place, but for the id that is signed, which the plan tells.
    dvn: DvnPlace,
    /// The address under which this process takes its turns.
    own: Address,
    askers: Vec<Arc<Asker>>,
    /// Since when each attestation could go.
    since: Mutex<HashMap<DutyId, UnixMillis>>,
}

/// An attestation with the duty it is for.
type Attestations<'a, 'f> = Vec<(Owed<'a>, DvnAttestation<'f>)>;
/// The same with the signatures that are here.
type SignedBy<'a, 'f> = Vec<(Owed<'a>, DvnAttestation<'f>, Signatures)>;

impl Gatherer {
    /// A gatherer for the DVN at `dvn`, whose signers are `own`, here, and those of `askers`.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        dvn: DvnPlace,
        own: Address,
        askers: Vec<Arc<Asker>>,
    ) -> Self {
        Self { context, dvn, own, askers, since: Mutex::default() }
    }

    /// How many peers sign for it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.askers.len()
    }

    fn since(&self) -> MutexGuard<'_, HashMap<DutyId, UnixMillis>> {
        // Nothing panics while it is held, and each entry is whole.
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves those whose turn it is here. Every process gathers, and in an order that all of them
    /// know without asking: so one of them pays for each attestation, and the next takes over where
    /// it does not come.
    pub(crate) fn on_turn<'a>(
        &self,
        wanted: Vec<Wanted<'a>>,
        needed: usize,
        now: UnixMillis,
        moves: &mut Vec<DutyMove>,
    ) -> Vec<Wanted<'a>> {
        let mut since = self.since();
        since.retain(|_, since| now.0.saturating_sub(since.0) < FORGET);
        let mut ours = Vec::new();
        for wanted in wanted {
            let duty = wanted.owed.duty;
            let subject = header_of(wanted.owed.message).map(|h| h.header_hash().0);
            let (rank, first) = self.rank(subject.unwrap_or_default());
            let is_full = since.len() >= MAX_TURNS && !since.contains_key(&duty.id());
            let began =
                if is_full { UnixMillis(0) } else { *since.entry(duty.id()).or_insert(now) };
            let from = UnixMillis(began.0.saturating_add(rank.saturating_mul(STANDBY)));
            if from <= now {
                ours.push(wanted);
                continue;
            }
            let detail = format!("{first} gathers them first");
            moves
                .push(DutyMove { not_before: Some(from), ..to(duty, waiting(0, needed, &detail)) });
        }
        ours
    }

    /// How many processes come before this one for `subject`, and the name of the first.
    fn rank(&self, subject: B256) -> (u64, String) {
        let mut all: Vec<Address> = self.askers.iter().map(|a| a.peer().signer).collect();
        all.push(self.own);
        let (rank, first) = rank(&mut all, self.own, subject);
        let named = self.askers.iter().find(|a| a.peer().signer == first);
        (rank, named.map_or_else(|| "this node".into(), |a| a.peer().name.to_string()))
    }

    /// Attestations on the terms that stand, or on new ones. All signatures of one attestation are
    /// over one depth and one expiry, so what was proposed stays, over a restart too, for as long as
    /// it can still be delivered.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn on_terms<'a, 'f>(
        &self,
        proven: &'f [Proven<'a>],
        now: UnixMillis,
        moves: &mut Vec<DutyMove>,
    ) -> Result<Attestations<'a, 'f>, StoreError> {
        let ids: Vec<DutyId> = proven.iter().map(|p| p.wanted.owed.duty.id()).collect();
        let standing = self.context.store.gathered(&ids).await?;
        let standing: HashMap<DutyId, Gathering> =
            standing.into_iter().map(|(terms, _)| (terms.duty, terms)).collect();
        let seconds = now.0 / 1000;
        let mut attestations = Vec::new();
        let mut proposed = Vec::new();
        for Proven { wanted, fact } in proven {
            let (owed, target, needed) = (wanted.owed, wanted.target, wanted.needed);
            let id = owed.duty.id();
            let stands =
                standing.get(&id).filter(|terms| stand(terms, self.are_refused(id), seconds));
            let kept = stands.and_then(|terms| {
                let expiration = Expiration(terms.expires);
                let depth = terms.confirmations;
                let kept =
                    DvnAttestation::at_depth(fact, target, depth, needed, expiration).ok()?;
                (kept.execute_digest().0 == terms.digest).then_some(kept)
            });
            if let Some(kept) = kept {
                attestations.push((owed, kept));
                continue;
            }
            let expiration = Expiration(seconds.saturating_add(EXPIRY_SECONDS));
            match DvnAttestation::new(fact, target, needed, expiration) {
                Ok(attestation) => {
                    proposed.push(Gathering {
                        duty: id,
                        confirmations: fact.basis().depth,
                        expires: expiration.0,
                        digest: attestation.execute_digest().0,
                    });
                    attestations.push((owed, attestation));
                }
                Err(why) => moves.push(not_attestable(owed, why, now)),
            }
        }
        if !proposed.is_empty() {
            self.context.store.propose(proposed, seconds).await?;
        }
        Ok(attestations)
    }

    /// Whether a peer refuses the terms rather than the message.
    fn are_refused(&self, duty: DutyId) -> bool {
        let of_terms = |trouble: &Trouble| {
            matches!(trouble.why, Some(Refused::TooFewConfirmations | Refused::Expiry))
        };
        self.askers.iter().any(|asker| asker.trouble(duty).is_some_and(|t| of_terms(&t)))
    }

    /// Adds the peers' signatures that have come. What is still short of a quorum is asked for, and
    /// says whose signatures are missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn complete<'a, 'f>(
        &self,
        own: SignedBy<'a, 'f>,
        needed: usize,
        now: UnixMillis,
        moves: &mut Vec<DutyMove>,
    ) -> Result<SignedBy<'a, 'f>, StoreError> {
        let ids: Vec<DutyId> = own.iter().map(|(owed, ..)| owed.duty.id()).collect();
        let gathered = self.context.store.gathered(&ids).await?;
        let mut gathered: HashMap<DutyId, Vec<OtherSignature>> =
            gathered.into_iter().map(|(terms, list)| (terms.duty, list)).collect();
        let mut complete = Vec::new();
        for (owed, what, mut signatures) in own {
            let id = owed.duty.id();
            self.add(&what, gathered.remove(&id).unwrap_or_default(), &mut signatures);
            if signatures.len() >= needed {
                // The contract takes exactly as many as its quorum.
                signatures.truncate(needed);
                self.since().remove(&id);
                complete.push((owed, what, signatures));
                continue;
            }
            let (present, detail) = (signatures.len(), self.ask(owed, &what, &signatures, needed));
            let began = self.since().get(&id).copied().unwrap_or(now);
            let wait = (now.0.saturating_sub(began.0) / 8).clamp(1_000, LOOK_AGAIN);
            moves.push(DutyMove {
                not_before: Some(UnixMillis(now.0.saturating_add(wait))),
                ..to(owed.duty, waiting(present, needed, &detail))
            });
        }
        Ok(complete)
    }

    /// How a peer is asked for its signature on `what`, which was proven to be sent in that block.
    fn item(
        &self,
        sent_at: Option<(BlockRef, u64)>,
        message: &Message,
        what: &DvnAttestation<'_>,
    ) -> Option<Asked> {
        let (block, index) = sent_at.filter(|(block, _)| *block == what.fact().basis().block)?;
        let source = &message.lane.source.network;
        Some(Asked {
            chain_id: self.context.network(source)?.config.chain_id,
            eid: self.context.deployments.on(source)?.eid,
            height: block.height.0,
            block: block.hash.0,
            index,
            library: what.target().library,
            confirmations: what.depth().0,
            expires: what.expires(),
        })
    }

    /// Adds those that are signatures of pinned keys on this attestation; a store that was tampered
    /// with adds none.
    fn add(
        &self,
        what: &DvnAttestation<'_>,
        stored: Vec<OtherSignature>,
        signatures: &mut Signatures,
    ) {
        let digest = what.execute_digest();
        let mut have: HashSet<Address> = signatures.iter().map(|(signer, _)| *signer).collect();
        for OtherSignature { signer, signature, .. } in stored {
            let Ok(bytes) = <[u8; SIGNATURE_SIZE]>::try_from(signature.as_slice()) else {
                continue;
            };
            let is_pinned = self.askers.iter().any(|asker| asker.peer().signer == signer);
            if is_pinned && recover_signer(digest, &bytes) == Ok(signer) && have.insert(signer) {
                signatures.push((signer, bytes));
            }
        }
    }

    /// Asks every peer whose signature is not here, and tells what stands in the way.
    fn ask(
        &self,
        owed: Owed<'_>,
        what: &DvnAttestation<'_>,
        signatures: &Signatures,
        needed: usize,
    ) -> String {
        let Some(item) = self.item(owed.sent_at, owed.message, what) else {
            return "where it was sent is not known here any more".into();
        };
        let vid = what.target().vid;
        let mut said = Vec::new();
        for asker in &self.askers {
            let DvnPeer { name, signer } = asker.peer();
            if signatures.iter().any(|(have, _)| have == signer) {
                continue;
            }
            let ask = Ask {
                duty: owed.duty.clone(),
                dvn: DvnPlace { vid, ..self.dvn },
                item,
                digest: what.execute_digest(),
                present: count(signatures.len()),
                needed: count(needed),
            };
            said.push(match asker.want(ask) {
                Some(trouble) => trouble.detail.to_string(),
                None => format!("{name} is asked"),
            });
        }
        said.join("; ")
    }
}

/// When the message of `open` was sent, as this node has proven it: the block, and the position of the
/// log in it.
pub(crate) fn sent_at(open: &OpenMessage) -> Option<(BlockRef, u64)> {
    let sent = |r: &&FactRecord| matches!(r.fact, Fact::Sent) && r.certainty == Certainty::Verified;
    let record = open.facts.iter().filter(sent).max_by_key(|r| r.position())?;
    Some((record.observation.block, record.observation.index))
}

/// Where `own` stands among all signers for `subject`, and who is the first.
fn rank(all: &mut Vec<Address>, own: Address, subject: B256) -> (u64, Address) {
    all.sort_unstable();
    all.dedup();
    let len = all.len();
    let [.., a, b] = subject.0;
    let first = usize::from(u16::from_be_bytes([a, b])).checked_rem(len).unwrap_or(0);
    let at = all.iter().position(|signer| *signer == own).unwrap_or(0);
    let rank = (at + len - first).checked_rem(len).unwrap_or(0);
    (rank as u64, all.get(first).copied().unwrap_or(own))
}

/// Whether terms are still worth asking for.
fn stand(terms: &Gathering, are_refused: bool, now: u64) -> bool {
    let made = terms.expires.saturating_sub(EXPIRY_SECONDS);
    let is_worn = are_refused && now >= made.saturating_add(RENEW);
    terms.expires > now.saturating_add(MIN_LEFT) && !is_worn
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn waiting(present: usize, needed: usize, detail: &str) -> DutyState {
    DutyState::Waiting(Reason::AwaitingSignatures {
        present: count(present),
        needed: count(needed),
        detail: detail.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_message::Confirmations;

    /// Every process comes to the same order, and each is the first for some messages.
    #[test]
    fn turns_are_agreed_on_without_asking() {
        let signers: Vec<Address> = (1..=3).map(Address::repeat_byte).collect();
        let mut firsts = HashSet::new();
        for byte in 0..30 {
            let subject = B256::repeat_byte(byte);
            let mut ranks = HashSet::new();
            let mut named = HashSet::new();
            for (i, own) in signers.iter().enumerate() {
                let mut all = signers.clone();
                all.rotate_left(i);
                let (place, first) = rank(&mut all, *own, subject);
                ranks.insert(place);
                named.insert(first);
                assert_eq!(place == 0, first == *own);
            }
            assert_eq!(ranks, HashSet::from([0, 1, 2]));
            assert_eq!(named.len(), 1);
            firsts.extend(named);
        }
        assert_eq!(firsts.len(), 3);
        assert_eq!(rank(&mut Vec::new(), signers[0], B256::ZERO), (0, signers[0]));
    }

    /// R6: a peer that refuses whatever it is asked leaves the others the time to sign.
    #[test]
    fn r6_terms_that_are_refused_stand_for_a_while() {
        let duty = DutyId(B256::ZERO);
        let (made, confirmations, digest) = (10_000, Confirmations(1), B256::ZERO);
        let terms = Gathering { duty, confirmations, expires: made + EXPIRY_SECONDS, digest };
        for (are_refused, after, stands) in [
            (false, 0, true),
            (true, 0, true),
            (true, RENEW - 1, true),
            (true, RENEW, false),
            (false, RENEW, true),
            (false, EXPIRY_SECONDS - MIN_LEFT - 1, true),
            (false, EXPIRY_SECONDS - MIN_LEFT, false),
            (false, u64::MAX - made, false),
        ] {
            assert_eq!(stand(&terms, are_refused, made + after), stands, "{are_refused} {after}");
        }
    }
}
