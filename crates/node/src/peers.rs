//! A DVN whose signers are spread over several processes, each with upstreams of its own.
//!
//! [`gather`] decides when it is this process' turn to gather the signatures for a message and on
//! which terms; [`ask`] asks one peer in the background and keeps what it answers; [`client`] is the
//! way there. [`desk`] answers peers: it signs only what this process has proven and planned itself.
//! [`fresh`] tells a request that was heard before.

pub mod ask;
pub mod client;
pub mod desk;
pub mod fresh;
pub mod gather;
#[cfg(test)]
mod testing;

pub use desk::{Desk, Reply, TurnedAway};
pub use gather::Gatherer;
pub use postrider_layerzero::request::MAX_REQUEST_BYTES;

/// The path at which a peer is asked (`POST`).
pub const PATH: &str = "/signatures";
/// The header that carries the seal on a request or an answer: 65 bytes in hexadecimal.
pub const SEAL: &str = "postrider-seal";

use alloy_primitives::hex;
use postrider_signing::SEAL_SIZE;

/// A seal as its header carries it.
#[must_use]
pub(crate) fn seal_text(seal: &[u8; SEAL_SIZE]) -> String {
    hex::encode_prefixed(seal)
}

/// A seal as a header carries it; `None` if it carries none.
#[must_use]
pub(crate) fn read_seal(text: &str) -> Option<[u8; SEAL_SIZE]> {
    if text.len() != 2 + 2 * SEAL_SIZE {
        return None;
    }
    hex::decode_to_array(text).ok()
}
