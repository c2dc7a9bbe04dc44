//! How a receiving application says that it took a packet (ICS-04 `Acknowledgement`), as far as it says it in
//! the standard form.

use alloy_primitives::{Bytes, hex};
use base64::{Engine, prelude::BASE64_STANDARD};
use postrider_message::{Detail, Fact};
use serde::Deserialize;

/// The longest acknowledgement that is looked into, in bytes; longer ones are carried all the same.
pub const MAX_READ_BYTES: usize = 64 << 10;

/// What an acknowledgement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The packet was taken: `{"result":"<base64>"}`.
    Result(Bytes),
    /// It was refused, and what it did was undone: `{"error":"<text>"}`.
    Error(String),
    /// Only the application knows: another form.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wire {
    Result(String),
    Error(String),
}

impl Acknowledgement {
    /// Reads what was written. The standard form counts only in the one way in which ibc-go writes it
    /// (class (n)): what says the same in another way would be refused by the source, or be read
    /// differently by two chains.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        if bytes.len() > MAX_READ_BYTES {
            return Self::Other;
        }
        let read = match serde_json::from_slice(bytes) {
            Ok(Wire::Result(text)) => {
                BASE64_STANDARD.decode(text).ok().map(|bytes| Self::Result(bytes.into()))
            }
            Ok(Wire::Error(text)) => Some(Self::Error(text)),
            Err(_) => None,
        };
        read.filter(|read| read.is_written_as(bytes)).unwrap_or(Self::Other)
    }

    /// What the destination said of the packet by writing this.
    #[must_use]
    pub fn fact(bytes: Bytes) -> Fact {
        let error = match Self::read(&bytes) {
            Self::Error(text) => Some(Detail::from(text)),
            Self::Result(_) | Self::Other => None,
        };
        Fact::AcknowledgementWritten { acknowledgement: bytes, error }
    }

    fn is_written_as(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Result(result) => {
                format!(r#"{{"result":"{}"}}"#, BASE64_STANDARD.encode(result)).as_bytes() == bytes
            }
            Self::Error(text) => [true, false].iter().any(|short| {
                format!(r#"{{"error":"{}"}}"#, go_escape(text, *short)).as_bytes() == bytes
            }),
            Self::Other => false,
        }
    }
}

/// A text as Go's `encoding/json` writes it. Since Go 1.22 it has `short` forms of backspace and form feed.
fn go_escape(text: &str, short: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' if short => escaped.push_str("\\b"),
            '\u{c}' if short => escaped.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

impl std::fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Result(result) => write!(f, "taken: 0x{}", hex::encode(result)),
            Self::Error(text) => write!(f, "refused: {}", Detail::from(text)),
            Self::Other => f.write_str("of the application's own form"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes are those of ibc-go's `TestAcknowledgement`.
    #[test]
    fn the_standard_form_is_read() {
        let cases = [
            (
                r#"{"result":"c3VjY2Vzcw=="}"#,
                Acknowledgement::Result(Bytes::from_static(b"success")),
            ),
            (r#"{"result":"AQ=="}"#, Acknowledgement::Result(Bytes::from_static(&[1]))),
            (
                r#"{"error":"ABCI code: 1: error handling packet: see events for details"}"#,
                Acknowledgement::Error(
                    "ABCI code: 1: error handling packet: see events for details".into(),
                ),
            ),
            (
                r#"{"error":"a \u003c b \u0026 \"c\""}"#,
                Acknowledgement::Error("a < b & \"c\"".into()),
            ),
            (r#"{"error":"\b"}"#, Acknowledgement::Error("\u{8}".into())),
            (r#"{"error":"\u0008"}"#, Acknowledgement::Error("\u{8}".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(Acknowledgement::read(text.as_bytes()), expected, "{text}");
        }
    }

    /// Class (n): one meaning, one form. Chains halted over acknowledgements that were read differently.
    #[test]
    fn class_n_other_ways_to_say_it_are_not_the_standard_form() {
        let cases = [
            "",
            "{}",
            "null",
            r#""error""#,
            r#"{"result":"AQ==","error":"x"}"#,
            r#"{"error":"x","result":"AQ=="}"#,
            r#"{"result":null,"error":"x"}"#,
            r#"{"error":"x","error":"x"}"#,
            r#"{"error":"x","more":1}"#,
            r#"{"Error":"x"}"#,
            r#"{ "error":"x"}"#,
            r#"{"error": "x"}"#,
            "{\"error\":\"x\"}\n",
            r#"{"error":"x"}{}"#,
            r#"{"error":"<"}"#,
            r#"{"error":"\u0041"}"#,
            r#"{"error":"\/"}"#,
            r#"{"error":1}"#,
            r#"{"result":"AQ"}"#,
            r#"{"result":"AR=="}"#,
            r#"{"result":"AQ==="}"#,
            r#"{"result":"A_=="}"#,
            r#"{"result":["AQ=="]}"#,
        ];
        for text in cases {
            assert_eq!(Acknowledgement::read(text.as_bytes()), Acknowledgement::Other, "{text}");
        }
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(MAX_READ_BYTES));
        assert_eq!(Acknowledgement::read(long.as_bytes()), Acknowledgement::Other);
    }

    #[test]
    fn only_an_error_makes_a_refusal() {
        let error =
            |text: &'static str| match Acknowledgement::fact(Bytes::from_static(text.as_bytes())) {
                Fact::AcknowledgementWritten { acknowledgement, error } => {
                    assert_eq!(acknowledgement.as_ref(), text.as_bytes());
                    error.map(String::from)
                }
                other => panic!("{other:?}"),
            };
        assert_eq!(error(r#"{"error":"no"}"#), Some("no".to_owned()));
        assert_eq!(error(r#"{"result":"AQ=="}"#), None);
        assert_eq!(error("\u{1}"), None);
    }

    proptest! {
        #[test]
        fn results_are_read_back(bytes: Vec<u8>) {
            let written = format!(r#"{{"result":"{}"}}"#, BASE64_STANDARD.encode(&bytes));
            prop_assert_eq!(Acknowledgement::read(written.as_bytes()), Acknowledgement::Result(bytes.into()));
        }

        #[test]
        fn errors_are_read_back(text: String) {
            let written = format!(r#"{{"error":"{}"}}"#, go_escape(&text, true));
            prop_assert_eq!(Acknowledgement::read(written.as_bytes()), Acknowledgement::Error(text));
        }

        #[test]
        fn r10_no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = Acknowledgement::read(&bytes);
        }
    }
}
