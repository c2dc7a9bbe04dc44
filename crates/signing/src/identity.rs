//! Who speaks: the key by which a process is known to its peers, and seals on what they tell each
//! other.
//!
//! It is neither a key that attests nor one that pays: what it signs is a digest of this module's
//! own making, which no contract and no chain takes for anything.

use crate::key::SigningError;
use alloy_primitives::{Address, B256, Signature};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use postrider_message::id::content_id;
use rand_08::RngCore;
use std::fmt;

/// Bytes of a seal: r, s and v.
pub const SEAL_SIZE: usize = 65;

/// What a sealed text is; a seal on one kind is none on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// A request to a peer.
    Request,
    /// A peer's answer.
    Answer,
}

impl Sealed {
    /// What is signed: SHA-256 over the kind and the bytes, each preceded by its length.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> B256 {
        let domain = match self {
            Self::Request => "postrider/peer/request/1",
            Self::Answer => "postrider/peer/answer/1",
        };
        content_id(domain, &[bytes])
    }

    /// Whose seal on `bytes` this is; `None` if nobody's. Whoever asks must compare: bytes that were
    /// changed have the seal of somebody unknown.
    #[must_use]
    pub fn sealed_by(self, bytes: &[u8], seal: &[u8; SEAL_SIZE]) -> Option<Address> {
        let signature = Signature::from_raw_array(seal).ok()?;
        let by = signature.recover_address_from_prehash(&self.digest(bytes)).ok()?;
        (!by.is_zero()).then_some(by)
    }
}

/// 32 random bytes, by which one request differs from every other.
#[must_use]
pub fn random_nonce() -> B256 {
    let mut nonce = B256::ZERO;
    rand_08::rngs::OsRng.fill_bytes(&mut nonce.0);
    nonce
}

/// The key by which a process is known to its peers. It cannot attest and cannot pay.
#[derive(Clone)]
pub struct IdentityKey(PrivateKeySigner);

impl IdentityKey {
    pub(crate) fn new(signer: PrivateKeySigner) -> Self {
        Self(signer)
    }

    /// A key that nobody has seen, which is forgotten with this value.
    #[must_use]
    pub fn random() -> Self {
        Self(PrivateKeySigner::random())
    }

    /// The address by which peers know it.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Its seal on `bytes`.
    ///
    /// # Errors
    /// [`SigningError::Key`] if the signature cannot be computed.
    pub fn seal(&self, kind: Sealed, bytes: &[u8]) -> Result<[u8; SEAL_SIZE], SigningError> {
        let signature = self.0.sign_hash_sync(&kind.digest(bytes));
        signature.map(|s| s.as_bytes()).map_err(|e| SigningError::Key(e.to_string()))
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class (j): a seal counts for one kind of text, and for these bytes.
    #[test]
    fn j_a_seal_is_bound_to_kind_and_bytes() {
        let key = IdentityKey::random();
        let seal = key.seal(Sealed::Request, b"text").unwrap();
        assert_eq!(Sealed::Request.sealed_by(b"text", &seal), Some(key.address()));
        assert_ne!(Sealed::Answer.sealed_by(b"text", &seal), Some(key.address()));
        assert_ne!(Sealed::Request.sealed_by(b"texts", &seal), Some(key.address()));
        let mut changed = seal;
        changed[3] ^= 1;
        assert_ne!(Sealed::Request.sealed_by(b"text", &changed), Some(key.address()));
    }

    /// Class (a): nothing is nobody's seal.
    #[test]
    fn r5_a_default_seals_are_nobodys() {
        for filled in [0, 1, 27, 255] {
            let seal = [filled; SEAL_SIZE];
            assert_ne!(Sealed::Request.sealed_by(b"", &seal), Some(Address::ZERO));
        }
        assert_eq!(Sealed::Request.sealed_by(b"", &[0; SEAL_SIZE]), None);
    }
}
