//! Questions to the application (CometBFT RPC `abci_query`).

use crate::wire::{base64, number};
use alloy_primitives::hex;
use postrider_jsonrpc::{RpcCall, UpstreamError};
use postrider_message::{Detail, Height};
use serde::Deserialize;
use serde_json::json;
use tendermint::merkle::proof::{ProofOp, ProofOps};

/// A proof has a step for each store it goes through: the store of a module and the one of all
/// modules. More than this is refused.
const MAX_PROOF_OPS: usize = 8;

/// A question to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbciQuery {
    /// A gRPC method, such as `/cosmos.bank.v1beta1.Query/Balance`, or a store, such as
    /// `store/bank/key`.
    pub path: String,
    /// The request as protobuf bytes, or a key of the store.
    pub data: Vec<u8>,
    /// The height of the state; the newest if none. State at height h is what the block at h left,
    /// and the header at h+1 names its root.
    pub height: Option<Height>,
    /// Whether the value, or its absence, comes with a proof; only stores have one.
    pub prove: bool,
}

impl AbciQuery {
    /// A key of a module's store at a height, with a proof.
    #[must_use]
    pub fn proven(store: &str, key: Vec<u8>, height: Height) -> Self {
        Self { path: format!("store/{store}/key"), data: key, height: Some(height), prove: true }
    }

    pub(crate) fn call(&self) -> RpcCall {
        let height = self.height.map_or(0, |height| height.0);
        let params = json!({
            "path": self.path,
            "data": hex::encode(&self.data),
            "height": height.to_string(),
            "prove": self.prove,
        });
        RpcCall { method: "abci_query", params }
    }
}

/// The application's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 where it answers.
    pub code: u32,
    /// Whose code it is: a module's name.
    pub codespace: String,
    /// Why it does not answer, cut.
    pub log: Detail,
    /// The response as protobuf bytes, or the value at a key; empty for a key that is not there.
    pub value: Vec<u8>,
    /// The height of the state that answered.
    pub height: Height,
    /// The proof, when one was asked for: a step for each store, the innermost first.
    pub proof: Option<ProofOps>,
}

impl Answer {
    /// The answer, unless the application refuses.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] with the application's code, which is positive, where those of
    /// JSON-RPC are negative.
    pub fn accepted(self) -> Result<Self, UpstreamError> {
        if self.code == 0 {
            return Ok(self);
        }
        let message = format!("{}: {}", self.codespace, self.log).into();
        Err(UpstreamError::Refused { code: self.code.into(), message })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct JsonAnswer {
    response: JsonResponse,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResponse {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    codespace: String,
    #[serde(default)]
    log: String,
    #[serde(default, deserialize_with = "base64")]
    value: Vec<u8>,
    #[serde(default, deserialize_with = "number")]
    height: u64,
    // CometBFT writes it like this in a response, and in no other place.
    proof_ops: Option<JsonProofOps>,
}

#[derive(Debug, Deserialize)]
struct JsonProofOps {
    ops: Vec<JsonProofOp>,
}

#[derive(Debug, Deserialize)]
struct JsonProofOp {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "base64")]
    key: Vec<u8>,
    #[serde(default, deserialize_with = "base64")]
    data: Vec<u8>,
}

impl JsonAnswer {
    pub(crate) fn read(self, blank: impl FnOnce(&str) -> String) -> Result<Answer, UpstreamError> {
        let told = self.response;
        let ops = told.proof_ops.map(|proof| proof.ops);
        if ops.as_ref().is_some_and(|ops| ops.len() > MAX_PROOF_OPS) {
            let what = format!("a proof of more than {MAX_PROOF_OPS} steps");
            return Err(UpstreamError::Garbage(what.into()));
        }
        let op = |op: JsonProofOp| ProofOp { field_type: op.kind, key: op.key, data: op.data };
        Ok(Answer {
            code: told.code,
            codespace: told.codespace,
            log: blank(&told.log).into(),
            value: told.value,
            height: Height(told.height),
            proof: ops.map(|ops| ProofOps { ops: ops.into_iter().map(op).collect() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(value: Value) -> Result<Answer, UpstreamError> {
        serde_json::from_value::<JsonAnswer>(value).unwrap().read(str::to_owned)
    }

    #[test]
    fn a_question_is_asked_as_cometbft_wants_it() {
        let call = AbciQuery::proven("bank", vec![2, 255], Height(7)).call();
        let params =
            json!({"path": "store/bank/key", "data": "02ff", "height": "7", "prove": true});
        assert_eq!((call.method, call.params), ("abci_query", params));
    }

    #[test]
    fn an_answer_is_read_as_cometbft_writes_it() {
        let told = json!({"response": {"code": 0, "log": "", "key": "AA==", "value": "Cg==",
            "proofOps": {"ops": [{"type": "ics23:iavl", "key": "AA==", "data": "CgE="}]},
            "height": "6", "codespace": ""}});
        let answer = read(told).unwrap().accepted().unwrap();
        assert_eq!((answer.value.as_slice(), answer.height), (&[10][..], Height(6)));
        let proof = answer.proof.unwrap();
        assert_eq!(
            (proof.ops[0].field_type.as_str(), &proof.ops[0].data[..]),
            ("ics23:iavl", &[10, 1][..])
        );

        let told = json!({"response": {"code": 22, "log": "account not found", "value": null,
            "proofOps": null, "height": "0", "codespace": "sdk"}});
        let refused = read(told).unwrap().accepted().unwrap_err();
        let expected =
            UpstreamError::Refused { code: 22, message: "sdk: account not found".into() };
        assert_eq!(refused, expected);
    }

    #[test]
    fn r10_a_proof_of_very_many_steps_is_garbage() {
        let op = json!({"type": "", "key": "", "data": ""});
        let told = json!({"response": {"proofOps": {"ops": vec![op; MAX_PROOF_OPS + 1]}}});
        assert!(matches!(read(told), Err(UpstreamError::Garbage(_))));
    }
}
