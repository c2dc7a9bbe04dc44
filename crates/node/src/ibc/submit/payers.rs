//! Several accounts that pay on one network: each round of planning takes one of them.

use super::{NotSent, Outgoing, Submitter};
use postrider_message::{DutyId, Reason};
use postrider_store::StoreError;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The accounts that pay on one network.
///
/// What is planned in one round goes through one account, since what is proven to a client comes after the
/// client's update, and only the transactions of one account keep their order.
pub struct Payers {
    first: Submitter,
    others: Vec<Submitter>,
    turn: AtomicUsize,
}

impl Payers {
    /// The accounts, in the order they are preferred; `None` if there is none.
    #[must_use]
    pub fn new(all: Vec<Submitter>) -> Option<Self> {
        let mut all = all.into_iter();
        let first = all.next()?;
        Some(Self { first, others: all.collect(), turn: AtomicUsize::new(0) })
    }

    fn all(&self) -> impl Iterator<Item = &Submitter> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn current(&self) -> &Submitter {
        self.all().nth(self.turn.load(Ordering::Relaxed)).unwrap_or(&self.first)
    }

    /// Whom the messages of this round name as their signer: a bech32 address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.current().named()
    }

    /// Sends transactions of this round; see [`Submitter::send`]. What this round's account has too little
    /// for is not given back while another one has coins: the next round goes through that one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn send(&self, calls: Vec<Outgoing>) -> Result<Vec<NotSent>, StoreError> {
        let mut refused = self.current().send(calls).await?;
        if self.all().any(|payer| !payer.is_empty()) {
            refused.retain(|refused| !matches!(refused.reason, Reason::SignerEmpty { .. }));
        }
        Ok(refused)
    }

    /// Begins a round: sees to what is on its way for long, and chooses who pays next. Returns the duties of
    /// what is on its way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<HashSet<DutyId>, StoreError> {
        let mut duties = HashSet::new();
        let mut standings = Vec::new();
        for payer in self.all() {
            let (flying, of) = payer.watch().await?;
            duties.extend(of);
            standings.push((payer.is_empty(), flying));
        }
        let turn = next(self.turn.load(Ordering::Relaxed), &standings);
        self.turn.store(turn, Ordering::Relaxed);
        Ok(duties)
    }
}

/// Who pays next, after `last`: one that has coins rather than none, then the one with the fewest
/// transactions on their way. Among equals they take turns, so one that was empty is looked at again.
fn next(last: usize, standings: &[(bool, usize)]) -> usize {
    let count = standings.len().max(1);
    let after = |index: usize| (index + count - 1 - last % count) % count;
    let by = |(index, (empty, flying)): &(usize, &(bool, usize))| (*empty, *flying, after(*index));
    standings.iter().enumerate().min_by_key(by).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accounts_take_turns_and_empty_ones_are_passed_over() {
        assert_eq!(next(0, &[(false, 0), (false, 0), (false, 0)]), 1);
        assert_eq!(next(2, &[(false, 0), (false, 0), (false, 0)]), 0);
        assert_eq!(next(0, &[(false, 0), (true, 0)]), 0, "the other one is empty");
        assert_eq!(next(1, &[(false, 7), (true, 0)]), 0, "however busy it is");
        assert_eq!(next(0, &[(false, 1), (false, 5), (false, 1)]), 2, "the least busy");
        assert_eq!(next(0, &[(true, 0), (true, 0)]), 1, "each is looked at again");
        assert_eq!(next(1, &[(true, 0), (true, 0)]), 0);
        assert_eq!(next(5, &[(false, 3)]), 0);
        assert_eq!(next(0, &[]), 0);
    }

    proptest! {
        #[test]
        fn a_choice_is_one_of_them(last: usize, standings in proptest::collection::vec((any::<bool>(), 0usize..9), 1..9)) {
            let chosen = next(last, &standings);
            prop_assert!(chosen < standings.len());
            let with_coins = standings.iter().any(|(empty, _)| !empty);
            prop_assert!(!with_coins || !standings[chosen].0);
        }
    }
}
