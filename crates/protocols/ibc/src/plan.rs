//! What to do about the open packets of a lane: a pure function of their duties, of what chains said, and of
//! both ends of the channel as they were read.
//!
//! Nothing here is proof. A decision to send names what must be proven first, and whoever carries it out
//! proves that before anything is signed (R1): the view only spares proofs that would be in vain.

mod acknowledge;
mod batch;
mod filter;
mod receive;
mod timeout;

pub use batch::{BatchLimits, Item, batches};
pub use filter::{BadFilter, ChannelPattern, Excluded, Filter, Sequences};
pub use timeout::{Absence, TimeOut};

use crate::{
    ids::{ChannelEndId, Height, Order, Sequence},
    packet::Packet,
    state::ChannelEnd,
};
use alloy_primitives::Bytes;
use postrider_message::{
    Certainty, Duty, DutyId, DutyKind, DutyState, Fact, FactRecord, MessageNonce, NetworkName,
    Reason, UnixMillis,
};
use std::time::Duration;

/// A packet with work for it.
#[derive(Debug, Clone, Copy)]
pub struct PacketJob<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// What this node owes it, on either side.
    pub duties: &'a [Duty],
    /// What chains said about it, hints included.
    pub facts: &'a [FactRecord],
}

/// A block of a chain, as far as timeouts look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainTime {
    /// Its height.
    pub height: Height,
    /// The time in its header, in nanoseconds since 1970.
    pub nanoseconds: u64,
}

impl ChainTime {
    /// The earliest that a block can be which comes so many blocks later.
    fn later(self, blocks: u64, block_time: Duration) -> Self {
        let height = Height {
            revision_height: self.height.revision_height.saturating_add(blocks),
            ..self.height
        };
        let block_time = u64::try_from(block_time.as_nanos()).unwrap_or(u64::MAX);
        let passed = block_time.saturating_mul(blocks.saturating_sub(1));
        Self { height, nanoseconds: self.nanoseconds.saturating_add(passed) }
    }
}

/// One end of the lane's channel, as it was read.
#[derive(Debug, Clone)]
pub struct EndView {
    /// Its network.
    pub network: NetworkName,
    /// The end, in state that was proven; `None` if there is none.
    pub end: Option<ChannelEnd>,
    /// Which packet an ordered channel takes next: at the source the one whose acknowledgement it takes
    /// (`nextSequenceAck`), at the destination the one that it receives (`nextSequenceRecv`). `None` if it
    /// was not read; over unordered channels it is not looked at.
    pub next: Option<Sequence>,
    /// Why the light client here, of the other network, can be shown nothing; `None` if it can.
    pub client: Option<Reason>,
}

/// A lane as both its chains see it.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// Where packets are sent.
    pub source: EndView,
    /// Where they are received, in the state that [`LaneView::proven`] names.
    pub destination: EndView,
    /// The destination's newest block that is known of.
    pub newest: ChainTime,
    /// The destination's newest header that is accepted, to which proofs can lead. It names the state after
    /// the block before it.
    pub proven: ChainTime,
    /// About how long the destination takes for a block.
    pub block_time: Duration,
}

/// What becomes of a duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It moves to this state, which is an end.
    End(DutyState),
    /// It waits.
    Wait {
        /// For what.
        reason: Reason,
        /// Nothing changes before this time by the chains' clocks, as far as is known.
        until: Option<UnixMillis>,
    },
    /// `MsgRecvPacket` goes to the destination, with a proof of the commitment.
    Receive {
        /// It goes in a transaction of its own: it may come too late, and one that does fails all that is
        /// with it.
        alone: bool,
    },
    /// `MsgAcknowledgement` goes to the source, with a proof of this acknowledgement.
    Acknowledge {
        /// The bytes that the receiving application wrote.
        acknowledgement: Bytes,
    },
    /// `MsgTimeout` or `MsgTimeoutOnClose` goes to the source.
    TimeOut(TimeOut),
}

impl Action {
    fn wait(reason: Reason) -> Self {
        Self::Wait { reason, until: None }
    }

    fn not_needed(reason: Reason) -> Self {
        Self::End(DutyState::NotNeeded(reason))
    }

    fn failed(reason: Reason) -> Self {
        Self::End(DutyState::Failed(reason))
    }

    fn seen(network: &NetworkName) -> Self {
        Self::wait(Reason::AwaitingFinality { network: network.clone(), more: 0 })
    }
}

/// A duty with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The duty.
    pub duty: DutyId,
    /// Its kind.
    pub kind: DutyKind,
    /// Its packet's number.
    pub sequence: Sequence,
    /// What becomes of it.
    pub action: Action,
}

