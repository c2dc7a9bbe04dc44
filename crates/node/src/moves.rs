//! Moves of duties.

use postrider_message::{
    BlockRef, Duty, DutyState, Message, NetworkName, Reason, UnixMillis, duty::retry_at,
};
use postrider_store::DutyMove;
use postrider_verification::Shortfall;

/// A duty with its message.
#[derive(Debug, Clone, Copy)]
pub struct Owed<'a> {
    /// The duty.
    pub duty: &'a Duty,
    /// Its message.
    pub message: &'a Message,
    /// Where this node has proven it to be sent: the block, and the position of the log in it.
    pub sent_at: Option<(BlockRef, u64)>,
}

/// The reason that stands for a missing quorum.
#[must_use]
pub(crate) fn quorum_lost(network: &NetworkName, short: Shortfall) -> Reason {
    Reason::QuorumLost {
        network: network.clone(),
        agreeing: short.agreeing,
        needed: short.needed,
        configured: short.configured,
    }
}

/// A move to this state, with nothing else changed.
pub(crate) fn to(duty: &Duty, state: DutyState) -> DutyMove {
    DutyMove {
        duty: duty.id(),
        from: duty.state.as_str(),
        to: state,
        not_before: None,
        count_attempt: false,
    }
}

/// A move to waiting, to be tried again on a schedule.
pub(crate) fn later(duty: &Duty, reason: Reason, now: UnixMillis) -> DutyMove {
    DutyMove {
        not_before: Some(retry_at(now, duty.attempts)),
        count_attempt: true,
        ..to(duty, DutyState::Waiting(reason))
    }
}

/// A move to where only an operator moves it on.
pub(crate) fn held(duty: &Duty, reason: Reason) -> DutyMove {
    to(duty, DutyState::Held(reason))
}

/// A move to a bad end.
pub(crate) fn failed(duty: &Duty, reason: Reason) -> DutyMove {
    to(duty, DutyState::Failed(reason))
}
