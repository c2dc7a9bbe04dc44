//! What Cosmos chains say: signed blocks, and proofs of state.

use crate::memory::bounded;
use ics23::{CommitmentProof, ExistenceProof, commitment_proof::Proof};
use postrider_message::{Height, UnixMillis};
use postrider_verification::{
    Verdict,
    tendermint::{
        AnchorVerdict, ClaimedBlock, CosmosAnchor, RootOfTrust, StateHeight, StateProof,
        TrustOptions, advance, anchor_from_root, json, prove_absent, prove_value,
    },
};
use prost::Message;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};
use tendermint::{
    block::signed_header::SignedHeader,
    merkle::proof::{ProofOp, ProofOps},
    validator::Info,
};

const BLOCKS: &str = include_str!("../../crates/verification/tests/vectors/simd/blocks.json");
const PROOFS: &str = include_str!("../../crates/verification/tests/vectors/simd/proofs.json");

#[derive(Deserialize)]
struct Parts {
    #[serde(deserialize_with = "json::signed_header")]
    signed_header: SignedHeader,
    #[serde(deserialize_with = "json::validators")]
    validators: Vec<Info>,
    #[serde(deserialize_with = "json::validators")]
    next_validators: Vec<Info>,
}

#[derive(Deserialize)]
struct Answer {
    height: u64,
    proof_ops: ProofOps,
}

/// A chain of which some blocks and some state are known.
struct Chain {
    options: TrustOptions,
    now: UnixMillis,
    trusted: CosmosAnchor,
    hashes: BTreeSet<String>,
    /// What the trusted block of [`STATE`] names.
    state: CosmosAnchor,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The state of which the proofs are.
const STATE: Height = Height(7);

fn chain() -> &'static Chain {
    static CHAIN: LazyLock<Chain> = LazyLock::new(make);
    &CHAIN
}

fn make() -> Chain {
    let parts: Vec<Parts> = serde_json::from_str(BLOCKS).expect("blocks");
    let blocks: Vec<ClaimedBlock> =
        parts.into_iter().map(|p| claimed(p).expect("a block")).collect();
    let seconds = blocks.last().expect("a block").time().unix_timestamp();
    let now = UnixMillis(u64::try_from(seconds).expect("a time") * 1000 + 5_000);
    let (period, drift) = (Duration::from_secs(1_000_000), Duration::from_secs(10));
    let options = TrustOptions::with_two_thirds("vectors-4", period, drift).expect("options");
    let anchor = |block: &ClaimedBlock| {
        let (network, at) = ("simd".parse().expect("a name"), block.block());
        let root = RootOfTrust::new(at.height, at.hash).expect("a root");
        match anchor_from_root(&network, &options, &root, block.clone(), now) {
            AnchorVerdict::Accepted(anchor) => anchor,
            other => panic!("{other:?}"),
        }
    };
    let trusted = anchor(blocks.first().expect("a block"));
    let named = blocks.iter().find(|block| block.block().height == STATE.next());
    let state = anchor(named.expect("the block after"));
    let hashes = blocks.iter().map(|block| block.block().hash.to_string()).collect();
    Chain { now, trusted, hashes, state, values: values(), options }
}

/// All values that the known proofs tell of, those of neighbours included.
fn values() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let answers: Vec<Answer> = serde_json::from_str(PROOFS).expect("proofs");
    let mut found: Vec<ExistenceProof> = Vec::new();
    for answer in answers.iter().filter(|answer| answer.height == STATE.0) {
        let leaf = CommitmentProof::decode(answer.proof_ops.ops[0].data.as_slice());
        match leaf.expect("a proof").proof {
            Some(Proof::Exist(proof)) => found.push(proof),
            Some(Proof::Nonexist(proof)) => found.extend(proof.left.into_iter().chain(proof.right)),
            other => panic!("{other:?}"),
        }
    }
    found.into_iter().map(|proof| (proof.key, proof.value)).collect()
}

fn claimed(parts: Parts) -> Option<ClaimedBlock> {
    ClaimedBlock::new(parts.signed_header, parts.validators, parts.next_validators).ok()
}

/// A claimed block, in the RPC's JSON or in stored bytes: no verdict accepts another block than
/// those which the validators signed.
pub fn tendermint_block(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let read = || match kind {
        0 => ClaimedBlock::from_bytes(data).ok(),
        _ => serde_json::from_slice(data).ok().and_then(claimed),
    };
    let Some(block) = bounded(data.len(), 200, read) else { return };
    let again = ClaimedBlock::from_bytes(&block.to_bytes()).expect("what was written");
    assert_eq!(again.block(), block.block());
    let chain = chain();
    if let AnchorVerdict::Accepted(anchor) =
        advance(&chain.trusted, &chain.options, block, chain.now)
    {
        assert!(chain.hashes.contains(&anchor.block().hash.to_string()), "{anchor:?}");
    }
}

/// Operations of a proof, or stored bytes of one: no verdict accepts a value
/// that is not in the state, or the absence of one that is.
pub fn state_proof(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let state = StateHeight::after(STATE).expect("a height");
    let read = || match kind {
        0 => StateProof::from_bytes(data).ok(),
        _ => StateProof::from_ops(state, &bare(data)).ok(),
    };
    let Some(proof) = bounded(data.len(), 200, read) else { return };
    assert_eq!(StateProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));
    let (chain, key) = (chain(), proof.key().clone());
    let known = chain.values.get(key.path());
    match proof.value() {
        Some(value) => {
            if let Verdict::Accepted(_) = prove_value(&chain.state, &key, value, &proof) {
                assert_eq!(known.map(Vec::as_slice), Some(value));
            }
        }
        None => {
            if let Verdict::Accepted(_) = prove_absent(&chain.state, &key, &proof) {
                assert_eq!(known, None);
            }
        }
    }
}

/// Two operations: the length of the first, then the data of both. Their keys are those they need,
/// so that changed data is not refused for a key that no longer fits.
fn bare(data: &[u8]) -> Vec<ProofOp> {
    let Some((length, data)) = data.split_first_chunk() else { return vec![] };
    let (leaf, store) = data.split_at(data.len().min(usize::from(u16::from_be_bytes(*length))));
    let op = |kind: &str, data: &[u8]| {
        let key = match CommitmentProof::decode(data).ok().and_then(|proof| proof.proof) {
            Some(Proof::Exist(proof)) => proof.key,
            Some(Proof::Nonexist(proof)) => proof.key,
            _ => vec![],
        };
        ProofOp { field_type: kind.to_owned(), key, data: data.to_vec() }
    };
    vec![op("ics23:iavl", leaf), op("ics23:simple", store)]
}
