//! What events say of clients, connections and channels: which were made, and which changed.

use super::{Attributes, BadEvent, ROLLED_BACK};
use crate::ids::{ChannelEndId, ChannelId, ClientId, ConnectionId, Height, PortId};
use postrider_cosmos::Event;

/// The most heights of one update that are read; an update brings one, and some clients a few.
const MAX_HEIGHTS: usize = 100;

/// A step of a handshake (ICS-03, ICS-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeStep {
    /// It was begun, and this end was made.
    Init,
    /// It was answered, and this end was made.
    Try,
    /// The answer arrived; this end is open.
    Ack,
    /// This end is open too.
    Confirm,
    /// This end was closed; only channels are.
    Close,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupEvent {
    /// A client was made (`create_client`).
    ClientCreated {
        /// Its id.
        client: ClientId,
        /// The height it begins with.
        height: Height,
    },
    /// A client holds these heights now (`update_client`).
    ClientUpdated {
        /// Its id.
        client: ClientId,
        /// The heights.
        heights: Vec<Height>,
    },
    /// A client was shown misbehaviour, and believes nothing any more (`client_misbehaviour`).
    ClientFrozen(ClientId),
    /// A client follows a chain that took another one's place, or was brought back by governance
    /// (`upgrade_client`, `recover_client`): what was known of it is old.
    ClientReplaced(ClientId),
    /// A connection took a step here.
    Connection {
        /// Which.
        step: HandshakeStep,
        /// Its end here.
        id: ConnectionId,
        /// The client here.
        client: ClientId,
        /// The client there.
        counterparty_client: ClientId,
        /// Its end there, where it is known.
        counterparty: Option<ConnectionId>,
    },
    /// A channel took a step here.
    Channel {
        /// Which.
        step: HandshakeStep,
        /// Its end here.
        end: ChannelEndId,
        /// The connection here.
        connection: ConnectionId,
        /// The module there.
        counterparty_port: PortId,
        /// Its end there, where it is known.
        counterparty: Option<ChannelId>,
    },
}

/// What the events of a transaction say, in their order; malformed ones are left out, and counted.
#[must_use]
pub fn read_setup_events(events: &[Event]) -> (Vec<SetupEvent>, usize) {
    let mut malformed = 0;
    let read = events.iter().filter_map(|event| {
        let read = read_setup_event(event)?;
        malformed += usize::from(read.is_err());
        read.ok()
    });
    (read.collect(), malformed)
}

/// Reads one event; `None` if it is of another kind, or was taken back.
#[must_use]
pub fn read_setup_event(event: &Event) -> Option<Result<SetupEvent, BadEvent>> {
    use HandshakeStep::{Ack, Close, Confirm, Init, Try};
    let read: fn(&Attributes<'_>) -> Result<SetupEvent, BadEvent> = match event.kind.as_str() {
        "create_client" => |a| {
            let height = a.get("consensus_height")?.parse()?;
            Ok(SetupEvent::ClientCreated { client: a.client("client_id")?, height })
        },
        "update_client" => |a| {
            let heights = a.heights("consensus_heights")?;
            Ok(SetupEvent::ClientUpdated { client: a.client("client_id")?, heights })
        },
        "client_misbehaviour" => |a| Ok(SetupEvent::ClientFrozen(a.client("client_id")?)),
        "upgrade_client" => |a| Ok(SetupEvent::ClientReplaced(a.client("client_id")?)),
        "recover_client" => |a| Ok(SetupEvent::ClientReplaced(a.client("subject_client_id")?)),
        "connection_open_init" => |a| a.connection_step(Init),
        "connection_open_try" => |a| a.connection_step(Try),
        "connection_open_ack" => |a| a.connection_step(Ack),
        "connection_open_confirm" => |a| a.connection_step(Confirm),
        "channel_open_init" => |a| a.channel_step(Init),
        "channel_open_try" => |a| a.channel_step(Try),
        "channel_open_ack" => |a| a.channel_step(Ack),
        "channel_open_confirm" => |a| a.channel_step(Confirm),
        "channel_close_init" | "channel_close_confirm" | "channel_close" => {
            |a| a.channel_step(Close)
        }
        _ => return None,
    };
    if event.attributes.iter().any(|(key, _)| key.starts_with(ROLLED_BACK)) {
        return None;
    }
    let attributes = event.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    Some(read(&Attributes(attributes.collect())))
}

