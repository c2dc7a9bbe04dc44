//! Who pays for what is sent on one EVM network, and how much may be on its way.

use crate::{bundle::Outgoing, submit::Submitter};
use postrider_layerzero::{MessagePlan, batch};
use postrider_message::{DutyId, LaneId, Message};
use postrider_store::StoreError;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a step takes, before any was rehearsed: alone, and in a batch.
const ALONE_GAS: u64 = 60_000;
const BATCHED_GAS: u64 = 32_000;
/// The most lanes of which it is remembered who paid last.
const MAX_LANES: usize = 10_000;
/// The share of a block that may be on its way, in hundredths: what is expected is not quite what is
/// used, and a node forgets what a block has no place for.
const BLOCK_SHARE: u64 = 98;

/// The accounts that pay on one network. All steps of a lane are paid for by one of them, so that
/// they reach blocks in their order.
pub struct Payers {
    all: Vec<Arc<Submitter>>,
    /// Who paid for a lane last.
    last: Mutex<HashMap<LaneId, usize>>,
    /// Gas that a step took in the last round; 0 before the first.
    step_gas: AtomicU64,
}

/// How many more transactions each account may have on its way.
pub struct Room<'a> {
    payers: &'a Payers,
    /// In fractions of a transaction, one for each place in a batch.
    left: Vec<usize>,
    /// Gas that may still be on its way: all of ours together find place in one block.
    gas: u64,
}

impl Payers {
    /// These accounts; without any nothing is sent.
    #[must_use]
    pub fn new(all: Vec<Arc<Submitter>>) -> Self {
        Self { all, last: Mutex::default(), step_gas: AtomicU64::new(0) }
    }

    /// The account that pays for a lane: always the same while it can pay, then another that can. What the
    /// first one has on its way is awaited, since only the transactions of one account keep their order.
    fn of(&self, lane: LaneId) -> Option<usize> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = |index: &usize| self.all.get(*index).is_some_and(|payer| payer.is_busy());
        if let Some(index) = last.get(&lane).copied().filter(is_busy) {
            return Some(index);
        }
        let chosen = self.choose(lane)?;
        if last.len() >= MAX_LANES {
            last.clear();
        }
        last.insert(lane, chosen);
        Some(chosen)
    }

    fn choose(&self, lane: LaneId) -> Option<usize> {
        let able: Vec<usize> =
            (0..self.all.len()).filter(|i| self.all.get(*i).is_some_and(|s| s.can_pay())).collect();
        let all: Vec<usize> = (0..self.all.len()).collect();
        let candidates = if able.is_empty() { &all } else { &able };
        let [.., last] = lane.0.0;
        candidates.get(usize::from(last).checked_rem(candidates.len())?).copied()
    }

    /// Looks what became of what was sent; returns the duties whose transactions are on their way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<HashSet<DutyId>, StoreError> {
        let mut on_their_way = HashSet::new();
        for payer in &self.all {
            on_their_way.extend(payer.watch().await?);
        }
        Ok(on_their_way)
    }

    /// How much may be sent now, where a block has `block_gas`; 0 if that is not known yet.
    #[must_use]
    pub fn room(&self, block_gas: u64) -> Room<'_> {
        let left = self.all.iter().map(|payer| payer.room() * batch::MAX_ITEMS).collect();
        let flying: u64 = self.all.iter().map(|payer| payer.flying_gas()).sum();
        let gas = match block_gas {
            0 => u64::MAX,
            // What is larger than a block allows is sent alone.
            _ if flying == 0 => (block_gas / 100 * BLOCK_SHARE).max(1),
            _ => (block_gas / 100 * BLOCK_SHARE).saturating_sub(flying),
        };
        Room { payers: self, left, gas }
    }

    /// Remembers what steps take.
    pub fn note_gas(&self, calls: &[Outgoing]) {
        let gas: u64 = calls.iter().map(|call| call.expected_gas).sum();
        let steps: usize = calls.iter().map(|call| call.duties.len()).sum();
        if let Some(each) = gas.checked_div(steps as u64).filter(|each| *each > 0) {
            self.step_gas.store(each, Ordering::Relaxed);
        }
    }

    /// Who pays for which plan.
    #[must_use]
    pub fn share(
        &self,
        plans: Vec<MessagePlan>,
        lane_of: impl Fn(&MessagePlan) -> Option<LaneId>,
    ) -> Vec<(Arc<Submitter>, Vec<MessagePlan>)> {
        let mut shares: Vec<_> =
            self.all.iter().map(|payer| (Arc::clone(payer), Vec::new())).collect();
        for plan in plans {
            let share = lane_of(&plan).and_then(|lane| shares.get_mut(self.of(lane)?));
            if let Some((_, plans)) = share {
                plans.push(plan);
            }
        }
        shares.retain(|(_, plans)| !plans.is_empty());
        shares
    }
}

impl Room<'_> {
    /// Takes room for the message's transactions, or a place in a batch; false if there is none.
    pub fn take(
        &mut self,
        message: &Message,
        transactions: usize,
        steps: usize,
        batched: bool,
    ) -> bool {
        let payer = self.payers.of(message.lane.id());
        let Some(left) = payer.and_then(|payer| self.left.get_mut(payer)) else { return false };
        let needed = if batched { 1 } else { transactions * batch::MAX_ITEMS };
        let gas = match self.payers.step_gas.load(Ordering::Relaxed) {
            0 if batched => BATCHED_GAS,
            0 => ALONE_GAS,
            gas => gas,
        };
        if self.gas == 0 {
            return false;
        }
        self.gas = self.gas.saturating_sub(gas.saturating_mul(steps as u64));
        match left.checked_sub(needed) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}
