//! Packet version 1, as `EndpointV2` emits it in `PacketSent` (`PacketV1Codec`).
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 8 | nonce |
//! | 9 | 4 | source endpoint id |
//! | 13 | 32 | sender |
//! | 45 | 4 | destination endpoint id |
//! | 49 | 32 | receiver |
//! | 81 | 32 | guid |
//! | 113 | … | message |
//!
//! All numbers are big-endian. The first 81 bytes are the header.

use super::{Address32, Eid, Guid, HeaderHash, PacketNonce, PayloadHash, Reader};
use alloy_primitives::{B256, Bytes, Keccak256, keccak256};

/// The only packet version there is.
pub const PACKET_VERSION: u8 = 1;
/// Bytes of a header.
pub const HEADER_SIZE: usize = 81;
/// Bytes before the message: the header and the guid.
pub const MESSAGE_OFFSET: usize = HEADER_SIZE + 32;
/// Largest message that is accepted, in bytes. Execution carries the message as call data, and
/// nodes refuse transactions above 128 KiB, so a larger one could not be delivered.
pub const MAX_MESSAGE_SIZE: usize = 128 * 1024;

/// Why bytes are not a packet. The bytes themselves are wrong, so trying again gives the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// A header that is not 81 bytes.
    #[error("a packet header has {HEADER_SIZE} bytes, this one {actual}; skip it")]
    HeaderSize {
        /// Bytes there were.
        actual: usize,
    },
    /// A packet that ends before its message starts.
    #[error("a packet has at least {MESSAGE_OFFSET} bytes, this one {actual}; skip it")]
    TooShort {
        /// Bytes there were.
        actual: usize,
    },
    /// A version other than 1.
    #[error("packet version {actual} is not supported, only {PACKET_VERSION}; skip it")]
    UnsupportedVersion {
        /// The version stated.
        actual: u8,
    },
    /// Nonce zero, which no endpoint assigns.
    #[error("a packet's nonce starts at 1, this one is 0; skip it")]
    ZeroNonce,
    /// The guid is not the hash of the header's fields.
    #[error("the packet states guid {stated} but its header gives {computed}; skip it")]
    GuidMismatch {
        /// The guid in the packet.
        stated: Guid,
        /// The guid computed from the header.
        computed: Guid,
    },
    /// A message above [`MAX_MESSAGE_SIZE`].
    #[error(
        "the message has {actual} bytes, more than {MAX_MESSAGE_SIZE}: no transaction holds it"
    )]
    MessageTooLarge {
        /// Bytes of the message.
        actual: usize,
    },
}

/// Where a packet comes from, where it goes, and its number on that pathway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PacketHeader {
    /// The packet's number on its pathway.
    pub nonce: PacketNonce,
    /// The endpoint that sent it.
    pub src_eid: Eid,
    /// The application that sent it.
    pub sender: Address32,
    /// The endpoint it is for, or a read channel.
    pub dst_eid: Eid,
    /// The application it is for.
    pub receiver: Address32,
}

