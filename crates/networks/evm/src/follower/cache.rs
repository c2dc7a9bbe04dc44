//! Receipts that were fetched once and are of use again: the hint sees a block before it is final,
//! the durable way proves it afterwards.

use alloy_primitives::{B256, Bytes};
use postrider_message::TxHash;
use std::collections::{HashMap, VecDeque};

/// The most blocks whose receipts are kept.
pub(super) const MAX_CACHED: usize = 256;
/// The most bytes of receipts that are kept.
const MAX_CACHED_BYTES: usize = 16 << 20;

/// A block's receipts, as one upstream gave them.
#[derive(Debug, Clone)]
pub(super) struct CachedReceipts {
    pub(super) transactions: Vec<(TxHash, bool)>,
    pub(super) encoded: Vec<Bytes>,
}

impl CachedReceipts {
    fn size(&self) -> usize {
        self.encoded.iter().map(|receipt| receipt.len()).sum()
    }
}

/// Receipts by block hash; the oldest go first.
#[derive(Debug, Default)]
pub(super) struct ReceiptCache {
    receipts: HashMap<B256, CachedReceipts>,
    order: VecDeque<B256>,
    bytes: usize,
}

impl ReceiptCache {
    pub(super) fn get(&self, hash: &B256) -> Option<&CachedReceipts> {
        self.receipts.get(hash)
    }

    pub(super) fn remember(&mut self, hash: B256, receipts: CachedReceipts) {
        self.bytes += receipts.size();
        match self.receipts.insert(hash, receipts) {
            Some(old) => self.bytes -= old.size(),
            None => self.order.push_back(hash),
        }
        while self.order.len() > MAX_CACHED || self.bytes > MAX_CACHED_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(old) = self.receipts.remove(&oldest) {
                self.bytes -= old.size();
            }
        }
    }
}
