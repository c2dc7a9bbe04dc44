//! Which blocks the light client accepts.

use crate::{
    forged::{self, Forge, signers},
    vectors::{
        CHAIN, DRIFT, PERIOD, Parts, accepted, anchor, block, blocks, network, options, root,
    },
};
use alloy_primitives::B256;
use postrider_message::{BlockHash, Height, UnixMillis};
use postrider_verification::tendermint::{
    AnchorVerdict, BadBlock, BlockRefutation as R, ClaimedBlock, CosmosAnchor, MAX_BLOCK_BYTES,
    RootOfTrust, Tally, TrustOptions, Validators, advance, anchor_from_root,
};
use proptest::prelude::*;
use tendermint::{
    block::{CommitSig, Round},
    trust_threshold::TrustThresholdFraction,
    validator::Set,
    vote::Power,
};

pub(crate) fn judge(by: &CosmosAnchor, parts: &Parts) -> AnchorVerdict {
    advance(by, &options(), parts.claimed(), parts.now())
}

/// The heights of the last three vectors: the last block before the validators change, the next,
/// and one that the strongest of them signed alone.
fn change() -> [Parts; 3] {
    let [.., last, first, alone] = &blocks()[..] else { panic!("too few vectors") };
    [last.clone(), first.clone(), alone.clone()]
}

#[test]
fn r1_a_real_chain_is_followed_from_its_root() {
    let three = anchor(3);
    assert_eq!((three.network(), three.block().height), (&network(), Height(3)));
    assert_eq!((three.revision(), three.state().block()), (4, Height(2)));
    assert_eq!(three.root().unwrap(), root(&block(3)));

    let four = accepted(judge(&three, &block(4)));
    let five = accepted(judge(&four, &block(5)));
    let nine = accepted(judge(&five, &block(9)));
    assert_eq!(accepted(judge(&three, &block(9))), nine);
    // Made again after a restart.
    let stored = nine.root().unwrap();
    let now = block(9).now();
    let again = anchor_from_root(&network(), &options(), &stored, block(9).claimed(), now);
    assert_eq!(accepted(again), nine);

    let [last, first, alone] = change();
    let last = accepted(judge(&nine, &last));
    let first = accepted(judge(&last, &first));
    assert_eq!(accepted(judge(&first, &alone)), accepted(judge(&last, &alone)));
}

#[test]
fn r2_too_little_trusted_power_asks_for_a_block_in_between() {
    let [last, first, alone] = change();
    let tally = |numerator, denominator| Tally {
        signed: 100,
        total: 400,
        threshold: TrustThresholdFraction::new(numerator, denominator).unwrap(),
    };
    for (far, threshold) in [(&first, (1, 3)), (&alone, (1, 3)), (&alone, (2, 3)), (&alone, (1, 1))]
    {
        let options = TrustOptions::new(CHAIN, PERIOD, threshold, DRIFT).unwrap();
        let verdict = advance(&anchor(3), &options, far.claimed(), far.now());
        assert_eq!(verdict, AnchorVerdict::NotEnoughTrust(tally(threshold.0, threshold.1)));
    }
    let between = accepted(judge(&anchor(3), &last));
    accepted(judge(&between, &alone));
}

#[test]
fn r5_j_a_root_is_one_block_of_one_chain() {
    let (parts, other) = (block(5), block(8));
    let try_root = |options: &TrustOptions, root: &RootOfTrust, now| {
        anchor_from_root(&network(), options, root, parts.claimed(), now)
    };
    let (good, now) = (root(&parts), parts.now());
    accepted(try_root(&options(), &good, now));

    let chain = TrustOptions::with_two_thirds("vectors-5", PERIOD, DRIFT).unwrap();
    let verdict = try_root(&chain, &good, now);
    assert!(matches!(verdict, AnchorVerdict::Refuted(R::ChainId { .. })), "{verdict:?}");
    let expected = R::Height { expected: Height(8), found: Height(5) };
    assert_eq!(try_root(&options(), &root(&other), now), AnchorVerdict::Refuted(expected));
    let twin = RootOfTrust::new(Height(5), BlockHash(B256::repeat_byte(5))).unwrap();
    let verdict = try_root(&options(), &twin, now);
    assert!(matches!(verdict, AnchorVerdict::Refuted(R::Hash { .. })), "{verdict:?}");

    let block_time = UnixMillis(now.0 - 60_000);
    let end = UnixMillis(block_time.0 + u64::try_from(PERIOD.as_millis()).unwrap());
    accepted(try_root(&options(), &good, UnixMillis(end.0 - 1)));
    for late in [UnixMillis(end.0 + 1_000), UnixMillis(u64::MAX)] {
        let verdict = try_root(&options(), &good, late);
        assert!(matches!(verdict, AnchorVerdict::Expired(_)), "{verdict:?}");
    }
    for early in [UnixMillis(block_time.0 - 11_000), UnixMillis(0)] {
        let verdict = try_root(&options(), &good, early);
        assert!(matches!(verdict, AnchorVerdict::TooEarly(_)), "{verdict:?}");
    }
}

