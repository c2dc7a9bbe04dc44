//! Packets (ICS-04): what a chain commits to, and how a packet is one of our messages.

use crate::ids::{BadId, ChannelEndId, Height, Sequence};
use alloy_primitives::{B256, Bytes};
use ibc_proto::ibc::core::{channel::v1 as wire, client::v1::Height as WireHeight};
use postrider_message::{
    Lane, LaneEnd, Message, MessageNonce, NetworkName, Payload, PayloadHash, Point, Protocol,
    lane::BadPoint,
};
use prost::Message as _;
use sha2::{Digest, Sha256};

/// The longest data of a packet that is read. Chains bound it by the size of a transaction, 1 MiB.
pub const MAX_DATA_BYTES: usize = 2 << 20;

/// Why a packet cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    /// A name or number of it is none.
    #[error(transparent)]
    Id(#[from] BadId),
    /// It has no timeout: ICS-04 demands a height or a time.
    #[error("it has neither a timeout height nor a timeout time")]
    NoTimeout,
    /// Its data is empty or too long.
    #[error("its data has {0} bytes; 1 to {MAX_DATA_BYTES} are allowed")]
    Data(usize),
    /// Its bytes are no packet.
    #[error("its bytes are no packet")]
    Bytes,
    /// Its ends are too long to name a lane.
    #[error(transparent)]
    Point(#[from] BadPoint),
}

/// Until when a packet may be received: one of the two at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeout {
    /// Not at this height of the destination, nor later; zero for no such bound.
    pub height: Height,
    /// Not at this time of the destination, nor later, in nanoseconds since 1970; 0 for no such bound.
    pub nanoseconds: u64,
}

impl Timeout {
    /// Whether a packet can no longer be received in a block of this height and time (ICS-04
    /// `recvPacket`, ibc-go `Timeout.Elapsed`).
    #[must_use]
    pub fn has_passed(&self, height: Height, nanoseconds: u64) -> bool {
        (!self.height.is_zero() && height >= self.height)
            || (self.nanoseconds != 0 && nanoseconds >= self.nanoseconds)
    }
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its number on the channel.
    pub sequence: Sequence,
    /// Who sent it.
    pub source: ChannelEndId,
    /// For whom it is.
    pub destination: ChannelEndId,
    /// What is said.
    pub data: Bytes,
    /// Until when it may be received.
    pub timeout: Timeout,
}

impl Packet {
    /// A packet.
    ///
    /// # Errors
    /// [`BadPacket::NoTimeout`], [`BadPacket::Data`].
    pub fn new(
        sequence: Sequence,
        source: ChannelEndId,
        destination: ChannelEndId,
        data: Bytes,
        timeout: Timeout,
    ) -> Result<Self, BadPacket> {
        if timeout.height.is_zero() && timeout.nanoseconds == 0 {
            return Err(BadPacket::NoTimeout);
        }
        if !(1..=MAX_DATA_BYTES).contains(&data.len()) {
            return Err(BadPacket::Data(data.len()));
        }
        Ok(Self { sequence, source, destination, data, timeout })
    }

    /// What the source commits to (ibc-go `CommitPacket`): SHA-256 over timeout and data. It does not bind
    /// the ends nor the sequence: those are the key under which it stands.
    #[must_use]
    pub fn commitment(&self) -> B256 {
        let mut hash = Sha256::new();
        hash.update(self.timeout.nanoseconds.to_be_bytes());
        hash.update(self.timeout.height.revision_number.to_be_bytes());
        hash.update(self.timeout.height.revision_height.to_be_bytes());
        hash.update(Sha256::digest(&self.data));
        B256::from_slice(&hash.finalize())
    }

    /// In protobuf (`ibc.core.channel.v1.Packet`).
    #[must_use]
    pub fn to_wire(&self) -> wire::Packet {
        let height = self.timeout.height;
        wire::Packet {
            sequence: self.sequence.get(),
            source_port: self.source.port.to_string(),
            source_channel: self.source.channel.to_string(),
            destination_port: self.destination.port.to_string(),
            destination_channel: self.destination.channel.to_string(),
            data: self.data.to_vec(),
            timeout_height: Some(WireHeight {
                revision_number: height.revision_number,
                revision_height: height.revision_height,
            }),
            timeout_timestamp: self.timeout.nanoseconds,
        }
    }

