//! What a block's events say about IBC. An event alone proves nothing: whoever uses these proves the state
//! that they speak of (R1).

mod setup;

pub use setup::{HandshakeStep, SetupEvent, read_setup_event, read_setup_events};

use crate::{
    ids::{BadId, ChannelEndId, Height},
    packet::{BadPacket, Packet, Timeout},
};
use alloy_primitives::{Bytes, hex};
use postrider_cosmos::{BlockEvents, Event};
use std::collections::HashMap;

/// Events of a callback that was taken back carry this before their kind and keys (ibc-go `types/events.go`).
const ROLLED_BACK: &str = "ibccallbackerror-";
/// The most acknowledgement bytes that are read.
const MAX_ACKNOWLEDGEMENT_BYTES: usize = 1 << 20;

/// Why an event of IBC's kind cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// An attribute is not there.
    #[error("attribute `{0}` is missing")]
    Missing(&'static str),
    /// An attribute is not what it must be.
    #[error("attribute `{0}` is malformed")]
    Malformed(&'static str),
    /// A name in it is none.
    #[error(transparent)]
    Id(#[from] BadId),
    /// Its packet is none.
    #[error(transparent)]
    Packet(#[from] BadPacket),
}

/// Which packet an event without data speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketPlace {
    /// Its number.
    pub sequence: crate::ids::Sequence,
    /// Who sent it.
    pub source: ChannelEndId,
    /// For whom it is.
    pub destination: ChannelEndId,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IbcEvent {
    /// A packet was sent here (`send_packet`).
    Sent(Packet),
    /// A packet was received here (`recv_packet`).
    Received(Packet),
    /// The application here took a packet like this (`write_acknowledgement`).
    AcknowledgementWritten {
        /// The packet.
        packet: Packet,
        /// The application's bytes.
        acknowledgement: Bytes,
    },
    /// A packet's acknowledgement came back here (`acknowledge_packet`).
    ///
    /// ibc-go tells this, and [`IbcEvent::TimedOut`], of any packet that it holds no commitment to, proven or
    /// not: of one that ended the other way, and of one that was never sent. Of several, the first counts.
    Acknowledged(PacketPlace),
    /// A packet was not received in time (`timeout_packet`).
    TimedOut(PacketPlace),
    /// A handshake took a step here, or a channel closed: what is known of this end may be old.
    ChannelChanged(ChannelEndId),
}

/// An event, and where it stands in its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEvent {
    /// What it says.
    pub event: IbcEvent,
    /// Its position among all events of the block: those of transactions, then the block's own.
    pub position: u64,
    /// Its transaction, by its position in the block; `None` for the block's own events.
    pub transaction: Option<usize>,
}

/// A sequence of an account that a transaction used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedSequence {
    /// The account's bech32 address.
    pub address: String,
    /// The sequence.
    pub sequence: u64,
    /// The transaction, by its position in the block.
    pub transaction: usize,
    /// Whether the transaction succeeded.
    pub succeeded: bool,
    /// Gas that it used.
    pub gas_used: u64,
    /// Whether it was ended because it used more gas than it was given (SDK code 11).
    pub ran_out: bool,
    /// Whether it found that nothing was to do any more; see [`postrider_cosmos::TxEvents::idle`].
    pub idle: bool,
}

/// What a block tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockTold {
    /// IBC's events, in their order.
    pub events: Vec<SeenEvent>,
    /// Events of IBC's kinds that could not be read. They stop nothing: state tells of every packet.
    pub malformed: usize,
    /// Whose sequences were used up.
    pub used: Vec<UsedSequence>,
}

/// Reads a block's events. Those of transactions that failed, and of callbacks that were taken back, say
/// nothing.
#[must_use]
pub fn read(block: &BlockEvents) -> BlockTold {
    let mut told = BlockTold::default();
    let mut position = 0u64;
    for (index, transaction) in block.transactions.iter().enumerate() {
        let succeeded = transaction.succeeded();
        for event in &transaction.events {
            if event.kind == "tx" {
                told.used.extend(event.attributes.iter().filter_map(|(key, value)| {
                    let (address, sequence) = value.split_once('/').filter(|_| key == "acc_seq")?;
                    Some(UsedSequence {
                        address: address.to_owned(),
                        sequence: sequence.parse().ok()?,
                        transaction: index,
                        succeeded,
                        gas_used: transaction.gas_used,
                        ran_out: transaction.ran_out_of_gas(),
                        idle: transaction.idle,
                    })
                }));
            }
            if succeeded {
                told.take(event, position, Some(index));
            }
            position += 1;
        }
    }
    for event in &block.block {
        told.take(event, position, None);
        position += 1;
    }
    told
}

