//! Proves again, asks the journal, signs: from stored evidence to a DVN's transaction.

mod prove;

pub(crate) use prove::{Proven, prove};

use crate::{
    context::Context,
    moves::{Owed, failed, held, later},
    peers::Gatherer,
};
use alloy_primitives::Address;
use postrider_layerzero::{
    DvnAttestation, DvnTarget, NotAttestable,
    dvn::{ExecuteParam, Expiration, SIGNATURE_SIZE, assemble_signatures},
};
use postrider_message::{AlarmKind, Confirmations, DutyId, Reason, UnixMillis};
use postrider_signing::{Attestable, AttestingKey, Intent, Journal, JournalError, Refusal};
use postrider_store::{DutyMove, StoreError};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// How long a signature counts, in seconds; well below what the journal allows.
pub(crate) const EXPIRY_SECONDS: u64 = 1800;

/// Signatures with whose they are.
pub(crate) type Signatures = Vec<(Address, [u8; SIGNATURE_SIZE])>;

/// An attestation that the plan asks for.
pub struct Wanted<'a> {
    /// The duty, with its message.
    pub owed: Owed<'a>,
    /// Where it goes.
    pub target: DvnTarget,
    /// The least depth.
    pub needed: Confirmations,
}

/// What came of attesting.
#[derive(Default)]
pub struct Signed {
    /// What was signed by a quorum of the DVN's keys.
    pub params: HashMap<DutyId, ExecuteParam>,
    /// Duties that cannot go now, and why.
    pub moves: Vec<DutyMove>,
}

/// The keys on this node that sign for one DVN, each with its journal, and the peers that sign for
/// it too.
#[derive(Debug)]
pub struct Attester {
    signers: Vec<(AttestingKey, Journal)>,
    gatherer: Option<Arc<Gatherer>>,
    /// Held while journals are asked, since both this node's work and its peers' requests do.
    turn: Mutex<()>,
}

impl Attester {
    /// An attester with these keys, and with these peers if there are any.
    #[must_use]
    pub fn new(signers: Vec<(AttestingKey, Journal)>, gatherer: Option<Arc<Gatherer>>) -> Self {
        Self { signers, gatherer, turn: Mutex::new(()) }
    }

    /// How many keys are here.
    pub(crate) fn keys(&self) -> usize {
        self.signers.len()
    }

    /// Attests what can be: each message is proven anew from its stored evidence and a block that
    /// the quorum names now, whether this node was restarted since or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn attest(
        &self,
        context: &Context,
        quorum: u64,
        wanted: Vec<Wanted<'_>>,
        now: UnixMillis,
    ) -> Result<Signed, StoreError> {
        let mut signed = Signed::default();
        let peers = self.gatherer.as_ref().map_or(0, |gatherer| gatherer.count());
        let needed = usize::try_from(quorum).unwrap_or(usize::MAX);
        if let Some(reason) = self.impossible(quorum, needed, peers) {
            let moves = wanted.iter().map(|w| later(w.owed.duty, reason.clone(), now));
            signed.moves.extend(moves);
            return Ok(signed);
        }
        let wanted = match &self.gatherer {
            Some(gatherer) => gatherer.on_turn(wanted, needed, now, &mut signed.moves),
            None => wanted,
        };
        let proven = prove(context, wanted, now, &mut signed.moves).await?;
        let attestations = match &self.gatherer {
            Some(gatherer) => gatherer.on_terms(&proven, now, &mut signed.moves).await?,
            None => at_observed_depth(&proven, now, &mut signed.moves),
        };
        let own = self.own(context, needed, attestations, now, &mut signed.moves).await;
        let own = match &self.gatherer {
            Some(gatherer) => gatherer.complete(own, needed, now, &mut signed.moves).await?,
            None => own,
        };
        for (owed, what, signatures) in own {
            match assemble_signatures(signatures, quorum) {
                Ok(joined) => {
                    signed.params.insert(owed.duty.id(), what.param(joined));
                }
                Err(error) => {
                    let reason = Reason::JournalRefused { detail: error.to_string().into() };
                    signed.moves.push(later(owed.duty, reason, now));
                }
            }
        }
        Ok(signed)
    }

    /// Why no number of tries leads to a quorum.
    fn impossible(&self, quorum: u64, needed: usize, peers: usize) -> Option<Reason> {
        if quorum == 0 {
            let detail = "how many signatures the DVN takes could not be read".into();
            return Some(Reason::SimulationFailed { detail });
        }
        let keys = self.keys();
        if needed <= keys.saturating_add(peers) {
            return None;
        }
        let mut detail = format!("the DVN takes {quorum} signatures, {keys} keys are here");
        if peers > 0 {
            detail += &format!(" and {peers} peers are named");
        }
        Some(Reason::JournalRefused { detail: detail.into() })
    }

    /// This node's own signatures on each attestation, as many as a quorum takes. A signature leaves
    /// this function only after the journal of its key has it on disk (R3).
    async fn own<'a, 'f>(
        &self,
        context: &Context,
        needed: usize,
        attestations: Vec<(Owed<'a>, DvnAttestation<'f>)>,
        now: UnixMillis,
        moves: &mut Vec<DutyMove>,
    ) -> Vec<(Owed<'a>, DvnAttestation<'f>, Signatures)> {
        let texts: Vec<&DvnAttestation<'_>> = attestations.iter().map(|(_, what)| what).collect();
        let signed = match self.sign(needed, &texts).await {
            Ok(signed) => signed,
            Err(error) => {
                let reason = Reason::JournalRefused { detail: error.to_string().into() };
                moves.extend(attestations.iter().map(|(o, _)| later(o.duty, reason.clone(), now)));
                return Vec::new();
            }
        };
        let mut own = Vec::new();
        for ((owed, what), signatures) in attestations.into_iter().zip(signed) {
            match signatures {
                Ok(signatures) => own.push((owed, what, signatures)),
                Err(refusal) => moves.push(refuse(context, owed, &what, &refusal, now).await),
            }
        }
        own
    }

    /// Signatures of at most `take` keys on each of `texts`, or the refusal of a journal.
    ///
    /// # Errors
    /// [`JournalError`] if a journal could not be asked; then nothing is signed.
    pub(crate) async fn sign(
        &self,
        take: usize,
        texts: &[&DvnAttestation<'_>],
    ) -> Result<Vec<Result<Signatures, Refusal>>, JournalError> {
        let _turn = self.turn.lock().await;
        let mut signed: Vec<Result<Signatures, Refusal>> = vec![Ok(Vec::new()); texts.len()];
        for (key, journal) in self.signers.iter().take(take) {
            let intents = texts.iter().map(|what| Intent::of(*what)).collect();
            let permits = journal.permits(intents).await?;
            for ((permit, what), signed) in permits.into_iter().zip(texts).zip(&mut signed) {
                match permit.map(|permit| key.attest(*what, &permit)) {
                    Ok(Ok(signature)) => {
                        if let Ok(list) = signed {
                            list.push((key.address(), signature));
                        }
                    }
                    Ok(Err(error)) => tracing::error!(%error, "a permitted signature failed"),
                    Err(refusal) => *signed = Err(refusal),
                }
            }
        }
        Ok(signed)
    }
}

