//! From the calls of one request to their answers, by way of the faults and the chain.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::fault::{Call, Fault, Reply};
use super::heights::Heads;
use super::server::Shared;

/// The calls of a request body, and whether they are a batch.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) calls: Vec<Call>,
    pub(super) batch: bool,
}

impl Request {
    /// Nothing when the body is not JSON-RPC.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (calls, batch) = match serde_json::from_slice(body).ok()? {
            Value::Array(calls) => (calls, true),
            call => (vec![call], false),
        };
        let calls = calls.into_iter().map(call).collect::<Option<_>>()?;
        Some(Self { calls, batch })
    }
}

fn call(mut value: Value) -> Option<Call> {
    let mut take = |name| value.get_mut(name).map(Value::take);
    let Some(Value::String(method)) = take("method") else {
        return None;
    };
    Some(Call {
        id: take("id").unwrap_or_default(),
        method,
        params: take("params").unwrap_or_else(|| json!([])),
    })
}

/// Answers all calls, in their order.
///
/// # Errors
/// When the chain cannot be reached or answers something else than JSON-RPC.
pub(super) async fn answer(
    shared: &Shared,
    request: &Request,
    faults: &[Fault],
) -> Result<Bytes, String> {
    let heads =
        if faults.iter().any(Fault::needs_heads) { heads(shared).await? } else { Heads::default() };
    let replies: Vec<Option<Reply>> = request
        .calls
        .iter()
        .map(|call| faults.iter().find_map(|fault| fault.reply(call)))
        .collect();
    let asked: Vec<Call> = request
        .calls
        .iter()
        .zip(&replies)
        .filter(|(_, reply)| reply.is_none())
        .map(|(call, _)| {
            let mut call = call.clone();
            faults.iter().for_each(|fault| fault.ask(&mut call, &heads));
            call
        })
        .collect();
    let mut answers = ask(shared, &asked).await?.into_iter();
    let mut all = Vec::with_capacity(request.calls.len());
    for (call, reply) in request.calls.iter().zip(replies) {
        let mut answer = match reply {
            Some(Reply::Result(result)) => json!({"jsonrpc": "2.0", "result": result}),
            Some(Reply::Error { code, message }) => {
                json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}})
            }
            None => answers.next().ok_or("the chain left out an answer")?,
        };
        if let Some(result) = answer.get_mut("result") {
            faults.iter().for_each(|fault| fault.answer(call, result, &heads));
        }
        super::fault::set(&mut answer, "id", call.id.clone());
        all.push(answer);
    }
    let body = match (request.batch, all.pop()) {
        (false, Some(one)) => one,
        (_, last) => {
            all.extend(last);
            Value::Array(all)
        }
    };
    serde_json::to_vec(&body).map(Bytes::from).map_err(|error| error.to_string())
}

/// Asks the chain in one request, with ids of its own; the answers come in the calls' order.
async fn ask(shared: &Shared, calls: &[Call]) -> Result<Vec<Value>, String> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let body: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(id, call)| {
            json!({"jsonrpc": "2.0", "id": id, "method": call.method, "params": call.params})
        })
        .collect();
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let answer = shared.forward(body.into()).await?;
    let answers = match serde_json::from_slice(&answer) {
        Ok(Value::Array(answers)) => answers,
        // CometBFT answers a batch of one as if it were none.
        Ok(answer @ Value::Object(_)) if calls.len() == 1 => vec![answer],
        _ => return Err("the chain did not answer a batch with an array".to_owned()),
    };
    let mut ordered = vec![Value::Null; calls.len()];
    for answer in answers {
        let id = answer.get("id").and_then(Value::as_u64).and_then(|id| usize::try_from(id).ok());
        if let Some(slot) = id.and_then(|id| ordered.get_mut(id)) {
            *slot = answer;
        }
    }
    Ok(ordered)
}

async fn heads(shared: &Shared) -> Result<Heads, String> {
    let calls = ["latest", "safe", "finalized"].map(|tag| Call {
        id: Value::Null,
        method: "eth_getBlockByNumber".to_owned(),
        params: json!([tag, false]),
    });
    let answers = ask(shared, &calls).await?;
    let height = |index: usize| {
        let block = answers.get(index).and_then(|answer| answer.get("result"));
        block.and_then(|block| super::fault::number(block, "number")).unwrap_or_default()
    };
    Ok(Heads { latest: height(0), safe: height(1), finalized: height(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let one = Request::parse(br#"{"id":7,"method":"m","params":[1]}"#).unwrap();
        let call = Call { id: json!(7), method: "m".to_owned(), params: json!([1]) };
        assert_eq!(one, Request { calls: vec![call], batch: false });
        let two = Request::parse(br#"[{"method":"a"},{"method":"b"}]"#).unwrap();
        assert!(two.batch && two.calls.len() == 2);
        for bad in ["", "7", "{}", r#"[{"method":"a"},7]"#, r#"{"method":7}"#] {
            assert_eq!(Request::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_never_panic(body: Vec<u8>) {
            let _ = Request::parse(&body);
        }
    }
}
