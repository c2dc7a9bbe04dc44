//! Blocks signed here, by validators whose keys the tests have.

use crate::vectors::Parts;
use ed25519_consensus::SigningKey;
use std::time::Duration;
use tendermint::{
    Hash, PublicKey, Time, account,
    block::{
        Commit, CommitSig, Header, Height, Id, Round, header::Version, parts,
        signed_header::SignedHeader,
    },
    signature::Signature,
    validator::{Info, Set},
    vote::{Power, Type, ValidatorIndex, Vote},
};

pub(crate) const CHAIN: &str = "forged-1";

/// A validator: its key follows from the number.
#[derive(Clone, Copy)]
pub(crate) struct Signer {
    pub(crate) seed: u8,
    pub(crate) power: u64,
}

impl Signer {
    fn key(self) -> SigningKey {
        SigningKey::from([self.seed; 32])
    }

    pub(crate) fn info(self) -> Info {
        let key = self.key().verification_key().to_bytes();
        let key = PublicKey::from_raw_ed25519(&key).unwrap();
        Info::new(key, Power::try_from(self.power).unwrap())
    }
}

pub(crate) fn signers(seeds: &[u8]) -> Vec<Signer> {
    seeds.iter().map(|seed| Signer { seed: *seed, power: 10 }).collect()
}

fn infos(signers: &[Signer]) -> Vec<Info> {
    signers.iter().map(|signer| signer.info()).collect()
}

/// What a block is to be.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) chain: &'static str,
    pub(crate) height: u64,
    /// In seconds since the first block.
    pub(crate) seconds: u64,
    pub(crate) validators: Vec<Signer>,
    pub(crate) next: Vec<Signer>,
    /// Which of the validators sign.
    pub(crate) signing: Vec<bool>,
    pub(crate) app_hash: Vec<u8>,
    pub(crate) parent: Option<Hash>,
}

/// When the first block is made.
pub(crate) fn start() -> Time {
    Time::from_unix_timestamp(1_800_000_000, 0).unwrap()
}

impl Forge {
    pub(crate) fn new(height: u64, seeds: &[u8]) -> Self {
        Self {
            chain: CHAIN,
            height,
            seconds: height * 10,
            validators: signers(seeds),
            next: signers(seeds),
            signing: vec![true; seeds.len()],
            app_hash: vec![1; 32],
            parent: None,
        }
    }

    pub(crate) fn header(&self) -> Header {
        let hash = |signers: &[Signer]| Set::without_proposer(infos(signers)).hash();
        let part_set_header = parts::Header::new(1, Hash::Sha256([9; 32])).unwrap();
        Header {
            version: Version { block: 11, app: 0 },
            chain_id: self.chain.parse().unwrap(),
            height: Height::try_from(self.height).unwrap(),
            time: (start() + Duration::from_secs(self.seconds)).unwrap(),
            last_block_id: self.parent.map(|hash| Id { hash, part_set_header }),
            last_commit_hash: None,
            data_hash: None,
            validators_hash: hash(&self.validators),
            next_validators_hash: hash(&self.next),
            consensus_hash: Hash::Sha256([3; 32]),
            app_hash: self.app_hash.clone().try_into().unwrap(),
            last_results_hash: None,
            evidence_hash: None,
            proposer_address: self.validators[0].info().address,
        }
    }

    pub(crate) fn parts(&self) -> Parts {
        let header = self.header();
        let commit = commit(&header, &self.validators, &self.signing);
        Parts {
            signed_header: SignedHeader::new(header, commit).unwrap(),
            validators: infos(&self.validators),
            next_validators: infos(&self.next),
        }
    }
}

fn commit(header: &Header, signers: &[Signer], signing: &[bool]) -> Commit {
    let part_set_header = parts::Header::new(1, Hash::Sha256([7; 32])).unwrap();
    let block_id = Id { hash: header.hash(), part_set_header };
    let vote = |index: usize, signer: &Signer| {
        let validator_address: account::Id = signer.info().address;
        let vote = Vote {
            vote_type: Type::Precommit,
            height: header.height,
            round: Round::default(),
            block_id: Some(block_id),
            timestamp: Some(header.time),
            validator_address,
            validator_index: ValidatorIndex::try_from(index).unwrap(),
            signature: None,
            extension: vec![],
            extension_signature: None,
        };
        let signed = signer.key().sign(&vote.into_signable_vec(header.chain_id.clone()));
        CommitSig::BlockIdFlagCommit {
            validator_address,
            timestamp: header.time,
            signature: Signature::new(signed.to_bytes()).unwrap(),
        }
    };
    let signatures = signers
        .iter()
        .zip(signing)
        .enumerate()
        .map(
            |(i, (signer, signs))| {
                if *signs { vote(i, signer) } else { CommitSig::BlockIdFlagAbsent }
            },
        )
        .collect();
    Commit { height: header.height, round: Round::default(), block_id, signatures }
}
