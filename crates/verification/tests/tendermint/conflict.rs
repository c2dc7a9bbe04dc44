//! Two signed blocks that cannot both be of one chain.

use crate::{
    forged::{self, Forge, signers},
    vectors::{DRIFT, PERIOD, Parts, accepted, anchor, block, network, options, root},
};
use postrider_message::UnixMillis;
use postrider_verification::tendermint::{
    BlockRefutation, Comparison, CosmosAnchor, MisbehaviourKind, TrustOptions, advance,
    anchor_from_root, compare,
};

/// A chain of three validators that is accepted up to block 9.
struct Chain {
    options: TrustOptions,
    common: CosmosAnchor,
    accepted: CosmosAnchor,
}

fn chain() -> Chain {
    let options = TrustOptions::with_two_thirds(forged::CHAIN, PERIOD, DRIFT).unwrap();
    let (five, nine) = (nth(5).parts(), nth(9).parts());
    let common = anchor_from_root(&network(), &options, &root(&five), five.claimed(), five.now());
    let common = accepted(common);
    let nine = accepted(advance(&common, &options, nine.claimed(), nine.now()));
    Chain { options, common, accepted: nine }
}

fn nth(height: u64) -> Forge {
    Forge::new(height, &[1, 2, 3])
}

impl Chain {
    fn compare(&self, parts: &Parts) -> Comparison {
        let now = nth(9).parts().now();
        compare(&self.common, &self.options, &self.accepted, &parts.claimed(), now)
    }
}

#[test]
fn r1_h_blocks_of_one_chain_fit() {
    let chain = chain();
    for height in [7, 9, 11] {
        assert_eq!(chain.compare(&nth(height).parts()), Comparison::Consistent);
    }
    let now = block(9).now();
    let compared = compare(&anchor(3), &options(), &anchor(5), &block(9).claimed(), now);
    assert_eq!(compared, Comparison::Consistent);
}

#[test]
fn r1_h_two_signed_blocks_of_one_height_are_misbehaviour() {
    let chain = chain();
    let twin = Forge { app_hash: vec![2; 32], ..nth(9) }.parts();
    let Comparison::Misbehaviour(found) = chain.compare(&twin) else { panic!("none") };
    assert_eq!(found.kind(), MisbehaviourKind::Equivocation);
    assert_eq!(found.common(), &chain.common);
    assert_eq!(found.accepted(), &chain.accepted);
    assert_eq!(found.conflicting(), &twin.claimed());
    assert_eq!(found.ordered(), (chain.accepted.claimed(), &twin.claimed()));
    assert!(!chain.accepted.agrees(twin.claimed().block().hash));

    // A block far in the future is evidence too.
    let early = UnixMillis(nth(6).parts().now().0);
    let compared = compare(&chain.common, &chain.options, &chain.accepted, &twin.claimed(), early);
    assert!(matches!(compared, Comparison::Misbehaviour(_)), "{compared:?}");
}

/// The validators of the twin are not the chain's own, but enough of the trusted ones signed it.
#[test]
fn r1_h_a_twin_with_other_validators_is_misbehaviour() {
    let chain = chain();
    let with_a_stranger = Forge {
        validators: signers(&[1, 2, 3, 7]),
        signing: vec![true; 4],
        ..Forge::new(9, &[1, 2, 3])
    };
    let compared = chain.compare(&with_a_stranger.parts());
    assert!(matches!(compared, Comparison::Misbehaviour(_)), "{compared:?}");
}

/// What a node of the chain compares with its own before it punishes anybody (CometBFT
/// `evidence/verify.go`).
#[test]
fn guilty_are_those_who_signed_both() {
    let chain = chain();
    let guilty = |twin: &Parts| {
        let Comparison::Misbehaviour(found) = chain.compare(twin) else { panic!("none") };
        let attacks = found.attacks();
        assert_eq!(attacks.len(), 2);
        assert_eq!(attacks[0].conflicting, &twin.claimed());
        assert_eq!(attacks[1].conflicting, chain.accepted.claimed());
        assert_eq!(attacks[0].total_power, 30);
        let by: Vec<_> = attacks[0].byzantine.iter().map(|v| v.address).collect();
        assert!(by.is_sorted(), "of equal power, by address");
        (attacks[0].common_height.0, attacks[0].time == chain.common.time(), by.len())
    };
    // Another state, which no honest node computes: judged by the block that both chains share.
    let lunatic = Forge { app_hash: vec![2; 32], ..nth(9) };
    assert_eq!(guilty(&lunatic.parts()), (5, true, 3));
    let absent = Forge { signing: vec![true, false, true], ..lunatic };
    let few = chain.compare(&absent.parts());
    assert!(matches!(few, Comparison::Forged(_) | Comparison::NotEnoughTrust(_)), "{few:?}");
    // The same state at another time: two blocks of one chain's own making.
    let twin = Forge { seconds: 91, ..nth(9) };
    assert_eq!(guilty(&twin.parts()), (9, false, 3));
    // What CometBFT does not punish is not told to it.
    let odd = Forge { seconds: 60, ..nth(11) };
    let Comparison::Misbehaviour(found) = chain.compare(&odd.parts()) else { panic!("none") };
    assert!(found.attacks().is_empty());
}

