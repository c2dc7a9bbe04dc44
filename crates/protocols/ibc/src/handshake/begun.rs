//! The steps that handshakes between two chains owe, whoever began them.

use super::{Ends, Has, Step};
use crate::{
    ids::{ChannelEndId, ClientId, ConnectionId, HandshakeState},
    state::{ChannelEnd, ConnectionEnd},
};
use std::collections::BTreeSet;

/// What one chain has of the other one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begun {
    /// Its clients of the other chain.
    pub clients: BTreeSet<ClientId>,
    /// What stands on them.
    pub ends: Ends,
}

/// A step that can be taken on one chain, and what both have of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The step.
    pub step: Step,
    /// What the chain has on which it is taken.
    pub here: Has,
    /// What the other chain has, which is to be proven.
    pub there: Has,
}

/// The steps that can be taken on `here`: answers to what was begun on `there`, and what follows from its
/// answers. Connections come before channels. An end that was answered already is not answered again.
#[must_use]
pub fn owed(here: &Begun, there: &Begun) -> Vec<Owed> {
    let mut owed: Vec<Owed> = Vec::new();
    owed.extend(there.ends.connections.iter().filter_map(|end| answer(here, there, end)));
    owed.extend(here.ends.connections.iter().filter_map(|end| follow(there, end)));
    owed.extend(there.ends.channels.iter().filter_map(|end| answer_channel(here, there, end)));
    owed.extend(here.ends.channels.iter().filter_map(|end| follow_channel(here, there, end)));
    owed
}

type Connection<'a> = (&'a ConnectionId, &'a ConnectionEnd);
type Channel<'a> = (&'a ChannelEndId, &'a ChannelEnd);

fn has(connection: Option<Connection<'_>>, channel: Option<Channel<'_>>) -> Has {
    Has {
        connection: connection.map(|(id, end)| (id.clone(), end.clone())),
        channel: channel.map(|(id, end)| (id.clone(), end.clone())),
    }
}

/// Whether two connection ends are over the same two clients.
fn share_clients(a: &ConnectionEnd, b: &ConnectionEnd) -> bool {
    a.client == b.counterparty_client && a.counterparty_client == b.client
}

/// `ConnOpenTry` for what was begun there.
fn answer(here: &Begun, there: &Begun, (id, end): Connection<'_>) -> Option<Owed> {
    let is_begun = end.state == HandshakeState::Init && end.counterparty.is_none();
    let is_ours = here.clients.contains(&end.counterparty_client)
        && there.clients.contains(&end.client)
        && end.is_standard();
    let is_answered = || {
        let mut answers = here.ends.connections.values();
        answers.any(|own| own.counterparty.as_ref() == Some(id) && share_clients(own, end))
    };
    (is_begun && is_ours && !is_answered()).then(|| Owed {
        step: Step::ConnectionTry,
        here: Has::default(),
        there: has(Some((id, end)), None),
    })
}

/// `ConnOpenAck` or `ConnOpenConfirm` for an end here.
fn follow(there: &Begun, (id, end): Connection<'_>) -> Option<Owed> {
    let fits = |other: &ConnectionEnd, state| {
        other.state == state
            && other.counterparty.as_ref() == Some(id)
            && share_clients(other, end)
            && other.is_standard()
    };
    let (step, other) = match (end.state, &end.counterparty) {
        (HandshakeState::Init, None) => {
            let mut ends = there.ends.connections.iter();
            let answer = ends.find(|(_, other)| fits(other, HandshakeState::TryOpen))?;
            (Step::ConnectionAck, answer)
        }
        (HandshakeState::TryOpen, Some(named)) => {
            let found = there.ends.connections.get_key_value(named);
            let open = found.filter(|(_, other)| fits(other, HandshakeState::Open))?;
            (Step::ConnectionConfirm, open)
        }
        _ => return None,
    };
    Some(Owed { step, here: has(Some((id, end)), None), there: has(Some(other), None) })
}

