//! Keys in memory.

use crate::journal::Permit;
use alloy_primitives::{Address, B256, Signature};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use postrider_verification::{Verified, evm::SentMessage};
use std::fmt;

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The permit was granted for something else.
    #[error("the permit is for another key, subject or value; nothing was signed")]
    PermitMismatch,
    /// The signature could not be computed.
    #[error("the key cannot sign: {0}")]
    Key(String),
}

/// Something an attesting key may sign: a protocol's way of saying that a verified fact is so. It
/// can only be made from a [`Verified`] value.
pub trait Attestable {
    /// The fact it says.
    fn fact(&self) -> &Verified<SentMessage>;
    /// Where the signature counts: protocol, contract and network. Texts that differ must mean
    /// places where one signature cannot be taken for another.
    fn domain(&self) -> String;
    /// What it is about, within the domain: one value is signed for it at most.
    fn subject(&self) -> B256;
    /// What it says about the subject, in canonical form.
    fn value(&self) -> B256;
    /// Until when the signature counts, in Unix seconds.
    fn expires(&self) -> u64;
    /// The hash to sign, computed from the above in the protocol's dialect.
    fn digest(&self) -> B256;
}

/// A key that attests. It cannot sign a bare digest or a transaction.
#[derive(Clone)]
pub struct AttestingKey(PrivateKeySigner);

/// A key that pays for transactions. It cannot attest.
#[derive(Clone)]
pub struct TransactionKey(PrivateKeySigner);

impl AttestingKey {
    pub(crate) fn new(signer: PrivateKeySigner) -> Self {
        Self(signer)
    }

    /// The key's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs what `permit` allows: 65 bytes, r, s and v (27 or 28).
    ///
    /// # Errors
    /// [`SigningError::PermitMismatch`] if the permit was granted for anything else.
    pub fn attest(&self, what: &dyn Attestable, permit: &Permit) -> Result<[u8; 65], SigningError> {
        if !permit.allows(self.address(), what) {
            return Err(SigningError::PermitMismatch);
        }
        sign(&self.0, what.digest()).map(|s| s.as_bytes())
    }
}

impl TransactionKey {
    pub(crate) fn new(signer: PrivateKeySigner) -> Self {
        Self(signer)
    }

    /// The key's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a transaction's hash.
    ///
    /// # Errors
    /// [`SigningError::Key`] if the signature cannot be computed.
    pub fn sign_transaction(&self, signature_hash: B256) -> Result<Signature, SigningError> {
        sign(&self.0, signature_hash)
    }
}

fn sign(signer: &PrivateKeySigner, hash: B256) -> Result<Signature, SigningError> {
    signer.sign_hash_sync(&hash).map_err(|e| SigningError::Key(e.to_string()))
}

impl fmt::Debug for AttestingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttestingKey({})", self.address())
    }
}

impl fmt::Debug for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionKey({})", self.address())
    }
}
