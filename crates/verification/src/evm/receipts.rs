//! Receipts proven against a header's receipts root.
//!
//! Receipts are handled in their consensus encoding (EIP-2718: a type byte and an RLP list, or a
//! bare RLP list), which is what the root commits to. Fields that a chain adds behind the logs do
//! not matter here, so OP Stack deposits need no code of their own.

use super::anchor::AnchoredBlock;
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use alloy_trie::{
    HashBuilder, Nibbles, proof::ProofRetainer, proof::verify_proof, root::adjust_index_for_rlp,
};
use postrider_message::BlockRef;

/// The most receipts one block may have here: a block of 21,000-gas transfers alone would need
/// more than two billion gas to pass it.
pub const MAX_RECEIPTS: usize = 100_000;

/// Why receipts or evidence do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipts {
    /// More than [`MAX_RECEIPTS`].
    #[error("{0} receipts are more than a block may have")]
    TooMany(usize),
    /// They do not hash to the header's receipts root.
    #[error("the receipts hash to {found}, but the header commits to {expected}")]
    Root {
        /// The header's receipts root.
        expected: B256,
        /// The root of the receipts that were given.
        found: B256,
    },
    /// A receipt's bytes cannot be read.
    #[error("receipt {index} is malformed: {what}")]
    Malformed {
        /// Its position in the block.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The evidence's header cannot be read.
    #[error("the evidence's header is malformed")]
    Header,
    /// The trie proof does not lead from the root to the receipt.
    #[error("the trie proof does not lead from the receipts root to the receipt")]
    Proof,
}

/// A log of a receipt. Whether it is proven depends on where the receipt comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptLog {
    /// The contract that emitted it.
    pub address: Address,
    /// Its topics; the first names the event.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
    /// Its position among the logs of its receipt.
    pub index_in_receipt: u64,
}

/// All receipts of an anchored block, proven to be exactly those its header commits to: none is
/// missing, none is added.
#[derive(Debug, Clone)]
pub struct ProvenReceipts {
    block: AnchoredBlock,
    encoded: Vec<Bytes>,
}

impl ProvenReceipts {
    /// Rebuilds the receipts root from `encoded`, in block order, and compares.
    ///
    /// # Errors
    /// [`BadReceipts::Root`] if it differs, [`BadReceipts::TooMany`] beyond the bound.
    pub fn new(block: AnchoredBlock, encoded: Vec<Bytes>) -> Result<Self, BadReceipts> {
        if encoded.len() > MAX_RECEIPTS {
            return Err(BadReceipts::TooMany(encoded.len()));
        }
        let found = alloy_trie::root::ordered_trie_root_encoded(&encoded);
        let expected = block.header().receipts_root;
        if found != expected {
            return Err(BadReceipts::Root { expected, found });
        }
        Ok(Self { block, encoded })
    }

    /// The block.
    #[must_use]
    pub fn block(&self) -> &AnchoredBlock {
        &self.block
    }

    /// Each receipt's logs, in block order.
    ///
    /// # Errors
    /// [`BadReceipts::Malformed`] for a receipt that cannot be read.
    pub fn logs(&self) -> Result<Vec<Vec<ReceiptLog>>, BadReceipts> {
        read_logs(&self.encoded)
    }

    /// Evidence for the receipts at `indexes`, which holds on its own against the block's hash.
    /// Indexes the block does not have are left out.
    #[must_use]
    pub fn evidence(&self, indexes: &[u64]) -> Vec<ReceiptEvidence> {
        let wanted: Vec<(u64, Nibbles)> = indexes
            .iter()
            .filter(|i| usize::try_from(**i).is_ok_and(|i| i < self.encoded.len()))
            .map(|i| (*i, receipt_key(*i)))
            .collect();
        let retainer = ProofRetainer::from_iter(wanted.iter().map(|(_, key)| *key));
        let mut trie = HashBuilder::default().with_proof_retainer(retainer);
        for position in 0..self.encoded.len() {
            let index = adjust_index_for_rlp(position, self.encoded.len());
            if let Some(receipt) = self.encoded.get(index) {
                trie.add_leaf(receipt_key(index as u64), receipt);
            }
        }
        trie.root();
        let nodes = trie.take_proof_nodes();
        let mut header = Vec::new();
        self.block.header().encode(&mut header);
        let header = Bytes::from(header);
        wanted
            .into_iter()
            .filter_map(|(index, key)| {
                Some(ReceiptEvidence {
                    header: header.clone(),
                    index,
                    receipt: self.encoded.get(usize::try_from(index).ok()?)?.clone(),
                    proof: nodes.matching_nodes_sorted(&key).into_iter().map(|(_, n)| n).collect(),
                })
            })
            .collect()
    }
}