    /// From protobuf.
    ///
    /// # Errors
    /// [`BadPacket`].
    pub fn from_wire(packet: wire::Packet) -> Result<Self, BadPacket> {
        let height = packet.timeout_height.unwrap_or_default();
        let height = Height {
            revision_number: height.revision_number,
            revision_height: height.revision_height,
        };
        let end = |port: String, channel: String| -> Result<_, BadId> {
            Ok(ChannelEndId { port: port.try_into()?, channel: channel.try_into()? })
        };
        Self::new(
            packet.sequence.try_into()?,
            end(packet.source_port, packet.source_channel)?,
            end(packet.destination_port, packet.destination_channel)?,
            packet.data.into(),
            Timeout { height, nanoseconds: packet.timeout_timestamp },
        )
    }

    /// The lane it travels, between networks of these names.
    ///
    /// # Errors
    /// [`BadPacket::Point`].
    pub fn lane(&self, from: &NetworkName, to: &NetworkName) -> Result<Lane, BadPacket> {
        lane((from, &self.source), (to, &self.destination))
    }

    /// It as a message from one network to another: its payload is the whole packet in protobuf, known by
    /// its commitment.
    ///
    /// # Errors
    /// [`BadPacket::Point`].
    pub fn message(&self, from: &NetworkName, to: &NetworkName) -> Result<Message, BadPacket> {
        Ok(Message {
            lane: self.lane(from, to)?,
            nonce: MessageNonce(self.sequence.get()),
            payload: Payload::Known {
                bytes: self.to_wire().encode_to_vec().into(),
                hash: PayloadHash(self.commitment()),
            },
            options: Bytes::new(),
            reference: None,
        })
    }

    /// The packet that a message is; `None` if it is of another protocol, or its data is not known.
    ///
    /// # Errors
    /// [`BadPacket`] if the message's parts contradict each other.
    pub fn of(message: &Message) -> Option<Result<Self, BadPacket>> {
        let bytes = message.payload.bytes()?;
        (message.lane.protocol == Protocol::Ibc).then(|| {
            let packet = wire::Packet::decode(bytes.as_ref()).map_err(|_| BadPacket::Bytes)?;
            let packet = Self::from_wire(packet)?;
            let fits = packet.commitment() == message.payload.hash().0
                && packet.sequence.get() == message.nonce.0
                && packet.source.to_string() == message.lane.source.point.as_str()
                && packet.destination.to_string() == message.lane.destination.point.as_str();
            if fits { Ok(packet) } else { Err(BadPacket::Bytes) }
        })
    }
}

/// The lane from one channel end to the other.
///
/// # Errors
/// [`BadPacket::Point`].
pub fn lane(
    (from, source): (&NetworkName, &ChannelEndId),
    (to, destination): (&NetworkName, &ChannelEndId),
) -> Result<Lane, BadPacket> {
    let end = |network: &NetworkName, end: &ChannelEndId| -> Result<_, BadPoint> {
        Ok(LaneEnd { network: network.clone(), point: Point::try_from(end.to_string())? })
    };
    Ok(Lane {
        protocol: Protocol::Ibc,
        source: end(from, source)?,
        destination: end(to, destination)?,
    })
}

