//! Moves of duties, and when a duty is tried again.

use postrider_message::{DutyState, NetworkName, Reason, UnixMillis};
use postrider_store::{DutyMove, OpenDuty};
use postrider_verification::Shortfall;

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

/// When to try again after so many attempts: 2 s, then twice as long each time, 10 minutes at most.
#[must_use]
pub(crate) fn retry_at(now: UnixMillis, attempts: u32) -> UnixMillis {
    let wait = 2_000u64.saturating_mul(1 << attempts.min(9)).min(600_000);
    UnixMillis(now.0.saturating_add(wait))
}

/// A move to this state, with nothing else changed.
pub(crate) fn to(open: &OpenDuty, state: DutyState) -> DutyMove {
    DutyMove {
        duty: open.duty.id(),
        from: open.duty.state.as_str(),
        to: state,
        not_before: None,
        count_attempt: false,
    }
}

/// A move to waiting, to be tried again on a schedule.
pub(crate) fn later(open: &OpenDuty, reason: Reason, now: UnixMillis) -> DutyMove {
    DutyMove {
        not_before: Some(retry_at(now, open.duty.attempts)),
        count_attempt: true,
        ..to(open, DutyState::Waiting(reason))
    }
}

/// A move to where only an operator moves it on.
pub(crate) fn held(open: &OpenDuty, reason: Reason) -> DutyMove {
    to(open, DutyState::Held(reason))
}

/// A move to a bad end.
pub(crate) fn failed(open: &OpenDuty, reason: Reason) -> DutyMove {
    to(open, DutyState::Failed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_and_have_a_bound() {
        let wait = |attempts| retry_at(UnixMillis(0), attempts).0;
        assert_eq!([wait(0), wait(1), wait(2)], [2_000, 4_000, 8_000]);
        assert_eq!(wait(9), 600_000);
        assert_eq!(wait(u32::MAX), 600_000);
    }
}
