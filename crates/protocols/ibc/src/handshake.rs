//! The next step of a handshake (ICS-03, ICS-04), from whatever state two chains are in and whoever began.

mod begun;
mod pairing;

pub use begun::{Begun, Owed, owed};
pub use pairing::{Ends, Outdated, WantedChannel, WantedPath, select};

use crate::{
    ids::{ChannelEndId, ConnectionId, HandshakeState},
    state::{ChannelEnd, ConnectionEnd},
};

/// One of the two chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What one chain has of the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Has {
    /// The connection, if it has one.
    pub connection: Option<(ConnectionId, ConnectionEnd)>,
    /// The channel, if it has one.
    pub channel: Option<(ChannelEndId, ChannelEnd)>,
}

/// What one chain is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// `ConnOpenInit`
    ConnectionInit,
    /// `ConnOpenTry`
    ConnectionTry,
    /// `ConnOpenAck`
    ConnectionAck,
    /// `ConnOpenConfirm`
    ConnectionConfirm,
    /// `ChanOpenInit`
    ChannelInit,
    /// `ChanOpenTry`
    ChannelTry,
    /// `ChanOpenAck`
    ChannelAck,
    /// `ChanOpenConfirm`
    ChannelConfirm,
}

impl Step {
    /// Whether it is told of a channel, and not of a connection.
    #[must_use]
    pub fn is_of_channel(self) -> bool {
        use Step::{ChannelAck, ChannelConfirm, ChannelInit, ChannelTry};
        matches!(self, ChannelInit | ChannelTry | ChannelAck | ChannelConfirm)
    }
}