impl PacketHeader {
    /// Reads exactly 81 bytes.
    ///
    /// # Errors
    /// [`PacketError::HeaderSize`], [`PacketError::UnsupportedVersion`] or
    /// [`PacketError::ZeroNonce`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let size = PacketError::HeaderSize { actual: bytes.len() };
        if bytes.len() != HEADER_SIZE {
            return Err(size);
        }
        let mut reader = Reader::new(bytes);
        let [version] = reader.array().ok_or(size)?;
        if version != PACKET_VERSION {
            return Err(PacketError::UnsupportedVersion { actual: version });
        }
        let nonce = u64::from_be_bytes(reader.array().ok_or(size)?);
        Ok(Self {
            nonce: PacketNonce::new(nonce).ok_or(PacketError::ZeroNonce)?,
            src_eid: Eid(u32::from_be_bytes(reader.array().ok_or(size)?)),
            sender: Address32(B256::new(reader.array().ok_or(size)?)),
            dst_eid: Eid(u32::from_be_bytes(reader.array().ok_or(size)?)),
            receiver: Address32(B256::new(reader.array().ok_or(size)?)),
        })
    }

    /// The 81 bytes of this header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_SIZE);
        bytes.push(PACKET_VERSION);
        bytes.extend_from_slice(&self.fields());
        bytes
    }

    /// The packet's id, see [`Guid`].
    #[must_use]
    pub fn guid(&self) -> Guid {
        Guid(keccak256(self.fields()))
    }

    /// The hash under which receive libraries file this packet, see [`HeaderHash`].
    #[must_use]
    pub fn header_hash(&self) -> HeaderHash {
        HeaderHash(keccak256(self.encode()))
    }

    /// The hash of this packet's payload, were `message` its message.
    #[must_use]
    pub fn payload_hash(&self, message: &[u8]) -> PayloadHash {
        payload_hash(self.guid(), message)
    }

    /// The bytes after the version: the header hash covers both, the guid these alone.
    fn fields(&self) -> [u8; HEADER_SIZE - 1] {
        let mut bytes = [0; HEADER_SIZE - 1];
        let fields: [&[u8]; 5] = [
            &self.nonce.get().to_be_bytes(),
            &self.src_eid.0.to_be_bytes(),
            self.sender.0.as_slice(),
            &self.dst_eid.0.to_be_bytes(),
            self.receiver.0.as_slice(),
        ];
        for (place, byte) in bytes.iter_mut().zip(fields.iter().copied().flatten()) {
            *place = *byte;
        }
        bytes
    }
}

/// `keccak256(guid ‖ message)`, see [`PayloadHash`].
#[must_use]
pub fn payload_hash(guid: Guid, message: &[u8]) -> PayloadHash {
    let mut hasher = Keccak256::new();
    hasher.update(guid.0);
    hasher.update(message);
    PayloadHash(hasher.finalize())
}

/// A header and its message. The guid is computed, so a packet cannot hold a wrong one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packet {
    header: PacketHeader,
    message: Bytes,
}

impl Packet {
    /// Puts a packet together.
    ///
    /// # Errors
    /// [`PacketError::MessageTooLarge`].
    pub fn new(header: PacketHeader, message: Bytes) -> Result<Self, PacketError> {
        if message.len() > MAX_MESSAGE_SIZE {
            return Err(PacketError::MessageTooLarge { actual: message.len() });
        }
        Ok(Self { header, message })
    }

