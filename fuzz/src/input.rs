//! Structured input out of the fuzzer's bytes. What is missing at the end reads as zeros.

use alloy_primitives::{Address, B256, Bytes};
use postrider_layerzero::events::RawLog;

/// Takes parts off the front.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.take(N);
        let mut array = [0; N];
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Bytes behind a length of two bytes.
    pub fn sized(&mut self) -> &'a [u8] {
        let length = u16::from_be_bytes(self.array());
        self.take(length.into())
    }

    /// A log: a byte that chooses the emitter, one that chooses the first topic, one that says how
    /// many topics follow, and the data. A choice beyond the list is spelt out.
    pub fn log(&mut self, emitters: &[Address], events: &[B256], index: u64) -> RawLog {
        let emitter = usize::from(self.byte());
        let address = emitters.get(emitter).copied();
        let address = address.unwrap_or_else(|| Address::from(self.array()));
        let event = usize::from(self.byte());
        let mut topics = Vec::new();
        if event != 255 {
            topics.push(events.get(event).copied().unwrap_or_else(|| B256::from(self.array())));
        }
        for _ in 0..self.byte() % 4 {
            topics.push(B256::from(self.array()));
        }
        RawLog { address, topics, data: Bytes::copy_from_slice(self.sized()), index }
    }
}
