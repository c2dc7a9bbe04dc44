//! What reads upstreams' answers and is not public, for the fuzz targets in `fuzz/`. Nothing else
//! may use it.

use crate::{
    events::{self, BlockEvents, BlockTransactions, JsonBlock},
    query::{Answer, JsonAnswer},
};
use postrider_jsonrpc::UpstreamError;
use postrider_message::Height;

/// What happened in the block at `height`, as `block_results` gives it.
///
/// # Errors
/// [`UpstreamError::Garbage`].
pub fn block_results(json: &str, height: Height) -> Result<BlockEvents, UpstreamError> {
    events::read_results(json, height)
}

/// The answer to `abci_query`.
///
/// # Errors
/// [`UpstreamError::Garbage`].
pub fn abci_answer(json: &str) -> Result<Answer, UpstreamError> {
    let answer: JsonAnswer =
        serde_json::from_str(json).map_err(|e| UpstreamError::Garbage(e.to_string().into()))?;
    answer.read(str::to_owned)
}

/// Which transactions the block at `height` holds, as `block` gives it.
///
/// # Errors
/// [`UpstreamError::Garbage`].
pub fn block(json: &str, height: Height) -> Result<BlockTransactions, UpstreamError> {
    let block: JsonBlock =
        serde_json::from_str(json).map_err(|e| UpstreamError::Garbage(e.to_string().into()))?;
    block.at(height)
}
