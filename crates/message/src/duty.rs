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
}

impl DutyKind {
    /// The kind's name in tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attest => "attest",
            Self::Commit => "commit",
            Self::Execute => "execute",
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
            matches!(reason, Reason::DoneByOthers | Reason::MessageEnded)
        }
        _ => false,
    };
    match state {
        Some(state) => (state != duty.state).then_some(state),
        None => was_ended_by_facts.then_some(DutyState::Waiting(Reason::AwaitingPlan)),
    }
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
    };
    let ended = verified().any(|r| Outcome::of(&r.fact).is_some());
    done.or_else(|| ended.then_some(DutyState::NotNeeded(Reason::MessageEnded)))
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
    fn a_nilified_commitment_is_owed_again() {
        let before = [
            record(Fact::Committed, Certainty::Verified, 1, 1),
            record(Fact::Nilified, Certainty::Verified, 2, 9),
        ];
        let done = duty(DutyKind::Commit, DutyState::Done);
        assert!(settle(&done, &before, &OURS).unwrap().is_open());
    }
}
