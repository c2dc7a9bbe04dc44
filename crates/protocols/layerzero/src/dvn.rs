//! What a DVN's signers sign, and the calls that carry their signatures (`DVN`, `MultiSig`).
//!
//! The digest binds the DVN's id (vid), the target, the call and its expiration, but neither the
//! DVN's address nor its chain: two DVNs that share signers, vid and target accept each other's
//! signatures. Whoever signs must refuse such a pair.

use crate::{
    contracts::{self, Dvn, ReceiveUln302},
    wire::{PacketHeader, PayloadHash},
};
use alloy_primitives::{
    Address, B256, Bytes, Keccak256, Signature, U256, eip191_hash_message, uint,
};
use alloy_sol_types::SolCall;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of one signature: r, s and v.
pub const SIGNATURE_SIZE: usize = 65;
/// Largest quorum that is put together. Real DVNs have single digits.
pub const MAX_QUORUM: u64 = 64;

/// Half of secp256k1's order: OpenZeppelin's ECDSA refuses an `s` above it.
const HALF_ORDER: U256 =
    uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);

/// The id a DVN contract was deployed with; by convention its endpoint's id modulo 30,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vid(pub u32);

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When signatures stop counting, in seconds of Unix time. The destination's block time must be
/// below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expiration(pub u64);

/// `keccak256(abi.encodePacked(uint32 vid, address target, uint256 expiration, bytes callData))`,
/// as `hashCallData` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecuteDigest(pub B256);

impl ExecuteDigest {
    /// What is signed: the EIP-191 hash of the digest's 32 bytes.
    #[must_use]
    pub fn eip191_hash(&self) -> B256 {
        eip191_hash_message(self.0)
    }
}

impl fmt::Display for ExecuteDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One item of `execute`: a call with the signatures that allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecuteParam {
    /// The DVN's own id; an item with another is skipped in silence.
    pub vid: Vid,
    /// The contract that is called.
    pub target: Address,
    /// The call.
    pub call_data: Bytes,
    /// When the item expires; an expired one is skipped in silence.
    pub expiration: Expiration,
    /// From [`assemble_signatures`].
    pub signatures: Bytes,
}

impl ExecuteParam {
    /// What this item's signers signed.
    #[must_use]
    pub fn digest(&self) -> ExecuteDigest {
        execute_digest(self.vid, self.target, self.expiration, &self.call_data)
    }
}

/// Why signatures cannot be put together. [`SignatureError::WrongCount`] with too few is worth
/// another try when more have come; everything else needs other signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A quorum of zero, which would let anyone call.
    #[error("the quorum is zero; read it from the DVN again")]
    ZeroQuorum,
    /// More than [`MAX_QUORUM`].
    #[error("a quorum of {quorum} is more than {MAX_QUORUM}; check the DVN's address")]
    QuorumTooLarge {
        /// The quorum asked for.
        quorum: u64,
    },
    /// Fewer or more signatures than the quorum: the contract takes exactly as many.
    #[error("{have} signatures for a quorum of {need}; the contract takes exactly {need}")]
    WrongCount {
        /// How many there were.
        have: usize,
        /// How many the contract takes.
        need: u64,
    },
    /// A signature that counts for the zero address.
    #[error("the zero address is not a signer")]
    ZeroSigner,
    /// Two signatures of one signer.
    #[error("{signer} is there twice; each signer counts once")]
    DuplicateSigner {
        /// Who.
        signer: Address,
    },
    /// A last byte other than 27 and 28.
    #[error("the signature of {signer} has v = {v}; the contract takes 27 and 28")]
    RecoveryByte {
        /// Whose.
        signer: Address,
        /// The byte.
        v: u8,
    },
    /// An `s` that is zero or in the upper half of the curve's order.
    #[error("the signature of {signer} has an s that the contract refuses; use the low one")]
    SOutOfRange {
        /// Whose.
        signer: Address,
    },
    /// A signature from which no public key follows.
    #[error("no signer follows from the signature")]
    Unrecoverable,
}

impl SignatureError {
    /// Whether more signatures could make it right.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::WrongCount { have, need } if (*have as u64) < *need)
    }
}

