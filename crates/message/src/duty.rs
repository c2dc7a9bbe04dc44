//! What this node owes a message because of its roles.

use crate::{
    fact::{Certainty, Fact, FactRecord},
    id::{DutyId, MessageId, TxHash, UnixMillis, content_id},
    network::NetworkName,
    reason::Reason,
    status::Outcome,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node does on a network or lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Attest: sign what was verified, so that the destination believes it.
    Attest,
    /// Execute: commit, and give the message to its receiver.
    Execute,
    /// Relay: bring packets, acknowledgements and timeouts, and keep clients current.
    Relay,
    /// Verify and raise alarms; sign nothing.
    Watch,
}

impl Role {
    /// The role's name in files, tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attest => "attest",
            Self::Execute => "execute",
            Self::Relay => "relay",
            Self::Watch => "watch",
        }
    }
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyKind {
    /// Tell the destination, with signatures, that the message was sent.
    Attest,
    /// Make the destination accept the attestations it holds.
    Commit,
    /// Give the message to its receiver.
    Execute,
    /// Make a further call that its receiver composed.
    Compose,
    /// Give the packet to the destination (ICS-04 `recvPacket`).
    Receive,
    /// Tell the source how the receiver took it (ICS-04 `acknowledgePacket`).
    Acknowledge,
    /// Show the source that it was not received in time (ICS-04 `timeoutPacket`).
    TimeOut,
}

impl DutyKind {
    /// The kind's name in tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attest => "attest",
            Self::Commit => "commit",
            Self::Execute => "execute",
            Self::Compose => "compose",
            Self::Receive => "receive",
            Self::Acknowledge => "acknowledge",
            Self::TimeOut => "time_out",
        }
    }
}

impl fmt::Display for DutyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far a duty has come. A state that is not an end carries the reason why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum DutyState {
    /// Something must happen first.
    Waiting(Reason),
    /// It can go.
    Ready(Reason),
    /// A transaction for it is on its way, or included and not yet final.
    Submitted(Reason),
    /// The destination says, finally, that it is done.
    Done,
    /// There is nothing to do: it is done by others or no longer wanted.
    NotNeeded(Reason),
    /// It was given up.
    Failed(Reason),
    /// It stands until an operator decides.
    Held(Reason),
}

impl DutyState {
    /// The state's name in tables and commands.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Ready(_) => "ready",
            Self::Submitted(_) => "submitted",
            Self::Done => "done",
            Self::NotNeeded(_) => "not_needed",
            Self::Failed(_) => "failed",
            Self::Held(_) => "held",
        }
    }

    /// Why it is where it is; only a duty that is done needs no reason.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Done => None,
            Self::Waiting(reason)
            | Self::Ready(reason)
            | Self::Submitted(reason)
            | Self::NotNeeded(reason)
            | Self::Failed(reason)
            | Self::Held(reason) => Some(reason),
        }
    }

    /// Whether there may still be something to do without an operator.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Ready(_) | Self::Submitted(_))
    }
}

/// Something this node owes a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// The message.
    pub message: MessageId,
    /// The work.
    pub kind: DutyKind,
    /// Which of the message's composed calls; 0 for other work.
    #[serde(default)]
    pub part: u16,
    /// The network the work is brought to.
    pub network: NetworkName,
    /// The contract or account on that network in whose name it is done, in canonical text.
    pub worker: String,
    /// How far it has come.
    pub state: DutyState,
    /// How often it was tried.
    pub attempts: u32,
    /// It is not tried again before this time.
    pub not_before: UnixMillis,
}

impl Duty {
    /// The duty's id.
    #[must_use]
    pub fn id(&self) -> DutyId {
        DutyId(content_id(
            "postrider/duty",
            &[
                self.message.0.as_slice(),
                self.kind.as_str().as_bytes(),
                &self.part.to_be_bytes(),
                self.network.as_str().as_bytes(),
                self.worker.as_bytes(),
            ],
        ))
    }
}