/// The two ends of an open connection, the first of which is named.
fn open<'a>(
    one: &'a Begun,
    other: &'a Begun,
    id: &ConnectionId,
) -> Option<(Connection<'a>, Connection<'a>)> {
    let one = one.ends.connections.get_key_value(id)?;
    let other = other.ends.connections.get_key_value(one.1.counterparty.as_ref()?)?;
    let both_open = one.1.state == HandshakeState::Open && other.1.state == HandshakeState::Open;
    let belong = other.1.counterparty.as_ref() == Some(id) && share_clients(one.1, other.1);
    (both_open && belong && one.1.is_standard() && other.1.is_standard()).then_some((one, other))
}

/// `ChanOpenTry` for what was begun there.
fn answer_channel(here: &Begun, there: &Begun, (id, end): Channel<'_>) -> Option<Owed> {
    if end.state != HandshakeState::Init || end.counterparty_channel.is_some() {
        return None;
    }
    let (connection_there, connection_here) = open(there, here, &end.connection)?;
    let mut answers = here.ends.channels.values();
    let is_answered = answers
        .any(|own| own.connection == *connection_here.0 && own.counterparty().as_ref() == Some(id));
    (!is_answered).then(|| Owed {
        step: Step::ChannelTry,
        here: has(Some(connection_here), None),
        there: has(Some(connection_there), Some((id, end))),
    })
}

