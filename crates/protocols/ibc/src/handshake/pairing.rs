//! Which ends of two chains belong together. Anybody may begin a handshake, or answer one, as often as they
//! like; so there may be many ends, and most of them lead nowhere.

use super::{Has, Side};
use crate::{
    ids::{ChannelEndId, ChannelId, ClientId, ConnectionId, HandshakeState, Order, PortId},
    state::{ChannelEnd, ConnectionEnd},
};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    time::Duration,
};

/// What a path is to be like, as side A sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPath {
    /// The client on A, of B.
    pub client_a: ClientId,
    /// The client on B, of A.
    pub client_b: ClientId,
    /// How long a header must stand before something is proven by it.
    pub delay: Duration,
    /// The channel; only a connection is wanted if none.
    pub channel: Option<WantedChannel>,
}

/// What a channel is to be like, as side A sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedChannel {
    /// The module on A.
    pub port_a: PortId,
    /// The module on B.
    pub port_b: PortId,
    /// Whether packets arrive in order.
    pub order: Order,
    /// What the modules speak; where they agree on it themselves, any will do: `None`.
    pub version: Option<String>,
}

/// What a chain has that may be of use: all its connections with the client, and the channels over them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// The connections.
    pub connections: BTreeMap<ConnectionId, ConnectionEnd>,
    /// The channels.
    pub channels: BTreeMap<ChannelEndId, ChannelEnd>,
}

/// A side names an end of the other one that was not read there, or read in an older state: it is to be read
/// again, since a handshake begun anew would leave that one behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("side {0:?} was read too early: the other side knows more of it; read it again")]
pub struct Outdated(pub Side);

/// What two chains have of a path, so that [`super::next`] leads to its end.
///
/// Of all ends that are as wanted, those are taken that are furthest together, and of these the ones that
/// were begun first. Two relayers that call the same chain A choose the same.
///
/// # Errors
/// [`Outdated`].
pub fn select(a: &Ends, b: &Ends, wanted: &WantedPath) -> Result<(Has, Has), Outdated> {
    let connections = ranked(&connections(a, wanted, Side::A), &connections(b, wanted, Side::B));
    let Some(best) = connections.first() else { return Ok((Has::default(), Has::default())) };
    // Of several connections that are open, the one counts whose channel is furthest.
    let alike = connections.iter().take_while(|found| found.progress == best.progress);
    let is_open = best.progress == Progress::Open;
    // The other side has no channel over a connection that it has not answered: none can be missed there.
    let wanted_channel = wanted.channel.as_ref().filter(|_| best.progress != Progress::Begun);
    let over = alike.take(if is_open { usize::MAX } else { 1 }).map(|found| {
        let channels = ranked(
            &channels(a, wanted_channel, Side::A, found.a.as_ref()),
            &channels(b, wanted_channel, Side::B, found.b.as_ref()),
        );
        (found, channels.into_iter().next())
    });
    let progress =
        |channel: &Option<Match<ChannelId>>| channel.as_ref().map(|found| found.progress);
    let Some((connection, channel)) =
        over.reduce(|best, next| if progress(&next.1) > progress(&best.1) { next } else { best })
    else {
        return Ok((Has::default(), Has::default()));
    };
    let channel = channel.unwrap_or_default();
    if let Some(outdated) = connection.outdated.or(channel.outdated) {
        return Err(Outdated(outdated));
    }
    let has = |ends: &Ends,
               port: Option<&PortId>,
               connection: &Option<ConnectionId>,
               channel: Option<ChannelId>| {
        let channel =
            channel.zip(port).map(|(channel, port)| ChannelEndId { port: port.clone(), channel });
        Has {
            connection: connection
                .as_ref()
                .and_then(|id| Some((id.clone(), ends.connections.get(id)?.clone()))),
            channel: channel.and_then(|id| Some((id.clone(), ends.channels.get(&id)?.clone()))),
        }
    };
    Ok((
        has(a, wanted.channel.as_ref().map(|c| &c.port_a), &connection.a, channel.a),
        has(b, wanted.channel.as_ref().map(|c| &c.port_b), &connection.b, channel.b),
    ))
}

/// An end of a connection or a channel, as far as handshakes look at it.
#[derive(Debug)]
struct Half<'a, I> {
    id: &'a I,
    state: HandshakeState,
    counterparty: Option<&'a I>,
    /// Whether it is as wanted. What is not is kept in sight: an end that leads there leads nowhere.
    fits: bool,
}

// Derived, they would ask the same of the id.
impl<I> Clone for Half<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Half<'_, I> {}

/// How far two ends are together, the least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    #[default]
    Begun,
    Answered,
    Outdated,
    Acknowledged,
    Open,
}

/// Ends that belong together, or one that nobody answered yet.
#[derive(Debug, Clone)]
struct Match<I> {
    progress: Progress,
    a: Option<I>,
    b: Option<I>,
    outdated: Option<Side>,
}

impl<I> Default for Match<I> {
    fn default() -> Self {
        Self { progress: Progress::default(), a: None, b: None, outdated: None }
    }
}

