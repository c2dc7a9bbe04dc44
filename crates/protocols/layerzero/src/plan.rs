//! What to do about open messages: a pure function of their duties, what chains said, and the
//! destination as a quorum sees it.
//!
//! Planning goes in three steps, so that everything is asked at once and nothing in vain:
//! [`questions`] says what must be known, [`Courses::new`] lays out which steps could go now, and
//! [`Courses::conclude`] decides once the quorum has rehearsed them. The steps of a message are
//! rehearsed one after the other, and after those of lower nonces: so attestation, commit and
//! execution can be sent together although none of them is in a block yet.

mod attest;
mod commit;
mod compose;
mod course;
mod execute;

pub use course::{Ahead, AheadStep, Courses};

use crate::{
    attestation::DvnTarget,
    batch,
    deployment::{Deployment, header_of},
    view::{Pathway, Question, View},
    wire::{PacketHeader, PayloadHash},
};
use alloy_primitives::{Address, B256, Bytes};
use postrider_evm::{EthCall, transaction::Payload};
use postrider_message::{
    Certainty, Confirmations, Duty, DutyId, DutyKind, DutyState, Fact, FactRecord, Message,
    MessageId, Reason, UnixMillis,
};
use std::collections::HashSet;

/// A message with work for it.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The message.
    pub message: &'a Message,
    /// What this node owes it on the destination.
    pub duties: &'a [Duty],
    /// What chains said about it, hints included: a hint may start work, never end it.
    pub facts: &'a [FactRecord],
    /// How many blocks the source's quorum sees on top of the message's.
    pub depth: Confirmations,
    /// The least depth the operator lets us attest for messages from there.
    pub min_confirmations: Confirmations,
    /// The most gas that one transaction may ask for on the destination.
    pub transaction_gas: u64,
    /// The time now.
    pub now: UnixMillis,
}

impl<'a> Job<'a> {
    /// The duty of this kind that can be planned now, if there is one.
    fn due(&self, kind: DutyKind) -> Option<&'a Duty> {
        self.dues().find(|duty| duty.kind == kind)
    }

    /// The duties that can be planned now.
    fn dues(&self) -> impl Iterator<Item = &'a Duty> {
        let now = self.now;
        self.duties.iter().filter(move |duty| {
            matches!(duty.state, DutyState::Waiting(_) | DutyState::Ready(_))
                && duty.not_before <= now
        })
    }

    fn is_sent(&self, kind: DutyKind) -> bool {
        self.duties
            .iter()
            .any(|duty| duty.kind == kind && matches!(duty.state, DutyState::Submitted(_)))
    }

    fn heard(&self, wanted: fn(&Fact) -> bool) -> bool {
        self.certainty(wanted).is_some()
    }

    /// How surely a fact of this kind is known, if it is.
    fn certainty(&self, wanted: fn(&Fact) -> bool) -> Option<Certainty> {
        self.facts.iter().filter(|record| wanted(&record.fact)).map(|r| r.certainty).max()
    }

    fn is_deep_enough(&self) -> bool {
        self.depth >= self.min_confirmations
    }

    /// Whether an attestation can be counted on: heard of, sent, or going now.
    fn expects_attestation(&self) -> bool {
        self.heard(|f| matches!(f, Fact::Attested { .. }))
            || self.is_sent(DutyKind::Attest)
            || (self.due(DutyKind::Attest).is_some() && self.is_deep_enough())
    }

    fn expects_commit(&self) -> bool {
        self.heard(|f| matches!(f, Fact::Committed))
            || self.is_sent(DutyKind::Commit)
            || (self.due(DutyKind::Commit).is_some() && self.expects_attestation())
    }

    /// How many transactions of its own it may take now, apart from attestations, which share one.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.dues()
            .filter(|duty| match duty.kind {
                DutyKind::Attest => false,
                DutyKind::Commit => self.expects_attestation(),
                DutyKind::Execute => self.expects_commit(),
                DutyKind::Compose => compose::sent(self, duty.part).is_some(),
                DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut => false,
            })
            .count()
    }

    /// How many steps of it may go now, its attestation included.
    #[must_use]
    pub fn steps(&self) -> usize {
        let attests = self.due(DutyKind::Attest).is_some() && self.is_deep_enough();
        self.transactions() + usize::from(attests)
    }

    /// Why the duty can as yet not go, if what is known already shows it.
    fn too_early(&self, duty: &Duty) -> Option<Reason> {
        match duty.kind {
            DutyKind::Attest => {
                let more = self.min_confirmations.0.saturating_sub(self.depth.0);
                let network = self.message.lane.source.network.clone();
                (more > 0).then_some(Reason::AwaitingConfirmations { network, more })
            }
            DutyKind::Commit => (!self.expects_attestation())
                .then_some(Reason::AwaitingAttestations { present: 0, needed: 1 }),
            DutyKind::Execute => (!self.expects_commit()).then_some(Reason::AwaitingCommit),
            DutyKind::Compose => {
                compose::sent(self, duty.part).is_none().then_some(Reason::AwaitingExecution)
            }
            DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut => None,
        }
    }
}

/// What becomes of a duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It moves to this state and is looked at again when something happens.
    Become(DutyState),
    /// It cannot go now for this reason; it is tried again on a schedule.
    TryLater(Reason),
    /// It is to be attested, at no less than this depth.
    Attest {
        /// Where the attestation goes.
        target: DvnTarget,
        /// The depth the receiver and the operator ask for.
        needed: Confirmations,
    },
    /// This is to be sent, after the message's attestation if that goes too.
    Send(Payload),
}

