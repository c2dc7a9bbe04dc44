//! The faults, and what each does to a call and to its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use serde_json::{Value, json};

use super::heights::{self, Heads};
use super::logs;

type Change = dyn Fn(&Value, &mut Value) + Send + Sync;

/// What is changed of results: see [`Fault::Tell`].
#[derive(Clone)]
pub struct Lie(Arc<Change>);

impl Lie {
    fn tell(&self, params: &Value, result: &mut Value) {
        (self.0)(params, result);
    }
}

impl fmt::Debug for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lie")
    }
}

impl PartialEq for Lie {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// One way to misbehave. Any number of them act together.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Breaks every connection without an answer.
    Dead,
    /// Answers after this time.
    Slow(Duration),
    /// Accepts requests and answers none before the fault is taken away.
    Hang,
    /// Opens WebSockets and says nothing on them; other requests are answered.
    Mute,
    /// Answers with something that is not JSON.
    Garbage,
    /// Answers with a body that begins well and never ends.
    Endless,
    /// Answers HTTP 429; the duration, in whole seconds, is sent as `Retry-After`.
    RateLimited {
        /// When to come again.
        retry_after: Option<Duration>,
    },
    /// Answers with a JSON-RPC error.
    Error {
        /// Only to this method; to all with none.
        method: Option<String>,
        /// The error's code.
        code: i64,
        /// The error's message.
        message: String,
    },
    /// Names another chain in `eth_chainId` and `net_version`.
    WrongChainId(u64),
    /// Is this many blocks behind, for `latest`, `safe` and `finalized` alike.
    StaleHeight(u64),
    /// Calls the latest block final, and claims for it a height that is `ahead` blocks too high.
    FalseFinality {
        /// How many blocks are invented.
        ahead: u64,
    },
    /// Invents a log in answers of `eth_getLogs`, `eth_getTransactionReceipt` and
    /// `eth_getBlockReceipts`. In receipts it joins the transaction that it names, or the last of
    /// its block; a block without transactions gets none.
    ForgeLog {
        /// The log as JSON-RPC has it; [`super::forged_log`] makes one.
        log: Value,
        /// Whether the blooms of its block and its receipt say that anything may be in them.
        all_ones_bloom: bool,
    },
    /// Keeps back the logs of a contract from the same answers.
    DropLogs {
        /// The contract.
        address: Address,
        /// Whether all blooms, of headers and of receipts, are zero as well.
        zero_bloom: bool,
    },
    /// Changes a field of receipts.
    ChangeReceipt {
        /// Of this transaction; of all with none.
        transaction: Option<B256>,
        /// The field's JSON name.
        field: String,
        /// Its new value.
        value: Value,
    },
    /// Changes a field of blocks.
    ChangeHeader {
        /// At this height; of all with none.
        block: Option<u64>,
        /// The field's JSON name, for example `receiptsRoot` or `hash`.
        field: String,
        /// Its new value.
        value: Value,
    },
    /// Answers calls of one function of one contract with these bytes, simulated ones too.
    ReplaceCall {
        /// The contract.
        to: Address,
        /// The function.
        selector: [u8; 4],
        /// The ABI-encoded answer.
        answer: Bytes,
    },
    /// Changes the results of a method, of a chain of any kind; [`Fault::tell`] makes one.
    Tell {
        /// The method.
        method: String,
        /// What is changed.
        lie: Lie,
    },
    /// Answers a method without asking the chain; [`Fault::instead`] makes one.
    Instead {
        /// The method.
        method: String,
        /// What makes a result of nothing.
        lie: Lie,
    },
    /// Answers a method with this result.
    Replace {
        /// The method.
        method: String,
        /// The result.
        result: Value,
    },
}

/// One call of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Value,
}

/// An answer that needs no chain.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Result(Value),
    Error { code: i64, message: String },
}

impl Fault {
    /// Changes the results of `method`: `lie` is called with the parameters and the result.
    pub fn tell(method: &str, lie: impl Fn(&Value, &mut Value) + Send + Sync + 'static) -> Self {
        Self::Tell { method: method.to_owned(), lie: Lie(Arc::new(lie)) }
    }

    /// Answers `method` without asking the chain: `answer` is called with the parameters.
    pub fn instead(method: &str, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        let lie = Lie(Arc::new(move |params, result| *result = answer(params)));
        Self::Instead { method: method.to_owned(), lie }
    }

