//! Transactions and one node: how one would end, handing it in, and where it went.

use crate::{
    broadcast::{CheckTx, Simulation, SimulationFailure},
    events::{JsonTxPage, JsonTxResponse, TxInclusion, TxPage, tx_hash},
    query::{AbciQuery, JsonAnswer},
    upstream::Upstream,
    wire::{self, parse},
};
use ibc_proto::cosmos::tx::v1beta1::SimulateRequest;
use postrider_jsonrpc::{CallResult, RpcCall, UpstreamError};
use postrider_message::TxHash;
use prost::Message;
use serde_json::json;

/// A body is kept below what CometBFT takes unless its operator says otherwise
/// (`rpc.max_body_bytes`, 1,000,000), with room for the calls' other parts.
const MAX_BODY: usize = 900_000;
/// `tx_search` gives no larger pages.
const PER_PAGE: u64 = 100;

impl Upstream {
    /// How a transaction would end in the newest state (`cosmos.tx.v1beta1.Service/Simulate`). Its
    /// signature is not looked at. It stands in the request in hexadecimal, so where a body may
    /// have 1 MB it may have half of that.
    ///
    /// # Errors
    /// [`UpstreamError`]; that it would fail is an answer.
    pub async fn simulate(&self, tx: &[u8]) -> Result<Simulation, UpstreamError> {
        // The other way to hand in a transaction is deprecated.
        #[allow(deprecated)]
        let request = SimulateRequest { tx: None, tx_bytes: tx.to_vec() };
        let query = AbciQuery {
            path: "/cosmos.tx.v1beta1.Service/Simulate".to_owned(),
            data: request.encode_to_vec(),
            height: None,
            prove: false,
        };
        let body = query.data.len().saturating_mul(2);
        let asking = async { self.client().call_many(&[query.call()]).await };
        let Some(mut results) = self.of_size(body, asking).await? else {
            return Ok(Simulation::Fails(SimulationFailure::TooLarge));
        };
        let answer = parse::<JsonAnswer>(results.pop())?;
        Simulation::read(answer.read(|log| self.blank(log))?)
    }

    /// Makes calls with a body of so many bytes; `None` if the node refuses the body as too large,
    /// which is no fault of its.
    async fn of_size(
        &self,
        body: usize,
        asking: impl Future<Output = Result<Vec<CallResult>, UpstreamError>>,
    ) -> Result<Option<Vec<CallResult>>, UpstreamError> {
        self.noted(async {
            self.check_once().await?;
            match asking.await {
                // CometBFT says 400, and servers before it 413.
                Err(UpstreamError::Status(400 | 413)) if body > MAX_BODY / 2 => Ok(None),
                results => results.map(Some),
            }
        })
        .await
    }

    /// Hands in a signed transaction and waits for the pool's word, not for a block
    /// (`broadcast_tx_sync`).
    ///
    /// # Errors
    /// [`UpstreamError`]; whether the pool took it is not known then.
    pub async fn broadcast(&self, tx: &[u8]) -> Result<CheckTx, UpstreamError> {
        let outcomes = self.broadcast_all(&[tx]).await?;
        outcomes.into_iter().next().ok_or(UpstreamError::Garbage("no answer".into()))
    }

    /// Hands in signed transactions in their order, many in one request; the pool's words are in
    /// the same order. One that is refused does not keep those behind it from being handed in.
    ///
    /// # Errors
    /// [`UpstreamError`]; which of them the pool took is not known then. The same bytes can be
    /// handed in again.
    pub async fn broadcast_all(&self, txs: &[&[u8]]) -> Result<Vec<CheckTx>, UpstreamError> {
        let mut outcomes = Vec::with_capacity(txs.len());
        for part in by_size(txs) {
            let calls: Vec<_> = part
                .iter()
                .map(|tx| RpcCall {
                    method: "broadcast_tx_sync",
                    params: json!({ "tx": wire::to_base64(tx) }),
                })
                .collect();
            let body = part.iter().map(|tx| in_body(tx)).sum();
            let Some(results) = self.of_size(body, self.client().call_in_order(&calls)).await?
            else {
                let words = "the request with it is larger than the node takes";
                outcomes.extend(part.iter().map(|_| CheckTx::TooLarge(words.into())));
                continue;
            };
            for (result, tx) in results.into_iter().zip(part) {
                outcomes.push(CheckTx::read(result, tx_hash(tx), |text| self.blank(text))?);
            }
        }
        Ok(outcomes)
    }

    /// A transaction and its block, by the node's index (`tx`); `None` for one that it does not
    /// know.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] too where it keeps no index.
    pub async fn tx(&self, hash: TxHash) -> Result<Option<TxInclusion>, UpstreamError> {
        let params = json!({ "hash": wire::to_base64(hash.0.as_slice()), "prove": false });
        let call = RpcCall { method: "tx", params };
        let result = self.calls(&[call]).await?.pop();
        if matches!(&result, Some(Err(error)) if wire::error_text(error).contains("not found")) {
            return Ok(None);
        }
        let found: TxInclusion = parse::<JsonTxResponse>(result)?.try_into()?;
        if found.hash != hash {
            return Err(UpstreamError::Garbage(format!("transaction {}", found.hash).into()));
        }
        Ok(Some(found))
    }

    /// A page, from 1, of up to 100 transactions that a query names, by height and index
    /// (`tx_search`), for example `tx.height>=5 AND message.sender='cosmos1…'`.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] too where it keeps no index, or there is no such page.
    pub async fn tx_search(&self, query: &str, page: u32) -> Result<TxPage, UpstreamError> {
        let params = json!({
            "query": query,
            "prove": false,
            "page": page.max(1).to_string(),
            "per_page": PER_PAGE.to_string(),
            "order_by": "asc",
        });
        self.ask::<JsonTxPage>("tx_search", params).await?.try_into()
    }
}

/// How many bytes a transaction takes in a request.
fn in_body(tx: &[u8]) -> usize {
    const CALL: usize = 100;
    tx.len().div_ceil(3).saturating_mul(4).saturating_add(CALL)
}

/// Transactions in parts that fit a request's body; one that is too large for any is alone, for the
/// node to refuse.
fn by_size<'a, 'b>(txs: &'b [&'a [u8]]) -> Vec<&'b [&'a [u8]]> {
    let mut parts = Vec::new();
    let (mut start, mut size) = (0, 0usize);
    for (place, tx) in txs.iter().enumerate() {
        let own = in_body(tx);
        if size > 0 && size.saturating_add(own) > MAX_BODY {
            parts.extend(txs.get(start..place));
            (start, size) = (place, 0);
        }
        size = size.saturating_add(own);
    }
    parts.extend(txs.get(start..).filter(|rest| !rest.is_empty()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_parted_by_their_size_and_stay_in_order() {
        let (small, large) = (vec![1u8; 300_000], vec![2u8; 2_000_000]);
        let parts = |txs: &[&[u8]]| by_size(txs).iter().map(|p| p.len()).collect::<Vec<_>>();
        assert_eq!(parts(&[]), Vec::<usize>::new());
        assert_eq!(parts(&[&small[..]; 5]), [2, 2, 1]);
        assert_eq!(parts(&[&small, &large, &small]), [1, 1, 1]);
        assert_eq!(parts(&[&[0u8; 10][..]; 1000]), [1000]);
    }
}
