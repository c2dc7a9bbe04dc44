//! What the chain `vectors-4` said.

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_message::{Height, NetworkName, UnixMillis};
use postrider_verification::tendermint::{
    AnchorVerdict, ClaimedBlock, CosmosAnchor, RootOfTrust, StateHeight, StateKey, StateProof,
    StoreName, TrustOptions, anchor_from_root, json,
};
use serde::Deserialize;
use std::{fs, path::Path, time::Duration};
use tendermint::{
    block::signed_header::SignedHeader,
    merkle::proof::{ProofOp, ProofOps},
    validator::Info,
};

pub(crate) const CHAIN: &str = "vectors-4";
pub(crate) const PERIOD: Duration = Duration::from_secs(14 * 24 * 3600);
pub(crate) const DRIFT: Duration = Duration::from_secs(10);

/// A block's parts, so that tests can change them.
#[derive(Clone, Deserialize)]
pub(crate) struct Parts {
    #[serde(deserialize_with = "json::signed_header")]
    pub(crate) signed_header: SignedHeader,
    #[serde(deserialize_with = "json::validators")]
    pub(crate) validators: Vec<Info>,
    #[serde(deserialize_with = "json::validators")]
    pub(crate) next_validators: Vec<Info>,
}

impl Parts {
    pub(crate) fn claimed(&self) -> ClaimedBlock {
        let Self { signed_header, validators, next_validators } = self.clone();
        ClaimedBlock::new(signed_header, validators, next_validators).unwrap()
    }

    pub(crate) fn height(&self) -> u64 {
        self.signed_header.header.height.value()
    }

    /// A minute after the block.
    pub(crate) fn now(&self) -> UnixMillis {
        let seconds = self.signed_header.header.time.unix_timestamp();
        UnixMillis((u64::try_from(seconds).unwrap() + 60) * 1000)
    }
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/simd");
    serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// All blocks, lowest first. The last three are those described in the vectors' README.
pub(crate) fn blocks() -> Vec<Parts> {
    read("blocks.json")
}

pub(crate) fn block(height: u64) -> Parts {
    blocks().into_iter().find(|block| block.height() == height).unwrap()
}

/// What `abci_query` answered.
#[derive(Clone, Deserialize)]
pub(crate) struct Answer {
    name: String,
    store: String,
    key: String,
    value: String,
    height: u64,
    proof_ops: ProofOps,
}

pub(crate) fn answer(name: &str) -> Answer {
    let answers: Vec<Answer> = read("proofs.json");
    answers.into_iter().find(|answer| answer.name == name).unwrap()
}

impl Answer {
    pub(crate) fn key(&self) -> StateKey {
        let path = STANDARD.decode(&self.key).unwrap();
        StateKey::new(StoreName::new(&self.store).unwrap(), path).unwrap()
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        STANDARD.decode(&self.value).unwrap()
    }

    pub(crate) fn state(&self) -> StateHeight {
        StateHeight::after(Height(self.height)).unwrap()
    }

    pub(crate) fn ops(&self) -> Vec<ProofOp> {
        self.proof_ops.ops.clone()
    }

    pub(crate) fn proof(&self) -> StateProof {
        StateProof::from_ops(self.state(), &self.ops()).unwrap()
    }
}

pub(crate) fn network() -> NetworkName {
    "simd".parse().unwrap()
}

pub(crate) fn options() -> TrustOptions {
    TrustOptions::with_two_thirds(CHAIN, PERIOD, DRIFT).unwrap()
}

pub(crate) fn root(parts: &Parts) -> RootOfTrust {
    let block = parts.claimed().block();
    RootOfTrust::new(block.height, block.hash).unwrap()
}

pub(crate) fn accepted(verdict: AnchorVerdict) -> CosmosAnchor {
    match verdict {
        AnchorVerdict::Accepted(anchor) => anchor,
        other => panic!("{other:?}"),
    }
}

/// The block of this height, by its own hash.
pub(crate) fn anchor(height: u64) -> CosmosAnchor {
    let parts = block(height);
    let (claimed, now) = (parts.claimed(), parts.now());
    accepted(anchor_from_root(&network(), &options(), &root(&parts), claimed, now))
}