impl BlockTold {
    fn take(&mut self, event: &Event, position: u64, transaction: Option<usize>) {
        match read_event(event) {
            None => {}
            Some(Ok(event)) => self.events.push(SeenEvent { event, position, transaction }),
            Some(Err(_)) => self.malformed += 1,
        }
    }
}

/// An event's attributes by their keys.
struct Attributes<'a>(HashMap<&'a str, &'a str>);

/// Reads one event; `None` if it is of another kind, or of a packet of IBC v2.
#[must_use]
pub fn read_event(event: &Event) -> Option<Result<IbcEvent, BadEvent>> {
    let read: fn(&Attributes<'_>) -> Result<IbcEvent, BadEvent> = match event.kind.as_str() {
        "send_packet" => |a| a.packet().map(IbcEvent::Sent),
        "recv_packet" => |a| a.packet().map(IbcEvent::Received),
        "write_acknowledgement" => |a| {
            let acknowledgement = a.bytes("packet_ack_hex")?;
            Ok(IbcEvent::AcknowledgementWritten { packet: a.packet()?, acknowledgement })
        },
        "acknowledge_packet" => |a| a.place().map(IbcEvent::Acknowledged),
        "timeout_packet" => |a| a.place().map(IbcEvent::TimedOut),
        "channel_open_init"
        | "channel_open_try"
        | "channel_open_ack"
        | "channel_open_confirm"
        | "channel_close_init"
        | "channel_close_confirm"
        | "channel_close" => |a| Ok(IbcEvent::ChannelChanged(a.end("port_id", "channel_id")?)),
        _ => return None,
    };
    let attributes = event.attributes.iter();
    if attributes.clone().any(|(key, _)| key.starts_with(ROLLED_BACK)) {
        return None;
    }
    let attributes = Attributes(attributes.map(|(k, v)| (k.as_str(), v.as_str())).collect());
    if attributes.0.contains_key("encoded_packet_hex") {
        return None;
    }
    Some(read(&attributes))
}

