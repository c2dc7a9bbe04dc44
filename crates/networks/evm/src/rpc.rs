//! JSON-RPC over HTTP to one URL: batches, a time limit, a rate limit and a bound on the answer.

use alloy_json_rpc::{ErrorPayload, Id, Request, ResponsePacket, ResponsePayload};
use governor::{DefaultDirectRateLimiter, Quota};
use postrider_message::Detail;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// An upstream's URL. It often carries a key, so it is never shown.
#[derive(Debug, Clone)]
pub struct RpcUrl(SecretString);

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
        Ok(Self(SecretString::from(url.to_owned())))
    }

    /// Scheme and host: what may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        reqwest::Url::parse(self.0.expose_secret()).map_or_else(
            |_| "?".into(),
            |url| {
                let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
                format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or("?"))
            },
        )
    }
}

/// Why an upstream gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or it broke.
    #[error("unreachable: {0}")]
    Unreachable(Detail),
    /// It asks to be left alone for a while (HTTP 429).
    #[error("it limits our requests (HTTP 429)")]
    RateLimited,
    /// It answered with another HTTP status than 200.
    #[error("it answered HTTP {0}")]
    Status(u16),
    /// The answer is longer than allowed.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is not what was asked for.
    #[error("its answer makes no sense: {0}")]
    Garbage(Detail),
    /// It refuses the request as a whole or one call of it.
    #[error("it refuses: {message} (code {code})")]
    Refused {
        /// The JSON-RPC error code.
        code: i64,
        /// The error message, bounded.
        message: Detail,
    },
    /// It serves another chain than the one it is configured for.
    #[error("it serves chain {found}, not {expected}")]
    WrongChain {
        /// The chain id configured.
        expected: u64,
        /// The chain id it reports.
        found: u64,
    },
    /// It does not know what it was asked for, such as a block it has not reached.
    #[error("it does not have {0}")]
    Missing(&'static str),
}

/// One JSON-RPC call.
#[derive(Debug, Clone)]
pub struct RpcCall {
    /// The method.
    pub method: &'static str,
    /// Its parameters, a JSON array.
    pub params: serde_json::Value,
}

/// The result of one call: its JSON, or the JSON-RPC error.
pub type CallResult = Result<Box<RawValue>, ErrorPayload>;

/// Bounds on talking to one URL.
#[derive(Debug, Clone, Copy)]
pub struct RpcLimits {
    /// The longest a request may take, from first byte sent to last byte received.
    pub timeout: Duration,
    /// The most requests a second; `None` for no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// The most calls in a batch.
    pub batch: usize,
    /// The longest answer, in bytes.
    pub answer_bytes: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            requests_per_second: None,
            batch: 100,
            answer_bytes: 64 << 20,
        }
    }
}

/// What went over the wire so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// HTTP requests.
    pub requests: u64,
    /// JSON-RPC calls.
    pub calls: u64,
    /// Bytes of answers.
    pub bytes_received: u64,
}

/// A JSON-RPC client for one URL.
#[derive(Debug)]
pub struct RpcClient {
    http: reqwest::Client,
    url: RpcUrl,
    limits: RpcLimits,
    limiter: Option<DefaultDirectRateLimiter>,
    requests: AtomicU64,
    calls: AtomicU64,
    bytes_received: AtomicU64,
}

impl RpcClient {
    /// A client for `url`.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`] if no HTTP client can be built on this machine.
    pub fn new(url: RpcUrl, limits: RpcLimits) -> Result<Self, UpstreamError> {
        // A second installation fails and changes nothing: the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(limits.timeout)
            .connect_timeout(limits.timeout)
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|e| UpstreamError::Unreachable(e.without_url().to_string().into()))?;
        let limiter = limits
            .requests_per_second
            .map(|n| DefaultDirectRateLimiter::direct(Quota::per_second(n)));
        Ok(Self {
            http,
            url,
            limits,
            limiter,
            requests: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
        })
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &RpcUrl {
        &self.url
    }