#[test]
fn r1_time_that_does_not_grow_with_height_is_misbehaviour() {
    let chain = chain();
    let cases = [(11, 90), (11, 60), (7, 90), (7, 95)];
    for (height, seconds) in cases {
        let odd = Forge { seconds, ..nth(height) }.parts();
        let Comparison::Misbehaviour(found) = chain.compare(&odd) else { panic!("{height}") };
        assert_eq!(found.kind(), MisbehaviourKind::TimeViolation);
        let (first, second) = found.ordered();
        assert!(first.block().height > second.block().height);
        assert!(first.time() <= second.time());
    }
}

#[test]
fn r1_h_what_trusted_validators_did_not_sign_is_a_lie_and_no_misbehaviour() {
    let chain = chain();
    let strangers = Forge { validators: signers(&[7, 8, 9]), ..nth(9) }.parts();
    let compared = chain.compare(&strangers);
    assert!(matches!(compared, Comparison::NotEnoughTrust(_)), "{compared:?}");

    let mut unsigned = nth(9).parts();
    unsigned.signed_header.header.app_hash = vec![2; 32].try_into().unwrap();
    let compared = chain.compare(&unsigned);
    let other = matches!(compared, Comparison::Forged(BlockRefutation::OtherCommit { .. }));
    assert!(other, "{compared:?}");
    unsigned.signed_header.commit.block_id.hash = unsigned.signed_header.header.hash();
    let compared = chain.compare(&unsigned);
    let bad = matches!(compared, Comparison::Forged(BlockRefutation::BadSignature(_)));
    assert!(bad, "{compared:?}");

    let few = Forge { signing: vec![true, true, false], app_hash: vec![2; 32], ..nth(9) }.parts();
    let compared = chain.compare(&few);
    assert!(matches!(compared, Comparison::NotEnoughTrust(_)), "{compared:?}");
}

/// Those who left could sign anything afterwards. It takes a common block that both follow from.
#[test]
fn both_blocks_must_follow_from_the_common_one() {
    let Chain { options, common, .. } = chain();
    let change = Forge { next: signers(&[7, 8, 9]), ..nth(6) }.parts();
    let change = accepted(advance(&common, &options, change.claimed(), change.now()));
    let new = Forge::new(9, &[7, 8, 9]).parts();
    let new = accepted(advance(&change, &options, new.claimed(), new.now()));
    let old = nth(9).parts();
    for by in [&common, &change] {
        let compared = compare(by, &options, &new, &old.claimed(), old.now());
        assert!(matches!(compared, Comparison::NotEnoughTrust(_)), "{compared:?}");
    }
}

#[test]
fn a_common_block_is_below_both() {
    let chain = chain();
    for height in [4, 5] {
        let odd = Forge { seconds: 95, ..nth(height) }.parts();
        assert_eq!(chain.compare(&odd), Comparison::NotCommon);
    }
    let twin = Forge { app_hash: vec![2; 32], ..nth(9) }.parts();
    let (by, now) = (&chain.accepted, twin.now());
    let compared = compare(by, &chain.options, by, &twin.claimed(), now);
    assert_eq!(compared, Comparison::NotCommon);
}

#[test]
fn r1_j_a_block_of_another_chain_is_no_misbehaviour() {
    let chain = chain();
    let other = Forge { chain: "forged-2", ..nth(9) }.parts();
    let compared = chain.compare(&other);
    let other = matches!(compared, Comparison::Forged(BlockRefutation::ChainId { .. }));
    assert!(other, "{compared:?}");
}

#[test]
fn misbehaviour_that_no_client_would_heed_any_more_is_expired() {
    let chain = chain();
    let twin = Forge { app_hash: vec![2; 32], ..nth(9) }.parts();
    let late = UnixMillis(twin.now().0 + u64::try_from(PERIOD.as_millis()).unwrap());
    let compared = compare(&chain.common, &chain.options, &chain.accepted, &twin.claimed(), late);
    assert!(matches!(compared, Comparison::Expired(_)), "{compared:?}");
}
