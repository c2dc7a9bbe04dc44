//! Logs for the tests of both sides.

use super::RawLog;
use crate::wire::{Address32, Eid, Packet, PacketHeader, PacketNonce};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolEvent;

pub(super) const ENDPOINT: Address = Address::repeat_byte(0xee);

pub(super) fn log<E: SolEvent>(address: Address, index: u64, event: &E) -> RawLog {
    let data = event.encode_log_data();
    RawLog { address, topics: data.topics().to_vec(), data: data.data, index }
}

pub(super) fn packet(nonce: u64) -> Packet {
    let header = PacketHeader {
        nonce: PacketNonce::new(nonce).unwrap(),
        src_eid: Eid(30_901),
        sender: Address32(B256::repeat_byte(1)),
        dst_eid: Eid(30_902),
        receiver: Address32::from(Address::repeat_byte(2)),
    };
    Packet::new(header, Bytes::from_static(b"hello")).unwrap()
}
