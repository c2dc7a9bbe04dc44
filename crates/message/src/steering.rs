//! What an operator has stopped, and how that reads on messages and duties.

use crate::{
    duty::DutyState,
    reason::{Detail, Reason},
    status::{MessageStatus, Standing},
};

/// What an operator has stopped, as far as it concerns one message.
///
/// It never changes what chains said or what is owed: taken away, everything reads as before. What
/// was broadcast already is followed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering {
    /// The message's lane is paused.
    pub lane_paused: bool,
    /// The message is held back, and why.
    pub held: Option<Detail>,
}

impl Steering {
    /// How a message stands under it. One that has arrived or is refuted is stopped by nobody.
    #[must_use]
    pub fn standing(&self, standing: Standing) -> Standing {
        use MessageStatus::{Delivered, Refuted, Settled, Verified};
        if let Some(because) = &self.held
            && !matches!(standing.status, Delivered | Settled | Refuted)
        {
            let reason = Some(Reason::HeldByOperator { detail: because.clone() });
            return Standing { status: MessageStatus::Held, reason, ..standing };
        }
        let waits_for_us = !matches!(
            standing.reason,
            Some(Reason::NotOurs | Reason::AwaitingInclusion { .. }) | None
        );
        if self.lane_paused && standing.status == Verified && waits_for_us {
            return Standing { reason: Some(Reason::LanePaused), ..standing };
        }
        standing
    }

    /// How a duty stands under it. One whose transaction is on its way, and one that waits for an
    /// operator anyway, stay as they are.
    #[must_use]
    pub fn duty(&self, state: DutyState) -> DutyState {
        if !matches!(state, DutyState::Waiting(_) | DutyState::Ready(_)) {
            return state;
        }
        match &self.held {
            Some(because) => DutyState::Held(Reason::HeldByOperator { detail: because.clone() }),
            None if self.lane_paused => DutyState::Waiting(Reason::LanePaused),
            None => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(status: MessageStatus, reason: Option<Reason>) -> Standing {
        Standing { status, outcome: None, reason }
    }

    #[test]
    fn what_has_not_arrived_says_that_it_is_held() {
        use MessageStatus::*;
        let steering = Steering { lane_paused: true, held: Some("asked for".into()) };
        for status in MessageStatus::ALL {
            let before = standing(status, Some(Reason::AwaitingPlan));
            let after = steering.standing(before.clone());
            if matches!(status, Delivered | Settled | Refuted) {
                assert_eq!(after, before);
            } else {
                assert_eq!(after.status, Held);
                assert_eq!(after.reason.unwrap().code(), "held_by_operator");
            }
        }
    }

    #[test]
    fn a_pause_names_itself_only_where_it_is_what_stops() {
        let network = || "base".parse().unwrap();
        let steering = Steering { lane_paused: true, held: None };
        let shown = |status, reason: Reason| {
            let standing = steering.standing(standing(status, Some(reason)));
            assert_eq!(standing.status, status);
            standing.reason.unwrap().code()
        };
        let verified = MessageStatus::Verified;
        assert_eq!(shown(verified, Reason::AwaitingPlan), "lane_paused");
        assert_eq!(shown(verified, Reason::NotOurs), "not_ours");
        let sent = Reason::AwaitingInclusion { network: network() };
        assert_eq!(shown(verified, sent), "awaiting_inclusion");
        let early = Reason::AwaitingFinality { network: network(), more: 0 };
        assert_eq!(shown(MessageStatus::Observed, early), "awaiting_finality");
        assert_eq!(shown(MessageStatus::Held, Reason::AwaitingCommit), "awaiting_commit");
    }

    #[test]
    fn what_is_on_its_way_is_followed_on() {
        let paused = Steering { lane_paused: true, held: None };
        let held = Steering { lane_paused: false, held: Some("x".into()) };
        let waiting = DutyState::Waiting(Reason::AwaitingPlan);
        let submitted =
            DutyState::Submitted(Reason::AwaitingInclusion { network: "b".parse().unwrap() });
        for steering in [&paused, &held] {
            assert_eq!(steering.duty(submitted.clone()), submitted);
            assert_eq!(steering.duty(DutyState::Done), DutyState::Done);
            assert_ne!(steering.duty(waiting.clone()), waiting);
        }
        assert!(!held.duty(waiting.clone()).is_open());
        assert_eq!(paused.duty(waiting).reason(), Some(&Reason::LanePaused));
        let nothing = Steering::default();
        assert_eq!(nothing.duty(DutyState::Ready(Reason::AwaitingPlan)).as_str(), "ready");
    }
}