/// A receipt, its place in a block, and the trie nodes from the receipts root to it. It can be
/// stored, and proves the receipt to whoever knows the block's hash.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct ReceiptEvidence {
    /// The block's header in RLP.
    pub header: Bytes,
    /// The receipt's position in the block.
    pub index: u64,
    /// The receipt in its consensus encoding.
    pub receipt: Bytes,
    /// The trie nodes, the root first.
    pub proof: Vec<Bytes>,
}

impl ReceiptEvidence {
    /// The bytes to store (RLP).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Reads stored evidence. It proves nothing until it is checked against an anchor.
    ///
    /// # Errors
    /// [`BadReceipts::Header`] if the bytes are not evidence.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, BadReceipts> {
        let evidence = Self::decode(&mut bytes).map_err(|_| BadReceipts::Header)?;
        if bytes.is_empty() { Ok(evidence) } else { Err(BadReceipts::Header) }
    }

    /// The block this evidence belongs to, by its own header.
    ///
    /// # Errors
    /// [`BadReceipts::Header`] if the header cannot be read.
    pub fn block(&self) -> Result<BlockRef, BadReceipts> {
        let header = self.decode_header()?;
        Ok(BlockRef {
            height: postrider_message::Height(header.number),
            hash: keccak256(&self.header).into(),
        })
    }

    /// The receipt's logs, if the proof leads to it from the receipts root of its own header.
    ///
    /// # Errors
    /// [`BadReceipts`] naming the first thing that does not hold.
    pub fn check(&self) -> Result<Vec<ReceiptLog>, BadReceipts> {
        let root = self.decode_header()?.receipts_root;
        verify_proof(root, receipt_key(self.index), Some(self.receipt.to_vec()), &self.proof)
            .map_err(|_| BadReceipts::Proof)?;
        receipt_logs(self.index, &self.receipt)
    }

    fn decode_header(&self) -> Result<Header, BadReceipts> {
        let mut bytes = self.header.as_ref();
        let header = Header::decode(&mut bytes).map_err(|_| BadReceipts::Header)?;
        if bytes.is_empty() { Ok(header) } else { Err(BadReceipts::Header) }
    }
}

/// Each receipt's logs, read out of the consensus encoding without proving anything.
///
/// # Errors
/// [`BadReceipts::Malformed`] for the first receipt that cannot be read.
pub fn read_logs(encoded: &[Bytes]) -> Result<Vec<Vec<ReceiptLog>>, BadReceipts> {
    encoded.iter().zip(0u64..).map(|(bytes, index)| receipt_logs(index, bytes)).collect()
}

fn receipt_key(index: u64) -> Nibbles {
    Nibbles::unpack(alloy_rlp::encode(index))
}

