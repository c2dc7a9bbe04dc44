//! Keys without a value, and Dragonberry: proofs of absence with neighbours that are none.

use crate::{
    state::{existence, is_proven, op},
    vectors::{Answer, anchor, answer},
};
use ics23::{CommitmentProof, ExistenceProof, NonExistenceProof, commitment_proof::Proof};
use postrider_message::Height;
use postrider_verification::{
    Verdict,
    tendermint::{
        BadProof, StateKey, StateProof, StateRefutation, StoreName, prove_absent, prove_value,
    },
    verdict::Refutation,
};
use prost::Message;

fn absence(answer: &Answer) -> NonExistenceProof {
    match CommitmentProof::decode(answer.ops()[0].data.as_slice()).unwrap().proof {
        Some(Proof::Nonexist(proof)) => proof,
        other => panic!("{other:?}"),
    }
}

/// The answer's store, with another proof of absence in it.
fn with(answer: &Answer, absent: NonExistenceProof) -> Result<StateProof, BadProof> {
    let leaf = op("ics23:iavl", &absent.key.clone(), Some(Proof::Nonexist(absent)));
    StateProof::from_ops(answer.state(), &[leaf, answer.ops().remove(1)])
}

fn bank(path: &[u8]) -> StateKey {
    StateKey::new(StoreName::new("bank").unwrap(), path).unwrap()
}

