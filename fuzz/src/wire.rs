//! Packets, options, and the names of lanes.

use crate::{input::Input, memory::bounded};
use alloy_primitives::{U256, keccak256};
use postrider_layerzero::{
    deployment::{header, point},
    wire::{
        Options, Packet, PacketHeader,
        options::MAX_OPTIONS_SIZE,
        packet::{HEADER_SIZE, MESSAGE_OFFSET},
    },
};
use postrider_message::{Lane, LaneEnd, MessageNonce, Point, Protocol};

/// Headers and packets: what is read is written back the same, and no bit before the message can
/// change unnoticed.
pub fn packet(data: &[u8]) {
    if let Ok(packet) = bounded(data.len(), 4, || Packet::decode(data)) {
        assert_eq!(packet.encode(), data);
        check(packet.header(), &data[..HEADER_SIZE]);
        assert_eq!(packet.guid().0, data[HEADER_SIZE..MESSAGE_OFFSET]);
        assert_eq!(packet.payload_hash().0, keccak256(&data[HEADER_SIZE..]));
    }
    let Some((head, message)) = data.split_at_checked(HEADER_SIZE) else {
        assert!(PacketHeader::decode(data).is_err());
        return;
    };
    let Ok(header) = PacketHeader::decode(head) else { return };
    check(&header, head);
    let Ok(packet) = Packet::new(header, message.to_vec().into()) else { return };
    let mut encoded = packet.encode();
    assert_eq!(Packet::decode(&encoded).as_ref(), Ok(&packet));
    let mut choice = Input(message);
    let (at, bit) = (usize::from(choice.byte()) % MESSAGE_OFFSET, choice.byte() % 8);
    encoded[at] ^= 1 << bit;
    assert!(Packet::decode(&encoded).is_err(), "bit {bit} of byte {at}");
}

fn check(header: &PacketHeader, bytes: &[u8]) {
    assert_eq!(header.encode(), bytes);
    assert_eq!(header.guid().0, keccak256(&bytes[1..]));
    assert_eq!(header.header_hash().0, keccak256(bytes));
}

/// Options of every type: what is read can be written as type 3, and then reads the same.
pub fn options(data: &[u8]) {
    let Ok(options) = bounded(data.len(), 32, || Options::decode(data)) else { return };
    assert!(data.len() <= MAX_OPTIONS_SIZE);
    let encoded = options.encode().expect("options that were read can be written");
    assert!(encoded.len() <= data.len() + 16, "{} bytes of {}", encoded.len(), data.len());
    assert_eq!(Options::decode(&encoded).as_ref(), Ok(&options));
    assert!(options.lz_receive.is_none_or(|call| call.gas > 0));
    assert!(options.composes.values().all(|call| call.gas > 0));
    assert!(options.dvn.iter().map(|o| o.data.len()).sum::<usize>() <= data.len());
    let drops = options.native_drops.iter().map(|drop| U256::from(drop.amount));
    assert!(options.total_value() >= drops.fold(U256::ZERO, |sum, drop| sum + drop));
}

/// Ends of lanes: what is taken for a header is written in one canonical form, which reads the same.
pub fn lane_points(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\n').map(|part| Point::try_from(part.to_owned()));
    let (Some(Ok(source)), Some(Ok(destination))) = (parts.next(), parts.next()) else { return };
    let lane = |source, destination| Lane {
        protocol: Protocol::LayerZero,
        source: LaneEnd { network: "alpha".parse().expect("a name"), point: source },
        destination: LaneEnd { network: "beta".parse().expect("a name"), point: destination },
    };
    let given = lane(source, destination);
    assert!(given.is_called(&given.to_string()) && given.is_called(&given.id().to_string()));
    assert!(given.answers_to(&given.to_string()));
    let _ = (given.answers_to(text), given.is_called(text));
    let Ok(read) = bounded(data.len(), 16, || header(&given, MessageNonce(7))) else { return };
    let canonical = lane(point(read.src_eid, read.sender), point(read.dst_eid, read.receiver));
    assert_eq!(header(&canonical, MessageNonce(7)), Ok(read));
    assert!(header(&canonical, MessageNonce(0)).is_err());
}
