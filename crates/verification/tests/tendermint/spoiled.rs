//! Blocks of a real chain that were changed.

use crate::{
    blocks::judge,
    vectors::{Parts, anchor, block},
};
use postrider_verification::tendermint::{AnchorVerdict, BlockRefutation as R, Tally, Validators};
use std::time::Duration;
use tendermint::{
    Hash, Time, account,
    block::{CommitSig, Round},
    signature::Signature,
    vote::Power,
};

/// A way to spoil a block.
type Spoil = fn(&mut Parts);

fn other(hash: Hash) -> Hash {
    let mut bytes: [u8; 32] = hash.as_bytes().try_into().unwrap();
    bytes[31] ^= 1;
    Hash::Sha256(bytes)
}

/// Whatever is changed in the header, the commit is for another block.
#[test]
fn r1_d_every_field_of_the_header_is_signed() {
    let fields: [Spoil; 14] = [
        |p| p.signed_header.header.version.block += 1,
        |p| p.signed_header.header.version.app += 1,
        |p| {
            p.signed_header.header.time =
                (p.signed_header.header.time + Duration::from_nanos(1)).unwrap();
        },
        |p| {
            let id = p.signed_header.header.last_block_id.as_mut().unwrap();
            id.hash = other(id.hash);
        },
        |p| p.signed_header.header.last_block_id = None,
        |p| p.signed_header.header.last_commit_hash = None,
        |p| p.signed_header.header.data_hash = Some(Hash::Sha256([1; 32])),
        |p| p.signed_header.header.consensus_hash = Hash::None,
        |p| p.signed_header.header.app_hash = vec![0; 32].try_into().unwrap(),
        |p| p.signed_header.header.last_results_hash = None,
        |p| p.signed_header.header.evidence_hash = None,
        |p| p.signed_header.header.proposer_address = account::Id::new([1; 20]),
        |p| p.signed_header.commit.block_id.hash = other(p.signed_header.commit.block_id.hash),
        |p| p.signed_header.commit.block_id.hash = Hash::None,
    ];
    for (index, spoil) in fields.into_iter().enumerate() {
        for height in [4, 9] {
            let mut parts = block(height);
            spoil(&mut parts);
            let verdict = judge(&anchor(3), &parts);
            let refuted = matches!(verdict, AnchorVerdict::Refuted(R::OtherCommit { .. }));
            assert!(refuted, "field {index}, block {height}: {verdict:?}");
            // A commit made to fit it is not signed.
            let header = &parts.signed_header.header;
            parts.signed_header.commit.block_id.hash = header.hash();
            if header.hash() != block(height).signed_header.header.hash() {
                let verdict = judge(&anchor(3), &parts);
                let refuted = matches!(verdict, AnchorVerdict::Refuted(R::BadSignature(_)));
                assert!(refuted, "field {index}, block {height}: {verdict:?}");
            }
        }
    }
}

/// What is done to a block, how, and whether it is refuted for that.
type Case = (&'static str, Spoil, fn(&R) -> bool);

fn are_refuted_by_name(cases: &[Case]) {
    for (name, spoil, is_right) in cases {
        let mut parts = block(4);
        spoil(&mut parts);
        let verdict = judge(&anchor(3), &parts);
        let right = matches!(&verdict, AnchorVerdict::Refuted(why) if is_right(why));
        assert!(right, "{name}: {verdict:?}");

        // One further on has to convince the trusted validators first.
        let mut parts = block(9);
        spoil(&mut parts);
        let verdict = judge(&anchor(3), &parts);
        let refused =
            matches!(verdict, AnchorVerdict::Refuted(_) | AnchorVerdict::NotEnoughTrust(_));
        assert!(refused, "{name}: {verdict:?}");
    }
}

#[test]
fn r1_d_j_the_chain_and_both_validator_sets_are_those_of_the_header() {
    let current = |r: &R| matches!(r, R::Validators { which: Validators::Current, .. });
    are_refuted_by_name(&[
        (
            "another chain",
            |p| p.signed_header.header.chain_id = "vectors-5".parse().unwrap(),
            |r| matches!(r, R::ChainId { .. }),
        ),
        ("more power", |p| p.validators[0].power = Power::from(101_u8), current),
        ("one left out", |p| drop(p.validators.pop()), current),
        (
            "others next",
            |p| p.next_validators[0].power = Power::from(101_u8),
            |r| matches!(r, R::Validators { which: Validators::Next, .. }),
        ),
    ]);
}

fn votes(parts: &mut Parts) -> &mut Vec<CommitSig> {
    &mut parts.signed_header.commit.signatures
}

/// The parts of a vote for the block.
fn vote(parts: &mut Parts, index: usize) -> (&mut account::Id, &mut Time, &mut Option<Signature>) {
    match &mut votes(parts)[index] {
        CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature } => {
            (validator_address, timestamp, signature)
        }
        other => panic!("{other:?}"),
    }
}

fn vote_for_nothing(parts: &mut Parts, index: usize) {
    let (address, timestamp, signature) = vote(parts, index);
    let (validator_address, timestamp, signature) = (*address, *timestamp, signature.clone());
    let nil = CommitSig::BlockIdFlagNil { validator_address, timestamp, signature };
    votes(parts)[index] = nil;
}

#[test]
fn r1_d_every_counted_signature_is_of_its_validator_and_block() {
    let bad = |r: &R| matches!(r, R::BadSignature(_));
    are_refuted_by_name(&[
        ("another round", |p| p.signed_header.commit.round = Round::from(7_u16), bad),
        (
            "another part set",
            |p| p.signed_header.commit.block_id.part_set_header.hash = Hash::Sha256([1; 32]),
            bad,
        ),
        (
            "another time of the vote",
            |p| *vote(p, 0).1 = (*vote(p, 0).1 + Duration::from_nanos(1)).unwrap(),
            bad,
        ),
        (
            "zeros",
            |p| (0..4).for_each(|i| *vote(p, i).2 = Some(vec![0; 64].try_into().unwrap())),
            bad,
        ),
        ("another's", |p| *vote(p, 0).2 = vote(p, 1).2.clone(), bad),
        ("none", |p| *vote(p, 3).2 = None, |r| matches!(r, R::MissingSignature)),
    ]);
}

/// Class (c) and (m): counts that do not fit, and signers that count twice or should not count.
#[test]
fn r1_c_m_votes_are_counted_once_and_only_of_validators() {
    let two = |r: &R| matches!(r, R::NotCommitted(Tally { signed: 200, total: 400, .. }));
    are_refuted_by_name(&[
        ("two", |p| votes(p)[..2].fill(CommitSig::BlockIdFlagAbsent), two),
        ("two for nothing", |p| (0..2).for_each(|i| vote_for_nothing(p, i)), two),
        (
            "nobody",
            |p| votes(p).fill(CommitSig::BlockIdFlagAbsent),
            |r| matches!(r, R::NoSignatures),
        ),
        (
            "one twice",
            |p| votes(p)[1] = votes(p)[0].clone(),
            |r| matches!(r, R::DuplicateSigner(_)),
        ),
        (
            "one more",
            |p| votes(p).push(CommitSig::BlockIdFlagAbsent),
            |r| matches!(r, R::CommitLength { signatures: 5, validators: 4 }),
        ),
        (
            "one less",
            |p| drop(votes(p).pop()),
            |r| matches!(r, R::CommitLength { signatures: 3, validators: 4 }),
        ),
        (
            "a stranger",
            |p| *vote(p, 0).0 = account::Id::new([1; 20]),
            |r| matches!(r, R::ForeignSigner(_)),
        ),
    ]);
}
