//! What CometBFT nodes answer.

use crate::memory::bounded;
use postrider_cosmos::fuzzing;
use postrider_message::Height;

/// The height of the block in the seeds.
const HEIGHT: Height = Height(5);

/// What happened in a block, or which transactions it holds: of the block asked for, or an error.
pub fn block_results(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(block) = bounded(data.len(), 24, || fuzzing::block_results(text, HEIGHT)) {
        assert_eq!(block.height, HEIGHT);
    }
    if let Ok(block) = bounded(data.len(), 24, || fuzzing::block(text, HEIGHT)) {
        assert_eq!(block.height, HEIGHT);
    }
}

/// The answer to a question to the application: few steps of a proof, and a short log.
pub fn abci_answer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(answer) = bounded(data.len(), 24, || fuzzing::abci_answer(text)) {
        assert!(answer.proof.is_none_or(|proof| proof.ops.len() <= 8));
        assert!(answer.log.to_string().len() <= 300);
    }
}
