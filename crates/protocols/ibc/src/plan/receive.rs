//! Whether a packet can be received now.

use super::{Action, Filter, LaneView, PacketJob, Queue, Turn, belonging, out_of_turn};
use crate::{ids::HandshakeState, packet::Packet, state::ChannelEnd};
use postrider_message::{DutyKind, Fact, Reason};

/// A packet this near to its timeout, in blocks of the destination, may come too late.
const NEAR_BLOCKS: u64 = 2;

pub(super) fn decide(
    job: &PacketJob<'_>,
    view: &LaneView,
    filter: &Filter,
    queue: &mut Queue,
) -> Action {
    let packet = job.packet;
    let answer = [may_relay(packet, filter), has_it_already(job, view), is_in_time(packet, view)];
    if let Some(action) = answer.into_iter().flatten().next() {
        return action;
    }
    let end = match open_end(packet, view) {
        Ok(end) => end,
        Err(action) => return *action,
    };
    if let Some(reason) = &view.destination.client {
        return Action::wait(reason.clone());
    }
    match queue.turn(end.order, packet.sequence) {
        Turn::Now => {
            queue.pass(packet.sequence);
            Action::Receive { alone: is_near_timeout(packet, view) }
        }
        Turn::Past => Action::seen(&view.destination.network),
        Turn::Later(next) => out_of_turn(next),
    }
}

fn may_relay(packet: &Packet, filter: &Filter) -> Option<Action> {
    let detail = filter.refuses(packet, DutyKind::Receive)?;
    Some(Action::not_needed(Reason::FilteredOut { detail }))
}

/// What the destination has, it has; the duty ends when that is proven.
fn has_it_already(job: &PacketJob<'_>, view: &LaneView) -> Option<Action> {
    if job.is_settled() {
        return Some(Action::seen(&view.source.network));
    }
    job.heard(|f| matches!(f, Fact::Received | Fact::AcknowledgementWritten { .. }))
        .map(|_| Action::seen(&view.destination.network))
}

/// The next block is the first that can receive it. Only a header that was accepted ends the duty: a block
/// that is only heard of may not be.
fn is_in_time(packet: &Packet, view: &LaneView) -> Option<Action> {
    let next = view.newest.later(1, view.block_time);
    if packet.timeout.has_passed(view.proven.height, view.proven.nanoseconds) {
        return Some(Action::not_needed(Reason::TimeoutPassed));
    }
    packet
        .timeout
        .has_passed(next.height, next.nanoseconds)
        .then(|| Action::wait(Reason::TimeoutPassed))
}

fn is_near_timeout(packet: &Packet, view: &LaneView) -> bool {
    let then = view.newest.later(1 + NEAR_BLOCKS, view.block_time);
    packet.timeout.has_passed(then.height, then.nanoseconds)
}

fn open_end<'a>(packet: &Packet, view: &'a LaneView) -> Result<&'a ChannelEnd, Box<Action>> {
    let end = belonging(&view.destination, &packet.source)?;
    let network = &view.destination.network;
    match end.state {
        HandshakeState::Open => Ok(end),
        // A channel that closed never opens again: the packet is to be timed out.
        HandshakeState::Closed => {
            let detail = format!("it is closed on {network}").into();
            Err(Box::new(Action::not_needed(Reason::ChannelNotOpen { detail })))
        }
        HandshakeState::Init | HandshakeState::TryOpen => {
            let detail = format!("its handshake is not complete on {network}").into();
            Err(Box::new(Action::wait(Reason::ChannelNotOpen { detail })))
        }
    }
}
