//! What a transaction offers for being included.

use alloy_primitives::U256;
use std::{fmt, str::FromStr};

/// A price is written with so many decimals at most (SDK `LegacyDec`).
const DECIMALS: usize = 18;
const ONE: u128 = 1_000_000_000_000_000_000;
/// The SDK accepts no longer denomination (`types/coin.go`), in characters.
const MAX_DENOM: usize = 128;

/// What is paid for a unit of gas: an amount with up to 18 decimals of a denomination's smallest
/// unit, written as the SDK writes it, for example `0.025uatom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GasPrice {
    /// In 10^-18 of the denomination's smallest unit.
    scaled: u128,
    denom: String,
}

/// A text is no gas price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a gas price: write an amount with up to 18 decimals and a denomination, for example 0.025uatom"
)]
pub struct BadGasPrice(String);

impl GasPrice {
    /// The denomination that fees are paid in.
    #[must_use]
    pub fn denom(&self) -> &str {
        &self.denom
    }

    /// Whether it is less than another price in the same denomination; false in another one.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.denom == other.denom && self.scaled < other.scaled
    }

    /// A price of so many 10^-18 of a denomination's smallest unit, as `LegacyDec` travels in protobuf; `None`
    /// for what the SDK takes for no denomination.
    #[must_use]
    pub fn of_scaled(scaled: u128, denom: &str) -> Option<Self> {
        is_denom(denom).then(|| Self { scaled, denom: denom.to_owned() })
    }

    /// So many thousandths of it, rounded up.
    #[must_use]
    pub fn times_permille(&self, permille: u64) -> Self {
        let scaled = (U256::from(self.scaled) * U256::from(permille)).div_ceil(U256::from(1000));
        let scaled = u128::try_from(scaled).unwrap_or(u128::MAX);
        Self { scaled, denom: self.denom.clone() }
    }

    /// The price for so much gas, rounded up, in the denomination's smallest unit.
    #[must_use]
    pub fn for_gas(&self, gas: u64) -> U256 {
        let scaled = U256::from(self.scaled) * U256::from(gas);
        scaled.div_ceil(U256::from(ONE))
    }

    /// What a transaction offers at this price that is given exactly so much gas.
    #[must_use]
    pub fn fee_of(&self, gas: u64) -> Fee {
        Fee { gas, amount: self.for_gas(gas), denom: self.denom.clone() }
    }
}

impl FromStr for GasPrice {
    type Err = BadGasPrice;
    fn from_str(text: &str) -> Result<Self, BadGasPrice> {
        read_price(text).ok_or_else(|| BadGasPrice(text.chars().take(80).collect()))
    }
}

fn read_price(text: &str) -> Option<GasPrice> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (amount, denom) = text.split_at_checked(end)?;
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > DECIMALS {
        return None;
    }
    let fraction: u128 = format!("{fraction:0<DECIMALS$}").parse().ok()?;
    let whole: u128 = whole.parse().ok()?;
    let scaled = whole.checked_mul(ONE)?.checked_add(fraction)?;
    is_denom(denom).then(|| GasPrice { scaled, denom: denom.to_owned() })
}

/// SDK `types/coin.go`: `[a-zA-Z][a-zA-Z0-9/:._-]{2,127}`.
fn is_denom(text: &str) -> bool {
    (3..=MAX_DENOM).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/:._-".contains(c))
}

impl fmt::Display for GasPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.scaled / ONE, self.scaled % ONE);
        let fraction = format!("{fraction:0DECIMALS$}");
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole}{}", self.denom),
            fraction => write!(f, "{whole}.{fraction}{}", self.denom),
        }
    }
}

/// What a transaction offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fee {
    /// The most gas it may use.
    pub gas: u64,
    /// What it pays, used up or not, in the denomination's smallest unit.
    pub amount: U256,
    /// The denomination.
    pub denom: String,
}

/// How transactions are priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GasPolicy {
    /// What a unit of gas costs.
    pub price: GasPrice,
    /// What a simulation says is multiplied by this, in thousandths: the state may have moved when
    /// the transaction is run. 1,100 is 10 % more.
    pub multiplier_permille: u32,
    /// No transaction is given more gas.
    pub max_gas: u64,
}

/// A transaction needs more gas than it may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the transaction uses {used} gas and may be given {max}: send fewer messages in it, or raise max_gas"
)]
pub struct TooMuchGas {
    /// What the simulation used.
    pub used: u64,
    /// The policy's bound.
    pub max: u64,
}

