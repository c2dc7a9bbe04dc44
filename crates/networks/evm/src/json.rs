//! What nodes answer, as JSON, turned into consensus bytes.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bloom, Bytes, U8, U64};
use alloy_rlp::{BufMut, Encodable};
use postrider_verification::evm::ClaimedHeader;
use serde::Deserialize;

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
    #[serde(rename = "type", default)]
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
