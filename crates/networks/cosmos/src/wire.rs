//! How CometBFT writes things in JSON: numbers of 64 bits as texts, bytes in base64, nothing as
//! `null`.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use postrider_jsonrpc::{CallResult, UpstreamError};
use postrider_message::Detail;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use std::{fmt::Display, str::FromStr};

/// A number written as a text.
pub(crate) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Bytes in base64; `null` is none.
pub(crate) fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    BASE64.decode(text).map_err(D::Error::custom)
}

/// `null` is the default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Bytes of a text in base64; `None` if it is none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Bytes in base64, as CometBFT takes them.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The result of one call, read as what it must be.
pub(crate) fn parse<T: DeserializeOwned>(result: Option<CallResult>) -> Result<T, UpstreamError> {
    match result {
        Some(Ok(json)) => serde_json::from_str(json.get())
            .map_err(|e| UpstreamError::Garbage(e.to_string().into())),
        Some(Err(error)) => Err(refused(&error)),
        None => Err(UpstreamError::Garbage("no answer".into())),
    }
}

/// A JSON-RPC error. CometBFT says what is wrong in `data`; its message is always "Internal error".
pub(crate) fn refused(error: &alloy_json_rpc::ErrorPayload) -> UpstreamError {
    UpstreamError::Refused { code: error.code, message: Detail::from(error_text(error)) }
}

/// What a JSON-RPC error says is wrong.
pub(crate) fn error_text(error: &alloy_json_rpc::ErrorPayload) -> String {
    let data = error.data.as_ref().map(|data| data.get());
    let text = data.and_then(|data| serde_json::from_str::<String>(data).ok());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| error.message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(deserialize_with = "number")]
        height: u64,
        #[serde(default, deserialize_with = "base64")]
        value: Vec<u8>,
        #[serde(default, deserialize_with = "or_default")]
        list: Vec<u8>,
    }

    #[test]
    fn r10_what_is_not_written_as_cometbft_does_is_an_error() {
        let read = |value| serde_json::from_value::<Sample>(value);
        let good = read(json!({"height": "7", "value": "Cg==", "list": [7]})).unwrap();
        assert_eq!((good.height, good.value, good.list), (7, vec![10], vec![7]));
        let empty = read(json!({"height": "0", "value": null, "list": null})).unwrap();
        assert!(empty.value.is_empty() && empty.list.is_empty());
        for bad in [
            json!({"height": 7}),
            json!({"height": "-1"}),
            json!({"height": "18446744073709551616"}),
            json!({"height": "7", "value": "C"}),
            json!({"height": "7", "list": ["x"]}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_is_told_in_the_words_that_say_most() {
        let payload = |json: &str| serde_json::from_str(json).unwrap();
        let told = refused(&payload(r#"{"code":-32603,"message":"Internal error","data":"no"}"#));
        assert_eq!(told, UpstreamError::Refused { code: -32603, message: "no".into() });
        let told = refused(&payload(r#"{"code":-32603,"message":"Internal error"}"#));
        assert_eq!(told, UpstreamError::Refused { code: -32603, message: "Internal error".into() });
    }
}