#[test]
fn r5_a_root_that_its_validators_did_not_commit_is_refused() {
    let mut parts = block(5);
    for signature in parts.signed_header.commit.signatures.iter_mut().take(2) {
        *signature = CommitSig::BlockIdFlagAbsent;
    }
    let verdict =
        anchor_from_root(&network(), &options(), &root(&parts), parts.claimed(), parts.now());
    assert!(matches!(verdict, AnchorVerdict::Refuted(R::NotCommitted(_))), "{verdict:?}");
}

/// Only of a block that is signed as it must be does it mean anything that it is early.
#[test]
fn r10_time_decides_only_about_signed_blocks() {
    let (three, nine) = (anchor(3), block(9));
    let judge_at = |parts: &Parts, now| advance(&three, &options(), parts.claimed(), now);
    let before = UnixMillis(nine.now().0 - 60_000 - 11_000);
    assert!(matches!(judge_at(&nine, before), AnchorVerdict::TooEarly(_)));
    let mut unsigned = nine.clone();
    unsigned.signed_header.commit.round = Round::from(7_u16);
    assert!(matches!(judge_at(&unsigned, before), AnchorVerdict::Refuted(_)));
    let after = UnixMillis(nine.now().0 + u64::try_from(PERIOD.as_millis()).unwrap());
    let AnchorVerdict::Expired(expired) = judge_at(&nine, after) else { panic!("not expired") };
    assert_eq!(Some(expired.since), three.expires_at(&options()));
}

#[test]
fn r1_i_a_block_must_be_above_and_after_the_trusted_one() {
    for height in [3, 4] {
        let verdict = judge(&anchor(4), &block(height));
        assert!(
            matches!(verdict, AnchorVerdict::Refuted(R::TimeNotIncreasing { .. })),
            "{verdict:?}"
        );
    }
    let forged = |height, seconds| Forge { seconds, ..Forge::new(height, &[1, 2, 3]) };
    let five = forged_anchor(&forged(5, 50));
    let verdict = forged_advance(&five, &forged(5, 51));
    let lower = R::HeightNotIncreasing { needed: Height(6), found: Height(5) };
    assert_eq!(verdict, AnchorVerdict::Refuted(lower));
    let verdict = forged_advance(&five, &forged(7, 50));
    assert!(matches!(verdict, AnchorVerdict::Refuted(R::TimeNotIncreasing { .. })), "{verdict:?}");
    accepted(forged_advance(&five, &forged(7, 51)));
}

fn forged_options() -> TrustOptions {
    TrustOptions::with_two_thirds(forged::CHAIN, PERIOD, DRIFT).unwrap()
}

fn forged_anchor(forge: &Forge) -> CosmosAnchor {
    let parts = forge.parts();
    let (claimed, now) = (parts.claimed(), parts.now());
    accepted(anchor_from_root(&network(), &forged_options(), &root(&parts), claimed, now))
}

fn forged_advance(by: &CosmosAnchor, forge: &Forge) -> AnchorVerdict {
    let parts = forge.parts();
    advance(by, &forged_options(), parts.claimed(), parts.now())
}

