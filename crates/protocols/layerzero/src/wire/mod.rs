//! The bytes that LayerZero V2 contracts exchange, and the types they become at the edge.
//!
//! [`packet`] is what an endpoint sends, [`options`] what its sender asked of the workers. Both
//! read foreign bytes: every length is checked, every number has a bound, and a failure is a typed
//! error about that packet alone.

pub mod options;
pub mod packet;

pub use options::{
    DvnOption, GasAndValue, NativeDrop, Options, OptionsBuilder, OptionsError, Read,
};
pub use packet::{Packet, PacketError, PacketHeader};

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU64};

/// An endpoint id: LayerZero's number for one endpoint on one chain (30101 is V2 on Ethereum).
/// It is not a chain id. Read channels count down from `u32::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Eid(pub u32);

impl fmt::Display for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A packet's number on its pathway (source endpoint, sender, destination endpoint, receiver).
/// Endpoints count from 1, so zero, the value of an empty slot, cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PacketNonce(NonZeroU64);

impl PacketNonce {
    /// The nonce of the first packet of a pathway.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// `None` for zero.
    #[must_use]
    pub const fn new(nonce: u64) -> Option<Self> {
        match NonZeroU64::new(nonce) {
            Some(nonce) => Some(Self(nonce)),
            None => None,
        }
    }

    /// The number itself, at least 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The nonce after this one; `None` at the end of the pathway's numbers.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(nonce) => Some(Self(nonce)),
            None => None,
        }
    }
}

impl fmt::Display for PacketNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub B256);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

hash_type!(
    /// A packet's id on every chain: `keccak256(nonce ‖ srcEid ‖ sender ‖ dstEid ‖ receiver)`. It
    /// says nothing of the message, so after a reorganisation it can name another one.
    Guid
);
hash_type!(
    /// `keccak256` of the 81 header bytes; with a [`PayloadHash`] it is what a DVN attests.
    HeaderHash
);
hash_type!(
    /// `keccak256(guid ‖ message)`: what the destination endpoint stores once a packet is
    /// committed.
    PayloadHash
);

/// A sender or receiver as packets carry it: 32 bytes, of which an EVM address takes the last 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address32(pub B256);

impl Address32 {
    /// The EVM address in these bytes. `None` where the first 12 bytes are not zero, because a
    /// contract that cut them off would take two different receivers for one, and for the zero
    /// address, which is no contract.
    #[must_use]
    pub fn as_evm_address(&self) -> Option<Address> {
        let (padding, address) = self.0.split_at(12);
        let address = Address::from_slice(address);
        (padding.iter().all(|byte| *byte == 0) && !address.is_zero()).then_some(address)
    }
}

impl From<Address> for Address32 {
    fn from(address: Address) -> Self {
        Self(address.into_word())
    }
}

impl fmt::Display for Address32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes fixed widths off the front of foreign bytes and knows how far it is.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        self.at += N;
        Some(*taken)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.at += length;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{address, b256};

    #[test]
    fn an_evm_address_is_padded_with_zeros() {
        let evm = address!("1111111111111111111111111111111111111111");
        assert_eq!(Address32::from(evm).as_evm_address(), Some(evm));
        for other in [
            b256!("0000000000000000000000011111111111111111111111111111111111111111"),
            b256!("8000000000000000000000001111111111111111111111111111111111111111"),
            b256!("1111111111111111111111111111111111111111000000000000000000000000"),
            B256::ZERO,
        ] {
            assert_eq!(Address32(other).as_evm_address(), None, "{other}");
        }
    }

    #[test]
    fn nonces_start_at_one_and_end() {
        assert_eq!(PacketNonce::new(0), None);
        assert_eq!(PacketNonce::FIRST.get(), 1);
        assert_eq!(PacketNonce::FIRST.next().map(PacketNonce::get), Some(2));
        assert_eq!(PacketNonce::new(u64::MAX).and_then(PacketNonce::next), None);
    }
}
