//! Two chains as ibc-go keeps them, ourselves, and strangers who do what they like.

use super::*;
use crate::ids::{ChannelId, ClientId, Order};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

const ENOUGH: usize = 60;

fn wanted() -> WantedPath {
    WantedPath {
        client_a: "07-tendermint-0".parse().unwrap(),
        client_b: "07-tendermint-5".parse().unwrap(),
        delay: Duration::ZERO,
        channel: Some(WantedChannel {
            port_a: "transfer".parse().unwrap(),
            port_b: "transfer".parse().unwrap(),
            order: Order::Unordered,
            version: Some("ics20-1".into()),
        }),
    }
}

/// What is told to a chain. Who tells it may be anybody.
#[derive(Debug, Clone)]
enum Told {
    ConnectionInit { is_wanted: bool },
    ConnectionTry(ConnectionId),
    ConnectionAck(ConnectionId, ConnectionId),
    ConnectionConfirm(ConnectionId),
    ChannelInit { over: ConnectionId, is_wanted: bool },
    ChannelTry { over: ConnectionId, init: ChannelEndId },
    ChannelAck(ChannelEndId, ChannelEndId),
    ChannelConfirm(ChannelEndId),
    ChannelClose(ChannelEndId),
}

#[derive(Debug, Clone, Default)]
struct World {
    a: Ends,
    b: Ends,
    named: u32,
}

/// ibc-go refuses it.
#[derive(Debug)]
struct Refused;

fn found<I: Ord, E>(ends: &BTreeMap<I, E>, id: &I) -> Result<E, Refused>
where
    E: Clone,
{
    ends.get(id).cloned().ok_or(Refused)
}

fn demand(holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused) }
}