/// Validators of somebody's own making sign whatever he likes.
#[test]
fn r1_h_validators_that_nobody_named_convince_nobody() {
    let five = forged_anchor(&Forge::new(5, &[1, 2, 3]));
    let verdict = forged_advance(&five, &Forge::new(6, &[7, 8, 9]));
    assert!(
        matches!(verdict, AnchorVerdict::Refuted(R::NotTheNextValidators { .. })),
        "{verdict:?}"
    );
    let verdict = forged_advance(&five, &Forge::new(7, &[7, 8, 9]));
    assert!(matches!(verdict, AnchorVerdict::NotEnoughTrust(Tally { signed: 0, total: 30, .. })));
    // A thousand of them beside the true ones, of which one signs.
    let mut mixed = Forge::new(7, &[1, 2, 3, 7, 8, 9]);
    mixed.validators[3].power = 1_000;
    mixed.signing = vec![true, false, false, true, true, true];
    let verdict = forged_advance(&five, &mixed);
    assert!(matches!(verdict, AnchorVerdict::NotEnoughTrust(Tally { signed: 10, total: 30, .. })));
    // Exactly two thirds are too few, of its own as of the trusted ones.
    let two_of_three = Forge { signing: vec![true, true, false], ..Forge::new(6, &[1, 2, 3]) };
    let verdict = forged_advance(&five, &two_of_three);
    let tally = Tally { signed: 20, total: 30, threshold: TrustThresholdFraction::TWO_THIRDS };
    assert_eq!(verdict, AnchorVerdict::Refuted(R::NotCommitted(tally)));
    let verdict = forged_advance(&five, &Forge { height: 7, ..two_of_three });
    assert_eq!(verdict, AnchorVerdict::NotEnoughTrust(tally));
    // The next block may be of others, if they were named.
    let named = forged_anchor(&Forge { next: signers(&[7, 8]), ..Forge::new(5, &[1, 2, 3]) });
    accepted(forged_advance(&named, &Forge::new(6, &[7, 8])));
}

#[test]
fn r1_j_an_anchor_of_another_chain_judges_nothing() {
    let forged = Forge::new(4, &[1, 2, 3]).parts();
    for parts in [block(4), forged] {
        let verdict = advance(&anchor(3), &forged_options(), parts.claimed(), parts.now());
        let refuted = matches!(verdict, AnchorVerdict::Refuted(R::ChainId { .. }));
        assert!(refuted, "{verdict:?}");
    }
}

#[test]
fn r1_ancestors_are_chained_by_hash() {
    let five = anchor(5);
    let four = five.parent(block(4).claimed()).unwrap();
    assert_eq!(four, anchor(4));
    assert_eq!(four.parent(block(3).claimed()).unwrap(), anchor(3));
    let skipped = five.parent(block(3).claimed());
    assert_eq!(skipped, Err(R::Height { expected: Height(4), found: Height(3) }));
    let mut uncommitted = block(4);
    uncommitted.signed_header.commit.round = Round::from(7_u16);
    let unsigned = five.parent(uncommitted.claimed());
    assert!(matches!(unsigned, Err(R::BadSignature(_))), "{unsigned:?}");

    let parent = Forge::new(5, &[1, 2, 3]);
    let hash = parent.header().hash();
    let child = forged_anchor(&Forge { parent: Some(hash), ..Forge::new(6, &[1, 2, 3]) });
    child.parent(parent.parts().claimed()).unwrap();
    let twin = Forge { seconds: 51, ..parent.clone() };
    let broken = child.parent(twin.parts().claimed());
    assert!(matches!(broken, Err(R::Hash { .. })), "{broken:?}");
    let orphan = forged_anchor(&Forge::new(6, &[1, 2, 3]));
    assert!(orphan.parent(parent.parts().claimed()).is_err());
}

#[test]
fn r5_m_r10_claims_out_of_bounds_are_none() {
    let bad = |spoil: &dyn Fn(&mut Parts)| {
        let mut parts = Forge::new(5, &[1, 2, 3]).parts();
        spoil(&mut parts);
        ClaimedBlock::new(parts.signed_header, parts.validators, parts.next_validators).unwrap_err()
    };
    let (current, next) = (Validators::Current, Validators::Next);
    assert_eq!(bad(&|p| p.validators.clear()), BadBlock::Empty(current));
    assert_eq!(bad(&|p| p.next_validators.clear()), BadBlock::Empty(next));
    let address = signers(&[1])[0].info().address;
    let twice = bad(&|p| p.validators.push(p.validators[0].clone()));
    assert_eq!(twice, BadBlock::Duplicate { which: current, address });
    let no_power = bad(&|p| p.next_validators[0].power = Power::default());
    assert_eq!(no_power, BadBlock::NoPower { which: next, address });
    let other_key = bad(&|p| p.validators[0].pub_key = p.validators[1].pub_key);
    assert_eq!(other_key, BadBlock::Address { which: current, address });
    let power = bad(&|p| p.validators[0].power = Power::try_from(i64::MAX).unwrap());
    assert_eq!(power, BadBlock::TooMuchPower(current));
    let many = bad(&|p| p.validators = vec![p.validators[0].clone(); 1_001]);
    assert_eq!(many, BadBlock::TooMany { which: current, count: 1_001 });
    let signatures = &|p: &mut Parts| {
        p.signed_header.commit.signatures = vec![CommitSig::BlockIdFlagAbsent; 1_001];
    };
    assert_eq!(bad(signatures), BadBlock::TooManySignatures(1_001));
    let app_hash = bad(&|p| p.signed_header.header.app_hash = vec![1; 65].try_into().unwrap());
    assert_eq!(app_hash, BadBlock::AppHash(65));
    for height in [0, i64::MAX as u64] {
        let high = bad(&|p| p.signed_header.header.height = height.try_into().unwrap());
        assert_eq!(high, BadBlock::Height(height));
    }
    let long = ClaimedBlock::from_bytes(&vec![0; MAX_BLOCK_BYTES + 1]);
    assert_eq!(long, Err(BadBlock::TooLong(MAX_BLOCK_BYTES + 1)));
    assert!(matches!(ClaimedBlock::from_bytes(&[]), Err(BadBlock::Malformed(_))));
}

