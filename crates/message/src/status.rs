//! How far a message has come: a pure function of what chains said and what this node owes it.

use crate::{
    duty::{Duty, DutyKind, DutyState},
    fact::{Certainty, Fact, FactRecord},
    network::NetworkName,
    reason::Reason,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Seen at the source, in a block that may still go.
    Observed,
    /// Its block is final.
    Final,
    /// It was proven that the source sent it.
    Verified,
    /// The destination has it, in a block that may still go.
    Delivered,
    /// It has ended, finally.
    Settled,
    /// It is not true.
    Refuted,
    /// A duty for it was given up.
    Failed,
    /// A duty for it waits for an operator.
    Held,
}

impl MessageStatus {
    /// Every status, in the order a message goes through them.
    pub const ALL: [Self; 8] = [
        Self::Observed,
        Self::Final,
        Self::Verified,
        Self::Delivered,
        Self::Settled,
        Self::Refuted,
        Self::Failed,
        Self::Held,
    ];

    /// The status's name in tables, commands and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Final => "final",
            Self::Verified => "verified",
            Self::Delivered => "delivered",
            Self::Settled => "settled",
            Self::Refuted => "refuted",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}

impl fmt::Display for MessageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver was given it.
    Executed,
    /// It is off the destination's list, and whether the receiver ran is not known.
    Consumed,
    /// The application took it off the list without running.
    Cleared,
    /// The application gave its nonce up.
    Skipped,
    /// The application gave it up for good.
    Burnt,
    /// The receiver took it, and the sender knows.
    Succeeded,
    /// The receiver refused it, and the sender knows; what was sent along is back.
    AppError,
    /// It was not received in time, and the sender knows; what was sent along is back.
    TimedOut,
}

