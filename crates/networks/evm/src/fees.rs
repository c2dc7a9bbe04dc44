//! Prices for gas (EIP-1559).

/// What an operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    /// The most to offer for a gas, in wei.
    pub max_fee_cap: u128,
    /// The least tip to offer for a gas, in wei.
    pub min_tip: u128,
    /// The most to offer as a tip for a gas at first, in wei, whatever nodes suggest; a transaction
    /// that waits may offer more.
    pub max_tip: u128,
}

impl Default for FeePolicy {
    fn default() -> Self {
        Self { max_fee_cap: 500_000_000_000, min_tip: 1, max_tip: 100_000_000_000 }
    }
}

/// The two prices of a transaction, in wei a gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most to pay in all (`maxFeePerGas`).
    pub max_fee: u128,
    /// The part for the block's proposer (`maxPriorityFeePerGas`).
    pub tip: u128,
}

/// A replacement must offer this much more on both prices; nodes ask for 10 %.
const BUMP_PERCENT: u128 = 13;

impl FeePolicy {
    /// Prices for a new transaction: twice the base fee, which outlasts six full blocks, and a tip.
    #[must_use]
    pub fn price(&self, base_fee: u128, suggested_tip: u128) -> Fees {
        let tip = suggested_tip.min(self.max_tip).max(self.min_tip).min(self.max_fee_cap);
        let max_fee = base_fee.saturating_mul(2).saturating_add(tip).min(self.max_fee_cap);
        Fees { max_fee, tip: tip.min(max_fee) }
    }

    /// Prices for a transaction that takes the place of one with `old` prices; `None` if the cap
    /// does not allow enough more.
    #[must_use]
    pub fn bump(&self, old: Fees, base_fee: u128, suggested_tip: u128) -> Option<Fees> {
        let more = |price: u128| {
            price.saturating_add(price.saturating_mul(BUMP_PERCENT).div_ceil(100)).saturating_add(1)
        };
        let fresh = self.price(base_fee, suggested_tip);
        let fees = Fees {
            max_fee: fresh.max_fee.max(more(old.max_fee)),
            tip: fresh.tip.max(more(old.tip)),
        };
        (fees.max_fee <= self.max_fee_cap && fees.tip <= fees.max_fee).then_some(fees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prices_keep_to_the_cap(base in 0u128..1 << 100, tip in 0u128..1 << 100) {
            let policy = FeePolicy::default();
            let fees = policy.price(base, tip);
            prop_assert!(fees.max_fee <= policy.max_fee_cap && fees.tip <= fees.max_fee);
            if let Some(more) = policy.bump(fees, base, tip) {
                prop_assert!(more.max_fee <= policy.max_fee_cap);
                prop_assert!(more.max_fee * 10 >= fees.max_fee * 11);
                prop_assert!(more.tip * 10 >= fees.tip * 11);
            }
        }
    }

    #[test]
    fn r1_a_tip_is_not_what_a_node_likes() {
        let policy = FeePolicy::default();
        assert_eq!(policy.price(0, u128::MAX).tip, policy.max_tip);
        let polygon = FeePolicy { min_tip: 25, max_tip: 20, ..policy };
        assert_eq!(polygon.price(0, 0).tip, 25);
    }

    #[test]
    fn at_the_cap_there_is_no_bump() {
        let policy = FeePolicy { max_fee_cap: 100, min_tip: 1, max_tip: 100 };
        let old = policy.price(50, 1);
        assert_eq!(old.max_fee, 100);
        assert_eq!(policy.bump(old, 50, 1), None);
    }
}