    /// Whether the fault is one of the connection or of the whole answer, and not of calls.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(
            self,
            Self::Dead
                | Self::Slow(_)
                | Self::Hang
                | Self::Garbage
                | Self::Endless
                | Self::RateLimited { .. }
        )
    }

    /// Answers the call without asking the chain.
    pub(super) fn reply(&self, call: &Call) -> Option<Reply> {
        match self {
            Self::Error { method, code, message }
                if method.as_ref().is_none_or(|method| *method == call.method) =>
            {
                Some(Reply::Error { code: *code, message: message.clone() })
            }
            Self::WrongChainId(id) => match call.method.as_str() {
                "eth_chainId" => Some(Reply::Result(quantity(*id))),
                "net_version" => Some(Reply::Result(json!(id.to_string()))),
                _ => None,
            },
            Self::ReplaceCall { to, selector, answer }
                if call.method == "eth_call"
                    && call.params.get(0).is_some_and(|made| is_to(made, *to, *selector)) =>
            {
                Some(Reply::Result(json!(answer)))
            }
            Self::Instead { method, lie } if *method == call.method => {
                let mut result = Value::Null;
                lie.tell(&call.params, &mut result);
                Some(Reply::Result(result))
            }
            Self::Replace { method, result } if *method == call.method => {
                Some(Reply::Result(result.clone()))
            }
            _ => None,
        }
    }

    /// Changes what the chain is asked.
    pub(super) fn ask(&self, call: &mut Call, heads: &Heads) {
        match self {
            Self::StaleHeight(behind) => heights::ask_behind(call, heads, *behind),
            Self::FalseFinality { .. } => heights::ask_latest_for_final(call),
            _ => {}
        }
    }

    /// Changes what the chain answered; `asked` is the call before it was changed.
    pub(super) fn answer(&self, asked: &Call, result: &mut Value, heads: &Heads) {
        match self {
            Self::StaleHeight(behind) => heights::hide_above(asked, result, heads, *behind),
            Self::FalseFinality { ahead } => heights::claim_ahead(asked, result, *ahead),
            Self::ForgeLog { log, all_ones_bloom } => {
                logs::forge(asked, result, log, *all_ones_bloom);
            }
            Self::DropLogs { address, zero_bloom } => {
                logs::drop_logs(asked, result, *address, *zero_bloom);
            }
            Self::Tell { method, lie } if *method == asked.method => {
                lie.tell(&asked.params, result);
            }
            Self::ReplaceCall { to, selector, answer } => {
                for (made, told) in simulated(asked, result) {
                    if is_to(made, *to, *selector) {
                        set(told, "returnData", json!(answer));
                        set(told, "status", json!("0x1"));
                    }
                }
            }
            Self::ChangeReceipt { transaction, field, value } => {
                for receipt in receipts(asked, result) {
                    let hash = receipt.get("transactionHash");
                    if transaction.is_none_or(|one| hash.is_some_and(|hash| *hash == json!(one))) {
                        set(receipt, field, value.clone());
                    }
                }
            }
            Self::ChangeHeader { block, field, value } => {
                if let Some(header) = header(asked, result)
                    && block.is_none_or(|block| number(header, "number") == Some(block))
                {
                    set(header, field, value.clone());
                }
            }
            _ => {}
        }
    }

    /// Whether the chain's heads must be known for this fault.
    pub(super) fn needs_heads(&self) -> bool {
        matches!(self, Self::StaleHeight(_))
    }
}

/// Whether a call object is one of this function of this contract.
fn is_to(made: &Value, to: Address, selector: [u8; 4]) -> bool {
    let target = made.get("to").and_then(Value::as_str).and_then(|to| to.parse().ok());
    let data = made.get("input").or_else(|| made.get("data"));
    let data: Option<Bytes> = data.and_then(Value::as_str).and_then(|data| data.parse().ok());
    target == Some(to) && data.is_some_and(|data| data.starts_with(&selector))
}

/// The calls of a simulation, each with what is told of it.
fn simulated<'a>(asked: &'a Call, result: &'a mut Value) -> Vec<(&'a Value, &'a mut Value)> {
    if asked.method != "eth_simulateV1" {
        return Vec::new();
    }
    let calls = |block: &'a Value| block.get("calls").and_then(Value::as_array);
    let made = asked.params.get(0).and_then(|p| p.get("blockStateCalls")?.as_array());
    let made = made.into_iter().flatten().filter_map(calls).flatten();
    let told = result.as_array_mut().into_iter().flatten();
    let told = told.filter_map(|block| block.get_mut("calls")?.as_array_mut()).flatten();
    made.zip(told).collect()
}

/// The header of an answer that is a block.
pub(super) fn header<'a>(asked: &Call, result: &'a mut Value) -> Option<&'a mut Value> {
    let is_block = matches!(asked.method.as_str(), "eth_getBlockByNumber" | "eth_getBlockByHash");
    (is_block && result.is_object()).then_some(result)
}

/// The receipts of an answer that is one or several.
pub(super) fn receipts<'a>(asked: &Call, result: &'a mut Value) -> Vec<&'a mut Value> {
    match (asked.method.as_str(), result) {
        ("eth_getTransactionReceipt", receipt) if receipt.is_object() => vec![receipt],
        ("eth_getBlockReceipts", Value::Array(receipts)) => receipts.iter_mut().collect(),
        _ => Vec::new(),
    }
}

/// Reads a quantity field.
pub(super) fn number(object: &Value, field: &str) -> Option<u64> {
    crate::rpc::parse_quantity(object.get(field)?.as_str()?)
}

pub(super) fn quantity(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

pub(super) fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lie_changes_the_results_of_its_method() {
        let lie = Fault::tell("status", |params, result| set(result, "height", params.clone()));
        for (method, expected) in [("status", json!({"height": 7})), ("commit", json!({}))] {
            let asked = Call { id: json!(1), method: method.to_owned(), params: json!(7) };
            let mut result = json!({});
            lie.answer(&asked, &mut result, &Heads::default());
            assert_eq!(result, expected, "{method}");
        }
        let answer = Fault::instead("status", Value::clone);
        let asked = |method: &str| Call {
            id: json!(1),
            method: method.to_owned(),
            params: json!({"height": 7}),
        };
        assert_eq!(answer.reply(&asked("status")), Some(Reply::Result(json!({"height": 7}))));
        assert_eq!(answer.reply(&asked("commit")), None);
        assert_eq!(lie, lie.clone());
        assert_ne!(lie, Fault::tell("status", |_, _| {}));
    }
}