/// Attestations with the depth that our own quorum observed.
fn at_observed_depth<'a, 'f>(
    proven: &'f [Proven<'a>],
    now: UnixMillis,
    moves: &mut Vec<DutyMove>,
) -> Vec<(Owed<'a>, DvnAttestation<'f>)> {
    let expiration = Expiration(now.0 / 1000 + EXPIRY_SECONDS);
    let mut attestations = Vec::new();
    for Proven { wanted, fact } in proven {
        match DvnAttestation::new(fact, wanted.target, wanted.needed, expiration) {
            Ok(attestation) => attestations.push((wanted.owed, attestation)),
            Err(why) => moves.push(not_attestable(wanted.owed, why, now)),
        }
    }
    attestations
}

/// What becomes of a duty whose attestation cannot be made.
pub(crate) fn not_attestable(owed: Owed<'_>, why: NotAttestable, now: UnixMillis) -> DutyMove {
    match why {
        NotAttestable::TooShallow { seen, needed }
        | NotAttestable::TooFew { depth: seen, needed } => {
            let network = owed.message.lane.source.network.clone();
            let more = needed.0.saturating_sub(seen.0);
            later(owed.duty, Reason::AwaitingConfirmations { network, more }, now)
        }
        NotAttestable::Lane(error) => {
            failed(owed.duty, Reason::Refuted { detail: error.to_string().into() })
        }
    }
}

/// Raises the alarm that a journal was asked for a second value.
pub(crate) async fn raise_conflict(
    context: &Context,
    owed: Owed<'_>,
    what: &DvnAttestation<'_>,
    refusal: &Refusal,
) {
    let network = &owed.message.lane.source.network;
    let detail = format!("{} {}: {refusal}", what.domain(), what.subject());
    let (kind, id) = (AlarmKind::JournalConflict, Some(owed.message.id()));
    context.raise(kind, network, id, &detail).await;
}

/// A conflict waits for the operator, with an alarm; anything else for its time.
async fn refuse(
    context: &Context,
    owed: Owed<'_>,
    what: &DvnAttestation<'_>,
    refusal: &Refusal,
    now: UnixMillis,
) -> DutyMove {
    let reason = Reason::JournalRefused { detail: refusal.to_string().into() };
    match refusal {
        Refusal::Conflict { .. } => {
            raise_conflict(context, owed, what, refusal).await;
            held(owed.duty, reason)
        }
        Refusal::TooEarly(_) | Refusal::Expiry { .. } => later(owed.duty, reason, now),
    }
}