/// Where a duty stands after `facts`, if they move it: only verified facts end a duty, and a fact
/// that was taken back opens it again.
///
/// `ours` tells whether this node sent the transaction. Attesting is done when the destination
/// names our attester, whoever paid for the transaction: nobody else can sign for it.
#[must_use]
pub fn settle(
    duty: &Duty,
    facts: &[FactRecord],
    ours: &dyn Fn(TxHash) -> bool,
) -> Option<DutyState> {
    let state = end_of(duty, facts, ours);
    let was_ended_by_facts = match &duty.state {
        DutyState::Done => true,
        DutyState::NotNeeded(reason) => {
            matches!(
                reason,
                Reason::DoneByOthers
                    | Reason::MessageEnded
                    | Reason::NothingComposed
                    | Reason::ReceivedInTime
            )
        }
        _ => false,
    };
    match state {
        Some(state) => (state != duty.state).then_some(state),
        None => was_ended_by_facts.then_some(DutyState::Waiting(Reason::AwaitingPlan)),
    }
}

/// Whether a duty that waits for what another chain says can go now that these facts are known: it is
/// planned at once, whatever was its time.
#[must_use]
pub fn is_freed(duty: &Duty, facts: &[FactRecord]) -> bool {
    matches!(duty.state, DutyState::Waiting(Reason::AwaitingAcknowledgement))
        && facts.iter().any(|r| {
            r.certainty == Certainty::Verified
                && matches!(r.fact, Fact::AcknowledgementWritten { .. })
        })
}

/// Whether some chain says, if only as a hint, that the duty's aim is reached. A transaction's
/// status proves nothing: one that is in a block which was read, without this, was in vain.
#[must_use]
pub fn seems_done(duty: &Duty, facts: &[FactRecord]) -> bool {
    facts.iter().any(|record| match (duty.kind, &record.fact) {
        (DutyKind::Attest, Fact::Attested { by, .. }) => *by == duty.worker,
        (DutyKind::Commit, Fact::Committed) => true,
        (DutyKind::Compose, Fact::ComposeDelivered { part }) => *part == duty.part,
        (DutyKind::Compose, _) => false,
        (DutyKind::Receive, Fact::Received) => true,
        (_, fact) => Outcome::of(fact).is_some(),
    })
}

/// Where a duty goes whose transaction was included in vain: it waits to be tried again, and says
/// what the receiver's side said last, if it did.
#[must_use]
pub fn in_vain(duty: &Duty, facts: &[FactRecord], now: UnixMillis) -> (DutyState, UnixMillis) {
    let said = facts.iter().rev().find_map(|record| match (duty.kind, &record.fact) {
        (DutyKind::Compose, Fact::ComposeFailed { part, detail }) if *part == duty.part => {
            Some(detail.as_str())
        }
        (DutyKind::Execute, Fact::ExecutionFailed { detail }) => Some(detail.as_str()),
        _ => None,
    });
    let detail = said.unwrap_or("its transaction was included without effect").into();
    // Each such try costs gas. What was in vain again and again is tried rarely.
    let at = match duty.attempts {
        0..=5 => retry_at(now, duty.attempts),
        6..=12 => UnixMillis(now.0.saturating_add(3_600_000)),
        _ => UnixMillis(now.0.saturating_add(86_400_000)),
    };
    (DutyState::Waiting(Reason::Retrying { duty: duty.kind, at, detail }), at)
}

/// When to try again after so many attempts: 2 s, then twice as long each time, 10 minutes at most.
#[must_use]
pub fn retry_at(now: UnixMillis, attempts: u32) -> UnixMillis {
    let wait = 2_000u64.saturating_mul(1 << attempts.min(9)).min(600_000);
    UnixMillis(now.0.saturating_add(wait))
}

