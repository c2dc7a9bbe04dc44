//! Whether the source can be shown that a packet was not received in time.

use super::{Action, Filter, LaneView, PacketJob, belonging};
use crate::{
    ids::{HandshakeState, Height, Order, Sequence},
    packet::Packet,
};
use postrider_message::{Certainty, DutyKind, Fact, Reason, UnixMillis};

/// What shows that a packet was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// There is no receipt of it (unordered channels).
    NoReceipt,
    /// The channel receives this packet next, which is it or one before it (ordered channels). Both are to
    /// be proven at once: the sequence may have moved since it was read.
    NextReceive(Sequence),
}

/// How a packet is timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOut {
    /// What is to be proven of the destination.
    pub absence: Absence,
    /// Its channel is closed, which is to be proven too (`MsgTimeoutOnClose`); else its timeout has passed
    /// (`MsgTimeout`).
    pub closed: bool,
    /// The proof must lead to the header of this height, or to a later one. What is shown is the state after
    /// the block before it: whatever that block or a later one is given comes too late.
    pub header: Height,
}

pub(super) fn decide(job: &PacketJob<'_>, view: &LaneView, filter: &Filter) -> Action {
    let packet = job.packet;
    if let Some(detail) = filter.refuses(packet, DutyKind::TimeOut) {
        return Action::not_needed(Reason::FilteredOut { detail });
    }
    if job.is_settled() {
        return Action::seen(&view.source.network);
    }
    match job.heard(|f| matches!(f, Fact::Received | Fact::AcknowledgementWritten { .. })) {
        Some(Certainty::Verified) => return Action::not_needed(Reason::ReceivedInTime),
        Some(Certainty::Hinted) => return Action::seen(&view.destination.network),
        None => {}
    }
    let order = match belonging(&view.source, &packet.destination) {
        Ok(end) => end.order,
        Err(action) => return *action,
    };
    let closed = is_closed_there(packet, view);
    if !closed && !packet.timeout.has_passed(view.proven.height, view.proven.nanoseconds) {
        return Action::Wait { reason: Reason::AwaitingTimeout, until: earliest(packet) };
    }
    let absence = match (order, view.destination.next) {
        (Order::Unordered, _) => Absence::NoReceipt,
        (Order::Ordered, Some(next)) if next > packet.sequence => {
            return Action::not_needed(Reason::ReceivedInTime);
        }
        (Order::Ordered, Some(next)) => Absence::NextReceive(next),
        (Order::Ordered, None) => {
            let detail = "its next sequence was not read".into();
            return Action::wait(Reason::ChannelNotOpen { detail });
        }
    };
    if let Some(reason) = &view.source.client {
        return Action::wait(reason.clone());
    }
    Action::TimeOut(TimeOut { absence, closed, header: view.proven.height })
}

/// Whether the channel that the packet is for is closed; one that leads elsewhere says nothing about it.
fn is_closed_there(packet: &Packet, view: &LaneView) -> bool {
    belonging(&view.destination, &packet.source)
        .is_ok_and(|end| end.state == HandshakeState::Closed)
}

/// The time before which no timeout can pass; a height has none.
fn earliest(packet: &Packet) -> Option<UnixMillis> {
    let timeout = packet.timeout;
    let has_time_only = timeout.height.is_zero() && timeout.nanoseconds != 0;
    has_time_only.then(|| UnixMillis(timeout.nanoseconds.div_ceil(1_000_000)))
}
