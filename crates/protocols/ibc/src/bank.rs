//! Where chains keep how much of a token there is and who has it: keys of the store `bank` (Cosmos SDK
//! `x/bank/types/keys.go`), and what stands there.

use crate::transfer::AccountBytes;
use alloy_primitives::U256;
use ibc_proto::cosmos::base::v1beta1::Coin;
use prost::Message;

/// The module's store.
pub const STORE: &str = "bank";
/// The longest name of a token that the module takes, in bytes (Cosmos SDK `types/coin.go`).
pub const MAX_DENOM_BYTES: usize = 128;
const SUPPLY: u8 = 0;
const BALANCES: u8 = 2;
/// The longest value that is read: a coin of the longest name and 256 bits.
const MAX_VALUE_BYTES: usize = 256;

/// A value that is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the store `bank` holds there is no amount of 256 bits")]
pub struct BadAmount;

/// How much there is of a token (`SupplyKey`).
#[must_use]
pub fn supply(denom: &str) -> Vec<u8> {
    [&[SUPPLY], denom.as_bytes()].concat()
}

/// How much an account has of a token (`BalancesPrefix`): its address comes with its length.
#[must_use]
pub fn balance(account: &AccountBytes, denom: &str) -> Vec<u8> {
    let length = u8::try_from(account.0.len()).unwrap_or(u8::MAX);
    [&[BALANCES, length], account.0.as_slice(), denom.as_bytes()].concat()
}

/// The amount that stands under one of these keys; nothing stands there for 0. It is written in decimal
/// digits (`math.Int`), and by the SDK before 0.46 as a whole coin (`BalanceValueCodec` takes both).
///
/// # Errors
/// [`BadAmount`].
pub fn amount(value: Option<&[u8]>) -> Result<U256, BadAmount> {
    let Some(value) = value else { return Ok(U256::ZERO) };
    if value.len() > MAX_VALUE_BYTES {
        return Err(BadAmount);
    }
    if let Ok(digits) = std::str::from_utf8(value)
        && let Some(amount) = number(digits)
    {
        return Ok(amount);
    }
    let coin = Coin::decode(value).map_err(|_| BadAmount)?;
    number(&coin.amount).ok_or(BadAmount)
}

fn number(digits: &str) -> Option<U256> {
    let is_number =
        (1..=78).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { U256::from_str_radix(digits, 10).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::escrow;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    #[test]
    fn keys_are_those_of_the_module() {
        assert_eq!(supply("stake"), b"\0stake");
        let account = escrow(&"transfer/channel-0".parse().unwrap());
        let key = hex::encode(balance(&account, "stake"));
        assert_eq!(key, format!("0214{}7374616b65", hex::encode(account.0)));
    }

    #[test]
    fn amounts_are_read_as_they_are_written_now_and_once() {
        assert_eq!(amount(None), Ok(U256::ZERO));
        assert_eq!(amount(Some(b"0")), Ok(U256::ZERO));
        assert_eq!(amount(Some(U256::MAX.to_string().as_bytes())), Ok(U256::MAX));
        let coin = Coin { denom: "stake".into(), amount: "17".into() };
        assert_eq!(amount(Some(&coin.encode_to_vec())), Ok(U256::from(17)));
    }

    /// Classes (a), (e): what is no amount is not taken for 0, and what is too great not for less.
    #[test]
    fn class_a_e_what_is_no_amount_is_refused() {
        let negative = Coin { denom: "stake".into(), amount: "-1".into() }.encode_to_vec();
        let too_great = format!("{}0", U256::MAX);
        let cases: [&[u8]; 8] = [
            b"",
            b"-1",
            b"+1",
            b"1.0",
            b"0x10",
            &negative,
            too_great.as_bytes(),
            &[b'1'; MAX_VALUE_BYTES + 1],
        ];
        for value in cases {
            assert_eq!(amount(Some(value)), Err(BadAmount), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn r10_no_value_is_too_strange(value: Vec<u8>, units: u128) {
            let _ = amount(Some(&value));
            prop_assert_eq!(amount(Some(units.to_string().as_bytes())), Ok(U256::from(units)));
        }
    }
}
