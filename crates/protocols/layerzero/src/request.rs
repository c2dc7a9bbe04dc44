//! What one signer of a DVN asks another, and what it is answered.
//!
//! A request names where a message was sent (chain, block hash, log) and the terms that all
//! signatures of one `DVN.execute` item share: library, depth and expiry. It carries neither the
//! message nor a digest: whoever is asked finds the message among what it has proven itself, and
//! derives what it signs. Both texts are JSON; who said them, and that they are fresh, is for the
//! seal that goes with them ([`postrider_signing::Sealed`]).

use crate::{
    dvn::{Expiration, SIGNATURE_SIZE, Vid},
    wire::Eid,
};
use alloy_primitives::{Address, B256, FixedBytes};
use postrider_message::{BlockHash, BlockRef, Confirmations, Detail, Height, UnixMillis};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;

/// The version of both texts.
pub const VERSION: u8 = 1;
/// The most messages in a request.
pub const MAX_ITEMS: usize = 50;
/// The most signatures for one message in an answer: as many keys as one process may hold.
pub const MAX_SIGNATURES: usize = 8;
/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;
/// The longest answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = 128 << 10;

/// A request for signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureRequest {
    /// [`VERSION`].
    pub version: u8,
    /// The identity of the process that is asked: a request for one is none for another.
    pub to: Address,
    /// Drawn at random for this request alone.
    pub nonce: B256,
    /// When it was made.
    pub at: UnixMillis,
    /// The DVN that both sign for.
    pub dvn: DvnPlace,
    /// What is to be signed: 1 to [`MAX_ITEMS`], each once.
    pub items: Vec<Asked>,
}

/// A DVN contract and the chain it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DvnPlace {
    /// The chain's EIP-155 id.
    pub chain_id: u64,
    /// The endpoint's id there.
    pub eid: Eid,
    /// The contract.
    pub address: Address,
    /// The contract's own id, which its signers sign.
    pub vid: Vid,
}

/// A message by where it was sent, and the terms of the attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The source chain's EIP-155 id.
    pub chain_id: u64,
    /// The endpoint's id there.
    pub eid: Eid,
    /// The height of the block, which only helps to find it.
    pub height: u64,
    /// The block.
    pub block: B256,
    /// The position in the block of the log that says so (`PacketSent`).
    pub index: u64,
    /// The receive library that is told.
    pub library: Address,
    /// The depth that is vouched for.
    pub confirmations: u64,
    /// When the signature stops counting, in seconds of Unix time.
    pub expires: u64,
}

impl Asked {
    /// The block.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        BlockRef { height: Height(self.height), hash: BlockHash(self.block) }
    }

    /// The depth that is vouched for.
    #[must_use]
    pub fn depth(&self) -> Confirmations {
        Confirmations(self.confirmations)
    }

    /// When the signature stops counting.
    #[must_use]
    pub fn expiration(&self) -> Expiration {
        Expiration(self.expires)
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureAnswer {
    /// [`VERSION`].
    pub version: u8,
    /// The digest of the request's bytes ([`postrider_signing::Sealed::digest`]).
    pub request: B256,
    /// For each of its items, in their order.
    pub items: Vec<Answered>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answered {
    /// Signed, by each of the keys that the process holds.
    Signed(Vec<FixedBytes<SIGNATURE_SIZE>>),
    /// Not signed.
    Refused {
        /// Why, in a word.
        why: Refused,
        /// Why, for people.
        detail: Detail,
    },
}

/// Why a peer signs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It has not proven its way to that block yet.
    NotYet,
    /// It has proven its way past that height and found no such message in that block.
    NotThere,
    /// The depth named is less than what the receiver or its operator asks for.
    TooFewConfirmations,
    /// The expiry is past, or further away than it signs for.
    Expiry,
    /// Its configuration or its operator does not let it sign for this.
    Unwilling,
    /// Its signing journal does not permit it.
    Journal,
    /// Something else, which the detail says.
    Other,
}

/// Why bytes are no request, or no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadText {
    /// Longer than is read.
    #[error("{found} bytes, where at most {most} are read")]
    TooLong {
        /// Its length.
        found: usize,
        /// The bound.
        most: usize,
    },
    /// Not the JSON that it must be.
    #[error("not as it must be: {0}")]
    Form(Detail),
    /// Of another version.
    #[error("version {0}, where {VERSION} is spoken: run one version on all peers")]
    Version(u8),
    /// Too many items, or none.
    #[error("{0} items, where 1 to {MAX_ITEMS} are taken")]
    Count(usize),
    /// An item is there twice.
    #[error("an item is there twice")]
    Duplicate,
    /// An answer to another request.
    #[error("an answer to another request")]
    OtherRequest,
    /// Not one answer for each item.
    #[error("{found} answers to {asked} items")]
    Answers {
        /// How many there are.
        found: usize,
        /// How many items were asked for.
        asked: usize,
    },
    /// More signatures than a process has keys.
    #[error("{0} signatures for one item, where at most {MAX_SIGNATURES} are read")]
    Signatures(usize),
}

fn read<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Result<T, BadText> {
    if bytes.len() > most {
        return Err(BadText::TooLong { found: bytes.len(), most });
    }
    serde_json::from_slice(bytes).map_err(|e| BadText::Form(e.to_string().into()))
}

impl SignatureRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`BadText`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadText> {
        let request: Self = read(bytes, MAX_REQUEST_BYTES)?;
        if request.version != VERSION {
            return Err(BadText::Version(request.version));
        }
        let count = request.items.len();
        if count == 0 || count > MAX_ITEMS {
            return Err(BadText::Count(count));
        }
        let distinct: BTreeSet<_> =
            request.items.iter().map(|i| (i.chain_id, i.block, i.index)).collect();
        if distinct.len() < count {
            return Err(BadText::Duplicate);
        }
        Ok(request)
    }

    /// Its bytes, which are what is sealed and sent.
    ///
    /// # Errors
    /// [`BadText::Form`]; it does not happen.
    pub fn bytes(&self) -> Result<Vec<u8>, BadText> {
        serde_json::to_vec(self).map_err(|e| BadText::Form(e.to_string().into()))
    }
}

impl SignatureAnswer {
    /// Reads the answer to the request with this digest and so many items.
    ///
    /// # Errors
    /// [`BadText`].
    pub fn read(bytes: &[u8], request: B256, asked: usize) -> Result<Self, BadText> {
        let answer: Self = read(bytes, MAX_ANSWER_BYTES)?;
        if answer.version != VERSION {
            return Err(BadText::Version(answer.version));
        }
        if answer.request != request {
            return Err(BadText::OtherRequest);
        }
        let found = answer.items.len();
        if found != asked {
            return Err(BadText::Answers { found, asked });
        }
        for item in &answer.items {
            match item {
                Answered::Signed(list) if list.len() > MAX_SIGNATURES => {
                    return Err(BadText::Signatures(list.len()));
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Its bytes, which are what is sealed and sent.
    ///
    /// # Errors
    /// [`BadText::Form`]; it does not happen.
    pub fn bytes(&self) -> Result<Vec<u8>, BadText> {
        serde_json::to_vec(self).map_err(|e| BadText::Form(e.to_string().into()))
    }
}

#[cfg(test)]
mod tests;