    /// What went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
        }
    }

    /// Makes the calls, in batches as large as allowed, and gives their results in the same order.
    ///
    /// # Errors
    /// [`UpstreamError`] if a batch as a whole failed; an error of one call is in its place.
    pub async fn call_many(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        let mut results = Vec::with_capacity(calls.len());
        for batch in calls.chunks(self.limits.batch.max(1)) {
            results.extend(self.batch(batch).await?);
        }
        Ok(results)
    }

    async fn batch(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        let requests: Vec<_> = calls
            .iter()
            .zip(0u64..)
            .map(|(call, id)| Request::new(call.method, Id::Number(id), &call.params))
            .collect();
        // Some nodes answer a batch of one with a bare object; asking singly is understood by all.
        let body = match &requests[..] {
            [] => return Ok(Vec::new()),
            [one] => serde_json::to_vec(one),
            many => serde_json::to_vec(many),
        }
        .map_err(|e| UpstreamError::Garbage(format!("request: {e}").into()))?;
        let bytes = self.post(body, calls.len()).await?;
        let packet: ResponsePacket = serde_json::from_slice(&bytes)
            .map_err(|e| UpstreamError::Garbage(format!("not a JSON-RPC answer: {e}").into()))?;
        in_order(packet, calls.len())
    }

    async fn post(&self, body: Vec<u8>, calls: usize) -> Result<Vec<u8>, UpstreamError> {
        if let Some(limiter) = &self.limiter {
            limiter.until_ready().await;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(calls as u64, Ordering::Relaxed);
        let request = self
            .http
            .post(self.url.0.expose_secret())
            .header("content-type", "application/json")
            .body(body);
        let mut response = request.send().await.map_err(|e| self.failure(e))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(UpstreamError::RateLimited),
            other => return Err(UpstreamError::Status(other.as_u16())),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failure(e))? {
            if bytes.len() + chunk.len() > self.limits.answer_bytes {
                return Err(UpstreamError::TooLong(self.limits.answer_bytes));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.bytes_received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn failure(&self, error: reqwest::Error) -> UpstreamError {
        if error.is_timeout() {
            return UpstreamError::Timeout(self.limits.timeout);
        }
        // The outer text names the URL; the innermost cause says what happened and does not.
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        UpstreamError::Unreachable(cause.to_string().into())
    }
}

/// Puts answers, which may come in any order, in the order of the calls.
fn in_order(packet: ResponsePacket, calls: usize) -> Result<Vec<CallResult>, UpstreamError> {
    let answers = match packet {
        ResponsePacket::Single(answer) if calls > 1 => {
            return Err(match answer.payload {
                ResponsePayload::Failure(error) => refused(&error),
                ResponsePayload::Success(_) => {
                    UpstreamError::Garbage("one answer to a batch of calls".into())
                }
            });
        }
        ResponsePacket::Single(answer) => vec![answer],
        ResponsePacket::Batch(answers) => answers,
    };
    let mut by_id = HashMap::with_capacity(calls);
    for answer in answers.into_iter().take(calls) {
        if let Id::Number(id) = answer.id {
            by_id.insert(id, answer.payload);
        } else if calls == 1 {
            by_id.insert(0, answer.payload);
        }
    }
    (0..calls as u64)
        .map(|id| match by_id.remove(&id) {
            Some(ResponsePayload::Success(value)) => Ok(Ok(value)),
            Some(ResponsePayload::Failure(error)) => Ok(Err(error)),
            None => Err(UpstreamError::Garbage(format!("no answer to call {id}").into())),
        })
        .collect()
}

/// A JSON-RPC error as an upstream's refusal.
#[must_use]
pub fn refused(error: &ErrorPayload) -> UpstreamError {
    UpstreamError::Refused { code: error.code, message: error.message.as_ref().into() }
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

    #[tokio::test]
    async fn r8_a_failure_does_not_name_the_url() {
        let url = RpcUrl::new("http://127.0.0.1:1/secret-key").unwrap();
        let client = RpcClient::new(url, RpcLimits::default()).unwrap();
        let call = RpcCall { method: "eth_chainId", params: serde_json::json!([]) };
        let error = client.call_many(&[call]).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret-key"));
    }

    fn packet(json: &str) -> ResponsePacket {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn answers_are_matched_by_id() {
        let json =
            r#"[{"jsonrpc":"2.0","id":1,"result":"b"},{"jsonrpc":"2.0","id":0,"result":"a"}]"#;
        let results = in_order(packet(json), 2).unwrap();
        assert_eq!(results[0].as_ref().unwrap().get(), "\"a\"");
        assert_eq!(results[1].as_ref().unwrap().get(), "\"b\"");
    }

    #[test]
    fn r10_short_long_and_single_answers_are_errors() {
        let one = r#"[{"jsonrpc":"2.0","id":0,"result":"a"}]"#;
        assert!(matches!(in_order(packet(one), 2), Err(UpstreamError::Garbage(_))));
        let twice = r#"[{"jsonrpc":"2.0","id":0,"result":1},{"jsonrpc":"2.0","id":0,"result":2}]"#;
        assert!(matches!(in_order(packet(twice), 2), Err(UpstreamError::Garbage(_))));
        let limit = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"too many"}}"#;
        assert!(matches!(
            in_order(packet(limit), 2),
            Err(UpstreamError::Refused { code: -32600, .. })
        ));
    }
}