fn end_of(duty: &Duty, facts: &[FactRecord], ours: &dyn Fn(TxHash) -> bool) -> Option<DutyState> {
    let verified = || facts.iter().filter(|r| r.certainty == Certainty::Verified);
    // A nilified commitment must be attested and committed anew: what came before it counts no more.
    let from =
        verified().filter(|r| matches!(r.fact, Fact::Nilified)).map(FactRecord::position).max();
    let since = || verified().filter(move |r| from.is_none_or(|from| r.position() > from));
    let by = |r: &FactRecord| {
        if ours(r.observation.transaction) {
            DutyState::Done
        } else {
            DutyState::NotNeeded(Reason::DoneByOthers)
        }
    };
    let done = match duty.kind {
        DutyKind::Attest => since()
            .any(|r| matches!(&r.fact, Fact::Attested { by, .. } if *by == duty.worker))
            .then_some(DutyState::Done),
        DutyKind::Commit => since().find(|r| matches!(r.fact, Fact::Committed)).map(by),
        DutyKind::Execute => {
            verified().find(|r| matches!(r.fact, Fact::Executed | Fact::Consumed)).map(by)
        }
        DutyKind::Compose => {
            let delivered = Fact::ComposeDelivered { part: duty.part };
            let done = verified().find(|r| r.fact == delivered).map(by);
            return done.or_else(|| composes_nothing(duty, &verified().collect::<Vec<_>>()));
        }
        DutyKind::Receive => verified().find(|r| r.fact == Fact::Received).map(by),
        DutyKind::Acknowledge => verified().find(|r| r.fact == Fact::Acknowledged).map(by),
        DutyKind::TimeOut => {
            let done = verified().find(|r| r.fact == Fact::TimedOut).map(by);
            let received = verified().any(|r| r.fact == Fact::Received);
            done.or_else(|| received.then_some(DutyState::NotNeeded(Reason::ReceivedInTime)))
        }
    };
    let ended = verified().any(|r| Outcome::of(&r.fact).is_some());
    done.or_else(|| ended.then_some(DutyState::NotNeeded(Reason::MessageEnded)))
}