fn connections<'a>(ends: &'a Ends, wanted: &WantedPath, side: Side) -> Vec<Half<'a, ConnectionId>> {
    let (own, other) = match side {
        Side::A => (&wanted.client_a, &wanted.client_b),
        Side::B => (&wanted.client_b, &wanted.client_a),
    };
    let halves = ends.connections.iter().map(|(id, end)| Half {
        id,
        state: end.state,
        counterparty: end.counterparty.as_ref(),
        fits: end.client == *own
            && end.counterparty_client == *other
            && end.delay == wanted.delay
            && end.is_standard(),
    });
    halves.collect()
}

fn channels<'a>(
    ends: &'a Ends,
    wanted: Option<&WantedChannel>,
    side: Side,
    over: Option<&ConnectionId>,
) -> Vec<Half<'a, ChannelId>> {
    let Some(wanted) = wanted else { return Vec::new() };
    let (own, other) = match side {
        Side::A => (&wanted.port_a, &wanted.port_b),
        Side::B => (&wanted.port_b, &wanted.port_a),
    };
    let halves = ends.channels.iter().filter(|(id, _)| id.port == *own).map(|(id, end)| Half {
        id: &id.channel,
        state: end.state,
        counterparty: end.counterparty_channel.as_ref(),
        fits: Some(&end.connection) == over
            && end.counterparty_port == *other
            && end.order == wanted.order
            && wanted.version.as_ref().is_none_or(|version| end.version == *version),
    });
    halves.collect()
}

/// All that is as wanted and may still open, the best first.
fn ranked<I: Clone + Ord + Hash + AsRef<str>>(
    a: &[Half<'_, I>],
    b: &[Half<'_, I>],
) -> Vec<Match<I>> {
    let (see_a, see_b) = (Sight::of(a), Sight::of(b));
    let from_a = a.iter().filter_map(|half| see_b.meet(half, Side::A));
    // What both sides know of is found from A.
    let from_b = b
        .iter()
        .filter_map(|half| see_a.meet(half, Side::B))
        .filter(|found| found.a.is_none() || found.outdated.is_some());
    let mut found: Vec<Match<I>> = from_a.chain(from_b).collect();
    found.sort_by(|x, y| {
        let age = |found: &Match<I>| {
            let age = |id: &I| (id.as_ref().len(), id.clone());
            (found.a.is_none(), found.a.as_ref().map(age), found.b.as_ref().map(age))
        };
        y.progress.cmp(&x.progress).then_with(|| age(x).cmp(&age(y)))
    });
    found
}

/// The ends of one side, as they are looked up from the other one.
struct Sight<'a, I> {
    by_id: HashMap<&'a I, Half<'a, I>>,
    /// The oldest answer to each end that was begun on the other side.
    answers: HashMap<&'a I, &'a I>,
}

impl<'a, I: Clone + Ord + Hash + AsRef<str>> Sight<'a, I> {
    fn of(halves: &[Half<'a, I>]) -> Self {
        let mut answers: HashMap<&'a I, &'a I> = HashMap::new();
        for half in halves.iter().filter(|h| h.fits && h.state == HandshakeState::TryOpen) {
            let Some(begun) = half.counterparty else { continue };
            let age = |id: &I| (id.as_ref().len(), id.clone());
            let oldest = answers.entry(begun).or_insert(half.id);
            if age(half.id) < age(oldest) {
                *oldest = half.id;
            }
        }
        Self { by_id: halves.iter().map(|half| (half.id, *half)).collect(), answers }
    }

    /// Whom an end of the other side belongs to here; `None` if it leads nowhere.
    fn meet(&self, half: &Half<'a, I>, side: Side) -> Option<Match<I>> {
        use HandshakeState::{Init, Open, TryOpen};
        if !half.fits {
            return None;
        }
        let here = |progress, there: Option<&I>| {
            let (own, there) = (Some(half.id.clone()), there.cloned());
            let (a, b) = match side {
                Side::A => (own, there),
                Side::B => (there, own),
            };
            Some(Match { progress, a, b, outdated: None })
        };
        let named = match (half.state, half.counterparty) {
            (Init, None) => {
                let answer = self.answers.get(half.id).copied();
                let progress = if answer.is_some() { Progress::Answered } else { Progress::Begun };
                return here(progress, answer);
            }
            (TryOpen | Open, Some(named)) => named,
            _ => return None,
        };
        let Some(there) = self.by_id.get(named) else { return Self::outdated(half, side) };
        if !there.fits {
            return None;
        }
        let names_us = there.counterparty == Some(half.id);
        match (half.state, there.state) {
            (Open, Open) if names_us => here(Progress::Open, Some(named)),
            (Open, TryOpen) | (TryOpen, Open) if names_us => {
                here(Progress::Acknowledged, Some(named))
            }
            // It is this end's answer if it is the oldest; see above.
            (TryOpen, Init) if side == Side::B => None,
            (TryOpen, Init) => here(Progress::Answered, Some(named)),
            (Open, Init) => Self::outdated(half, side),
            _ => None,
        }
    }

    fn outdated(half: &Half<'a, I>, side: Side) -> Option<Match<I>> {
        let own = Some(half.id.clone());
        let (a, b) = match side {
            Side::A => (own, None),
            Side::B => (None, own),
        };
        Some(Match { progress: Progress::Outdated, a, b, outdated: Some(side.other()) })
    }
}
