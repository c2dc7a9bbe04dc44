//! What reads upstreams' answers and is not public, for the fuzz targets in `fuzz/`. Nothing else
//! may use it.

use crate::{
    json::{JsonBlock, JsonReceipt},
    simulate::{self, Simulated},
};
use alloy_primitives::Bytes;
use postrider_jsonrpc::{CallResult, RpcUrl, UpstreamError, read_answers};
use postrider_verification::evm::{ClaimedHeader, ReceiptLog};

/// A header as `eth_getBlockByNumber` gives it.
///
/// # Errors
/// What is wrong with the text.
pub fn header(json: &str) -> Result<ClaimedHeader, serde_json::Error> {
    serde_json::from_str::<JsonBlock>(json).map(ClaimedHeader::from)
}

/// A receipt as `eth_getBlockReceipts` gives it: its consensus encoding, and its logs.
///
/// # Errors
/// What is wrong with the text.
pub fn receipt(json: &str) -> Result<(Bytes, Vec<ReceiptLog>), serde_json::Error> {
    let receipt: JsonReceipt = serde_json::from_str(json)?;
    let logs = receipt.logs().iter().zip(0..).map(|(log, i)| log.to_proven_form(i)).collect();
    Ok((receipt.to_consensus(), logs))
}

/// What `url` answered to so many calls.
///
/// # Errors
/// [`UpstreamError`].
pub fn answers(url: &RpcUrl, json: &[u8], calls: usize) -> Result<Vec<CallResult>, UpstreamError> {
    read_answers(url, json, calls)
}

/// The answer to a simulation of so many calls.
///
/// # Errors
/// [`UpstreamError`].
pub fn simulated(result: CallResult, calls: usize) -> Result<Vec<Simulated>, UpstreamError> {
    simulate::answer(result, calls)
}