impl Outcome {
    /// The outcome's name in tables, commands and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Consumed => "consumed",
            Self::Cleared => "cleared",
            Self::Skipped => "skipped",
            Self::Burnt => "burnt",
            Self::Succeeded => "succeeded",
            Self::AppError => "app_error",
            Self::TimedOut => "timed_out",
        }
    }

    /// The outcome a fact means by itself, if it ends a message. An acknowledgement may still say that the
    /// receiver refused it: [`standing`] looks at both.
    #[must_use]
    pub fn of(fact: &Fact) -> Option<Self> {
        Some(match fact {
            Fact::Executed => Self::Executed,
            Fact::Consumed => Self::Consumed,
            Fact::Cleared => Self::Cleared,
            Fact::Skipped => Self::Skipped,
            Fact::Burnt => Self::Burnt,
            Fact::Acknowledged => Self::Succeeded,
            Fact::TimedOut => Self::TimedOut,
            _ => return None,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Status, outcome and reason together. What is not settled has a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How far.
    pub status: MessageStatus,
    /// How it ended, once the destination said so.
    pub outcome: Option<Outcome>,
    /// Why it is not further.
    pub reason: Option<Reason>,
}

impl Standing {
    /// The same, where waiting for a network that does not go on is put down to why it does not.
    #[must_use]
    pub fn under(mut self, conditions: &[(NetworkName, Reason)]) -> Self {
        let waits_for = match &self.reason {
            Some(
                Reason::AwaitingFinality { network, .. }
                | Reason::AwaitingConfirmations { network, .. }
                | Reason::AwaitingInclusion { network },
            ) => Some(network),
            _ => None,
        };
        let why = conditions.iter().find(|(network, _)| Some(network) == waits_for);
        if let Some((_, why)) = why {
            self.reason = Some(why.clone());
        }
        self
    }
}

/// The standing of a message with these facts and duties.
///
/// It depends on nothing else, so it can be computed again at any time and moves back by itself
/// when a fact is taken back. The order of `facts` and `duties` does not matter, except that among
/// several open duties the first in the protocol's order (attest, commit, execute) gives the reason.
#[must_use]
pub fn standing(facts: &[FactRecord], duties: &[Duty]) -> Standing {
    let sent = best(facts, |fact| matches!(fact, Fact::Sent));
    let end = facts.iter().filter(|r| Outcome::of(&r.fact).is_some()).max_by_key(|r| r.certainty);
    let outcome = end.and_then(|r| Outcome::of(&r.fact)).map(|outcome| match outcome {
        Outcome::Succeeded if facts.iter().any(|r| is_refusal(&r.fact)) => Outcome::AppError,
        outcome => outcome,
    });

    if let Some(reason) = duties.iter().find_map(refutation) {
        return Standing { status: MessageStatus::Refuted, outcome, reason: Some(reason) };
    }
    match end.map(|r| (r.certainty, &r.observation.network)) {
        Some((Certainty::Verified, _)) if sent == Some(Certainty::Verified) => {
            return after_the_end(duties, outcome);
        }
        Some((_, network)) => {
            let reason = Reason::AwaitingFinality { network: network.clone(), more: 0 };
            return Standing { status: MessageStatus::Delivered, outcome, reason: Some(reason) };
        }
        None => {}
    }
    let stuck = |wanted: fn(&DutyState) -> bool| {
        duties.iter().find(|d| wanted(&d.state)).and_then(|d| d.state.reason().cloned())
    };
    if let Some(reason) = stuck(is_held) {
        return Standing { status: MessageStatus::Held, outcome, reason: Some(reason) };
    }
    if let Some(reason) = stuck(|s| matches!(s, DutyState::Failed(_))) {
        return Standing { status: MessageStatus::Failed, outcome, reason: Some(reason) };
    }
    if sent == Some(Certainty::Verified) && best(facts, |f| matches!(f, Fact::Received)).is_some() {
        let reason = open_reason(duties).unwrap_or(Reason::AwaitingAcknowledgement);
        return Standing { status: MessageStatus::Delivered, outcome, reason: Some(reason) };
    }
    if sent == Some(Certainty::Verified) {
        let reason = open_reason(duties).unwrap_or(Reason::NotOurs);
        return Standing { status: MessageStatus::Verified, outcome, reason: Some(reason) };
    }
    let reason =
        facts.iter().find(|r| matches!(r.fact, Fact::Sent)).map_or(Reason::AwaitingPlan, |r| {
            Reason::AwaitingFinality { network: r.observation.network.clone(), more: 0 }
        });
    Standing { status: MessageStatus::Observed, outcome, reason: Some(reason) }
}

/// Whether the duty waits for a person: one that nobody pays for goes on by itself once the account
/// is funded, and not before.
fn is_held(state: &DutyState) -> bool {
    matches!(state, DutyState::Held(_) | DutyState::Waiting(Reason::SignerEmpty { .. }))
}

/// A message that has ended is settled with its composed calls.
fn after_the_end(duties: &[Duty], outcome: Option<Outcome>) -> Standing {
    let composes = || duties.iter().filter(|d| d.kind == DutyKind::Compose);
    let find = |wanted: fn(&DutyState) -> bool| composes().find(|d| wanted(&d.state));
    let (status, duty) = if let Some(held) = find(is_held) {
        (MessageStatus::Held, held)
    } else if let Some(failed) = find(|s| matches!(s, DutyState::Failed(_))) {
        (MessageStatus::Failed, failed)
    } else if let Some(open) = find(DutyState::is_open) {
        (MessageStatus::Delivered, open)
    } else {
        return Standing { status: MessageStatus::Settled, outcome, reason: None };
    };
    Standing { status, outcome, reason: duty.state.reason().cloned() }
}

/// Whether the receiving application said that it did not take the message.
fn is_refusal(fact: &Fact) -> bool {
    matches!(fact, Fact::AcknowledgementWritten { error: Some(_), .. })
}

fn best(facts: &[FactRecord], wanted: impl Fn(&Fact) -> bool) -> Option<Certainty> {
    facts.iter().filter(|r| wanted(&r.fact)).map(|r| r.certainty).max()
}

fn refutation(duty: &Duty) -> Option<Reason> {
    match &duty.state {
        DutyState::Failed(reason @ Reason::Refuted { .. }) => Some(reason.clone()),
        _ => None,
    }
}

fn open_reason(duties: &[Duty]) -> Option<Reason> {
    duties
        .iter()
        .filter(|d| d.state.is_open())
        .min_by_key(|d| d.kind)
        .and_then(|d| d.state.reason().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fact::*, id::*};
    use alloy_primitives::B256;

    fn record(fact: Fact, certainty: Certainty) -> FactRecord {
        FactRecord {
            subject: Subject {
                lane: LaneId(B256::ZERO),
                nonce: MessageNonce(1),
                payload: Some(PayloadHash(B256::ZERO)),
            },
            fact,
            observation: Observation {
                network: "ethereum".parse().unwrap(),
                block: BlockRef { height: Height(1), hash: BlockHash(B256::ZERO) },
                index: 0,
                transaction: TxHash(B256::ZERO),
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
            worker: "0x".into(),
            state,
            attempts: 0,
            not_before: UnixMillis(0),
        }
    }

    #[test]
    fn a_message_goes_from_observed_to_settled_and_back() {
        use Certainty::{Hinted, Verified};
        let waiting = duty(DutyKind::Attest, DutyState::Waiting(Reason::AwaitingPlan));
        let seen = record(Fact::Sent, Hinted);
        let proven = record(Fact::Sent, Verified);
        let cases = [
            (vec![seen], MessageStatus::Observed, None, "awaiting_finality"),
            (vec![proven.clone()], MessageStatus::Verified, None, "awaiting_plan"),
            (
                vec![proven.clone(), record(Fact::Executed, Hinted)],
                MessageStatus::Delivered,
                Some(Outcome::Executed),
                "awaiting_finality",
            ),
            (vec![proven.clone()], MessageStatus::Verified, None, "awaiting_plan"),
        ];
        for (facts, status, outcome, code) in cases {
            let standing = standing(&facts, std::slice::from_ref(&waiting));
            assert_eq!((standing.status, standing.outcome), (status, outcome));
            assert_eq!(standing.reason.unwrap().code(), code);
        }
        let settled = standing(&[proven, record(Fact::Skipped, Verified)], &[]);
        assert_eq!(settled.status, MessageStatus::Settled);
        assert_eq!(settled.outcome, Some(Outcome::Skipped));
        assert_eq!(settled.reason, None);
    }

    #[test]
    fn r1_a_hinted_end_or_a_hinted_start_never_settles() {
        use Certainty::{Hinted, Verified};
        for (sent, end) in [(Hinted, Verified), (Verified, Hinted), (Hinted, Hinted)] {
            let facts = [record(Fact::Sent, sent), record(Fact::Executed, end)];
            assert_ne!(standing(&facts, &[]).status, MessageStatus::Settled);
        }
    }

    #[test]
    fn held_and_failed_duties_show_and_an_end_outranks_them() {
        let proven = record(Fact::Sent, Certainty::Verified);
        let held = duty(DutyKind::Execute, DutyState::Held(Reason::AwaitingCommit));
        let failed = duty(DutyKind::Attest, DutyState::Failed(Reason::AwaitingCommit));
        let refuted =
            duty(DutyKind::Attest, DutyState::Failed(Reason::Refuted { detail: "x".into() }));
        let of = |duties: &[Duty]| standing(std::slice::from_ref(&proven), duties).status;
        assert_eq!(of(&[held.clone(), failed.clone()]), MessageStatus::Held);
        let network: NetworkName = "beta".parse().unwrap();
        let unpaid = Reason::SignerEmpty { network, address: "0x01".into() };
        let unpaid = duty(DutyKind::Execute, DutyState::Waiting(unpaid));
        assert_eq!(of(&[failed.clone(), unpaid]), MessageStatus::Held, "somebody must fund it");
        assert_eq!(of(&[failed]), MessageStatus::Failed);
        assert_eq!(of(&[held.clone(), refuted]), MessageStatus::Refuted);
        let ended = [proven.clone(), record(Fact::Executed, Certainty::Verified)];
        assert_eq!(standing(&ended, &[held]).status, MessageStatus::Settled);
    }

    #[test]
    fn a_message_is_settled_with_its_composed_calls() {
        let ended =
            [record(Fact::Sent, Certainty::Verified), record(Fact::Executed, Certainty::Verified)];
        let of = |state| standing(&ended, &[duty(DutyKind::Compose, state)]);
        let open = of(DutyState::Waiting(Reason::AwaitingPlan));
        assert_eq!(
            (open.status, open.outcome),
            (MessageStatus::Delivered, Some(Outcome::Executed))
        );
        assert_eq!(open.reason, Some(Reason::AwaitingPlan));
        assert_eq!(of(DutyState::Held(Reason::AwaitingPlan)).status, MessageStatus::Held);
        assert_eq!(of(DutyState::Done).status, MessageStatus::Settled);
        assert_eq!(
            of(DutyState::NotNeeded(Reason::NothingComposed)).status,
            MessageStatus::Settled
        );
    }

    #[test]
    fn what_is_not_settled_has_a_reason() {
        for facts in [vec![], vec![record(Fact::Sent, Certainty::Verified)]] {
            let standing = standing(&facts, &[duty(DutyKind::Attest, DutyState::Done)]);
            assert!(standing.reason.is_some());
        }
    }
}
