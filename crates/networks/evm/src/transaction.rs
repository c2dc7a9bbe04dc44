//! Building and signing EIP-1559 transactions.

use crate::fees::Fees;
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use postrider_message::TxHash;

/// What a transaction is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The contract.
    pub to: Address,
    /// The call data.
    pub data: Bytes,
    /// The value sent along, in wei.
    pub value: U256,
    /// The most gas it may use.
    pub gas_limit: u64,
}

/// A signed transaction, ready to be handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// Its hash.
    pub hash: TxHash,
    /// Its bytes (EIP-2718).
    pub raw: Bytes,
}

/// An unsigned transaction, and what of it must be signed.
#[derive(Debug, Clone)]
pub struct UnsignedTransaction(TxEip1559);

impl UnsignedTransaction {
    /// A transaction of the account's `nonce` on the chain `chain_id` (EIP-155).
    #[must_use]
    pub fn new(chain_id: u64, nonce: u64, fees: Fees, payload: &Payload) -> Self {
        Self(TxEip1559 {
            chain_id,
            nonce,
            gas_limit: payload.gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(payload.to),
            value: payload.value,
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: payload.data.clone(),
        })
    }

    /// The hash to sign (EIP-1559).
    #[must_use]
    pub fn signature_hash(&self) -> B256 {
        self.0.signature_hash()
    }

    /// The transaction with its signature.
    #[must_use]
    pub fn signed(self, signature: Signature) -> SignedTransaction {
        let envelope = TxEnvelope::from(self.0.into_signed(signature));
        SignedTransaction {
            hash: (*envelope.tx_hash()).into(),
            raw: envelope.encoded_2718().into(),
        }
    }
}
