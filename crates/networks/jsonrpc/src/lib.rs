//! JSON-RPC over HTTP to one URL: batches, a time limit, a rate limit and a bound on the answer; and what is
//! remembered of the health of who answers there. Speaks to every kind of network that speaks JSON-RPC.

mod batch;
mod health;
mod url;

pub use health::{Health, HealthReport, QUARANTINE};

pub use url::{BadUrl, RpcUrl};

use batch::BatchSize;

use alloy_json_rpc::{ErrorPayload, Id, Request, Response, ResponsePacket, ResponsePayload};
use futures::{StreamExt, stream};
use governor::{DefaultDirectRateLimiter, Quota};
use postrider_message::Detail;
use reqwest::StatusCode;
use serde_json::value::RawValue;
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The most requests of one question that are under way at once.
const AT_ONCE: usize = 3;

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
        expected: Detail,
        /// The chain id it reports.
        found: Detail,
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
    size: BatchSize,
    results: Results,
    requests: AtomicU64,
    calls: AtomicU64,
    bytes_received: AtomicU64,
}

/// What becomes of the URL's secret parts in what calls give. In errors they are always blanked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Results {
    Blanked,
    AsTheyAre,
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
            size: BatchSize::new(limits.batch),
            results: Results::Blanked,
            requests: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
        })
    }

    /// The same client, which leaves results as the upstream gave them: for networks whose results
    /// hold names and texts. A segment of the URL's path is often the name of a chain
    /// (`/cosmoshub`), and blanking it would make another chain's id of `cosmoshub-4`. Whoever
    /// shows a text of such a result blanks it first ([`RpcUrl::blank`]).
    #[must_use]
    pub fn leaving_results(mut self) -> Self {
        self.results = Results::AsTheyAre;
        self
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

    /// Makes the calls, in batches as large as the operator allows and the upstream takes, some at
    /// once, and gives their results in the same order.
    ///
    /// # Errors
    /// [`UpstreamError`] if a batch as a whole failed; an error of one call is in its place.
    pub async fn call_many(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        let batches: Vec<_> = calls.chunks(self.size.now()).map(|b| self.in_parts(b)).collect();
        let mut answers = stream::iter(batches).buffered(AT_ONCE);
        let mut results = Vec::with_capacity(calls.len());
        while let Some(answer) = answers.next().await {
            results.extend(answer?);
        }
        Ok(results)
    }

    /// Makes the calls in their order: no call is sent before those ahead of it were answered or are
    /// in the same batch. For calls that change something and build on each other.
    ///
    /// # Errors
    /// [`UpstreamError`] if a batch as a whole failed: earlier calls may have been made, and so may
    /// calls of that batch.
    pub async fn call_in_order(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        let mut results = Vec::with_capacity(calls.len());
        let mut rest = calls;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(self.size.now().min(rest.len()));
            results.extend(self.in_parts(batch).await?);
            rest = later;
        }
        Ok(results)
    }

    /// Makes the calls together, or in halves where the upstream does not take so many.
    async fn in_parts(&self, calls: &[RpcCall]) -> Result<Vec<CallResult>, UpstreamError> {
        let mut results = Vec::with_capacity(calls.len());
        let mut parts = vec![calls];
        while let Some(part) = parts.pop() {
            match self.batch(part).await {
                Ok(answers) => {
                    self.size.taken(part.len());
                    results.extend(answers);
                }
                Err(error) if self.size.failed(part.len(), &error) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => return Err(error),
            }
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
        read(&self.url, &bytes, calls.len(), self.results)
    }

    async fn post(&self, body: Vec<u8>, calls: usize) -> Result<Vec<u8>, UpstreamError> {
        if let Some(limiter) = &self.limiter {
            limiter.until_ready().await;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(calls as u64, Ordering::Relaxed);
        let request =
            self.http.post(self.url.expose()).header("content-type", "application/json").body(body);
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
        UpstreamError::Unreachable(self.url.blank(&cause.to_string()).into())
    }
}

/// Reads what `url` answered to so many calls, in the calls' order.
#[doc(hidden)]
pub fn read_answers(
    url: &RpcUrl,
    bytes: &[u8],
    calls: usize,
) -> Result<Vec<CallResult>, UpstreamError> {
    read(url, bytes, calls, Results::Blanked)
}

fn read(
    url: &RpcUrl,
    bytes: &[u8],
    calls: usize,
    results: Results,
) -> Result<Vec<CallResult>, UpstreamError> {
    let packet: ResponsePacket = serde_json::from_slice(bytes).map_err(|e| {
        let what = format!("not a JSON-RPC answer: {e}");
        UpstreamError::Garbage(url.blank(&what).into())
    })?;
    in_order(blank(url, packet, results), calls)
}

/// The answers without what is secret of the URL: whatever is told of them may be shown (R8).
fn blank(url: &RpcUrl, packet: ResponsePacket, results: Results) -> ResponsePacket {
    let blank = |mut answer: Response| {
        answer.payload = match answer.payload {
            ResponsePayload::Success(value) if results == Results::Blanked => {
                ResponsePayload::Success(url.blank_json(value))
            }
            ResponsePayload::Success(value) => ResponsePayload::Success(value),
            ResponsePayload::Failure(mut error) => {
                error.message = url.blank(&error.message).into();
                error.data = error.data.map(|data| url.blank_json(data));
                ResponsePayload::Failure(error)
            }
        };
        answer
    };
    match packet {
        ResponsePacket::Single(answer) => ResponsePacket::Single(blank(answer)),
        ResponsePacket::Batch(answers) => {
            ResponsePacket::Batch(answers.into_iter().map(blank).collect())
        }
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

    #[tokio::test]
    async fn r8_a_failure_does_not_name_the_url() {
        let url = RpcUrl::new("http://127.0.0.1:1/secret-key").unwrap();
        let client = RpcClient::new(url, RpcLimits::default()).unwrap();
        let call = RpcCall { method: "eth_chainId", params: serde_json::json!([]) };
        let error = client.call_many(&[call]).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret-key"));
    }

    /// Class (p): an upstream's error repeats its own URL.
    #[tokio::test]
    async fn r8_p_an_answer_that_repeats_the_url_is_blanked() {
        use axum::{Router, routing::post};
        let answer = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let told = std::sync::Arc::clone(&answer);
        let say = post(async move || told.lock().unwrap().clone());
        let router = Router::new().fallback_service(say);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = format!("http://us3r:pa55w@{address}/v2/s3cretkey?token=t0ken");
        let client = RpcClient::new(RpcUrl::new(&url).unwrap(), RpcLimits::default()).unwrap();
        let call = RpcCall { method: "eth_chainId", params: serde_json::json!([]) };
        let secrets = ["us3r", "pa55w", "s3cretkey", "t0ken"];
        let echo = secrets.join("/");
        for said in [
            format!(r#"{{"jsonrpc":"2.0","id":0,"error":{{"code":-1,"message":"no {echo}"}}}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":0,"error":{{"code":-1,"message":"","data":"{echo}"}}}}"#
            ),
            format!(r#"{{"jsonrpc":"2.0","id":0,"result":"{echo}"}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":0,"result":["x",{{"y":"{echo}"}}]}}"#),
            format!(r#""{echo}""#),
            format!(r#"{{"jsonrpc":"{echo}","id":0}}"#),
        ] {
            answer.lock().unwrap().clone_from(&said);
            let result = client.call_many(std::slice::from_ref(&call)).await;
            let shown = format!("{result:?}");
            for secret in secrets {
                assert!(!shown.contains(secret), "{said}: {shown}");
            }
        }
    }

    /// A node that takes three calls at a time is asked in batches that it takes, after it has once
    /// refused a larger one.
    #[tokio::test]
    async fn batches_are_as_large_as_the_node_takes() {
        use axum::{Json, Router, routing::post};
        use serde_json::{Value, json};
        let answer = post(async |Json(asked): Json<Value>| {
            let one = |call: &Value| json!({"jsonrpc": "2.0", "id": call["id"], "result": call["params"][0]});
            Json(match asked.as_array() {
                None => one(&asked),
                Some(calls) if calls.len() > 3 => {
                    let error = json!({"code": -32600, "message": "batch too large"});
                    json!({"jsonrpc": "2.0", "id": null, "error": error})
                }
                Some(calls) => calls.iter().map(one).collect(),
            })
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback_service(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = RpcUrl::new(&format!("http://{address}")).unwrap();
        let client = RpcClient::new(url, RpcLimits::default()).unwrap();
        let calls: Vec<RpcCall> =
            (0..20).map(|n| RpcCall { method: "echo", params: json!([n]) }).collect();
        for expected in [15, 10] {
            let before = client.traffic().requests;
            let results = client.call_many(&calls).await.unwrap();
            let told: Vec<String> =
                results.iter().map(|r| r.as_ref().unwrap().get().to_owned()).collect();
            assert_eq!(told, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
            assert_eq!(client.traffic().requests - before, expected);
        }
    }

    /// A path that names the chain, as public upstreams have it, must not change what results say;
    /// errors are shown, so there it is blanked.
    #[test]
    fn r8_results_that_hold_names_can_be_left_as_they_are() {
        let url = RpcUrl::new("https://rpc.example.org/cosmoshub").unwrap();
        let told = br#"{"jsonrpc":"2.0","id":0,"result":"cosmoshub-4"}"#;
        let left = read(&url, told, 1, Results::AsTheyAre).unwrap();
        assert_eq!(left[0].as_ref().unwrap().get(), "\"cosmoshub-4\"");
        let blanked = read(&url, told, 1, Results::Blanked).unwrap();
        assert_eq!(blanked[0].as_ref().unwrap().get(), "\"***-4\"");
        let told = br#"{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"no /cosmoshub"}}"#;
        let left = read(&url, told, 1, Results::AsTheyAre).unwrap();
        assert_eq!(left[0].as_ref().unwrap_err().message, "no /***");
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
