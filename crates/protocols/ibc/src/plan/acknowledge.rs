//! Whether the source can be told how a packet was taken.

use super::{Action, Filter, LaneView, PacketJob, Queue, Turn, belonging, out_of_turn};
use crate::{ids::HandshakeState, packet::Packet, state::ChannelEnd};
use postrider_message::{Certainty, DutyKind, Fact, Reason};

pub(super) fn decide(
    job: &PacketJob<'_>,
    view: &LaneView,
    filter: &Filter,
    queue: &mut Queue,
) -> Action {
    let packet = job.packet;
    if let Some(detail) = filter.refuses(packet, DutyKind::Acknowledge) {
        return Action::not_needed(Reason::FilteredOut { detail });
    }
    if job.is_settled() {
        return Action::seen(&view.source.network);
    }
    let written = job.facts.iter().filter_map(|record| match &record.fact {
        Fact::AcknowledgementWritten { acknowledgement, .. } => {
            Some((record.certainty, acknowledgement))
        }
        _ => None,
    });
    let acknowledgement = match written.max_by_key(|(certainty, _)| *certainty) {
        Some((Certainty::Verified, acknowledgement)) => acknowledgement.clone(),
        Some((Certainty::Hinted, _)) => return Action::seen(&view.destination.network),
        None => return Action::wait(Reason::AwaitingAcknowledgement),
    };
    let end = match open_end(packet, view) {
        Ok(end) => end,
        Err(action) => return *action,
    };
    if let Some(reason) = &view.source.client {
        return Action::wait(reason.clone());
    }
    match queue.turn(end.order, packet.sequence) {
        Turn::Now => {
            queue.pass(packet.sequence);
            Action::Acknowledge { acknowledgement }
        }
        Turn::Past => Action::seen(&view.source.network),
        Turn::Later(next) => out_of_turn(next),
    }
}

fn open_end<'a>(packet: &Packet, view: &'a LaneView) -> Result<&'a ChannelEnd, Box<Action>> {
    let end = belonging(&view.source, &packet.destination)?;
    let network = &view.source.network;
    match end.state {
        HandshakeState::Open => Ok(end),
        // ibc-go takes acknowledgements over open channels only, and a closed one never opens again.
        HandshakeState::Closed => {
            let detail =
                format!("it is closed on {network}, which takes no acknowledgement any more");
            let reason = Reason::ChannelNotOpen { detail: detail.into() };
            Err(Box::new(Action::failed(reason)))
        }
        HandshakeState::Init | HandshakeState::TryOpen => {
            let detail = format!("its handshake is not complete on {network}").into();
            Err(Box::new(Action::wait(Reason::ChannelNotOpen { detail })))
        }
    }
}