/// What the destination commits to of an acknowledgement (ibc-go `CommitAcknowledgement`): its SHA-256.
#[must_use]
pub fn acknowledgement_commitment(acknowledgement: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(acknowledgement))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    pub(crate) fn packet(sequence: u64) -> Packet {
        Packet::new(
            sequence.try_into().unwrap(),
            "transfer/channel-0".parse().unwrap(),
            "transfer/channel-7".parse().unwrap(),
            b"data".to_vec().into(),
            Timeout { height: "1-200".parse().unwrap(), nanoseconds: 5 },
        )
        .unwrap()
    }

    /// Computed apart, with a shell: the preimage's parts and `sha256sum`.
    #[test]
    fn the_commitment_is_ibc_gos() {
        let mut preimage = hex!("0000000000000005000000000000000100000000000000c8").to_vec();
        preimage.extend(Sha256::digest(b"data"));
        assert_eq!(packet(1).commitment().as_slice(), Sha256::digest(&preimage).as_slice());
    }

    #[test]
    fn a_packet_is_a_message_and_back() {
        let (a, b) = ("alpha".parse().unwrap(), "beta".parse().unwrap());
        let message = packet(3).message(&a, &b).unwrap();
        assert_eq!(
            message.lane.to_string(),
            "ibc: alpha transfer/channel-0 -> beta transfer/channel-7"
        );
        assert_eq!(Packet::of(&message).unwrap().unwrap(), packet(3));
    }

    /// Class (d): a packet that is bound to another place or number is not this message's.
    #[test]
    fn d_a_message_whose_parts_contradict_is_no_packet() {
        let (a, b) = ("alpha".parse().unwrap(), "beta".parse().unwrap());
        let good = packet(3).message(&a, &b).unwrap();
        let other = packet(4).message(&b, &a).unwrap();
        let mut wrong = vec![];
        wrong.push(Message { nonce: other.nonce, ..good.clone() });
        let mut lane = good.clone();
        std::mem::swap(&mut lane.lane.source.point, &mut lane.lane.destination.point);
        wrong.push(lane);
        let bytes = good.payload.bytes().unwrap().clone();
        let hash = PayloadHash(B256::repeat_byte(1));
        wrong.push(Message { payload: Payload::Known { bytes, hash }, ..good.clone() });
        for message in wrong {
            assert_eq!(Packet::of(&message), Some(Err(BadPacket::Bytes)));
        }
        let unknown = Message { payload: Payload::Committed(hash), ..good.clone() };
        assert_eq!(Packet::of(&unknown), None);
        let mut foreign = good;
        foreign.lane.protocol = Protocol::LayerZero;
        assert_eq!(Packet::of(&foreign), None);
    }

    #[test]
    fn timeouts_pass_as_ibc_go_says() {
        let at =
            |height: &str, nanoseconds| Timeout { height: height.parse().unwrap(), nanoseconds };
        let cases = [
            (at("1-10", 0), "1-9", u64::MAX, false),
            (at("1-10", 0), "1-10", 0, true),
            (at("1-10", 0), "2-1", 0, true),
            (at("2-10", 0), "1-99", 0, false),
            (at("0-0", 7), "9-9", 6, false),
            (at("0-0", 7), "9-9", 7, true),
            (at("1-10", 7), "1-1", 7, true),
        ];
        for (timeout, height, time, passed) in cases {
            assert_eq!(
                timeout.has_passed(height.parse().unwrap(), time),
                passed,
                "{timeout:?} {height} {time}"
            );
        }
    }

    #[test]
    fn a_packet_without_end_or_data_is_refused() {
        let wire = packet(1).to_wire();
        let cases = [
            (wire::Packet { sequence: 0, ..wire.clone() }, BadPacket::Id(BadId::Sequence)),
            (
                wire::Packet { timeout_height: None, timeout_timestamp: 0, ..wire.clone() },
                BadPacket::NoTimeout,
            ),
            (wire::Packet { data: vec![], ..wire.clone() }, BadPacket::Data(0)),
            (
                wire::Packet { data: vec![0; MAX_DATA_BYTES + 1], ..wire },
                BadPacket::Data(MAX_DATA_BYTES + 1),
            ),
        ];
        for (packet, error) in cases {
            assert_eq!(Packet::from_wire(packet), Err(error));
        }
    }

    proptest! {
        #[test]
        fn r10_no_bytes_are_too_strange(bytes: Vec<u8>) {
            if let Ok(packet) = wire::Packet::decode(bytes.as_slice()) {
                let _ = Packet::from_wire(packet);
            }
        }

        #[test]
        fn packets_are_read_back(sequence in 1u64.., data in prop::collection::vec(any::<u8>(), 1..100), nanoseconds in 1u64..) {
            let packet = Packet { sequence: sequence.try_into().unwrap(), data: data.into(), timeout: Timeout { height: Height::default(), nanoseconds }, ..packet(1) };
            prop_assert_eq!(Packet::from_wire(packet.to_wire()), Ok(packet));
        }
    }
}