/// A duty with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The duty.
    pub duty: DutyId,
    /// What becomes of it.
    pub action: Action,
    /// The step that was rehearsed for it, if it goes now.
    pub step: Option<AheadStep>,
    /// Gas that the step used when it was rehearsed, as a transaction of its own; 0 if that is not
    /// known.
    pub gas: u64,
}

impl Decision {
    fn new(duty: &Duty, action: Action) -> Self {
        Self { duty: duty.id(), action, step: None, gas: 0 }
    }
}

/// What becomes of a message's duties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePlan {
    /// The message.
    pub message: MessageId,
    /// What becomes of each duty, in the order of their steps.
    pub decisions: Vec<Decision>,
    /// What goes of it as an item of a batch instead, if it can.
    pub item: Option<batch::Item>,
}

/// What a job is about, read out of its message once.
#[derive(Debug, Clone)]
struct Parsed {
    header: PacketHeader,
    pathway: Pathway,
    payload_hash: PayloadHash,
}

impl Parsed {
    fn of(job: &Job<'_>) -> Result<Self, Reason> {
        let refuse = |detail: String| Reason::OptionsNotSupported { detail: detail.into() };
        let header = header_of(job.message).map_err(|e| refuse(e.to_string()))?;
        let pathway = Pathway::of(&header)
            .ok_or_else(|| refuse("the receiver is not an EVM address".into()))?;
        let payload_hash = PayloadHash(job.message.payload.hash().0);
        Ok(Self { header, pathway, payload_hash })
    }

    fn nonce(&self) -> u64 {
        self.header.nonce.get()
    }

    fn committed(&self) -> Question {
        Question::Committed(self.pathway, self.nonce())
    }

    fn attested(&self, library: Address, dvn: Address) -> Question {
        Question::Attested(library, self.header.header_hash(), self.payload_hash, dvn)
    }
}

/// What must be known to lay out the courses of `jobs`, each question once.
#[must_use]
pub fn questions(jobs: &[Job<'_>], here: &Deployment) -> Vec<Question> {
    let mut asked = HashSet::new();
    let mut questions = Vec::new();
    for job in jobs {
        let Ok(parsed) = Parsed::of(job) else { continue };
        let mut wanted = Vec::new();
        for duty in job.dues().filter(|duty| job.too_early(duty).is_none()) {
            match duty.kind {
                DutyKind::Attest => attest::questions(&parsed, here, &mut wanted),
                DutyKind::Commit => commit::questions(job, &parsed, here, &mut wanted),
                DutyKind::Execute => execute::questions(&parsed, &mut wanted),
                DutyKind::Compose => wanted.extend(compose::question(job, &parsed, duty.part)),
                DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut => {}
            }
        }
        questions.extend(wanted.into_iter().filter(|q| asked.insert(q.clone())));
    }
    questions
}

/// Whether the destination is past this nonce: executed, cleared, skipped or burnt. Both the
/// checkpoint and the empty slot must say so.
fn is_past(parsed: &Parsed, view: &View) -> Option<bool> {
    let lazy = view.lazy_nonce(parsed.pathway)?;
    let hash = view.committed(parsed.pathway, parsed.nonce())?;
    Some(parsed.nonce() <= lazy && hash == B256::ZERO)
}

fn is_committed(parsed: &Parsed, view: &View) -> Option<bool> {
    Some(view.committed(parsed.pathway, parsed.nonce())? == parsed.payload_hash.0)
}

/// The destination's newest state has it already; the duty ends when that is proven.
fn seen_on_destination(job: &Job<'_>) -> Action {
    let network = job.message.lane.destination.network.clone();
    Action::Become(DutyState::Waiting(Reason::AwaitingFinality { network, more: 0 }))
}

/// Without a usable answer nothing is concluded (R5).
fn no_answer() -> Action {
    let detail = "the destination's contracts gave no usable answer".into();
    Action::TryLater(Reason::SimulationFailed { detail })
}

fn message_bytes(message: &Message) -> Option<Bytes> {
    // The payload is the guid, 32 bytes, and the message.
    Some(message.payload.bytes()?.slice_ref(message.payload.bytes()?.get(32..)?))
}

/// Whether a transaction asks for no more gas than one may have: nodes refuse it otherwise, and all that come
/// after it in its account's order would wait for it for ever.
fn fits(job: &Job<'_>, payload: &Payload) -> Result<(), Reason> {
    let (asked, most) = (payload.gas_limit, job.transaction_gas);
    if asked <= most {
        return Ok(());
    }
    let detail = format!(
        "what the sender paid for takes a transaction of {asked} gas, and one may have {most} there"
    );
    Err(Reason::OptionsNotSupported { detail: detail.into() })
}

/// More gas than what a call used before refunds, which are a fifth at most (EIP-3529).
fn with_room(gas_used: u64, at_most: u64) -> u64 {
    if gas_used == 0 { at_most } else { (gas_used.saturating_mul(3) / 2 + 20_000).min(at_most) }
}

/// A call as a transaction makes it, with `gas` for itself.
fn as_step(from: Address, payload: &Payload) -> EthCall {
    EthCall {
        from,
        to: payload.to,
        data: payload.data.clone(),
        value: payload.value,
        gas: Some(payload.gas_limit),
    }
}

#[cfg(test)]
mod tests;