/// `ChanOpenAck` or `ChanOpenConfirm` for an end here.
fn follow_channel(here: &Begun, there: &Begun, (id, end): Channel<'_>) -> Option<Owed> {
    let (connection_here, connection_there) = open(here, there, &end.connection)?;
    let fits = |other: &ChannelEnd, state| {
        other.state == state
            && other.connection == *connection_there.0
            && other.counterparty().as_ref() == Some(id)
            && other.order == end.order
    };
    let (step, other) = match (end.state, end.counterparty()) {
        (HandshakeState::Init, None) => {
            let mut ends = there.ends.channels.iter();
            let answer = ends.find(|(other_id, other)| {
                other_id.port == end.counterparty_port && fits(other, HandshakeState::TryOpen)
            })?;
            (Step::ChannelAck, answer)
        }
        (HandshakeState::TryOpen, Some(named)) => {
            let found = there.ends.channels.get_key_value(&named);
            (Step::ChannelConfirm, found.filter(|(_, other)| fits(other, HandshakeState::Open))?)
        }
        _ => return None,
    };
    let here = has(Some(connection_here), Some((id, end)));
    Some(Owed { step, here, there: has(Some(connection_there), Some(other)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, Order, PortId};
    use std::time::Duration;

    fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }

    fn connection(
        client: &str,
        there: &str,
        state: HandshakeState,
        named: Option<&str>,
    ) -> ConnectionEnd {
        ConnectionEnd {
            state,
            client: id(client),
            counterparty_client: id(there),
            counterparty: named.map(id),
            delay: Duration::ZERO,
            prefix: b"ibc".to_vec().into(),
            versions: vec![crate::state::ConnectionVersion {
                identifier: "1".into(),
                features: vec!["ORDER_ORDERED".into(), "ORDER_UNORDERED".into()],
            }],
        }
    }

    fn channel(over: &str, state: HandshakeState, named: Option<&str>) -> ChannelEnd {
        ChannelEnd {
            state,
            order: Order::Unordered,
            counterparty_port: PortId::try_from("transfer".to_owned()).unwrap(),
            counterparty_channel: named.map(id::<ChannelId>),
            connection: id(over),
            version: "ics20-1".into(),
        }
    }

    const HERE: &str = "07-tendermint-1";
    const THERE: &str = "07-tendermint-2";

    /// Both chains with a client of each other; each step that is owed is taken as ibc-go would.
    #[derive(Default)]
    struct Two {
        a: Begun,
        b: Begun,
    }

    impl Two {
        fn new() -> Self {
            let mut two = Self::default();
            two.a.clients.insert(id(HERE));
            two.b.clients.insert(id(THERE));
            two
        }

        /// Takes what is owed on each side in turns; gives the steps that were taken.
        fn run(&mut self) -> Vec<(char, Step)> {
            let mut taken = Vec::new();
            loop {
                let (on_a, on_b) = (owed(&self.a, &self.b), owed(&self.b, &self.a));
                if on_a.is_empty() && on_b.is_empty() {
                    return taken;
                }
                assert!(taken.len() < 50, "{taken:?}");
                for owed in on_a {
                    taken.push(('a', owed.step));
                    take(&mut self.a, (HERE, THERE), &owed);
                }
                for owed in on_b {
                    taken.push(('b', owed.step));
                    take(&mut self.b, (THERE, HERE), &owed);
                }
            }
        }
    }

    fn take(on: &mut Begun, (own, other): (&str, &str), owed: &Owed) {
        use HandshakeState::{Open, TryOpen};
        let there = owed.there.connection.as_ref().unwrap();
        match owed.step {
            Step::ConnectionTry => {
                let end = connection(own, other, TryOpen, Some(there.0.as_ref()));
                on.ends.connections.insert(id("connection-70"), end);
            }
            Step::ConnectionAck | Step::ConnectionConfirm => {
                let here = &owed.here.connection.as_ref().unwrap().0;
                let end = on.ends.connections.get_mut(here).unwrap();
                (end.state, end.counterparty) = (Open, Some(there.0.clone()));
            }
            Step::ChannelTry => {
                let over = owed.here.connection.as_ref().unwrap().0.as_ref();
                let named = &owed.there.channel.as_ref().unwrap().0.channel;
                let end = channel(over, TryOpen, Some(named.as_ref()));
                on.ends.channels.insert(id("transfer/channel-80"), end);
            }
            Step::ChannelAck | Step::ChannelConfirm => {
                let here = &owed.here.channel.as_ref().unwrap().0;
                let end = on.ends.channels.get_mut(here).unwrap();
                end.state = Open;
                end.counterparty_channel =
                    Some(owed.there.channel.as_ref().unwrap().0.channel.clone());
            }
            Step::ConnectionInit | Step::ChannelInit => panic!("nobody began {:?}", owed.step),
        }
    }

    #[test]
    fn nothing_is_begun_and_what_was_begun_is_ended() {
        let mut two = Two::new();
        assert!(two.run().is_empty());
        let begun = connection(HERE, THERE, HandshakeState::Init, None);
        two.a.ends.connections.insert(id("connection-5"), begun);
        let connected = [
            ('b', Step::ConnectionTry),
            ('a', Step::ConnectionAck),
            ('b', Step::ConnectionConfirm),
        ];
        assert_eq!(two.run(), connected);
        let begun = channel("connection-70", HandshakeState::Init, None);
        two.b.ends.channels.insert(id("transfer/channel-6"), begun);
        let opened =
            [('a', Step::ChannelTry), ('b', Step::ChannelAck), ('a', Step::ChannelConfirm)];
        assert_eq!(two.run(), opened);
        let states = |begun: &Begun| {
            let mut states: Vec<_> = begun.ends.connections.values().map(|end| end.state).collect();
            states.extend(begun.ends.channels.values().map(|end| end.state));
            states
        };
        assert_eq!(states(&two.a), [HandshakeState::Open; 2]);
        assert_eq!(states(&two.b), [HandshakeState::Open; 2]);
    }

    /// Class (l): what is begun over a client that is not of the other chain is nobody's to answer.
    #[test]
    fn class_l_what_stands_on_other_clients_is_not_answered() {
        let mut two = Two::new();
        let begun =
            |client: &str, there: &str| connection(client, there, HandshakeState::Init, None);
        two.a.ends.connections.insert(id("connection-1"), begun("07-tendermint-9", THERE));
        two.a.ends.connections.insert(id("connection-2"), begun(HERE, "07-tendermint-9"));
        let odd = ConnectionEnd { prefix: b"odd".to_vec().into(), ..begun(HERE, THERE) };
        two.a.ends.connections.insert(id("connection-3"), odd);
        assert!(two.run().is_empty());
        // A channel over a connection that the other side does not know.
        let lone = connection(HERE, THERE, HandshakeState::Open, Some("connection-99"));
        two.a.ends.connections.insert(id("connection-4"), lone);
        let begun = channel("connection-4", HandshakeState::Init, None);
        two.a.ends.channels.insert(id("transfer/channel-1"), begun);
        assert!(two.run().is_empty());
    }
}