impl Attributes<'_> {
    fn get(&self, key: &'static str) -> Result<&str, BadEvent> {
        self.0.get(key).copied().ok_or(BadEvent::Missing(key))
    }

    fn bytes(&self, key: &'static str) -> Result<Bytes, BadEvent> {
        let text = self.get(key)?;
        if text.len() > 2 * MAX_ACKNOWLEDGEMENT_BYTES.max(crate::packet::MAX_DATA_BYTES) {
            return Err(BadEvent::Malformed(key));
        }
        hex::decode(text).map(Into::into).map_err(|_| BadEvent::Malformed(key))
    }

    fn number(&self, key: &'static str) -> Result<u64, BadEvent> {
        self.get(key)?.parse().map_err(|_| BadEvent::Malformed(key))
    }

    fn end(&self, port: &'static str, channel: &'static str) -> Result<ChannelEndId, BadEvent> {
        Ok(ChannelEndId { port: self.get(port)?.parse()?, channel: self.get(channel)?.parse()? })
    }

    fn place(&self) -> Result<PacketPlace, BadEvent> {
        Ok(PacketPlace {
            sequence: self.number("packet_sequence")?.try_into()?,
            source: self.end("packet_src_port", "packet_src_channel")?,
            destination: self.end("packet_dst_port", "packet_dst_channel")?,
        })
    }

    fn packet(&self) -> Result<Packet, BadEvent> {
        let PacketPlace { sequence, source, destination } = self.place()?;
        let height: Height = self.get("packet_timeout_height")?.parse()?;
        let nanoseconds = self.number("packet_timeout_timestamp")?;
        let data = self.bytes("packet_data_hex")?;
        Ok(Packet::new(sequence, source, destination, data, Timeout { height, nanoseconds })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_cosmos::TxEvents;
    use postrider_message::Height as BlockHeight;
    use proptest::prelude::*;

    const SENT: [(&str, &str); 8] = [
        ("packet_data_hex", "64617461"),
        ("packet_timeout_height", "1-200"),
        ("packet_timeout_timestamp", "5"),
        ("packet_sequence", "1"),
        ("packet_src_port", "transfer"),
        ("packet_src_channel", "channel-0"),
        ("packet_dst_port", "transfer"),
        ("packet_dst_channel", "channel-7"),
    ];

    fn event(kind: &str, attributes: &[(&str, &str)]) -> Event {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Event { kind: kind.into(), attributes: attributes.iter().map(own).collect() }
    }

    fn transaction(code: u32, events: Vec<Event>) -> TxEvents {
        TxEvents {
            code,
            codespace: String::new(),
            log: "".into(),
            gas_wanted: 2,
            gas_used: 1,
            idle: false,
            events,
        }
    }

    fn block(transactions: Vec<TxEvents>, block: Vec<Event>) -> BlockEvents {
        BlockEvents { height: BlockHeight(9), transactions, block }
    }

    #[test]
    fn events_are_read_with_their_place() {
        let used = event("tx", &[("fee", "1stake"), ("acc_seq", "cosmos1x/41")]);
        let written = [&SENT[..], &[("packet_ack_hex", "01")]].concat();
        let told = read(&block(
            vec![
                transaction(0, vec![used, event("send_packet", &SENT)]),
                transaction(0, vec![event("write_acknowledgement", &written)]),
            ],
            vec![event("send_packet", &SENT)],
        ));
        let packet = crate::packet::tests::packet(1);
        assert_eq!(told.malformed, 0);
        let acknowledgement = Bytes::from_static(&[1]);
        assert_eq!(
            told.events,
            [
                SeenEvent {
                    event: IbcEvent::Sent(packet.clone()),
                    position: 1,
                    transaction: Some(0)
                },
                SeenEvent {
                    event: IbcEvent::AcknowledgementWritten {
                        packet: packet.clone(),
                        acknowledgement,
                    },
                    position: 2,
                    transaction: Some(1)
                },
                // One that governance had sent stands among the block's own.
                SeenEvent { event: IbcEvent::Sent(packet), position: 3, transaction: None },
            ]
        );
        let [used] = &told.used[..] else { panic!("{:?}", told.used) };
        assert_eq!((used.address.as_str(), used.sequence, used.succeeded), ("cosmos1x", 41, true));
    }

    /// Class (f): events of what did not happen.
    #[test]
    fn f_events_of_what_was_taken_back_say_nothing() {
        let rolled_back: Vec<(String, &str)> =
            SENT.iter().map(|(k, v)| (format!("{ROLLED_BACK}{k}"), *v)).collect();
        let rolled_back: Vec<(&str, &str)> =
            rolled_back.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let mixed = [&SENT[..], &rolled_back[..1]].concat();
        let told = read(&block(
            vec![
                transaction(
                    5,
                    vec![event("send_packet", &SENT), event("tx", &[("acc_seq", "c/1")])],
                ),
                transaction(0, vec![event("send_packet", &rolled_back)]),
                transaction(0, vec![event("send_packet", &mixed)]),
                transaction(0, vec![event(&format!("{ROLLED_BACK}send_packet"), &SENT)]),
            ],
            vec![],
        ));
        assert_eq!((told.events, told.malformed), (vec![], 0));
        assert!(!told.used[0].succeeded, "a failed transaction still uses its sequence up");
    }

    #[test]
    fn packets_of_ibc_v2_are_not_misread() {
        let v2 = event("send_packet", &[("encoded_packet_hex", "00"), ("packet_sequence", "1")]);
        assert_eq!(read_event(&v2), None);
    }

    /// R6: what is malformed is counted, and what stands beside it is read.
    #[test]
    fn r6_a_malformed_event_stops_no_other() {
        let mut bad: Vec<Event> = (0..SENT.len())
            .map(|left_out| {
                let mut attributes = SENT.to_vec();
                attributes.remove(left_out);
                event("send_packet", &attributes)
            })
            .collect();
        for (key, value) in [
            ("packet_sequence", "0"),
            ("packet_sequence", "18446744073709551616"),
            ("packet_data_hex", "0"),
            ("packet_data_hex", ""),
            ("packet_timeout_height", "1"),
            ("packet_src_channel", "../x"),
        ] {
            let attributes: Vec<_> =
                SENT.iter().map(|(k, v)| if *k == key { (key, value) } else { (*k, *v) }).collect();
            bad.push(event("send_packet", &attributes));
        }
        let count = bad.len();
        bad.push(event("send_packet", &SENT));
        let told = read(&block(vec![transaction(0, bad)], vec![]));
        assert_eq!((told.events.len(), told.malformed), (1, count));
    }

    proptest! {
        #[test]
        fn r10_no_event_is_too_strange(kind in "send_packet|write_acknowledgement|timeout_packet|channel_open_try", attributes: Vec<(String, String)>) {
            let _ = read_event(&Event { kind, attributes });
        }
    }
}
