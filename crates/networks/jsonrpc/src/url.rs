//! An upstream's URL, which is a secret, and keeping it out of what the upstream says.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, value::RawValue};

/// The shortest segment of a path that counts as secret, in characters: `v1`, `rpc` and the like
/// are none, and blanking them would make texts unreadable.
const MIN_SEGMENT: usize = 6;
/// The shortest query value, user or password that is blanked, in characters.
const MIN_CREDENTIAL: usize = 3;
/// What stands for a blanked part.
const BLANK: &str = "***";

/// An upstream's URL. It often carries a key, so it is never shown.
#[derive(Debug, Clone)]
pub struct RpcUrl {
    url: SecretString,
    /// The parts that may be secret, as written and decoded, the longest first.
    parts: Vec<SecretString>,
}

/// A text is not an `http` or `https` URL. The text itself is left out: it may hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an http:// or https:// URL")]
pub struct BadUrl;

impl RpcUrl {
    /// Checks and wraps a URL.
    ///
    /// # Errors
    /// [`BadUrl`] unless it is an absolute `http` or `https` URL.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let parsed = reqwest::Url::parse(url).map_err(|_| BadUrl)?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(BadUrl);
        }
        Ok(Self { url: SecretString::from(url.to_owned()), parts: secret_parts(&parsed) })
    }

    /// Scheme and host: what may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        reqwest::Url::parse(self.expose()).map_or_else(
            |_| "?".into(),
            |url| {
                let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
                format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or("?"))
            },
        )
    }

    /// The URL itself, for whoever makes the request.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }

    /// `text` without this URL's secret parts. Upstreams put their own URL into error messages.
    #[must_use]
    pub fn blank(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for part in &self.parts {
            if text.contains(part.expose_secret()) {
                text = text.replace(part.expose_secret(), BLANK);
            }
        }
        text
    }

    /// `json` without this URL's secret parts in its texts: what is wrong with a value may be told
    /// by quoting it. Numbers and bytes in hexadecimal, and the names of fields, stay as they are.
    pub(super) fn blank_json(&self, json: Box<RawValue>) -> Box<RawValue> {
        // A part may also be there with characters escaped.
        let may_name_us = !self.parts.is_empty()
            && (json.get().contains('\\')
                || self.parts.iter().any(|part| json.get().contains(part.expose_secret())));
        if !may_name_us {
            return json;
        }
        let mut value: Value = serde_json::from_str(json.get()).unwrap_or_default();
        self.blank_texts(&mut value);
        serde_json::value::to_raw_value(&value).unwrap_or(json)
    }

    fn blank_texts(&self, value: &mut Value) {
        match value {
            Value::String(text) if !is_hex(text) => *text = self.blank(text),
            Value::Array(values) => values.iter_mut().for_each(|v| self.blank_texts(v)),
            Value::Object(fields) => fields.values_mut().for_each(|v| self.blank_texts(v)),
            _ => {}
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn secret_parts(url: &reqwest::Url) -> Vec<SecretString> {
    let segments = url.path().split('/').map(|segment| (segment, MIN_SEGMENT));
    // A key may stand in a query by itself, without a name.
    let values = url.query().unwrap_or_default().split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (if value.is_empty() { name } else { value }, MIN_CREDENTIAL)
    });
    let credentials =
        [url.username(), url.password().unwrap_or_default()].map(|text| (text, MIN_CREDENTIAL));
    let mut parts: Vec<String> = segments
        .chain(values)
        .chain(credentials)
        .flat_map(|(text, least)| [text.to_owned(), decoded(text)].map(|text| (text, least)))
        .filter(|(text, least)| text.chars().count() >= *least)
        .map(|(text, _)| text)
        .collect();
    parts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    parts.dedup();
    parts.into_iter().map(SecretString::from).collect()
}

/// The text with its percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code =
            after.split_first_chunk::<2>().filter(|_| *first == b'%').and_then(|(code, after)| {
                let digits = std::str::from_utf8(code).ok().filter(|d| !d.starts_with('+'))?;
                Some((u8::from_str_radix(digits, 16).ok()?, after))
            });
        let (byte, after) = code.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r8_p_a_url_is_never_shown_whole() {
        let url = RpcUrl::new("https://user:pw@rpc.example:8545/v3/0123key?apikey=abc").unwrap();
        assert_eq!(url.shown(), "https://rpc.example:8545");
        let debug = format!("{url:?}");
        assert!(!debug.contains("0123key") && !debug.contains("pw"), "{debug}");
        assert_eq!(RpcUrl::new("ftp://x/secret").unwrap_err(), BadUrl);
        assert!(!BadUrl.to_string().contains("secret"));
    }

    #[test]
    fn r8_p_every_secret_part_of_a_url_is_blanked() {
        let url = "https://us%40er:pa%20ss@rpc.example/v3/0123key/0123key45/?apikey=abc%2Fd&lonely";
        let url = RpcUrl::new(url).unwrap();
        let cases = [
            ("no such key: 0123key45", "no such key: ***"),
            (
                "POST /v3/0123key/0123key45/?apikey=abc%2Fd&lonely",
                "POST /v3/***/***/?apikey=***&***",
            ),
            ("abc/d by us@er with pa ss", "*** by *** with ***"),
            ("us%40er:pa%20ss@rpc.example", "***:***@rpc.example"),
            ("v3 of rpc.example limits you", "v3 of rpc.example limits you"),
        ];
        for (text, expected) in cases {
            assert_eq!(url.blank(text), expected);
        }
        let plain = RpcUrl::new("http://localhost:8545").unwrap();
        assert_eq!(plain.blank("header not found"), "header not found");
    }

    #[test]
    fn r8_a_value_is_blanked_in_its_texts_alone() {
        let url = RpcUrl::new("https://rpc.example/abcdef012345/hash12").unwrap();
        let raw = |text: &str| RawValue::from_string(text.into()).unwrap();
        let same = r#"{"hash12":"0xabcdef012345","n":[1,2.5,null,true]}"#;
        assert_eq!(url.blank_json(raw(same)).get(), same);
        let told = url.blank_json(raw(r#"{"why":["see /abcdef012345/x"],"n":"0xabcdef012345"}"#));
        let told: Value = serde_json::from_str(told.get()).unwrap();
        assert_eq!(told, serde_json::json!({ "why": ["see /***/x"], "n": "0xabcdef012345" }));
        assert_eq!(url.blank_json(raw(r#""h\u0061sh12""#)).get(), r#""***""#);
    }

    #[test]
    fn percent_codes_are_undone_and_broken_ones_stay() {
        assert_eq!(decoded("a%2Fb%zz%4"), "a/b%zz%4");
        assert_eq!(decoded("%C3%A9"), "é");
        assert_eq!(decoded("%+1"), "%+1");
    }
}
