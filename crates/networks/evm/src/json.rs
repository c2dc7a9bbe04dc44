//! What nodes answer, as JSON, turned into consensus bytes.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bloom, Bytes, U8, U64};
use alloy_rlp::{BufMut, Encodable};
use postrider_verification::evm::ClaimedHeader;
use serde::{Deserialize, Deserializer, de::Error};

/// A block's header as `eth_getBlockByNumber` gives it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JsonBlock {
    hash: B256,
    #[serde(flatten)]
    header: Header,
}

impl From<JsonBlock> for ClaimedHeader {
    fn from(block: JsonBlock) -> Self {
        Self { header: block.header, hash: block.hash }
    }
}

/// A log as a receipt has it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JsonLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

/// A receipt as `eth_getBlockReceipts` and `eth_getTransactionReceipt` give it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JsonReceipt {
    pub(crate) transaction_hash: B256,
    pub(crate) block_hash: B256,
    pub(crate) block_number: U64,
    #[serde(rename = "type", default, deserialize_with = "transaction_type")]
    kind: U8,
    status: Option<U64>,
    root: Option<B256>,
    cumulative_gas_used: U64,
    pub(crate) gas_used: U64,
    logs_bloom: Bloom,
    logs: Vec<JsonLog>,
    deposit_nonce: Option<U64>,
    deposit_receipt_version: Option<U64>,
}

/// A greater one would be taken for the start of a list (EIP-2718).
const GREATEST_TYPE: u8 = 0x7f;

fn transaction_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<U8, D::Error> {
    let kind = U8::deserialize(deserializer)?;
    if kind > U8::from(GREATEST_TYPE) {
        return Err(D::Error::custom(format!("a transaction of type {kind:#x}")));
    }
    Ok(kind)
}

/// An RLP list of already encoded items.
fn list(payload: &[u8], out: &mut dyn BufMut) {
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(out);
    out.put_slice(payload);
}

impl JsonLog {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        self.address.encode(&mut fields);
        self.topics.encode(&mut fields);
        self.data.encode(&mut fields);
        list(&fields, out);
    }

    /// The log in the form that decoders take.
    pub(crate) fn to_proven_form(&self, index: u64) -> postrider_verification::evm::ReceiptLog {
        postrider_verification::evm::ReceiptLog {
            address: self.address,
            topics: self.topics.clone(),
            data: self.data.clone(),
            index_in_receipt: index,
        }
    }
}

impl JsonReceipt {
    /// Whether the transaction did not revert. It proves nothing about what it achieved.
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|s| s == U64::from(1))
    }

    /// The receipt's logs.
    pub(crate) fn logs(&self) -> &[JsonLog] {
        &self.logs
    }

    /// The consensus encoding (EIP-2718), as the receipts root commits to it. Deposits of the OP
    /// Stack carry two fields more (OP Stack specification, "Deposit receipt").
    pub(crate) fn to_consensus(&self) -> Bytes {
        let mut logs = Vec::new();
        self.logs.iter().for_each(|log| log.encode(&mut logs));
        let mut fields = Vec::new();
        match self.root {
            Some(root) if self.status.is_none() => root.encode(&mut fields),
            _ => self.succeeded().encode(&mut fields),
        }
        self.cumulative_gas_used.to::<u64>().encode(&mut fields);
        self.logs_bloom.encode(&mut fields);
        list(&logs, &mut fields);
        if self.kind == U8::from(0x7e) {
            for extra in [self.deposit_nonce, self.deposit_receipt_version].into_iter().flatten() {
                extra.to::<u64>().encode(&mut fields);
            }
        }
        let mut out = Vec::new();
        if !self.kind.is_zero() {
            out.push(self.kind.to::<u8>());
        }
        list(&fields, &mut out);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that `postrider-verification` proves to hash as their chains say.
    #[derive(Deserialize)]
    struct Vector {
        header: JsonBlock,
        #[serde(default)]
        receipts: Vec<JsonReceipt>,
        #[serde(default)]
        encoded: Vec<Bytes>,
    }

    const VECTORS: [&str; 8] = [
        include_str!("../../../verification/tests/vectors/arbitrum/block.json"),
        include_str!("../../../verification/tests/vectors/arbitrum/header.json"),
        include_str!("../../../verification/tests/vectors/base/header.json"),
        include_str!("../../../verification/tests/vectors/bnb/header.json"),
        include_str!("../../../verification/tests/vectors/ethereum/block.json"),
        include_str!("../../../verification/tests/vectors/ethereum/header.json"),
        include_str!("../../../verification/tests/vectors/optimism/block.json"),
        include_str!("../../../verification/tests/vectors/optimism/header.json"),
    ];

    #[test]
    fn what_nodes_of_each_format_answer_becomes_what_the_chain_hashes() {
        for text in VECTORS {
            let vector: Vector = serde_json::from_str(text).unwrap();
            let claimed = ClaimedHeader::from(vector.header);
            assert!(claimed.is_consistent(), "{}", claimed.hash);
            let encoded: Vec<Bytes> =
                vector.receipts.iter().map(JsonReceipt::to_consensus).collect();
            assert_eq!(encoded, vector.encoded, "{}", claimed.hash);
        }
    }

    #[test]
    fn r10_a_type_that_would_be_read_as_a_list_is_refused() {
        let vector: serde_json::Value = serde_json::from_str(VECTORS[4]).unwrap();
        let mut receipt = vector["receipts"][0].clone();
        for (kind, is_one) in [("0x7f", true), ("0x80", false), ("0xc1", false), ("0xff", false)] {
            receipt["type"] = kind.into();
            let read = serde_json::from_value::<JsonReceipt>(receipt.clone());
            assert_eq!(read.is_ok(), is_one, "{kind}");
        }
    }
}
