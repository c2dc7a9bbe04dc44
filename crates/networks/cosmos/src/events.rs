//! What happened in a block, as one upstream tells it (CometBFT RPC `block_results`, `block`, `tx`,
//! `tx_search`). Headers do not commit to events: they say where to look, and prove nothing.

use crate::wire::{self, base64, number, or_default};
use alloy_primitives::B256;
use ibc_proto::cosmos::base::abci::v1beta1::TxMsgData;
use postrider_jsonrpc::UpstreamError;
use postrider_message::{Detail, Height, TxHash};
use prost::Message as _;
use serde::{Deserialize, Deserializer, de::Error};
use sha2::{Digest, Sha256};

/// What the messages of a transaction answer is not looked at where it is longer than this, in characters:
/// a hundred messages of packets answer less than a tenth of it.
const MAX_DATA: usize = 100_000;

/// What a node answers of one height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtHeight<T> {
    /// It has it.
    Known(T),
    /// It does not have it yet: the block is to come, or was just made and not yet executed.
    NotYet,
    /// It does not have it any more, or never kept it. Another node may.
    Pruned,
}

impl<T> AtHeight<T> {
    /// What it has.
    #[must_use]
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::NotYet | Self::Pruned => None,
        }
    }
}

/// An event (ABCI `Event`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type.
    pub kind: String,
    /// Its attributes in order; a key may be there more than once.
    pub attributes: Vec<(String, String)>,
}

impl Event {
    /// The first value of an attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// What a transaction did (ABCI `ExecTxResult`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxEvents {
    /// 0 where it succeeded.
    pub code: u32,
    /// Whose code it is: a module's name.
    pub codespace: String,
    /// Why it failed, cut.
    pub log: Detail,
    /// The gas it was allowed.
    pub gas_wanted: u64,
    /// The gas it used.
    pub gas_used: u64,
    /// Whether every message of it was one of a packet, and found that nothing was to do any more
    /// (`RESPONSE_RESULT_TYPE_NOOP`, ibc-go's `channel/v1/tx.proto`).
    pub idle: bool,
    /// Its events. One that failed keeps those of its checks: who paid, and the sequence.
    pub events: Vec<Event>,
}

impl TxEvents {
    /// Whether it changed what it was to change.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// Whether it failed because it used more gas than it was allowed (SDK `ErrOutOfGas`).
    #[must_use]
    pub fn ran_out_of_gas(&self) -> bool {
        const OUT_OF_GAS: u32 = 11;
        self.codespace == "sdk" && self.code == OUT_OF_GAS
    }
}

/// What happened in a block (`block_results`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEvents {
    /// The block's height.
    pub height: Height,
    /// What its transactions did, in their order.
    pub transactions: Vec<TxEvents>,
    /// What it did besides: modules act at its beginning and end (`finalize_block_events`).
    pub block: Vec<Event>,
}

/// Which transactions a block holds (`block`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTransactions {
    /// The block's height.
    pub height: Height,
    /// Their hashes, in their order: the SHA-256 hash of the bytes.
    pub hashes: Vec<TxHash>,
}

/// A transaction and its block, as the node's index has it (`tx`, `tx_search`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxInclusion {
    /// Its hash.
    pub hash: TxHash,
    /// The height of its block.
    pub height: Height,
    /// Its place in the block, from 0.
    pub index: u32,
    /// What it did.
    pub result: TxEvents,
}

/// A page of transactions (`tx_search`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxPage {
    /// How many there are on all pages.
    pub total: u64,
    /// Those of this page, by height and index.
    pub transactions: Vec<TxInclusion>,
}

/// The hash of a transaction: the SHA-256 hash of its bytes (CometBFT `Tx.Hash`).
#[must_use]
pub fn tx_hash(bytes: &[u8]) -> TxHash {
    TxHash(B256::from_slice(&Sha256::digest(bytes)))
}

#[derive(Debug, Deserialize)]
pub(crate) struct JsonResults {
    #[serde(deserialize_with = "number")]
    height: u64,
    #[serde(default, deserialize_with = "or_default")]
    txs_results: Vec<JsonTx>,
    #[serde(default, deserialize_with = "or_default")]
    finalize_block_events: Vec<JsonEvent>,
    // CometBFT 0.37 and before.
    #[serde(default, deserialize_with = "or_default")]
    begin_block_events: Vec<JsonEvent>,
    #[serde(default, deserialize_with = "or_default")]
    end_block_events: Vec<JsonEvent>,
}

