//! Blocks in the JSON of CometBFT's RPC, for `#[serde(deserialize_with = "…")]`.
//!
//! The types of the `tendermint` crate can read it too, but their base64 decoder panics at texts
//! that no honest node sends (`subtle-encoding` 0.5.1; found by fuzzing). So whatever is base64 is read
//! here, and only the rest by them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error};
use tendermint::{
    PublicKey, Time, account,
    block::{Commit, CommitSig, Header, Height, Id, Round, signed_header},
    validator::Info,
    vote::Power,
};
use tendermint_proto::v0_38::types::CommitSig as RawCommitSig;

/// How CometBFT names the only kind of key that is taken here.
const ED25519: &str = "tendermint/PubKeyEd25519";

/// Reads `signed_header` in the answer to `commit`.
///
/// # Errors
/// The deserializer's, for anything else.
pub fn signed_header<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<signed_header::SignedHeader, D::Error> {
    let JsonSignedHeader { header, commit } = Deserialize::deserialize(deserializer)?;
    let signatures = commit.signatures.into_iter().map(CommitSig::try_from);
    let commit = Commit {
        height: commit.height,
        round: Round::try_from(commit.round).map_err(|e| told(&e))?,
        block_id: commit.block_id,
        signatures: signatures.collect::<Result<_, _>>().map_err(|e| told(&e))?,
    };
    signed_header::SignedHeader::new(header, commit).map_err(|e| told(&e))
}

/// Reads `validators` in the answer to `validators`.
///
/// # Errors
/// The deserializer's, for anything else, keys that are not of Ed25519 among it.
pub fn validators<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Info>, D::Error> {
    let told: Vec<JsonValidator> = Deserialize::deserialize(deserializer)?;
    told.into_iter().map(|validator| validator.info().map_err(D::Error::custom)).collect()
}

fn told<E: Error>(error: &tendermint::Error) -> E {
    E::custom(error.detail())
}

#[derive(Deserialize)]
struct JsonSignedHeader {
    header: Header,
    commit: JsonCommit,
}

#[derive(Deserialize)]
struct JsonCommit {
    height: Height,
    round: i32,
    block_id: Id,
    signatures: Vec<JsonCommitSig>,
}

#[derive(Deserialize)]
#[serde(try_from = "JsonVote")]
struct JsonCommitSig(RawCommitSig);

#[derive(Deserialize)]
struct JsonVote {
    block_id_flag: i32,
    /// Empty where a validator did not vote.
    validator_address: String,
    timestamp: Option<Time>,
    signature: Option<String>,
}

impl TryFrom<JsonVote> for JsonCommitSig {
    type Error = String;

    fn try_from(vote: JsonVote) -> Result<Self, String> {
        let address = match vote.validator_address.as_str() {
            "" => vec![],
            hex => hex.parse::<account::Id>().map_err(|e| e.detail().to_string())?.into(),
        };
        Ok(Self(RawCommitSig {
            block_id_flag: vote.block_id_flag,
            validator_address: address,
            timestamp: vote.timestamp.map(Into::into),
            signature: bytes(vote.signature.as_deref().unwrap_or_default())?,
        }))
    }
}

impl TryFrom<JsonCommitSig> for CommitSig {
    type Error = tendermint::Error;

    fn try_from(vote: JsonCommitSig) -> Result<Self, tendermint::Error> {
        vote.0.try_into()
    }
}

#[derive(Deserialize)]
struct JsonValidator {
    address: account::Id,
    pub_key: JsonKey,
    voting_power: Power,
}

#[derive(Deserialize)]
struct JsonKey {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

impl JsonValidator {
    fn info(self) -> Result<Info, String> {
        if self.pub_key.kind != ED25519 {
            return Err(format!("{:.60} is no kind of key that is taken here", self.pub_key.kind));
        }
        let key = PublicKey::from_raw_ed25519(&bytes(&self.pub_key.value)?);
        Ok(Info {
            address: self.address,
            pub_key: key.ok_or("a key that is none of Ed25519")?,
            power: self.voting_power,
            name: None,
            proposer_priority: Default::default(),
        })
    }
}

fn bytes(base64: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(base64).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The block of height 3 of the chain in `tests/vectors/simd`.
    fn block() -> Value {
        const BLOCKS: &str = include_str!("../../tests/vectors/simd/blocks.json");
        serde_json::from_str::<Value>(BLOCKS).unwrap()[0].take()
    }

    #[test]
    fn blocks_are_read_as_the_tendermint_crate_reads_them() {
        let block = block();
        let header = signed_header(&block["signed_header"]).unwrap();
        assert_eq!(header, serde_json::from_value(block["signed_header"].clone()).unwrap());
        let set = validators(&block["validators"]).unwrap();
        let theirs: Vec<Info> = serde_json::from_value(block["validators"].clone()).unwrap();
        assert_eq!(set, theirs);
    }

    #[test]
    fn r10_votes_and_keys_of_another_form_are_refused_without_panic() {
        type Change = (&'static str, Value);
        let votes: [Change; 10] = [
            ("/signature", json!("A")),
            ("/signature", json!("=")),
            ("/signature", json!("====A===")),
            ("/signature", json!("A".repeat(4_001))),
            ("/signature", json!("AAAA")),
            ("/signature", json!("")),
            ("/signature", json!(7)),
            ("/validator_address", json!("0")),
            ("/validator_address", json!("")),
            ("/block_id_flag", json!(9)),
        ];
        for (at, value) in votes {
            let mut header = block()["signed_header"].take();
            *header.pointer_mut(&format!("/commit/signatures/1{at}")).unwrap() = value.clone();
            let read = signed_header(&header);
            assert!(read.is_err(), "{at} {value}: {read:?}");
        }
        let keys: [Change; 8] = [
            ("/pub_key/value", json!("A")),
            ("/pub_key/value", json!("=")),
            ("/pub_key/value", json!("AAAA=AAA")),
            ("/pub_key/value", json!("AAAA")),
            ("/pub_key/value", json!("")),
            ("/pub_key/type", json!("tendermint/PubKeySecp256k1")),
            ("/voting_power", json!("-1")),
            ("/address", json!("")),
        ];
        for (at, value) in keys {
            let mut set = block()["validators"].take();
            *set.pointer_mut(&format!("/1{at}")).unwrap() = value.clone();
            assert!(validators(&set).is_err(), "{at} {value}");
        }
    }

    #[test]
    fn a_header_and_the_commit_for_another_height_are_none() {
        let mut header = block()["signed_header"].take();
        header["commit"]["height"] = json!("4");
        assert!(signed_header(&header).is_err());
    }
}