/// Reads the logs out of an encoded receipt: `[status, cumulativeGas, bloom, logs, ...]`, behind a
/// type byte where it has one (EIP-2718).
fn receipt_logs(index: u64, bytes: &[u8]) -> Result<Vec<ReceiptLog>, BadReceipts> {
    let bad = |what| BadReceipts::Malformed { index, what };
    let mut rest = match bytes.first() {
        None => return Err(bad("it is empty")),
        Some(0xc0..) => bytes,
        Some(_) => bytes.get(1..).unwrap_or_default(),
    };
    let mut fields =
        alloy_rlp::Header::decode_bytes(&mut rest, true).map_err(|_| bad("it is not a list"))?;
    if !rest.is_empty() {
        return Err(bad("bytes follow its end"));
    }
    for what in ["it has no status", "it has no gas", "it has no bloom"] {
        alloy_rlp::Header::decode_bytes(&mut fields, false).map_err(|_| bad(what))?;
    }
    let logs = Vec::<alloy_primitives::Log>::decode(&mut fields)
        .map_err(|_| bad("its logs cannot be read"))?;
    Ok(logs
        .into_iter()
        .zip(0u64..)
        .map(|(log, index_in_receipt)| {
            let address = log.address;
            let (topics, data) = log.data.split();
            ReceiptLog { address, topics, data, index_in_receipt }
        })
        .collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evm::anchor::tests::{anchored, header};
    use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope};
    use alloy_eips::eip2718::Encodable2718;
    use alloy_primitives::{Log, b256};
    use proptest::prelude::*;

    pub(crate) fn receipt(kind: u8, logs: Vec<Log>) -> Bytes {
        let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used: 7, logs };
        let receipt = receipt.with_bloom();
        let envelope = match kind {
            0 => ReceiptEnvelope::Legacy(receipt),
            _ => ReceiptEnvelope::Eip1559(receipt),
        };
        envelope.encoded_2718().into()
    }

    pub(crate) fn log(emitter: u8, data: &[u8]) -> Log {
        let address = Address::repeat_byte(emitter);
        Log::new_unchecked(address, vec![B256::repeat_byte(emitter)], data.to_vec().into())
    }

    pub(crate) fn block_of(receipts: &[Bytes]) -> AnchoredBlock {
        let mut header = header(5, B256::ZERO);
        header.receipts_root = alloy_trie::root::ordered_trie_root_encoded(receipts);
        anchored(&header, 6)
    }

    fn many(count: u8) -> Vec<Bytes> {
        (0..count).map(|i| receipt(i % 2, vec![log(i, &[i; 40]), log(1, b"x")])).collect()
    }

    #[test]
    fn r1_all_receipts_or_none() {
        for count in [0, 1, 2, 127, 128, 129, 200] {
            let receipts = many(count);
            let block = block_of(&receipts);
            assert!(ProvenReceipts::new(block.clone(), receipts.clone()).is_ok(), "{count}");
            let mut dropped = receipts.clone();
            if dropped.pop().is_some() {
                let root = ProvenReceipts::new(block.clone(), dropped);
                assert!(matches!(root, Err(BadReceipts::Root { .. })), "{count} dropped");
            }
            let mut added = receipts.clone();
            added.push(receipt(0, vec![log(3, b"forged")]));
            assert!(ProvenReceipts::new(block.clone(), added).is_err(), "{count} added");
            let mut swapped = receipts;
            swapped.reverse();
            if count > 1 {
                assert!(ProvenReceipts::new(block, swapped).is_err(), "{count} swapped");
            }
        }
    }

    /// Classes (b) malformed proofs, (c) index and count, (a) empty values.
    #[test]
    fn r5_a_b_c_evidence_that_is_off_in_any_way_is_refused() {
        let receipts = many(150);
        let proven = ProvenReceipts::new(block_of(&receipts), receipts).unwrap();
        for index in [0, 1, 127, 128, 149] {
            let [good] = &proven.evidence(&[index])[..] else { panic!("no evidence") };
            assert_eq!(good.check().unwrap().len(), 2);
            assert_eq!(good.block().unwrap(), proven.block().block());
            assert_eq!(ReceiptEvidence::from_bytes(&good.to_bytes()).as_ref(), Ok(good));

            let refused = |change: &dyn Fn(&mut ReceiptEvidence)| {
                let mut bad = good.clone();
                change(&mut bad);
                assert!(bad.check().is_err(), "{index}: {bad:?}");
            };
            refused(&|e| e.index += 1);
            refused(&|e| e.index = 10_000);
            refused(&|e| e.proof.clear());
            refused(&|e| drop(e.proof.pop()));
            refused(&|e| e.proof.push(Bytes::from_static(&[0xc0])));
            refused(&|e| e.receipt = Bytes::new());
            refused(&|e| e.receipt = receipt(0, vec![log(9, b"forged")]));
            refused(&|e| e.header = Bytes::new());
        }
        assert!(proven.evidence(&[150, u64::MAX]).is_empty());
    }

    #[test]
    fn a_the_empty_root_proves_no_receipt() {
        let evidence = ReceiptEvidence {
            header: alloy_rlp::encode(header(5, B256::ZERO)).into(),
            index: 0,
            receipt: Bytes::new(),
            proof: vec![],
        };
        assert!(evidence.check().is_err());
        assert_eq!(
            alloy_trie::EMPTY_ROOT_HASH,
            b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
        );
    }

    proptest! {
        #[test]
        fn r10_arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = receipt_logs(0, &bytes);
            let _ = ReceiptEvidence::from_bytes(&bytes).map(|e| e.check());
            let evidence = ReceiptEvidence {
                header: bytes.clone().into(), index: 1,
                receipt: bytes.clone().into(), proof: vec![bytes.into()],
            };
            prop_assert!(evidence.check().is_err());
        }
    }
}