#[test]
fn blocks_are_stored_and_read_again() {
    for parts in blocks() {
        let claimed = parts.claimed();
        let proposer = claimed.validators().proposer().as_ref().unwrap().address;
        assert_eq!(proposer, claimed.header().proposer_address);
        assert_eq!(ClaimedBlock::from_bytes(&claimed.to_bytes()), Ok(claimed));
    }
}

/// A block that is accepted although its bytes were changed is still the same block: what can be
/// changed is what no hash and no needed signature covers.
#[test]
fn r1_r10_no_changed_byte_makes_another_block() {
    for (by, height) in [(3, 4), (3, 9)] {
        let (by, parts) = (anchor(by), block(height));
        let (block, bytes) = (parts.claimed().block(), parts.claimed().to_bytes());
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << (position % 8);
            let Ok(claimed) = ClaimedBlock::from_bytes(&changed) else { continue };
            if let AnchorVerdict::Accepted(anchor) = advance(&by, &options(), claimed, parts.now())
            {
                assert_eq!(anchor.block(), block, "byte {position}");
            }
        }
    }
}

#[test]
fn revisions_are_read_as_ibc_go_reads_them() {
    let cases = [
        ("cosmoshub-4", 4),
        ("a-b-12", 12),
        ("simd", 0),
        ("simd-", 0),
        ("simd-04", 0),
        ("simd--4", 0),
        ("-4", 0),
        ("simd-4a", 0),
        ("simd-99999999999999999999", 0),
    ];
    for (id, revision) in cases {
        let forge = Forge { chain: id, ..Forge::new(5, &[1, 2, 3]) };
        let (parts, options) = (forge.parts(), TrustOptions::with_two_thirds(id, PERIOD, DRIFT));
        let (claimed, now) = (parts.claimed(), parts.now());
        let verdict = anchor_from_root(&network(), &options.unwrap(), &root(&parts), claimed, now);
        assert_eq!(accepted(verdict).revision(), revision, "{id}");
    }
}

#[test]
fn a_witness_agrees_or_not() {
    let five = anchor(5);
    assert!(five.agrees(five.block().hash));
    assert!(!five.agrees(anchor(4).block().hash));
    assert!(!five.agrees(BlockHash(B256::ZERO)));
}

/// The light client multiplies voting power with the threshold's denominator in 64 bits.
#[test]
fn r10_all_the_power_there_can_be_overflows_nothing() {
    let strongest = |height| {
        let mut forge = Forge::new(height, &[1, 2, 3]);
        for signer in forge.validators.iter_mut().chain(&mut forge.next) {
            signer.power = Set::MAX_TOTAL_VOTING_POWER / 3;
        }
        forge.parts()
    };
    let (five, nine) = (strongest(5), strongest(9));
    for threshold in [(5, 15), (14, 15), (15, 15)] {
        let options = TrustOptions::new(forged::CHAIN, PERIOD, threshold, DRIFT).unwrap();
        let by = anchor_from_root(&network(), &options, &root(&five), five.claimed(), five.now());
        let verdict = advance(&accepted(by), &options, nine.claimed(), nine.now());
        // More than all is more than there is: with that threshold every block needs the one before.
        match threshold {
            (15, 15) => assert!(matches!(verdict, AnchorVerdict::NotEnoughTrust(_))),
            _ => assert_eq!(accepted(verdict).block().height, Height(9)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn r10_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ClaimedBlock::from_bytes(&bytes);
    }

    #[test]
    fn r10_any_clock_gives_a_verdict(now in any::<u64>()) {
        let _ = advance(&anchor(3), &options(), block(4).claimed(), UnixMillis(now));
    }
}