/// The proof's own key is not in the state, says the proof; what the verdict says.
fn verdict(proof: &StateProof) -> Result<(), StateRefutation> {
    match prove_absent(&anchor(8), proof.key(), proof) {
        Verdict::Accepted(_) => Ok(()),
        Verdict::Refuted(Refutation::State(why)) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn r1_absence_is_proven_between_before_and_after_all_keys() {
    let eight = anchor(8);
    for (name, left, right) in
        [("between", true, true), ("first", false, true), ("last", true, false)]
    {
        let answer = answer(name);
        let found = absence(&answer);
        assert_eq!((found.left.is_some(), found.right.is_some()), (left, right), "{name}");
        let Verdict::Accepted(verified) = prove_absent(&eight, &answer.key(), &answer.proof())
        else {
            panic!("{name}")
        };
        assert_eq!(verified.value().key, answer.key());
        assert_eq!(verified.value().state.block(), Height(7));
        let value = prove_value(&eight, &answer.key(), b"value", &answer.proof());
        let opposite = Verdict::Refuted(Refutation::State(StateRefutation::Opposite));
        assert_eq!(value, opposite);
        let other = StateKey::ibc(*b"other").unwrap();
        let verdict = prove_absent(&eight, &other, &answer.proof());
        let other = Verdict::Refuted(Refutation::State(StateRefutation::OtherKey));
        assert_eq!(verdict, other);
    }
}

/// What is proven to lie between two neighbours has no value, and nothing else is shown by it.
#[test]
fn r5_a_proof_of_absence_serves_between_its_neighbours_only() {
    let between = answer("between");
    let (proof, found) = (between.proof(), absence(&between));
    let beside = |key: &[u8]| [key, &[0]].concat();
    let (left, right) = (found.left.unwrap().key, found.right.unwrap().key);
    let own = |path: &[u8]| StateKey::new(between.key().store().clone(), path).unwrap();
    let inside = own(&beside(&left));
    assert_ne!(inside, between.key());
    let moved = proof.between_same_neighbours(&inside).unwrap();
    assert_eq!((moved.key(), verdict(&moved)), (&inside, Ok(())));
    for outside in [own(&left), own(&right), own(&beside(&right)), own(&left[..1])] {
        assert_eq!(proof.between_same_neighbours(&outside), None);
    }
    let of_another_store = bank(inside.path());
    assert_eq!(proof.between_same_neighbours(&of_another_store), None);
    let value = answer("balance");
    assert_eq!(value.proof().between_same_neighbours(&inside), None);
}

/// The first and the last leaf of the store are no neighbours, whatever lies between them.
#[test]
fn b_dragonberry_leaves_that_are_no_neighbours_hide_nothing() {
    let (first, last, balance) = (answer("first"), answer("last"), answer("balance"));
    let (leftmost, rightmost) = (absence(&first).right, absence(&last).left);
    let existing = balance.key();
    let hide = |left: &Option<ExistenceProof>, right: &Option<ExistenceProof>| {
        let (left, right) = (left.clone(), right.clone());
        with(&balance, NonExistenceProof { key: existing.path().to_vec(), left, right })
    };
    let leaf = Err(StateRefutation::Leaf);
    assert_eq!(verdict(&hide(&leftmost, &rightmost).unwrap()), leaf);
    assert_eq!(verdict(&hide(&leftmost, &None).unwrap()), leaf);
    assert_eq!(verdict(&hide(&None, &rightmost).unwrap()), leaf);
    assert_eq!(verdict(&hide(&rightmost, &leftmost).unwrap()), leaf);
    // The key itself as its own neighbour.
    let itself = Some(existence(&balance.ops()[0]));
    assert_eq!(verdict(&hide(&itself, &rightmost).unwrap()), leaf);
    assert_eq!(verdict(&hide(&leftmost, &itself).unwrap()), leaf);
    assert_eq!(verdict(&hide(&itself, &None).unwrap()), leaf);
    assert_eq!(hide(&itself, &itself), Err(BadProof::SameLeaf));
    assert_eq!(hide(&None, &None), Err(BadProof::NoNeighbour));
}

#[test]
fn b_dragonberry_a_proof_of_absence_needs_all_its_neighbours() {
    for name in ["between", "first", "last"] {
        let answer = answer(name);
        let whole = absence(&answer);
        let swapped = NonExistenceProof {
            left: whole.right.clone(),
            right: whole.left.clone(),
            ..whole.clone()
        };
        assert_eq!(verdict(&with(&answer, swapped).unwrap()), Err(StateRefutation::Leaf));
        if name == "between" {
            let halves = [
                NonExistenceProof { left: None, ..whole.clone() },
                NonExistenceProof { right: None, ..whole.clone() },
            ];
            for half in halves {
                assert_eq!(verdict(&with(&answer, half).unwrap()), Err(StateRefutation::Leaf));
            }
        }
        assert_eq!(verdict(&with(&answer, whole).unwrap()), Ok(()));
    }
}

/// A neighbour's path with a longer prefix or suffix could reach past what lies between.
#[test]
fn b_dragonberry_paths_of_neighbours_have_the_form_of_the_tree() {
    let answer = answer("between");
    let whole = absence(&answer);
    let count = whole.left.as_ref().unwrap().path.len();
    for step in 0..count {
        for length in [0, 1, 3, 13, 32, 36, 46, 78] {
            let mut crafted = whole.clone();
            let path = &mut crafted.left.as_mut().unwrap().path;
            path[step].prefix.resize(length, 32);
            assert_eq!(with(&answer, crafted), Err(BadProof::Step("IAVL")), "{step} {length}");
        }
        for length in [1, 32, 34, 66, 99] {
            let mut crafted = whole.clone();
            let path = &mut crafted.left.as_mut().unwrap().path;
            path[step].suffix.resize(length, 32);
            assert_eq!(with(&answer, crafted), Err(BadProof::Step("IAVL")), "{step} {length}");
        }
    }
}

/// `ics23` relies on both paths parting somewhere.
#[test]
fn r10_neighbours_whose_paths_never_part_are_refused() {
    let answer = answer("between");
    let whole = absence(&answer);
    let left = whole.left.clone().unwrap();
    let part = |cut: usize| {
        let mut right = left.clone();
        right.key = whole.right.as_ref().unwrap().key.clone();
        right.path.drain(..cut);
        NonExistenceProof { right: Some(right), ..whole.clone() }
    };
    for cut in 0..=left.path.len() {
        assert_eq!(with(&answer, part(cut)), Err(BadProof::SameLeaf), "{cut}");
    }
    let empty = |mut proof: ExistenceProof| {
        proof.path.clear();
        Some(proof)
    };
    let pathless = NonExistenceProof {
        left: empty(left.clone()),
        right: empty(whole.right.clone().unwrap()),
        ..whole.clone()
    };
    assert_eq!(with(&answer, pathless), Err(BadProof::SameLeaf));
}

/// Class (d): what is absent in one store may be in another.
#[test]
fn d_absence_is_bound_to_its_store() {
    let (between, first) = (answer("between"), answer("first"));
    let mixed =
        StateProof::from_ops(between.state(), &[between.ops()[0].clone(), first.ops()[1].clone()]);
    let mixed = mixed.unwrap();
    assert_eq!(mixed.key(), &bank(between.key().path()));
    assert_eq!(verdict(&mixed), Err(StateRefutation::Leaf));
    assert!(!is_proven(&anchor(8), &between, &mixed));
}

#[test]
fn r5_a_proof_of_absence_of_nothing_is_none() {
    let answer = answer("between");
    let empty = NonExistenceProof { key: vec![], ..absence(&answer) };
    assert_eq!(with(&answer, empty), Err(BadProof::Empty("key")));
}
