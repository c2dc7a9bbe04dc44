//! Ids, hashes, heights and times.
//!
//! Ids are derived from content, so two nodes that see the same message give it the same id, and a
//! store can be rebuilt from the chains.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, time::SystemTime};

/// Hashes `parts` under a `domain`, each preceded by its length, so that no two different lists of
/// parts can give the same bytes.
#[must_use]
pub fn content_id(domain: &str, parts: &[&[u8]]) -> B256 {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    B256::from_slice(&hasher.finalize())
}

/// What is wrong with a text that should be 32 bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not 32 bytes in hexadecimal (0x and 64 digits)")]
pub struct BadHash(pub String);

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub B256);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl From<B256> for $name {
            fn from(value: B256) -> Self {
                Self(value)
            }
        }
        impl FromStr for $name {
            type Err = BadHash;
            fn from_str(text: &str) -> Result<Self, BadHash> {
                text.parse().map(Self).map_err(|_| BadHash(text.chars().take(80).collect()))
            }
        }
    };
}

hash_type!(
    /// Identifies a message: the content hash of its lane, nonce and payload hash.
    MessageId
);
hash_type!(
    /// Identifies a lane: the content hash of its protocol and its two ends.
    LaneId
);
hash_type!(
    /// Identifies a duty: the content hash of its subject, kind, network and worker.
    DutyId
);
hash_type!(
    /// The hash of a message's payload, as its protocol computes it.
    PayloadHash
);
hash_type!(
    /// The hash of a block, as its network computes it.
    BlockHash
);
hash_type!(
    /// The hash of a transaction, as its network computes it.
    TxHash
);

impl MessageId {
    /// The first ten hexadecimal digits: enough to tell messages apart on a screen.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{self}").chars().take(12).collect()
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_type!(
    /// A block's number on its network.
    Height
);
number_type!(
    /// A message's number on its lane; protocols number from 1.
    MessageNonce
);
number_type!(
    /// How many blocks stand on top of a block.
    Confirmations
);
number_type!(
    /// Milliseconds since 1970-01-01 UTC, by this machine's clock.
    UnixMillis
);

impl Height {
    /// The height after this one; stays at the largest height there is.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl UnixMillis {
    /// The time now. A clock before 1970 reads as 0.
    #[must_use]
    pub fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Seconds from `earlier` to this time; 0 if it is not earlier.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // 2^53 milliseconds are 285,000 years
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1000.0
    }
}

/// A block by height and hash: the only way a block is named where it matters which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// The block's number.
    pub height: Height,
    /// The block's hash.
    pub hash: BlockHash,
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} ({})", self.height, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_between_each_other() {
        assert_ne!(content_id("d", &[b"ab", b"c"]), content_id("d", &[b"a", b"bc"]));
        assert_ne!(content_id("d", &[b""]), content_id("d", &[]));
        assert_ne!(content_id("da", &[b"b"]), content_id("d", &[b"ab"]));
    }

    #[test]
    fn a_hash_is_read_back_from_its_text() {
        let id = MessageId(B256::repeat_byte(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("0x12".parse::<MessageId>(), Err(BadHash("0x12".into())));
        assert_eq!(id.short(), "0x0707070707");
    }
}