impl World {
    fn of(&self, side: Side) -> &Ends {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn put_connection(&mut self, side: Side, id: ConnectionId, end: ConnectionEnd) {
        let ends = if side == Side::A { &mut self.a } else { &mut self.b };
        ends.connections.insert(id, end);
    }

    fn put_channel(&mut self, side: Side, id: ChannelEndId, end: ChannelEnd) {
        let ends = if side == Side::A { &mut self.a } else { &mut self.b };
        ends.channels.insert(id, end);
    }

    /// A number that only this end has, high enough for texts and numbers to be ordered differently.
    fn name(&mut self) -> u32 {
        self.named += 1;
        self.named + 7
    }

    fn client(side: Side) -> ClientId {
        let wanted = wanted();
        if side == Side::A { wanted.client_a } else { wanted.client_b }
    }

    /// A transaction: all of it, or nothing.
    fn take(&mut self, side: Side, all: &[Told]) -> Result<(), Refused> {
        let mut then = self.clone();
        for told in all {
            then.hear(side, told)?;
        }
        *self = then;
        Ok(())
    }

    fn hear(&mut self, side: Side, told: &Told) -> Result<(), Refused> {
        use HandshakeState::{Closed, Init, Open, TryOpen};
        let other = side.other();
        match told {
            Told::ConnectionInit { is_wanted } => {
                let id = format!("connection-{}", self.name()).parse().unwrap();
                let end = ConnectionEnd {
                    state: Init,
                    client: Self::client(side),
                    counterparty_client: Self::client(other),
                    counterparty: None,
                    delay: Duration::ZERO,
                    prefix: if *is_wanted { "ibc".into() } else { "elsewhere".into() },
                    versions: vec![crate::state::ConnectionVersion {
                        identifier: "1".into(),
                        features: vec!["ORDER_ORDERED".into(), "ORDER_UNORDERED".into()],
                    }],
                };
                self.put_connection(side, id, end);
            }
            Told::ConnectionTry(init) => {
                let there = found(&self.of(other).connections, init)?;
                demand(there.state == Init && there.is_standard())?;
                let id = format!("connection-{}", self.name()).parse().unwrap();
                let end = ConnectionEnd {
                    state: TryOpen,
                    client: Self::client(side),
                    counterparty_client: Self::client(other),
                    counterparty: Some(init.clone()),
                    ..there
                };
                self.put_connection(side, id, end);
            }
            Told::ConnectionAck(here, there) => {
                let end = found(&self.of(side).connections, here)?;
                let answer = found(&self.of(other).connections, there)?;
                demand(end.state == Init)?;
                demand(answer.state == TryOpen && answer.counterparty.as_ref() == Some(here))?;
                let end = ConnectionEnd { state: Open, counterparty: Some(there.clone()), ..end };
                self.put_connection(side, here.clone(), end);
            }
            Told::ConnectionConfirm(here) => {
                let end = found(&self.of(side).connections, here)?;
                let there =
                    found(&self.of(other).connections, end.counterparty.as_ref().ok_or(Refused)?)?;
                demand(end.state == TryOpen)?;
                demand(there.state == Open && there.counterparty.as_ref() == Some(here))?;
                self.put_connection(side, here.clone(), ConnectionEnd { state: Open, ..end });
            }
            Told::ChannelInit { over, is_wanted } => {
                found(&self.of(side).connections, over)?;
                let channel = format!("channel-{}", self.name()).parse::<ChannelId>().unwrap();
                let port = wanted().channel.unwrap().port_a;
                let end = ChannelEnd {
                    state: Init,
                    order: if *is_wanted { Order::Unordered } else { Order::Ordered },
                    counterparty_port: port.clone(),
                    counterparty_channel: None,
                    connection: over.clone(),
                    version: "ics20-1".into(),
                };
                self.put_channel(side, ChannelEndId { port, channel }, end);
            }
            Told::ChannelTry { over, init } => {
                let there = found(&self.of(other).channels, init)?;
                let below = found(&self.of(side).connections, over)?;
                demand(
                    below.state == Open && below.counterparty.as_ref() == Some(&there.connection),
                )?;
                demand(there.state == Init)?;
                let channel = format!("channel-{}", self.name()).parse::<ChannelId>().unwrap();
                let end = ChannelEnd {
                    state: TryOpen,
                    counterparty_channel: Some(init.channel.clone()),
                    connection: over.clone(),
                    ..there
                };
                self.put_channel(side, ChannelEndId { port: init.port.clone(), channel }, end);
            }
            Told::ChannelAck(here, there) => {
                let end = found(&self.of(side).channels, here)?;
                let answer = found(&self.of(other).channels, there)?;
                let below = found(&self.of(side).connections, &end.connection)?;
                demand(end.state == Init && below.state == Open)?;
                demand(answer.state == TryOpen && answer.counterparty().as_ref() == Some(here))?;
                let counterparty_channel = Some(there.channel.clone());
                let end = ChannelEnd { state: Open, counterparty_channel, ..end };
                self.put_channel(side, here.clone(), end);
            }
            Told::ChannelConfirm(here) => {
                let end = found(&self.of(side).channels, here)?;
                let there = found(&self.of(other).channels, &end.counterparty().ok_or(Refused)?)?;
                demand(end.state == TryOpen)?;
                demand(there.state == Open && there.counterparty().as_ref() == Some(here))?;
                self.put_channel(side, here.clone(), ChannelEnd { state: Open, ..end });
            }
            Told::ChannelClose(here) => {
                let end = found(&self.of(side).channels, here)?;
                demand(end.state != Closed)?;
                self.put_channel(side, here.clone(), ChannelEnd { state: Closed, ..end });
            }
        }
        Ok(())
    }

    /// What we tell next, and to whom.
    fn ours(&self) -> Option<(Side, Vec<Told>)> {
        let (a, b) = select(&self.a, &self.b, &wanted()).expect("both were read at once");
        let (side, steps) = next(&a, &b)?;
        let (here, there) = if side == Side::A { (a, b) } else { (b, a) };
        let connection = |has: &Has| has.connection.as_ref().unwrap().0.clone();
        let channel = |has: &Has| has.channel.as_ref().unwrap().0.clone();
        let told = |step: Step| match step {
            Step::ConnectionInit => Told::ConnectionInit { is_wanted: true },
            Step::ConnectionTry => Told::ConnectionTry(connection(&there)),
            Step::ConnectionAck => Told::ConnectionAck(connection(&here), connection(&there)),
            Step::ConnectionConfirm => Told::ConnectionConfirm(connection(&here)),
            Step::ChannelInit => Told::ChannelInit { over: connection(&here), is_wanted: true },
            Step::ChannelTry => Told::ChannelTry { over: connection(&here), init: channel(&there) },
            Step::ChannelAck => Told::ChannelAck(channel(&here), channel(&there)),
            Step::ChannelConfirm => Told::ChannelConfirm(channel(&here)),
        };
        Some((side, steps.into_iter().map(told).collect()))
    }

    /// Takes our steps until there are none.
    fn finish(&mut self) -> usize {
        for taken in 0..ENOUGH {
            let Some((side, told)) = self.ours() else { return taken };
            self.take(side, &told).unwrap_or_else(|_| panic!("{told:?} was refused"));
        }
        panic!("no end after {ENOUGH} transactions: {self:?}");
    }

    fn assert_open(&self) {
        let (a, b) = select(&self.a, &self.b, &wanted()).unwrap();
        let (connection_a, connection_b) = (a.connection.unwrap(), b.connection.unwrap());
        assert_eq!(connection_a.1.counterparty, Some(connection_b.0));
        assert_eq!(connection_b.1.counterparty, Some(connection_a.0));
        let (channel_a, channel_b) = (a.channel.unwrap(), b.channel.unwrap());
        assert_eq!(channel_a.1.counterparty(), Some(channel_b.0));
        assert_eq!(channel_b.1.counterparty(), Some(channel_a.0));
        let states =
            [connection_a.1.state, connection_b.1.state, channel_a.1.state, channel_b.1.state];
        assert_eq!(states, [HandshakeState::Open; 4]);
    }

    fn open(&self) -> [usize; 4] {
        let connections = |ends: &Ends| {
            ends.connections.values().filter(|end| end.state == HandshakeState::Open).count()
        };
        let channels = |ends: &Ends| {
            ends.channels.values().filter(|end| end.state == HandshakeState::Open).count()
        };
        [connections(&self.a), connections(&self.b), channels(&self.a), channels(&self.b)]
    }

    /// Something that a stranger may tell `side`, chosen by `seed`.
    fn strange(&self, side: Side, kind: u8, seed: usize, is_wanted: bool) -> Option<Told> {
        fn pick<I: Clone, E>(ends: &BTreeMap<I, E>, seed: usize) -> Option<I> {
            ends.keys().nth(seed % ends.len().max(1)).cloned()
        }
        let (here, there) = (self.of(side), self.of(side.other()));
        Some(match kind {
            0 => Told::ConnectionInit { is_wanted },
            1 => Told::ConnectionTry(pick(&there.connections, seed)?),
            2 => {
                let there = pick(&there.connections, seed / 7)?;
                Told::ConnectionAck(pick(&here.connections, seed)?, there)
            }
            3 => Told::ConnectionConfirm(pick(&here.connections, seed)?),
            4 => Told::ChannelInit { over: pick(&here.connections, seed)?, is_wanted },
            5 => {
                let init = pick(&there.channels, seed / 7)?;
                Told::ChannelTry { over: pick(&here.connections, seed)?, init }
            }
            6 => {
                let there = pick(&there.channels, seed / 7)?;
                Told::ChannelAck(pick(&here.channels, seed)?, there)
            }
            7 => Told::ChannelConfirm(pick(&here.channels, seed)?),
            _ => Told::ChannelClose(pick(&here.channels, seed)?),
        })
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// We take a step.
    Step,
    /// We hand a step in and are killed; it is in a block later, or never.
    Killed,
    /// What a killed run had handed in is in a block now.
    Lands(usize),
    /// A stranger tells something.
    Stranger { on_a: bool, kind: u8, seed: usize, is_wanted: bool },
}

fn events(strangers: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Event>> {
    let stranger = (any::<bool>(), strangers, 0usize..200, any::<bool>())
        .prop_map(|(on_a, kind, seed, is_wanted)| Event::Stranger { on_a, kind, seed, is_wanted });
    let event = prop_oneof![
        3 => Just(Event::Step),
        1 => Just(Event::Killed),
        1 => (0usize..4).prop_map(Event::Lands),
        4 => stranger,
    ];
    prop::collection::vec(event, 0..40)
}

fn run(events: Vec<Event>, with_strangers: bool) -> World {
    let mut world = World::default();
    let mut handed_in: Vec<(Side, Vec<Told>)> = Vec::new();
    for event in events {
        match event {
            Event::Step => {
                if let Some((side, told)) = world.ours() {
                    world.take(side, &told).expect("what is planned on the newest state is taken");
                }
            }
            Event::Killed => handed_in.extend(world.ours()),
            Event::Lands(which) => {
                if !handed_in.is_empty() {
                    let (side, told) = handed_in.remove(which % handed_in.len());
                    let _ = world.take(side, &told);
                }
            }
            Event::Stranger { on_a, kind, seed, is_wanted } if with_strangers => {
                let side = if on_a { Side::A } else { Side::B };
                if let Some(told) = world.strange(side, kind, seed, is_wanted) {
                    let _ = world.take(side, &[told]);
                }
            }
            Event::Stranger { .. } => {}
        }
    }
    for (side, told) in handed_in {
        let _ = world.take(side, &told);
    }
    world
}

proptest! {
    /// Wherever a run is killed, and whenever what it had handed in lands, one path is open in the end and
    /// no second one.
    #[test]
    fn r4_killed_runs_leave_exactly_one_path(events in events(0..9)) {
        let mut world = run(events, false);
        world.finish();
        world.assert_open();
        prop_assert_eq!(world.open(), [1, 1, 1, 1]);
    }

    /// Whatever strangers begin, answer, end or close, the path is open in the end, and what fits of theirs
    /// is taken.
    #[test]
    fn r6_strangers_cannot_keep_a_path_from_opening(events in events(0..9)) {
        let mut world = run(events, true);
        let has_begun = world.a.connections.values().chain(world.b.connections.values()).any(|end| {
            end.is_standard() && end.state == HandshakeState::Init
        });
        let begun = |world: &World| world.a.connections.len() + world.b.connections.len();
        let before = begun(&world);
        world.finish();
        world.assert_open();
        prop_assert!(!has_begun || begun(&world) <= before + 1, "at most an answer was added");
    }

    /// Strangers who only carry on what we began open nothing beside it, as long as we begin once. (A run that
    /// was killed while its first step was on its way may begin twice; a stranger can then carry on both.)
    #[test]
    fn one_path_stays_one_whoever_carries_it_on(events in events(1..4)) {
        let is_known = |event: &Event| matches!(event, Event::Step | Event::Stranger { .. });
        let events = events.into_iter().filter(is_known).collect();
        let mut world = run(events, true);
        world.finish();
        world.assert_open();
        prop_assert_eq!(world.open(), [1, 1, 1, 1]);
    }
}

#[test]
fn a_path_from_nothing_takes_six_transactions() {
    let mut world = World::default();
    assert_eq!(world.finish(), 6);
    world.assert_open();
}

/// Connection A7 was begun, and answered twice by B; then A took one answer. The other one leads nowhere.
#[test]
fn an_answer_that_came_too_late_is_left_alone() {
    let mut world = World::default();
    world.take(Side::B, &[Told::ConnectionInit { is_wanted: true }]).unwrap();
    let init = world.b.connections.keys().next().unwrap().clone();
    for _ in 0..2 {
        world.take(Side::A, &[Told::ConnectionTry(init.clone())]).unwrap();
    }
    let late = world.a.connections.keys().next_back().unwrap().clone();
    world.take(Side::B, &[Told::ConnectionAck(init.clone(), late.clone())]).unwrap();
    let (a, b) = select(&world.a, &world.b, &wanted()).unwrap();
    assert_eq!(a.connection.unwrap().0, late);
    assert_eq!(b.connection.unwrap().0, init);
    world.finish();
    world.assert_open();
}

#[test]
fn the_oldest_is_taken_by_number_and_not_by_text() {
    let mut world = World::default();
    for _ in 0..5 {
        // They are named 8 to 12.
        world.take(Side::A, &[Told::ConnectionInit { is_wanted: true }]).unwrap();
    }
    let (a, b) = select(&world.a, &world.b, &wanted()).unwrap();
    assert_eq!(a.connection.unwrap().0.as_str(), "connection-8");
    assert_eq!(b, Has::default());
}

/// Class (l): an end that leads to what is not as wanted, such as another prefix, is no end of ours.
#[test]
fn class_l_what_is_not_as_wanted_is_not_taken() {
    let mut world = World::default();
    world.take(Side::A, &[Told::ConnectionInit { is_wanted: false }]).unwrap();
    assert_eq!(select(&world.a, &world.b, &wanted()), Ok((Has::default(), Has::default())));
    world.finish();
    let over = world.a.connections.keys().next_back().unwrap().clone();
    // Channels of another order, closed ones, and ones over another connection.
    world.a.channels.clear();
    world.b.channels.clear();
    world.take(Side::A, &[Told::ChannelInit { over: over.clone(), is_wanted: false }]).unwrap();
    world.take(Side::A, &[Told::ChannelInit { over, is_wanted: true }]).unwrap();
    let closed = world.a.channels.keys().next_back().unwrap().clone();
    world.take(Side::A, &[Told::ChannelClose(closed)]).unwrap();
    let (a, b) = select(&world.a, &world.b, &wanted()).unwrap();
    assert_eq!((a.channel, b.channel), (None, None));
}

#[test]
fn of_several_open_connections_the_one_with_the_channel_is_taken() {
    let mut world = World::default();
    world.take(Side::A, &[Told::ConnectionInit { is_wanted: true }]).unwrap();
    world.take(Side::A, &[Told::ConnectionInit { is_wanted: true }]).unwrap();
    for init in world.a.connections.keys().cloned().collect::<Vec<_>>() {
        world.take(Side::B, &[Told::ConnectionTry(init.clone())]).unwrap();
        let (answer, _) = world
            .b
            .connections
            .iter()
            .find(|(_, end)| end.counterparty.as_ref() == Some(&init))
            .unwrap();
        let answer = answer.clone();
        world.take(Side::A, &[Told::ConnectionAck(init, answer.clone())]).unwrap();
        world.take(Side::B, &[Told::ConnectionConfirm(answer)]).unwrap();
    }
    let newer = world
        .a
        .connections
        .keys()
        .max_by_key(|id| (id.as_str().len(), (*id).clone()))
        .unwrap()
        .clone();
    let first = select(&world.a, &world.b, &wanted()).unwrap().0.connection.unwrap().0;
    assert_ne!(first, newer);
    world.take(Side::A, &[Told::ChannelInit { over: newer.clone(), is_wanted: true }]).unwrap();
    assert_eq!(select(&world.a, &world.b, &wanted()).unwrap().0.connection.unwrap().0, newer);
    world.finish();
    assert_eq!(world.open(), [2, 2, 1, 1]);
}

/// A side that was read before the other one may lack what that one speaks of.
#[test]
fn nothing_is_begun_anew_on_an_outdated_reading() {
    let mut world = World::default();
    let (_, init) = world.ours().unwrap();
    let nothing = world.clone();
    world.take(Side::A, &init).unwrap();
    let (side, answer) = world.ours().unwrap();
    let begun = world.clone();
    world.take(side, &answer).unwrap();
    assert_eq!(select(&nothing.a, &world.b, &wanted()), Err(Outdated(Side::A)));
    let (side, acknowledged) = world.ours().unwrap();
    world.take(side, &acknowledged).unwrap();
    assert_eq!(select(&world.a, &begun.b, &wanted()), Err(Outdated(Side::B)));
    world.finish();
    assert_eq!(select(&begun.a, &world.b, &wanted()), Err(Outdated(Side::A)));
}

/// Where only a connection is wanted, no channel over it is taken for a part of the path.
#[test]
fn a_connection_alone_can_be_wanted() {
    let mut world = World::default();
    world.finish();
    let (a, b) = select(&world.a, &world.b, &WantedPath { channel: None, ..wanted() }).unwrap();
    assert!(a.connection.is_some() && b.connection.is_some());
    assert_eq!((a.channel, b.channel), (None, None));
}
