//! Blocks of each format that presets know, hashed by our own code.
//!
//! `vectors/NETWORK/header.json` is a header of that network (of its test network for `bnb`);
//! `block.json` is a small block of the same format with all of its receipts, of whichever chain of
//! that format has one: as a node answers (`receipts`) and in consensus encoding (`encoded`). What is
//! of Cosmos chains (`simd`) is tested elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes};
use postrider_message::{Height, NetworkName, OperatorName};
use postrider_verification::{
    Answer, QuorumPolicy,
    evm::{AnchoredBlock, BadReceipts, ClaimedHeader, ProvenReceipts, anchor},
};
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Deserialize)]
struct Vector {
    network: String,
    format: String,
    header: Block,
    #[serde(default)]
    encoded: Vec<Bytes>,
}

#[derive(Deserialize)]
struct Block {
    hash: B256,
    #[serde(flatten)]
    header: Header,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut found = Vec::new();
    for network in fs::read_dir(folder).unwrap() {
        let network = network.unwrap();
        if network.file_name() == "simd" {
            continue;
        }
        for file in fs::read_dir(network.path()).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let vector = serde_json::from_str(&text);
            found.push(vector.map_err(|e| format!("{}: {e}", path.display())).unwrap());
        }
    }
    found
}

fn claimed(vector: &Vector) -> ClaimedHeader {
    ClaimedHeader { header: vector.header.header.clone(), hash: vector.header.hash }
}

/// The block, on the word of a quorum of one.
fn anchored(claimed: ClaimedHeader) -> Option<AnchoredBlock> {
    let operator: OperatorName = "only".parse().unwrap();
    let policy = QuorumPolicy::new([&operator], 1).unwrap();
    let network: NetworkName = "chain".parse().unwrap();
    let height = Height(claimed.header.number);
    let upstream = "only".parse().unwrap();
    let answer = Answer { upstream, operator, value: Some(claimed) };
    anchor(&policy, &network, height, height, vec![answer]).ok().map(|(block, _)| block)
}

#[test]
fn r1_headers_of_each_format_hash_as_their_chain_says() {
    let vectors = vectors();
    assert!(vectors.len() >= 8, "vectors are missing");
    for vector in &vectors {
        let good = claimed(vector);
        let block = anchored(good.clone());
        assert_eq!(block.map(|b| b.block().hash.0), Some(good.hash), "{}", vector.network);
        // A field that did not count in the hash could be forged.
        let forgeries: [fn(&mut Header); 6] = [
            |h| h.receipts_root = B256::repeat_byte(1),
            |h| h.logs_bloom.0[0] ^= 1,
            |h| h.timestamp += 1,
            |h| h.mix_hash = B256::repeat_byte(1),
            |h| h.base_fee_per_gas = None,
            |h| h.extra_data = [h.extra_data.to_vec(), vec![0]].concat().into(),
        ];
        for (number, forge) in forgeries.iter().enumerate() {
            let mut forged = good.clone();
            forge(&mut forged.header);
            assert_eq!(anchored(forged), None, "{}: forgery {number}", vector.network);
        }
    }
}

#[test]
fn r1_receipts_of_each_format_rebuild_their_root() {
    let vectors = vectors();
    let with_receipts: Vec<_> = vectors.iter().filter(|v| !v.encoded.is_empty()).collect();
    for format in ["arbitrum", "ethereum", "op-stack"] {
        assert!(with_receipts.iter().any(|v| v.format == format), "no receipts of {format}");
    }
    for vector in with_receipts {
        let network = &vector.network;
        let block = anchored(claimed(vector)).unwrap();
        let proven = ProvenReceipts::new(block.clone(), vector.encoded.clone()).unwrap();
        assert_eq!(proven.logs().unwrap().len(), vector.encoded.len(), "{network}");
        for index in 0..vector.encoded.len() as u64 {
            let evidence = proven.evidence(&[index]);
            assert_eq!(evidence[0].block(), Ok(block.block()), "{network}");
            assert!(evidence[0].check().is_ok(), "{network}: receipt {index}");
        }
        let fewer = vector.encoded[1..].to_vec();
        let refused = ProvenReceipts::new(block, fewer);
        assert!(matches!(refused, Err(BadReceipts::Root { .. })), "{network}");
    }
}

/// What a chain adds behind the logs counts in the root: without it a deposit proves nothing.
#[test]
fn an_op_stack_deposit_hashes_with_its_nonce_and_version() {
    let vectors = vectors();
    let vector = vectors.iter().find(|v| v.format == "op-stack" && !v.encoded.is_empty()).unwrap();
    let deposit = &vector.encoded[0];
    assert_eq!(deposit[0], 0x7e);
    // The list's length is in two bytes behind 0xf9; nonce (0x84 and 4 bytes) and version end it.
    let (kept, extra) = deposit.split_at(deposit.len() - 6);
    assert_eq!((deposit[1], extra[0], extra[5]), (0xf9, 0x84, 1));
    let length = u16::from_be_bytes([deposit[2], deposit[3]]) - 6;
    let mut bare = kept.to_vec();
    bare[2..4].copy_from_slice(&length.to_be_bytes());
    let mut encoded = vector.encoded.clone();
    encoded[0] = bare.into();
    let refused = ProvenReceipts::new(anchored(claimed(vector)).unwrap(), encoded);
    assert!(matches!(refused, Err(BadReceipts::Root { .. })));
}
