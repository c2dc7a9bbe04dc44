//! What a chain's fee market asks for a unit of gas now, where it has one. One upstream's word: whoever
//! asks bounds it.

use crate::{gas::GasPrice, upstream::Upstream};
use postrider_jsonrpc::UpstreamError;
use prost::Message;

/// `osmosis.txfees.v1beta1.Query/GetEipBaseFee` has an empty request.
#[derive(Clone, PartialEq, Message)]
struct BaseFeeRequest {}

/// `osmosis.txfees.v1beta1.QueryEipBaseFeeResponse`.
#[derive(Clone, PartialEq, Message)]
struct BaseFeeResponse {
    /// `LegacyDec`: digits, in 10^-18.
    #[prost(string, tag = "1")]
    base_fee: String,
}

/// `feemarket.feemarket.v1.GasPriceRequest` (skip-mev/feemarket).
#[derive(Clone, PartialEq, Message)]
struct GasPriceRequest {
    #[prost(string, tag = "1")]
    denom: String,
}

/// `feemarket.feemarket.v1.GasPriceResponse`.
#[derive(Clone, PartialEq, Message)]
struct GasPriceResponse {
    #[prost(message, optional, tag = "1")]
    price: Option<DecCoin>,
}

/// `cosmos.base.v1beta1.DecCoin`.
#[derive(Clone, PartialEq, Message)]
struct DecCoin {
    #[prost(string, tag = "1")]
    denom: String,
    /// `LegacyDec`: digits, in 10^-18.
    #[prost(string, tag = "2")]
    amount: String,
}

/// A module whose queries tell the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Market {
    /// skip-mev's `x/feemarket`: `feemarket.feemarket.v1.Query/GasPrice`.
    FeeMarket,
    /// Osmosis' `x/txfees`: `osmosis.txfees.v1beta1.Query/GetEipBaseFee`, in the chain's own base denomination.
    TxFees,
}

impl Market {
    /// All that are known, the more common first.
    pub const ALL: [Self; 2] = [Self::FeeMarket, Self::TxFees];
}

impl Upstream {
    /// What a fee market asks for a unit of gas in a denomination, in the newest state.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] with a positive code by a chain without that module, or where it takes
    /// no fees in that denomination; [`UpstreamError::Garbage`] for what is no price.
    pub async fn market_price(
        &self,
        market: Market,
        denom: &str,
    ) -> Result<GasPrice, UpstreamError> {
        const FEE_MARKET: &str = "/feemarket.feemarket.v1.Query/GasPrice";
        const TX_FEES: &str = "/osmosis.txfees.v1beta1.Query/GetEipBaseFee";
        match market {
            Market::FeeMarket => {
                let request = GasPriceRequest { denom: denom.to_owned() };
                let told: GasPriceResponse = self.grpc(FEE_MARKET, &request, None).await?;
                read_coin(told, denom)
            }
            Market::TxFees => {
                let told: BaseFeeResponse = self.grpc(TX_FEES, &BaseFeeRequest {}, None).await?;
                read_price(&told.base_fee, denom)
            }
        }
    }
}

fn read_coin(told: GasPriceResponse, denom: &str) -> Result<GasPrice, UpstreamError> {
    let coin = told.price.unwrap_or_default();
    if coin.denom != denom {
        return Err(UpstreamError::Garbage(format!("a price in `{}`", coin.denom).into()));
    }
    read_price(&coin.amount, denom)
}

fn read_price(text: &str, denom: &str) -> Result<GasPrice, UpstreamError> {
    let price = text.parse().ok().and_then(|scaled| GasPrice::of_scaled(scaled, denom));
    price.ok_or_else(|| UpstreamError::Garbage(format!("a gas price of `{text}`").into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    /// 0.0025 of a denomination, as `LegacyDec` travels: 2500000000000000 of 10^-18.
    const DIGITS: &str = "32353030303030303030303030303030";

    #[test]
    fn a_base_fee_is_read_as_osmosis_writes_it() {
        let bytes = hex::decode(format!("0a10{DIGITS}")).unwrap();
        let told = BaseFeeResponse::decode(bytes.as_slice()).unwrap();
        let price = read_price(&told.base_fee, "uosmo").unwrap();
        assert_eq!(price.to_string(), "0.0025uosmo");
        assert!(BaseFeeRequest {}.encode_to_vec().is_empty());
    }

    #[test]
    fn a_gas_price_is_read_as_the_fee_market_writes_it() {
        // A coin of 25 bytes: denom "uatom" in field 1, the digits in field 2.
        let bytes = hex::decode(format!("0a190a057561746f6d1210{DIGITS}")).unwrap();
        let told = GasPriceResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(read_coin(told.clone(), "uatom").unwrap().to_string(), "0.0025uatom");
        assert!(matches!(read_coin(told, "untrn"), Err(UpstreamError::Garbage(_))));
        let request = GasPriceRequest { denom: "uatom".into() }.encode_to_vec();
        assert_eq!(hex::encode(request), "0a057561746f6d");
    }

    proptest! {
        #[test]
        fn r10_no_answer_is_too_strange(bytes: Vec<u8>, text: String) {
            if let Ok(told) = GasPriceResponse::decode(bytes.as_slice()) {
                let _ = read_coin(told, "uatom");
            }
            let _ = read_price(&text, "uatom");
        }
    }
}
