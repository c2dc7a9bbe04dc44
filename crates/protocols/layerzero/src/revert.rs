//! What a reverted call says, for people.

use crate::contracts::{EndpointV2, ReceiveUln302};
use alloy_primitives::hex;
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};

/// The most bytes of unknown revert data that are shown.
const SHOWN: usize = 68;

/// Decodes `Error(string)`, `Panic(uint256)` and LayerZero's own errors; anything else is shown in
/// hexadecimal, cut.
#[must_use]
pub fn reason_text(data: &[u8]) -> String {
    if data.is_empty() {
        return "it reverted without a reason (or ran out of gas)".into();
    }
    if let Ok(revert) = Revert::abi_decode(data) {
        return revert.reason;
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return format!("panic {:#x}", panic.code);
    }
    if let Ok(error) = EndpointV2::EndpointV2Errors::abi_decode(data) {
        return short_debug(&format!("{error:?}"));
    }
    if let Ok(error) = ReceiveUln302::ReceiveUln302Errors::abi_decode(data) {
        return short_debug(&format!("{error:?}"));
    }
    hex::encode_prefixed(data.get(..SHOWN).unwrap_or(data))
}

/// `Name(Name { fields })` as `Name { fields }`.
fn short_debug(text: &str) -> String {
    text.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')')).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use proptest::prelude::*;

    #[test]
    fn known_errors_are_named() {
        let cases = [
            (Revert::from("no peer").abi_encode(), "no peer"),
            (Panic::from(0x11).abi_encode(), "panic 0x11"),
            (EndpointV2::LZ_InvalidNonce { nonce: 3 }.abi_encode(), "LZ_InvalidNonce { nonce: 3 }"),
            (ReceiveUln302::LZ_ULN_Verifying {}.abi_encode(), "LZ_ULN_Verifying"),
            (vec![1, 2, 3, 4, 5], "0x0102030405"),
        ];
        for (data, expected) in cases {
            assert_eq!(reason_text(&data), expected);
        }
        assert!(reason_text(&U256::MAX.to_be_bytes::<32>().repeat(9)).len() < 150);
    }

    proptest! {
        #[test]
        fn r10_any_bytes_have_a_text(data in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!reason_text(&data).is_empty() || Revert::abi_decode(&data).is_ok());
        }
    }
}