#[derive(Debug, Deserialize)]
struct JsonTx {
    // Required, so that an answer cannot grow many times in memory.
    code: u32,
    #[serde(default, deserialize_with = "or_default")]
    data: String,
    #[serde(default)]
    codespace: String,
    #[serde(default)]
    log: String,
    #[serde(deserialize_with = "number")]
    gas_wanted: i64,
    #[serde(deserialize_with = "number")]
    gas_used: i64,
    #[serde(default, deserialize_with = "or_default")]
    events: Vec<JsonEvent>,
}

#[derive(Debug, Deserialize)]
struct JsonEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    attributes: Vec<JsonAttribute>,
}

#[derive(Debug, Deserialize)]
struct JsonAttribute {
    // Required as well.
    key: String,
    #[serde(default, deserialize_with = "or_default")]
    value: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct JsonBlock {
    block: JsonBlockBody,
}

#[derive(Debug, Deserialize)]
struct JsonBlockBody {
    header: JsonBlockHeader,
    data: JsonBlockData,
}

#[derive(Debug, Deserialize)]
struct JsonBlockHeader {
    #[serde(deserialize_with = "number")]
    height: u64,
}

#[derive(Debug, Deserialize)]
struct JsonBlockData {
    #[serde(default, deserialize_with = "or_default")]
    txs: Vec<JsonTxBytes>,
}

/// A transaction's bytes, of which only the hash is kept.
#[derive(Debug)]
struct JsonTxBytes(TxHash);

impl<'de> Deserialize<'de> for JsonTxBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = base64(deserializer)?;
        // There is none, and a list of them would grow many times in memory.
        if bytes.is_empty() {
            return Err(D::Error::custom("an empty transaction"));
        }
        Ok(Self(tx_hash(&bytes)))
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct JsonTxResponse {
    hash: String,
    #[serde(deserialize_with = "number")]
    height: u64,
    #[serde(default)]
    index: u32,
    tx_result: JsonTx,
}

#[derive(Debug, Deserialize)]
pub(crate) struct JsonTxPage {
    #[serde(default, deserialize_with = "or_default")]
    txs: Vec<JsonTxResponse>,
    #[serde(deserialize_with = "number")]
    total_count: u64,
}

fn events(list: Vec<JsonEvent>) -> Vec<Event> {
    let form = |event: JsonEvent| Event {
        kind: event.kind,
        attributes: event.attributes.into_iter().map(|a| (a.key, a.value)).collect(),
    };
    list.into_iter().map(form).collect()
}

/// What the messages of packets answer, of all three kinds (ibc-go's `channel/v1/tx.proto`).
#[derive(Clone, PartialEq, prost::Message)]
struct PacketResponse {
    #[prost(int32, tag = "1")]
    result: i32,
}

/// Whether a transaction's data (`cosmos.base.abci.v1beta1.TxMsgData`, base64) says of each of its
/// messages that it is of a packet and had nothing to do.
fn is_idle(data: &str) -> bool {
    const NOTHING_TO_DO: i32 = 1;
    const KINDS: [&str; 3] =
        ["MsgRecvPacketResponse", "MsgAcknowledgementResponse", "MsgTimeoutResponse"];
    let bytes = Some(data).filter(|data| data.len() <= MAX_DATA).and_then(wire::from_base64);
    let read = bytes.and_then(|bytes| TxMsgData::decode(bytes.as_slice()).ok());
    let responses = read.map(|data| data.msg_responses).unwrap_or_default();
    !responses.is_empty()
        && responses.iter().all(|any| {
            let kind = any.type_url.strip_prefix("/ibc.core.channel.v1.");
            kind.is_some_and(|kind| KINDS.contains(&kind))
                && PacketResponse::decode(any.value.as_slice())
                    .is_ok_and(|response| response.result == NOTHING_TO_DO)
        })
}

impl From<JsonTx> for TxEvents {
    fn from(tx: JsonTx) -> Self {
        Self {
            code: tx.code,
            idle: tx.code == 0 && is_idle(&tx.data),
            codespace: tx.codespace,
            log: tx.log.into(),
            gas_wanted: u64::try_from(tx.gas_wanted).unwrap_or_default(),
            gas_used: u64::try_from(tx.gas_used).unwrap_or_default(),
            events: events(tx.events),
        }
    }
}

impl JsonResults {
    /// The events, if they are of the block asked for.
    pub(crate) fn at(self, height: Height) -> Result<BlockEvents, UpstreamError> {
        expect(height, self.height)?;
        let mut block = events(self.begin_block_events);
        block.extend(events(self.finalize_block_events));
        block.extend(events(self.end_block_events));
        let transactions = self.txs_results.into_iter().map(TxEvents::from).collect();
        Ok(BlockEvents { height, transactions, block })
    }
}

impl JsonBlock {
    /// The transactions, if they are of the block asked for.
    pub(crate) fn at(self, height: Height) -> Result<BlockTransactions, UpstreamError> {
        expect(height, self.block.header.height)?;
        let hashes = self.block.data.txs.into_iter().map(|tx| tx.0).collect();
        Ok(BlockTransactions { height, hashes })
    }
}

fn expect(height: Height, found: u64) -> Result<(), UpstreamError> {
    if height.0 == found {
        return Ok(());
    }
    let what = format!("block {found}, when asked for block {height}");
    Err(UpstreamError::Garbage(what.into()))
}

impl TryFrom<JsonTxResponse> for TxInclusion {
    type Error = UpstreamError;
    fn try_from(tx: JsonTxResponse) -> Result<Self, UpstreamError> {
        let hash = tx.hash.parse().map_err(|_| {
            UpstreamError::Garbage(format!("`{}` is no transaction's hash", tx.hash).into())
        })?;
        Ok(Self { hash, height: Height(tx.height), index: tx.index, result: tx.tx_result.into() })
    }
}

impl TryFrom<JsonTxPage> for TxPage {
    type Error = UpstreamError;
    fn try_from(page: JsonTxPage) -> Result<Self, UpstreamError> {
        let transactions = page.txs.into_iter().map(TxInclusion::try_from);
        Ok(Self { total: page.total_count, transactions: transactions.collect::<Result<_, _>>()? })
    }
}

/// Reads the answer to `block_results` of the block at `height`.
pub(crate) fn read_results(json: &str, height: Height) -> Result<BlockEvents, UpstreamError> {
    let results: JsonResults =
        serde_json::from_str(json).map_err(|e| UpstreamError::Garbage(e.to_string().into()))?;
    results.at(height)
}

/// Whether an error may mean that the node does not have a height, rather than that it cannot
/// answer at all: CometBFT tells all of these apart only in words.
pub(crate) fn may_lack_height(error: &alloy_json_rpc::ErrorPayload) -> bool {
    const WORDS: [&str; 6] = [
        "less than or equal to the current blockchain height",
        "is not available, lowest height is",
        "could not find results for height",
        "could not find validator set for height",
        "not persisting",
        "height must be greater than",
    ];
    let text = wire::error_text(error);
    error.code == -32603 && WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ibc_proto::google::protobuf::Any;
    use serde_json::json;

    fn data(responses: &[(&str, i32)]) -> String {
        let any = |(kind, result): &(&str, i32)| Any {
            type_url: (*kind).to_owned(),
            value: PacketResponse { result: *result }.encode_to_vec(),
        };
        let msg_responses = responses.iter().map(any).collect();
        let data = TxMsgData { msg_responses, ..TxMsgData::default() };
        wire::to_base64(&data.encode_to_vec())
    }

    #[test]
    fn a_transaction_with_nothing_to_do_is_told_apart() {
        let received = "/ibc.core.channel.v1.MsgRecvPacketResponse";
        let acknowledged = "/ibc.core.channel.v1.MsgAcknowledgementResponse";
        let updated = "/ibc.core.client.v1.MsgUpdateClientResponse";
        assert!(is_idle(&data(&[(received, 1), (acknowledged, 1)])));
        assert!(!is_idle(&data(&[(received, 1), (received, 2)])), "one had something to do");
        assert!(!is_idle(&data(&[(received, 1), (updated, 1)])), "it is of no packet");
        assert!(!is_idle(&data(&[])));
        for bad in ["", "?", "/w==", &"A".repeat(MAX_DATA + 4)] {
            assert!(!is_idle(bad));
        }
    }

    fn results() -> serde_json::Value {
        json!({
            "height": "5",
            "txs_results": [
                {"code": 0, "data": "CgA=", "log": "", "info": "", "gas_wanted": "200", "gas_used": "150",
                 "events": [{"type": "transfer", "attributes": [
                    {"key": "amount", "value": "1", "index": true},
                    {"key": "amount", "value": "2", "index": true},
                    {"key": "empty", "value": null, "index": true}]}],
                 "codespace": ""},
                {"code": 5, "data": null, "log": "no\u{0}funds", "gas_wanted": "-1", "gas_used": "0",
                 "events": null, "codespace": "sdk"},
            ],
            "finalize_block_events": [{"type": "mint", "attributes": []}],
            "validator_updates": null, "consensus_param_updates": null, "app_hash": "AA==",
        })
    }

    #[test]
    fn results_are_read_as_cometbft_writes_them() {
        let read = read_results(&results().to_string(), Height(5)).unwrap();
        assert_eq!((read.height, read.transactions.len(), read.block.len()), (Height(5), 2, 1));
        let (good, bad) = (&read.transactions[0], &read.transactions[1]);
        assert!(good.succeeded() && !bad.succeeded());
        assert_eq!((good.gas_wanted, good.gas_used), (200, 150));
        assert_eq!(good.events[0].attribute("amount"), Some("1"));
        assert_eq!(good.events[0].attributes.len(), 3);
        assert_eq!(good.events[0].attribute("empty"), Some(""));
        assert_eq!(good.events[0].attribute("none"), None);
        assert_eq!((bad.code, bad.codespace.as_str(), bad.gas_wanted), (5, "sdk", 0));
        assert_eq!(bad.log.to_string(), "no funds");
        let empty = json!({"height": "5", "txs_results": null, "finalize_block_events": null});
        let read = read_results(&empty.to_string(), Height(5)).unwrap();
        assert!(read.transactions.is_empty() && read.block.is_empty());
        let old = json!({"height": "5", "begin_block_events": [{"type": "a"}],
            "end_block_events": [{"type": "b"}]});
        let read = read_results(&old.to_string(), Height(5)).unwrap();
        assert_eq!(read.block.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn r10_results_of_another_block_or_form_are_garbage() {
        let other = read_results(&results().to_string(), Height(6));
        assert!(matches!(other, Err(UpstreamError::Garbage(_))));
        for bad in [
            json!({}),
            json!({"height": 5}),
            json!({"height": "5", "txs_results": [{}]}),
            json!({"height": "5", "txs_results": [{"code": -1, "gas_wanted": "1", "gas_used": "1"}]}),
            json!({"height": "5", "finalize_block_events": [{"attributes": []}]}),
            json!({"height": "5", "finalize_block_events": [{"type": "a", "attributes": [{}]}]}),
        ] {
            let read = read_results(&bad.to_string(), Height(5));
            assert!(matches!(read, Err(UpstreamError::Garbage(_))), "{bad}");
        }
    }

    #[test]
    fn a_block_names_its_transactions_by_their_hash() {
        let told = json!({"block_id": {}, "block": {"header": {"height": "2"},
            "data": {"txs": ["YWJj"]}}});
        let block: JsonBlock = serde_json::from_value(told).unwrap();
        let read = block.at(Height(2)).unwrap();
        // SHA-256 of "abc" (FIPS 180-2, B.1).
        let expected = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read.hashes, [expected.parse().unwrap()]);
        let told = json!({"block": {"header": {"height": "2"}, "data": {"txs": null}}});
        let block: JsonBlock = serde_json::from_value(told).unwrap();
        assert!(matches!(block.at(Height(3)), Err(UpstreamError::Garbage(_))));
        let empty = json!({"block": {"header": {"height": "2"}, "data": {"txs": [""]}}});
        assert!(serde_json::from_value::<JsonBlock>(empty).is_err());
    }

    #[test]
    fn a_page_is_read_as_cometbft_writes_it() {
        let one = json!({"hash": "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            "height": "9", "index": 1, "tx_result": {"code": 0, "gas_wanted": "2", "gas_used": "1"}, "tx": "YWJj"});
        let page: JsonTxPage =
            serde_json::from_value(json!({"txs": [one], "total_count": "31"})).unwrap();
        let page = TxPage::try_from(page).unwrap();
        assert_eq!((page.total, page.transactions[0].height), (31, Height(9)));
        assert_eq!(page.transactions[0].hash, tx_hash(b"abc"));
        let bad = json!({"txs": [{"hash": "x", "height": "1", "tx_result": {"code": 0, "gas_wanted": "2", "gas_used": "1"}}], "total_count": "1"});
        let page: JsonTxPage = serde_json::from_value(bad).unwrap();
        assert!(matches!(TxPage::try_from(page), Err(UpstreamError::Garbage(_))));
    }
}