/// Call data of `ReceiveUln302.verify`: the attestation itself. `confirmations` is the number of
/// blocks on top of the one that holds the packet.
#[must_use]
pub fn verify_call_data(
    header: &PacketHeader,
    payload_hash: PayloadHash,
    confirmations: u64,
) -> Bytes {
    let call = ReceiveUln302::verifyCall {
        packetHeader: header.encode().into(),
        payloadHash: payload_hash.0,
        confirmations,
    };
    call.abi_encode().into()
}

/// What a signer approves, see [`ExecuteDigest`].
#[must_use]
pub fn execute_digest(
    vid: Vid,
    target: Address,
    expiration: Expiration,
    call_data: &[u8],
) -> ExecuteDigest {
    let mut hasher = Keccak256::new();
    hasher.update(vid.0.to_be_bytes());
    hasher.update(target);
    hasher.update(U256::from(expiration.0).to_be_bytes::<32>());
    hasher.update(call_data);
    ExecuteDigest(hasher.finalize())
}

/// Who signed `digest`, as `MultiSig` finds out.
///
/// # Errors
/// [`SignatureError::RecoveryByte`] and [`SignatureError::SOutOfRange`] (naming the zero address,
/// for the signer is not known yet), [`SignatureError::Unrecoverable`].
pub fn recover_signer(
    digest: ExecuteDigest,
    signature: &[u8; SIGNATURE_SIZE],
) -> Result<Address, SignatureError> {
    check_form(Address::ZERO, signature)?;
    Signature::from_raw_array(signature)
        .and_then(|signature| signature.recover_address_from_prehash(&digest.eip191_hash()))
        .map_err(|_| SignatureError::Unrecoverable)
}

/// Joins exactly `quorum` signatures in the order `MultiSig` wants: by ascending signer. It does
/// not check that they recover to their signers; [`recover_signer`] does.
///
/// # Errors
/// Every [`SignatureError`] but `Unrecoverable`.
pub fn assemble_signatures(
    mut signatures: Vec<(Address, [u8; SIGNATURE_SIZE])>,
    quorum: u64,
) -> Result<Bytes, SignatureError> {
    if quorum == 0 {
        return Err(SignatureError::ZeroQuorum);
    }
    if quorum > MAX_QUORUM {
        return Err(SignatureError::QuorumTooLarge { quorum });
    }
    if u64::try_from(signatures.len()) != Ok(quorum) {
        return Err(SignatureError::WrongCount { have: signatures.len(), need: quorum });
    }
    signatures.sort_unstable_by_key(|(signer, _)| *signer);
    // Starting from the zero address, as the contract does, refuses it as well.
    let mut last = Address::ZERO;
    let mut joined = Vec::with_capacity(signatures.len() * SIGNATURE_SIZE);
    for (signer, signature) in signatures {
        if signer.is_zero() {
            return Err(SignatureError::ZeroSigner);
        }
        if signer == last {
            return Err(SignatureError::DuplicateSigner { signer });
        }
        check_form(signer, &signature)?;
        joined.extend_from_slice(&signature);
        last = signer;
    }
    Ok(joined.into())
}

/// Call data of `DVN.execute`.
#[must_use]
pub fn execute_call_data(params: Vec<ExecuteParam>) -> Bytes {
    let params = params
        .into_iter()
        .map(|param| contracts::ExecuteParam {
            vid: param.vid.0,
            target: param.target,
            callData: param.call_data,
            expiration: U256::from(param.expiration.0),
            signatures: param.signatures,
        })
        .collect();
    Dvn::executeCall { params }.abi_encode().into()
}

/// OpenZeppelin's conditions on a signature.
fn check_form(signer: Address, signature: &[u8; SIGNATURE_SIZE]) -> Result<(), SignatureError> {
    let [rest @ .., v] = signature;
    if !matches!(v, 27 | 28) {
        return Err(SignatureError::RecoveryByte { signer, v: *v });
    }
    let s = rest.last_chunk::<32>().map(|s| U256::from_be_bytes(*s)).unwrap_or_default();
    if s.is_zero() || s > HALF_ORDER {
        return Err(SignatureError::SOutOfRange { signer });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