impl Attributes<'_> {
    fn client(&self, key: &'static str) -> Result<ClientId, BadEvent> {
        Ok(self.get(key)?.parse()?)
    }

    fn heights(&self, key: &'static str) -> Result<Vec<Height>, BadEvent> {
        let text = self.get(key)?;
        if text.split(',').nth(MAX_HEIGHTS).is_some() {
            return Err(BadEvent::Malformed(key));
        }
        Ok(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }

    /// The other side's name, which is missing or empty before it is known.
    fn known(&self, key: &'static str) -> Option<&str> {
        self.get(key).ok().filter(|name| !name.is_empty())
    }

    fn connection_step(&self, step: HandshakeStep) -> Result<SetupEvent, BadEvent> {
        Ok(SetupEvent::Connection {
            step,
            id: self.get("connection_id")?.parse()?,
            client: self.client("client_id")?,
            counterparty_client: self.client("counterparty_client_id")?,
            counterparty: self.known("counterparty_connection_id").map(str::parse).transpose()?,
        })
    }

    fn channel_step(&self, step: HandshakeStep) -> Result<SetupEvent, BadEvent> {
        Ok(SetupEvent::Channel {
            step,
            end: self.end("port_id", "channel_id")?,
            connection: self.get("connection_id")?.parse()?,
            counterparty_port: self.get("counterparty_port_id")?.parse()?,
            counterparty: self.known("counterparty_channel_id").map(str::parse).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(kind: &str, attributes: &[(&str, &str)]) -> Event {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Event { kind: kind.into(), attributes: attributes.iter().map(own).collect() }
    }

    const UPDATED: [(&str, &str); 2] =
        [("client_id", "07-tendermint-0"), ("consensus_heights", "1-5,1-7")];

    #[test]
    fn r6_what_is_malformed_is_counted_and_stops_nothing() {
        let rolled_back = format!("{ROLLED_BACK}client_id");
        let events = [
            event("update_client", &UPDATED[..1]),
            event("update_client", &[UPDATED[0], ("consensus_heights", "1-5,")]),
            event("create_client", &UPDATED),
            event("client_misbehaviour", &[("client_id", "x")]),
            event("connection_open_try", &[("connection_id", "connection-0")]),
            event("channel_open_init", &[("port_id", "transfer")]),
            // Class (f): what was taken back, and other kinds.
            event("client_misbehaviour", &[(rolled_back.as_str(), "07-tendermint-0")]),
            event("message", &UPDATED),
            event("update_client", &UPDATED),
        ];
        let (read, malformed) = read_setup_events(&events);
        let heights = vec!["1-5".parse().unwrap(), "1-7".parse().unwrap()];
        let client = "07-tendermint-0".parse().unwrap();
        assert_eq!(read, [SetupEvent::ClientUpdated { client, heights }]);
        assert_eq!(malformed, 6);
    }

    #[test]
    fn r10_an_update_of_very_many_heights_is_refused() {
        let many = vec!["1-1"; MAX_HEIGHTS + 1].join(",");
        let update = event("update_client", &[UPDATED[0], ("consensus_heights", &many)]);
        let bad = Some(Err(BadEvent::Malformed("consensus_heights")));
        assert_eq!(read_setup_event(&update), bad);
    }

    proptest! {
        #[test]
        fn r10_no_event_is_too_strange(kind in "update_client|create_client|connection_open_try|channel_open_ack", attributes: Vec<(String, String)>) {
            let _ = read_setup_event(&Event { kind, attributes });
        }
    }
}