/// What a handshake does next on one side, given how far both are; `None` when both are open.
///
/// The two sides belong together: where both have begun apart, the caller leaves B's out, since ibc-go
/// knows no crossing handshakes.
fn next_of(a: Option<HandshakeState>, b: Option<HandshakeState>) -> Option<(Side, Kind)> {
    use HandshakeState::{Closed, Init, Open, TryOpen};
    match (a, b) {
        (Some(Open), Some(Open)) | (Some(Closed), _) | (_, Some(Closed)) => None,
        (None, None) => Some((Side::A, Kind::Init)),
        (Some(Init), None | Some(Init)) => Some((Side::B, Kind::Try)),
        (None, Some(Init)) => Some((Side::A, Kind::Try)),
        (Some(Init), Some(TryOpen)) => Some((Side::A, Kind::Ack)),
        (Some(TryOpen), Some(Init)) => Some((Side::B, Kind::Ack)),
        (Some(Open), Some(TryOpen)) => Some((Side::B, Kind::Confirm)),
        (Some(TryOpen), Some(Open)) => Some((Side::A, Kind::Confirm)),
        // One side alone is further than a handshake goes, or two answers met: nothing follows.
        (Some(Open | TryOpen), _) | (_, Some(Open | TryOpen)) => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Init,
    Try,
    Ack,
    Confirm,
}

/// What is told to which chain next; `None` when the channel is open on both sides, or no step leads there.
///
/// Two steps go together where the first one lets the second: a channel may begin, or be answered, in the
/// transaction that opens the connection there.
#[must_use]
pub fn next(a: &Has, b: &Has) -> Option<(Side, Vec<Step>)> {
    let connection = |has: &Has| has.connection.as_ref().map(|(_, end)| end.state);
    let channel = |has: &Has| has.channel.as_ref().map(|(_, end)| end.state);
    let then = next_of(channel(a), channel(b));
    let Some((side, kind)) = next_of(connection(a), connection(b)) else {
        let open = Some(HandshakeState::Open);
        let is_open = connection(a) == open && connection(b) == open;
        let (side, kind) = then.filter(|_| is_open)?;
        return Some((side, vec![of_channel(kind)]));
    };
    let mut steps = vec![of_connection(kind)];
    let opens = matches!(kind, Kind::Ack | Kind::Confirm);
    match then {
        Some((Side::A, Kind::Init)) if opens && side == Side::A => steps.push(Step::ChannelInit),
        Some((answers, Kind::Try)) if kind == Kind::Confirm && answers == side => {
            steps.push(Step::ChannelTry);
        }
        _ => {}
    }
    Some((side, steps))
}

fn of_connection(kind: Kind) -> Step {
    match kind {
        Kind::Init => Step::ConnectionInit,
        Kind::Try => Step::ConnectionTry,
        Kind::Ack => Step::ConnectionAck,
        Kind::Confirm => Step::ConnectionConfirm,
    }
}

fn of_channel(kind: Kind) -> Step {
    match kind {
        Kind::Init => Step::ChannelInit,
        Kind::Try => Step::ChannelTry,
        Kind::Ack => Step::ChannelAck,
        Kind::Confirm => Step::ChannelConfirm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Order, PortId};
    use proptest::prelude::*;
    use std::time::Duration;

    fn connection(state: HandshakeState) -> (ConnectionId, ConnectionEnd) {
        let end = ConnectionEnd {
            state,
            client: "07-tendermint-0".parse().unwrap(),
            counterparty_client: "07-tendermint-1".parse().unwrap(),
            counterparty: None,
            delay: Duration::ZERO,
            prefix: "ibc".into(),
            versions: Vec::new(),
        };
        ("connection-0".parse().unwrap(), end)
    }

    fn channel(state: HandshakeState) -> (ChannelEndId, ChannelEnd) {
        let end = ChannelEnd {
            state,
            order: Order::Unordered,
            counterparty_port: PortId::try_from("transfer".to_owned()).unwrap(),
            counterparty_channel: None,
            connection: "connection-0".parse().unwrap(),
            version: "ics20-1".into(),
        };
        ("transfer/channel-0".parse().unwrap(), end)
    }

    /// What ibc-go makes of a step; a step that it would refuse panics.
    fn take(has: &mut Has, there: &Has, step: Step) {
        use HandshakeState::{Init, Open, TryOpen};
        let connection_of = |has: &Has| has.connection.as_ref().map(|(_, end)| end.state);
        let channel_of = |has: &Has| has.channel.as_ref().map(|(_, end)| end.state);
        let is_open = connection_of(has) == Some(Open);
        let (own, other) = match step {
            Step::ConnectionInit
            | Step::ConnectionTry
            | Step::ConnectionAck
            | Step::ConnectionConfirm => (connection_of(has), connection_of(there)),
            _ => {
                assert!(is_open, "{step:?} without a connection");
                (channel_of(has), channel_of(there))
            }
        };
        let state = match step {
            Step::ConnectionInit | Step::ChannelInit => Init,
            Step::ConnectionTry | Step::ChannelTry => {
                assert_eq!((own, other), (None, Some(Init)), "{step:?}");
                TryOpen
            }
            Step::ConnectionAck | Step::ChannelAck => {
                assert_eq!((own, other), (Some(Init), Some(TryOpen)), "{step:?}");
                Open
            }
            Step::ConnectionConfirm | Step::ChannelConfirm => {
                assert_eq!((own, other), (Some(TryOpen), Some(Open)), "{step:?}");
                Open
            }
        };
        match step {
            Step::ConnectionInit
            | Step::ConnectionTry
            | Step::ConnectionAck
            | Step::ConnectionConfirm => has.connection = Some(connection(state)),
            _ => has.channel = Some(channel(state)),
        }
    }

    #[test]
    fn a_whole_path_takes_six_transactions() {
        let (mut a, mut b) = (Has::default(), Has::default());
        let mut told = Vec::new();
        while let Some((side, steps)) = next(&a, &b) {
            for step in &steps {
                match side {
                    Side::A => take(&mut a, &b, *step),
                    Side::B => take(&mut b, &a, *step),
                }
            }
            told.push((side, steps));
        }
        let expected = [
            (Side::A, vec![Step::ConnectionInit]),
            (Side::B, vec![Step::ConnectionTry]),
            (Side::A, vec![Step::ConnectionAck, Step::ChannelInit]),
            (Side::B, vec![Step::ConnectionConfirm, Step::ChannelTry]),
            (Side::A, vec![Step::ChannelAck]),
            (Side::B, vec![Step::ChannelConfirm]),
        ];
        assert_eq!(told, expected);
    }

    proptest! {
        /// Whoever does which of the steps, and wherever a run is killed, the path ends open.
        #[test]
        fn every_interleaving_ends_with_both_sides_open(by_us in prop::collection::vec(any::<bool>(), 64), begun_by_b: bool) {
            let (mut a, mut b) = (Has::default(), Has::default());
            if begun_by_b {
                b.connection = Some(connection(HandshakeState::Init));
            }
            for whole in by_us {
                let Some((side, steps)) = next(&a, &b) else { break };
                // A run that is killed, or a stranger, does the first step only.
                let steps = if whole { &steps[..] } else { &steps[..1] };
                for step in steps {
                    match side {
                        Side::A => take(&mut a, &b, *step),
                        Side::B => take(&mut b, &a, *step),
                    }
                }
            }
            prop_assert_eq!(next(&a, &b), None);
            for has in [&a, &b] {
                prop_assert_eq!(has.connection.as_ref().unwrap().1.state, HandshakeState::Open);
                prop_assert_eq!(has.channel.as_ref().unwrap().1.state, HandshakeState::Open);
            }
        }
    }
}

#[cfg(test)]
mod interleaving;
