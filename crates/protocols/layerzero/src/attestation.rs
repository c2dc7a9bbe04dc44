//! A DVN's word: that a packet was sent, said in the form its contract takes.

use crate::{
    deployment::{BadLane, header_of},
    dvn::{ExecuteDigest, ExecuteParam, Expiration, Vid, execute_digest, verify_call_data},
    wire::{HeaderHash, PayloadHash},
};
use alloy_primitives::{Address, B256, Bytes};
use postrider_message::Confirmations;
use postrider_signing::Attestable;
use postrider_verification::{Verified, evm::SentMessage};

/// Where an attestation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DvnTarget {
    /// The DVN contract's own id.
    pub vid: Vid,
    /// The receive library, pinned by the operator.
    pub library: Address,
}

/// An attestation of one verified packet.
#[derive(Debug, Clone)]
pub struct DvnAttestation<'a> {
    fact: &'a Verified<SentMessage>,
    target: DvnTarget,
    header_hash: HeaderHash,
    payload_hash: PayloadHash,
    depth: Confirmations,
    call_data: Bytes,
    expiration: Expiration,
}

/// Why there is nothing to attest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAttestable {
    /// It is not a LayerZero packet.
    #[error(transparent)]
    Lane(#[from] BadLane),
    /// Our quorum has not seen as many blocks on top as the receiver asks for.
    #[error("{seen} confirmations seen, {needed} needed")]
    TooShallow {
        /// What the quorum saw.
        seen: Confirmations,
        /// What is asked for.
        needed: Confirmations,
    },
    /// The depth to be named is less than what the receiver or the operator asks for.
    #[error("{depth} confirmations are too few, {needed} needed")]
    TooFew {
        /// The depth that was to be named.
        depth: Confirmations,
        /// What is asked for.
        needed: Confirmations,
    },
}

impl<'a> DvnAttestation<'a> {
    /// The attestation that `fact` is so, with the depth the quorum observed, which must be at
    /// least `needed`.
    ///
    /// # Errors
    /// [`NotAttestable`].
    pub fn new(
        fact: &'a Verified<SentMessage>,
        target: DvnTarget,
        needed: Confirmations,
        expiration: Expiration,
    ) -> Result<Self, NotAttestable> {
        let seen = fact.basis().depth;
        if seen < needed {
            return Err(NotAttestable::TooShallow { seen, needed });
        }
        Self::at_depth(fact, target, seen, needed, expiration)
    }

    /// The attestation that `fact` is so, with a `depth` that was agreed with others: at least
    /// `needed`, and no more than our quorum observed.
    ///
    /// # Errors
    /// [`NotAttestable`].
    pub fn at_depth(
        fact: &'a Verified<SentMessage>,
        target: DvnTarget,
        depth: Confirmations,
        needed: Confirmations,
        expiration: Expiration,
    ) -> Result<Self, NotAttestable> {
        if depth < needed {
            return Err(NotAttestable::TooFew { depth, needed });
        }
        let seen = fact.basis().depth;
        if seen < depth {
            return Err(NotAttestable::TooShallow { seen, needed: depth });
        }
        let header = header_of(&fact.value().message)?;
        let payload_hash = PayloadHash(fact.value().message.payload.hash().0);
        Ok(Self {
            fact,
            target,
            header_hash: header.header_hash(),
            payload_hash,
            depth,
            call_data: verify_call_data(&header, payload_hash, depth.0),
            expiration,
        })
    }

    /// Where it goes.
    #[must_use]
    pub fn target(&self) -> DvnTarget {
        self.target
    }

    /// The depth it vouches for.
    #[must_use]
    pub fn depth(&self) -> Confirmations {
        self.depth
    }

    /// What every signer of this attestation signs.
    #[must_use]
    pub fn execute_digest(&self) -> ExecuteDigest {
        execute_digest(self.target.vid, self.target.library, self.expiration, &self.call_data)
    }

    /// The item for `DVN.execute`, with the quorum's signatures.
    #[must_use]
    pub fn param(&self, signatures: Bytes) -> ExecuteParam {
        ExecuteParam {
            vid: self.target.vid,
            target: self.target.library,
            call_data: self.call_data.clone(),
            expiration: self.expiration,
            signatures,
        }
    }
}

impl Attestable for DvnAttestation<'_> {
    fn fact(&self) -> &Verified<SentMessage> {
        self.fact
    }

    /// What the digest names: the contract's vid and the library. The DVN's own address is not in
    /// the digest, so it is not in the domain either: two DVNs that share both share the journal's
    /// entry, and cannot be made to say different things.
    fn domain(&self) -> String {
        format!("layerzero/dvn/{}/{:#x}", self.target.vid, self.target.library)
    }

    /// The header's hash: source, sender, nonce, destination, receiver.
    fn subject(&self) -> B256 {
        self.header_hash.0
    }

    /// The payload's hash. Depth and expiry may differ between two signatures of one value.
    fn value(&self) -> B256 {
        self.payload_hash.0
    }

    fn expires(&self) -> u64 {
        self.expiration.0
    }

    fn digest(&self) -> B256 {
        self.execute_digest().eip191_hash()
    }
}
