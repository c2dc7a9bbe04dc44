//! What chains say of IBC: events, packets, state, and what applications write.

use crate::memory::bounded;
use postrider_cosmos::{BlockEvents, Event, TxEvents};
use postrider_ibc::{
    Acknowledgement, IbcEvent, Packet,
    events::{read, read_setup_events},
    packet::MAX_DATA_BYTES,
    paths::listed_commitments,
    state::{ChannelEnd, ClientState, ConnectionEnd, ConsensusState},
    transfer::{Denom, TransferData},
};
use postrider_message::{Fact, Height, Payload};

/// Events as text: a line of `= kind` begins one, others are `key value`; a line `!` ends a transaction that
/// failed, `.` one that succeeded. What follows the last one is the block's own.
fn block(text: &str) -> BlockEvents {
    let (mut transactions, mut events) = (Vec::new(), Vec::<Event>::new());
    for line in text.lines() {
        match (line, line.strip_prefix("= ")) {
            ("!" | ".", _) => transactions.push(TxEvents {
                code: u32::from(line == "!"),
                codespace: String::new(),
                log: "".into(),
                gas_wanted: 0,
                gas_used: 0,
                events: std::mem::take(&mut events),
                idle: false,
            }),
            (_, Some(kind)) => events.push(Event { kind: kind.to_owned(), attributes: vec![] }),
            _ => {
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                if let Some(event) = events.last_mut() {
                    event.attributes.push((key.to_owned(), value.to_owned()));
                }
            }
        }
    }
    BlockEvents { height: Height(7), transactions, block: events }
}

/// A block's events: what is read stands where it says, in what succeeded, and is a packet that another
/// reader takes for the same.
pub fn ibc_events(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let block = block(text);
    let told = bounded(data.len(), 64, || read(&block));
    let flat: Vec<(&Event, Option<usize>)> = block
        .transactions
        .iter()
        .enumerate()
        .flat_map(|(index, tx)| tx.events.iter().map(move |event| (event, Some(index))))
        .chain(block.block.iter().map(|event| (event, None)))
        .collect();
    let mut last = None;
    for seen in &told.events {
        assert!(last < Some(seen.position), "in their order");
        last = Some(seen.position);
        let (event, transaction) = flat[usize::try_from(seen.position).unwrap()];
        assert_eq!(transaction, seen.transaction);
        assert!(transaction.is_none_or(|index| block.transactions[index].succeeded()));
        assert!(!event.attributes.iter().any(|(key, _)| key.starts_with("ibccallbackerror-")));
        if let IbcEvent::Sent(packet) | IbcEvent::Received(packet) = &seen.event {
            same_as_message(packet);
        }
    }
    assert!(told.events.len() + told.malformed <= flat.len());
    for transaction in &block.transactions {
        let (events, malformed) =
            bounded(data.len(), 64, || read_setup_events(&transaction.events));
        assert!(events.len() + malformed <= transaction.events.len());
    }
}

/// A packet is the message that is made of it, and no other.
fn same_as_message(packet: &Packet) {
    assert!((1..=MAX_DATA_BYTES).contains(&packet.data.len()));
    assert_eq!(Packet::from_wire(packet.to_wire()).as_ref(), Ok(packet));
    let (a, b) = ("alpha".parse().unwrap(), "beta".parse().unwrap());
    if let Ok(message) = packet.message(&a, &b) {
        assert_eq!(Packet::of(&message), Some(Ok(packet.clone())));
        assert!(matches!(message.payload, Payload::Known { .. }));
    }
}

/// A packet in protobuf, and its data as a token transfer and as an acknowledgement.
pub fn ibc_packet(data: &[u8]) {
    use prost::Message;
    let wire = ibc_proto::ibc::core::channel::v1::Packet::decode(data);
    if let Ok(packet) = wire.map_err(drop).and_then(|wire| Packet::from_wire(wire).map_err(drop)) {
        same_as_message(&packet);
    }
    if let Ok(transfer) = bounded(data.len(), 16, || TransferData::parse(data)) {
        assert!(!transfer.amount.is_zero());
        let path = transfer.denom.to_string();
        assert_eq!(path.parse::<Denom>(), Ok(transfer.denom));
    }
    let written = data.to_vec().into();
    let fact = bounded(data.len(), 16, || Acknowledgement::fact(written));
    let Fact::AcknowledgementWritten { acknowledgement, error } = fact else { unreachable!() };
    assert_eq!(acknowledgement.as_ref(), data);
    if error.is_some() {
        assert!(data.starts_with(br#"{"error":""#) && data.ends_with(br#""}"#));
    }
}

/// What stands in a chain's store, and its list of commitments.
pub fn ibc_state(data: &[u8]) {
    bounded(data.len(), 64, || {
        if let Ok(state) = ClientState::decode(data) {
            let (numerator, denominator) = state.trust_level;
            assert!(numerator > 0 && numerator <= denominator);
        }
        let _ = ConsensusState::decode(data);
        let _ = ConnectionEnd::decode(data);
        let _ = ChannelEnd::decode(data);
    });
    bounded(data.len(), 64, || listed_commitments(data).is_ok());
}