/// Decides for each duty of a lane's packets that can be planned now. Decisions come in the packets' order,
/// and over ordered channels they must be sent in it.
#[must_use]
pub fn plan(
    jobs: &[PacketJob<'_>],
    view: &LaneView,
    filter: &Filter,
    now: UnixMillis,
) -> Vec<Decision> {
    let mut jobs: Vec<&PacketJob<'_>> = jobs.iter().collect();
    jobs.sort_by_key(|job| job.packet.sequence);
    let (mut receives, mut acknowledges) = (Queue::of(&view.destination), Queue::of(&view.source));
    let mut decisions = Vec::new();
    for job in jobs {
        for duty in job.dues(now) {
            let action = match duty.kind {
                DutyKind::Receive => receive::decide(job, view, filter, &mut receives),
                DutyKind::Acknowledge => acknowledge::decide(job, view, filter, &mut acknowledges),
                DutyKind::TimeOut => timeout::decide(job, view, filter),
                DutyKind::Attest | DutyKind::Commit | DutyKind::Execute | DutyKind::Compose => {
                    continue;
                }
            };
            let (duty, kind, sequence) = (duty.id(), duty.kind, job.packet.sequence);
            decisions.push(Decision { duty, kind, sequence, action });
        }
    }
    decisions
}

impl<'a> PacketJob<'a> {
    fn dues(&self, now: UnixMillis) -> impl Iterator<Item = &'a Duty> {
        self.duties.iter().filter(move |duty| {
            matches!(duty.state, DutyState::Waiting(_) | DutyState::Ready(_))
                && duty.not_before <= now
        })
    }

    /// How surely a fact of this kind is known, if it is.
    fn heard(&self, wanted: fn(&Fact) -> bool) -> Option<Certainty> {
        self.facts.iter().filter(|r| wanted(&r.fact)).map(|r| r.certainty).max()
    }

    /// Whether the source is said to have settled it, one way or the other.
    fn is_settled(&self) -> bool {
        self.heard(|f| matches!(f, Fact::Acknowledged | Fact::TimedOut)).is_some()
    }
}

/// Who is next over an ordered channel, in the plan that is being made.
struct Queue {
    next: Option<u64>,
}

/// Whether a packet's turn has come.
enum Turn {
    Now,
    /// It had its turn already.
    Past,
    /// These come first; unknown if the channel was not read.
    Later(Option<MessageNonce>),
}

impl Queue {
    fn of(view: &EndView) -> Self {
        Self { next: view.next.map(Sequence::get) }
    }

    fn turn(&self, order: Order, sequence: Sequence) -> Turn {
        match (order, self.next) {
            (Order::Unordered, _) => Turn::Now,
            (Order::Ordered, None) => Turn::Later(None),
            (Order::Ordered, Some(next)) => match sequence.get().cmp(&next) {
                std::cmp::Ordering::Less => Turn::Past,
                std::cmp::Ordering::Equal => Turn::Now,
                std::cmp::Ordering::Greater => Turn::Later(Some(MessageNonce(next))),
            },
        }
    }

    /// The packet goes, so the one after it can go in the same round.
    fn pass(&mut self, sequence: Sequence) {
        self.next = self.next.map(|next| next.max(sequence.get().saturating_add(1)));
    }
}

/// Why the turn has not come.
fn out_of_turn(next: Option<MessageNonce>) -> Action {
    Action::wait(match next {
        Some(nonce) => Reason::LowerNonceNotExecuted { nonce },
        None => Reason::ChannelNotOpen { detail: "its next sequence was not read".into() },
    })
}

/// The channel's end, if it belongs to a packet whose other end is `other` (class (l): a channel of the
/// same name may lead elsewhere).
fn belonging<'a>(view: &'a EndView, other: &ChannelEndId) -> Result<&'a ChannelEnd, Box<Action>> {
    let network = &view.network;
    let Some(end) = &view.end else {
        let detail = format!("there is no such channel on {network}").into();
        return Err(Box::new(Action::wait(Reason::ChannelNotOpen { detail })));
    };
    let leads_elsewhere = match end.counterparty() {
        Some(counterparty) => counterparty != *other,
        None => end.counterparty_port != other.port,
    };
    if leads_elsewhere {
        let detail = format!("on {network} it does not lead to {other}").into();
        return Err(Box::new(Action::failed(Reason::ChannelNotOpen { detail })));
    }
    Ok(end)
}

#[cfg(test)]
mod tests;