impl GasPolicy {
    /// What a transaction offers whose simulation used so much gas.
    ///
    /// # Errors
    /// [`TooMuchGas`] if it used more than `max_gas`. Where only the margin goes beyond it, the
    /// margin is smaller.
    pub fn fee(&self, used: u64) -> Result<Fee, TooMuchGas> {
        if used > self.max_gas {
            return Err(TooMuchGas { used, max: self.max_gas });
        }
        let wanted = u128::from(used) * u128::from(self.multiplier_permille.max(1000));
        let wanted = u64::try_from(wanted.div_ceil(1000)).unwrap_or(u64::MAX);
        Ok(self.fee_of(wanted.min(self.max_gas)))
    }

    /// What a transaction offers that is given exactly so much gas.
    #[must_use]
    pub fn fee_of(&self, gas: u64) -> Fee {
        self.price.fee_of(gas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(text: &str) -> GasPrice {
        text.parse().unwrap()
    }

    #[test]
    fn prices_are_read_as_the_sdk_writes_them() {
        let ibc = "0.1ibc/27394FB092D2ECCD56123C74F36E4C1F926001CEADA9CA97EA622B25F41E5EB2";
        for text in ["0.025uatom", "0stake", "20000000000aevmos", "0.000000000000000001abc", ibc] {
            assert_eq!(price(text).to_string(), text);
        }
        assert_eq!(price("0.0250uatom").to_string(), "0.025uatom");
        for bad in [
            "",
            "1",
            "uatom",
            ".1uatom",
            "1.uatom",
            "1.2.3uatom",
            "-1uatom",
            "1 uatom",
            "1u",
            "0.0000000000000000001abc",
            "1,5uatom",
            "999999999999999999999999uatom",
            "1é€uatom",
        ] {
            assert_eq!(bad.parse::<GasPrice>(), Err(BadGasPrice(bad.into())), "{bad}");
        }
    }

    #[test]
    fn fees_are_rounded_up() {
        for (text, gas, fee) in [
            ("0.025uatom", 100_000u64, 2500u64),
            ("0.025uatom", 100_001, 2501),
            ("0.000000000000000001abc", 1, 1),
            ("0stake", 5, 0),
            ("1stake", u64::MAX, u64::MAX),
        ] {
            assert_eq!(price(text).for_gas(gas), U256::from(fee), "{text} × {gas}");
        }
        let dear = price("340282366920938463463.374607431768211455abc");
        assert!(dear.for_gas(u64::MAX) > U256::from(u128::MAX));
    }

    #[test]
    fn gas_has_a_margin_and_a_bound() {
        let policy =
            GasPolicy { price: price("0.5abc"), multiplier_permille: 1100, max_gas: 200_000 };
        let fee = policy.fee(100_001).unwrap();
        assert_eq!((fee.gas, fee.amount), (110_002, U256::from(55_001)));
        assert_eq!(policy.fee(199_000).unwrap().gas, 200_000, "a smaller margin");
        assert_eq!(policy.fee(200_001), Err(TooMuchGas { used: 200_001, max: 200_000 }));
        let careless = GasPolicy { multiplier_permille: 0, ..policy };
        assert_eq!(careless.fee(100).unwrap().gas, 100, "never less than what it used");
    }

    #[test]
    fn prices_are_raised_by_thousandths() {
        assert_eq!(price("0.025uatom").times_permille(1_500), price("0.0375uatom"));
        let least = price("0.000000000000000001abc");
        assert_eq!(least.times_permille(1_001).to_string(), "0.000000000000000002abc");
        assert_eq!(GasPrice::of_scaled(2_500_000_000_000_000, "uosmo"), Some(price("0.0025uosmo")));
        assert_eq!(GasPrice::of_scaled(1, "?"), None);
        let dear = GasPrice::of_scaled(u128::MAX, "abc").unwrap();
        assert_eq!(dear.times_permille(2_000), dear, "no more than there can be");
    }

    proptest! {
        #[test]
        fn a_price_is_read_back_from_its_text(scaled: u128) {
            let price = GasPrice { scaled, denom: "uatom".into() };
            prop_assert_eq!(price.to_string().parse(), Ok(price));
        }

        #[test]
        fn r10_no_text_is_too_strange_for_a_price(text: String) {
            let _ = text.parse::<GasPrice>();
        }
    }
}