/// A call that was paid for need not be composed: it is not owed once the message has ended without
/// it. What is composed stands in the block of the execution, so both are proven at once.
fn composes_nothing(duty: &Duty, verified: &[&FactRecord]) -> Option<DutyState> {
    let composed =
        |fact: &Fact| matches!(fact, Fact::ComposeSent { part, .. } if *part == duty.part);
    if verified.iter().any(|r| composed(&r.fact)) {
        return None;
    }
    let end = verified.iter().find_map(|r| Outcome::of(&r.fact))?;
    Some(DutyState::NotNeeded(match end {
        Outcome::Executed | Outcome::Consumed => Reason::NothingComposed,
        _ => Reason::MessageEnded,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fact::*, id::*};
    use alloy_primitives::B256;

    fn record(fact: Fact, certainty: Certainty, index: u64, transaction: u8) -> FactRecord {
        FactRecord {
            subject: Subject { lane: LaneId(B256::ZERO), nonce: MessageNonce(1), payload: None },
            fact,
            observation: Observation {
                network: "base".parse().unwrap(),
                block: BlockRef { height: Height(1), hash: BlockHash(B256::ZERO) },
                index,
                transaction: TxHash(B256::repeat_byte(transaction)),
            },
            certainty,
            at: UnixMillis(0),
        }
    }

    fn duty(kind: DutyKind, state: DutyState) -> Duty {
        Duty {
            message: MessageId(B256::ZERO),
            kind,
            part: 0,
            network: "base".parse().unwrap(),
            worker: "0xours".into(),
            state,
            attempts: 0,
            not_before: UnixMillis(0),
        }
    }

    fn attested(by: &str) -> Fact {
        Fact::Attested { by: by.into(), confirmations: Confirmations(1) }
    }

    const OURS: fn(TxHash) -> bool = |tx| tx.0 == B256::repeat_byte(1);

    #[test]
    fn facts_end_duties_and_say_who_did_it() {
        use Certainty::{Hinted, Verified};
        let open = DutyState::Waiting(Reason::AwaitingPlan);
        let others = DutyState::NotNeeded(Reason::DoneByOthers);
        let cases = [
            (DutyKind::Attest, attested("0xours"), Verified, 2, Some(DutyState::Done)),
            (DutyKind::Attest, attested("0xtheirs"), Verified, 1, None),
            (DutyKind::Attest, attested("0xours"), Hinted, 1, None),
            (DutyKind::Commit, Fact::Committed, Verified, 1, Some(DutyState::Done)),
            (DutyKind::Commit, Fact::Committed, Verified, 2, Some(others.clone())),
            (DutyKind::Execute, Fact::Executed, Verified, 1, Some(DutyState::Done)),
            (DutyKind::Execute, Fact::Executed, Hinted, 1, None),
            (DutyKind::Execute, Fact::Consumed, Verified, 2, Some(others)),
            (
                DutyKind::Attest,
                Fact::Skipped,
                Verified,
                2,
                Some(DutyState::NotNeeded(Reason::MessageEnded)),
            ),
        ];
        for (kind, fact, certainty, tx, expected) in cases {
            let facts = [record(fact.clone(), certainty, 0, tx)];
            assert_eq!(
                settle(&duty(kind, open.clone()), &facts, &OURS),
                expected,
                "{kind} {fact:?}"
            );
        }
    }

    #[test]
    fn r9_a_fact_that_went_away_opens_the_duty_again() {
        let done = duty(DutyKind::Commit, DutyState::Done);
        let again = settle(&done, &[], &OURS);
        assert_eq!(again, Some(DutyState::Waiting(Reason::AwaitingPlan)));
        let held = duty(DutyKind::Commit, DutyState::Held(Reason::AwaitingPlan));
        assert_eq!(settle(&held, &[], &OURS), None);
    }

    #[test]
    fn retries_grow_and_have_a_bound() {
        let wait = |attempts| retry_at(UnixMillis(0), attempts).0;
        assert_eq!([wait(0), wait(1), wait(2)], [2_000, 4_000, 8_000]);
        assert_eq!(wait(9), 600_000);
        assert_eq!(wait(u32::MAX), 600_000);
    }

    #[test]
    fn what_was_included_in_vain_says_what_the_receiver_said() {
        let execute = duty(DutyKind::Execute, DutyState::Waiting(Reason::AwaitingPlan));
        let failed = Fact::ExecutionFailed { detail: "too late".into() };
        let facts = [record(failed, Certainty::Hinted, 1, 1)];
        assert!(!seems_done(&execute, &facts));
        let (state, at) = in_vain(&execute, &facts, UnixMillis(7));
        assert!(state.reason().unwrap().to_string().contains("too late"), "{state:?}");
        assert_eq!(at, UnixMillis(2_007));
        let often = Duty { attempts: 20, ..execute.clone() };
        assert_eq!(in_vain(&often, &facts, UnixMillis(0)).1, UnixMillis(86_400_000));
        assert!(seems_done(&execute, &[record(Fact::Executed, Certainty::Hinted, 1, 1)]));
    }

    #[test]
    fn a_composed_call_is_owed_only_if_the_receiver_composed_it() {
        use Certainty::{Hinted, Verified};
        let compose = Duty {
            part: 2,
            ..duty(DutyKind::Compose, DutyState::Waiting(Reason::AwaitingExecution))
        };
        let sent = |part| {
            let (to, message) = ("0xto".to_owned(), alloy_primitives::Bytes::new());
            record(Fact::ComposeSent { part, to, message }, Verified, 1, 1)
        };
        let executed = record(Fact::Executed, Verified, 0, 1);
        let delivered = |part, by| record(Fact::ComposeDelivered { part }, Verified, 2, by);
        let nothing = DutyState::NotNeeded(Reason::NothingComposed);
        let ended = DutyState::NotNeeded(Reason::MessageEnded);
        let cases = [
            (vec![], None),
            (vec![record(Fact::Executed, Hinted, 0, 1)], None),
            (vec![executed.clone()], Some(nothing.clone())),
            (vec![executed.clone(), sent(1)], Some(nothing)),
            (vec![executed.clone(), sent(2)], None),
            (vec![executed.clone(), sent(2), delivered(1, 1)], None),
            (vec![executed.clone(), sent(2), delivered(2, 1)], Some(DutyState::Done)),
            (
                vec![executed, sent(2), delivered(2, 9)],
                Some(DutyState::NotNeeded(Reason::DoneByOthers)),
            ),
            (vec![record(Fact::Skipped, Verified, 0, 9)], Some(ended)),
        ];
        for (facts, expected) in cases {
            assert_eq!(settle(&compose, &facts, &OURS), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_nilified_commitment_is_owed_again() {
        let before = [
            record(Fact::Committed, Certainty::Verified, 1, 1),
            record(Fact::Nilified, Certainty::Verified, 2, 9),
        ];
        let done = duty(DutyKind::Commit, DutyState::Done);
        assert!(settle(&done, &before, &OURS).unwrap().is_open());
    }
}