    /// Reads a whole packet and checks its guid.
    ///
    /// # Errors
    /// Every [`PacketError`] but `HeaderSize`.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let short = PacketError::TooShort { actual: bytes.len() };
        let mut reader = Reader::new(bytes);
        let header = PacketHeader::decode(reader.slice(HEADER_SIZE).ok_or(short)?)?;
        let stated = Guid(B256::new(reader.array().ok_or(short)?));
        if reader.rest.len() > MAX_MESSAGE_SIZE {
            return Err(PacketError::MessageTooLarge { actual: reader.rest.len() });
        }
        let computed = header.guid();
        if stated != computed {
            return Err(PacketError::GuidMismatch { stated, computed });
        }
        Ok(Self { header, message: Bytes::copy_from_slice(reader.rest) })
    }

    /// The bytes that `PacketSent` carries.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        bytes.extend_from_slice(self.guid().0.as_slice());
        bytes.extend_from_slice(&self.message);
        bytes
    }

    /// The packet's header.
    #[must_use]
    pub const fn header(&self) -> &PacketHeader {
        &self.header
    }

    /// What the sender said to the receiver.
    #[must_use]
    pub const fn message(&self) -> &Bytes {
        &self.message
    }

    /// The packet's id.
    #[must_use]
    pub fn guid(&self) -> Guid {
        self.header.guid()
    }

    /// The hash under which receive libraries file this packet.
    #[must_use]
    pub fn header_hash(&self) -> HeaderHash {
        self.header.header_hash()
    }

    /// The hash that DVNs attest and the destination endpoint stores.
    #[must_use]
    pub fn payload_hash(&self) -> PayloadHash {
        self.header.payload_hash(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Packet {
        let header = PacketHeader {
            nonce: PacketNonce::FIRST,
            src_eid: Eid(30_101),
            sender: Address32(B256::repeat_byte(1)),
            dst_eid: Eid(30_110),
            receiver: Address32(B256::repeat_byte(2)),
        };
        Packet::new(header, Bytes::from_static(b"hello")).unwrap()
    }

    prop_compose! {
        fn headers()(
            nonce in 1u64..,
            src in any::<u32>(),
            sender in any::<[u8; 32]>(),
            dst in any::<u32>(),
            receiver in any::<[u8; 32]>(),
        ) -> PacketHeader {
            PacketHeader {
                nonce: PacketNonce::new(nonce).unwrap(),
                src_eid: Eid(src),
                sender: Address32(sender.into()),
                dst_eid: Eid(dst),
                receiver: Address32(receiver.into()),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            header in headers(),
            message in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let packet = Packet::new(header, message.into()).unwrap();
            let bytes = packet.encode();
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
            prop_assert_eq!(PacketHeader::decode(&bytes[..HEADER_SIZE]), Ok(header));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            header in headers(),
            tail in prop::collection::vec(any::<u8>(), 0..60),
            at in 0usize..200,
            byte in any::<u8>(),
        ) {
            let mut bytes = Packet::new(header, tail.into()).unwrap().encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(packet.encode(), bytes);
            }
        }

        #[test]
        fn hostile_bytes_give_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = PacketHeader::decode(&bytes);
            prop_assert!(Packet::decode(&bytes).is_err());
        }

        #[test]
        fn the_header_binds_every_field(a in headers(), b in headers()) {
            prop_assert_eq!(a == b, a.header_hash() == b.header_hash());
            prop_assert_eq!(a == b, a.guid() == b.guid());
        }
    }

    #[test]
    fn every_header_byte_is_checked_or_bound_by_the_guid() {
        let good = sample().encode();
        for at in 0..MESSAGE_OFFSET {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let error = Packet::decode(&bytes).unwrap_err();
            match at {
                0 => assert_eq!(error, PacketError::UnsupportedVersion { actual: 0 }),
                8 => assert_eq!(error, PacketError::ZeroNonce),
                _ => assert!(matches!(error, PacketError::GuidMismatch { .. }), "byte {at}"),
            }
        }
    }

    #[test]
    fn lengths_are_exact_and_bounded() {
        let good = sample().encode();
        for length in 0..MESSAGE_OFFSET {
            let cut = Packet::decode(&good[..length]);
            assert_eq!(cut, Err(PacketError::TooShort { actual: length }), "{length} bytes");
        }
        for length in [0, HEADER_SIZE - 1, HEADER_SIZE + 1] {
            let cut = PacketHeader::decode(&good[..length]);
            assert_eq!(cut, Err(PacketError::HeaderSize { actual: length }), "{length} bytes");
        }
        let mut bytes = good[..MESSAGE_OFFSET].to_vec();
        bytes.resize(MESSAGE_OFFSET + MAX_MESSAGE_SIZE, 7);
        assert_eq!(Packet::decode(&bytes).map(|packet| packet.encode()), Ok(bytes.clone()));
        bytes.push(7);
        let too_large = PacketError::MessageTooLarge { actual: MAX_MESSAGE_SIZE + 1 };
        assert_eq!(Packet::decode(&bytes), Err(too_large));
        let message = Bytes::from(bytes.split_off(MESSAGE_OFFSET));
        assert_eq!(Packet::new(*sample().header(), message), Err(too_large));
    }
}
