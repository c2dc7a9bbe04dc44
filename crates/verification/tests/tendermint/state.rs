//! Values in a chain's state.

use crate::{
    forged::{self, Forge},
    vectors::{Answer, DRIFT, PERIOD, accepted, anchor, answer, network, root},
};
use ibc_proto::ibc::core::commitment::v1::MerkleProof;
use ics23::{CommitmentProof, ExistenceProof, InnerOp, commitment_proof::Proof};
use postrider_message::Height;
use postrider_verification::{
    Support, Verdict,
    tendermint::{
        BadKey, BadProof, CosmosAnchor, MAX_DEPTH, MAX_OP_BYTES, MAX_STATE_PROOF_BYTES,
        StateHeight, StateKey, StateProof, StateRefutation, StateValue, StoreName, TrustOptions,
        anchor_from_root, prove_absent, prove_value,
    },
    verdict::Refutation,
};
use proptest::prelude::*;
use prost::Message;
use tendermint::merkle::proof::ProofOp;

fn refuted<T: std::fmt::Debug>(verdict: Verdict<T>) -> StateRefutation {
    match verdict {
        Verdict::Refuted(Refutation::State(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn prove(anchor: &CosmosAnchor, answer: &Answer) -> Verdict<StateValue> {
    prove_value(anchor, &answer.key(), &answer.value(), &answer.proof())
}

pub(crate) fn existence(op: &ProofOp) -> ExistenceProof {
    match CommitmentProof::decode(op.data.as_slice()).unwrap().proof {
        Some(Proof::Exist(proof)) => proof,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn op(kind: &str, key: &[u8], proof: Option<Proof>) -> ProofOp {
    let data = CommitmentProof { proof }.encode_to_vec();
    ProofOp { field_type: kind.to_owned(), key: key.to_vec(), data }
}

/// The operations of an answer, with both proofs as `change` leaves them.
fn changed(
    answer: &Answer,
    change: impl Fn(&mut ExistenceProof, &mut ExistenceProof),
) -> Result<StateProof, BadProof> {
    let ops = answer.ops();
    let (mut leaf, mut store) = (existence(&ops[0]), existence(&ops[1]));
    change(&mut leaf, &mut store);
    let ops = [
        op("ics23:iavl", &leaf.key.clone(), Some(Proof::Exist(leaf))),
        op("ics23:simple", &store.key.clone(), Some(Proof::Exist(store))),
    ];
    StateProof::from_ops(answer.state(), &ops)
}

#[test]
fn r1_values_of_a_real_chain_are_proven() {
    let eight = anchor(8);
    for name in ["sequence", "balance"] {
        let answer = answer(name);
        assert_eq!(answer.state().anchor(), eight.block().height);
        let Verdict::Accepted(verified) = prove(&eight, &answer) else { panic!("{name}") };
        assert_eq!(verified.value().key, answer.key());
        assert_eq!(verified.value().value, answer.value());
        assert_eq!(verified.value().state.block(), Height(7));
        let basis = verified.basis();
        assert_eq!((basis.block, &basis.network), (eight.block(), &network()));
        assert!(matches!(basis.support, Support::Validators { .. }));
        assert_eq!(
            refuted(prove_absent(&eight, &answer.key(), &answer.proof())),
            StateRefutation::Opposite
        );
    }
}

#[test]
fn proofs_are_stored_and_given_to_messages_as_the_chain_made_them() {
    for name in ["sequence", "balance", "between", "first", "last"] {
        let answer = answer(name);
        let proof = answer.proof();
        assert_eq!(StateProof::from_bytes(&proof.to_bytes()), Ok(proof.clone()));
        let merkle = MerkleProof::decode(proof.merkle_proof_bytes().as_slice()).unwrap();
        let given: Vec<_> = answer.ops().into_iter().map(|op| op.data).collect();
        let carried: Vec<_> = merkle.proofs.iter().map(Message::encode_to_vec).collect();
        assert_eq!(carried, given, "{name}");
        let value = Some(answer.value()).filter(|value| !value.is_empty());
        assert_eq!((proof.key(), proof.value()), (&answer.key(), value.as_deref()));
    }
}

/// The state after block h is named by block h + 1, and by no other.
#[test]
fn r1_d_a_proof_is_bound_to_its_state() {
    let (seven, eight) = (answer("sequence"), answer("later"));
    assert!(matches!(prove(&anchor(9), &eight), Verdict::Accepted(_)));
    for (anchored, answer) in [(8, &eight), (9, &seven), (5, &seven)] {
        let anchor = anchor(anchored);
        let expected =
            StateRefutation::OtherState { anchor: anchor.state(), proof: answer.state() };
        assert_eq!(refuted(prove(&anchor, answer)), expected);
    }
    // A proof of one state with the height of another.
    let relabelled = StateProof::from_ops(seven.state(), &eight.ops()).unwrap();
    let verdict = prove_value(&anchor(8), &eight.key(), &eight.value(), &relabelled);
    assert_eq!(refuted(verdict), StateRefutation::Store);
}

#[test]
fn r1_d_j_a_proof_is_bound_to_key_value_store_and_chain() {
    let (eight, answer) = (anchor(8), answer("sequence"));
    let (key, value, proof) = (answer.key(), answer.value(), answer.proof());
    let with = |key: &StateKey, value: &[u8]| refuted(prove_value(&eight, key, value, &proof));
    assert_eq!(
        with(&StateKey::ibc(*b"nextClientSequencf").unwrap(), &value),
        StateRefutation::OtherKey
    );
    let bank = StateKey::new(StoreName::new("bank").unwrap(), key.path()).unwrap();
    assert_eq!(with(&bank, &value), StateRefutation::OtherKey);
    assert_eq!(with(&key, &1_u64.to_be_bytes()), StateRefutation::OtherValue);
    assert_eq!(with(&key, &value[1..]), StateRefutation::OtherValue);

    // The same claim, of another chain with another root.
    let forge = Forge::new(8, &[1, 2, 3]);
    assert_eq!(refuted(prove(&forged_anchor(&forge), &answer)), StateRefutation::Store);
}

fn forged_anchor(forge: &Forge) -> CosmosAnchor {
    let options = TrustOptions::with_two_thirds(forged::CHAIN, PERIOD, DRIFT).unwrap();
    let parts = forge.parts();
    let (claimed, now) = (parts.claimed(), parts.now());
    accepted(anchor_from_root(&network(), &options, &root(&parts), claimed, now))
}

/// Class (a): zero and empty roots, values and keys.
#[test]
fn r5_a_zero_and_empty_values_never_verify() {
    let (eight, answer) = (anchor(8), answer("sequence"));
    let verdict = prove_value(&eight, &answer.key(), &[], &answer.proof());
    assert_eq!(refuted(verdict), StateRefutation::EmptyValue);
    for app_hash in [vec![], vec![0; 32], vec![1; 31], vec![1; 33]] {
        let forge = Forge { app_hash, ..Forge::new(8, &[1, 2, 3]) };
        assert_eq!(refuted(prove(&forged_anchor(&forge), &answer)), StateRefutation::NoAppHash);
    }
    for root in [vec![0; 32], vec![1; 31], vec![1; 33]] {
        let proof = changed(&answer, |_, store| store.value.clone_from(&root)).unwrap();
        let verdict = prove_value(&eight, &answer.key(), &answer.value(), &proof);
        assert_eq!(refuted(verdict), StateRefutation::NoStoreRoot);
    }
    assert_eq!(StateKey::ibc([]), Err(BadKey::Path(0)));
    assert_eq!(StateKey::ibc([1; 1025]), Err(BadKey::Path(1025)));
    for name in ["", "i bc", "ibc\0", &"x".repeat(65)] {
        assert_eq!(StoreName::new(name), Err(BadKey::Store));
    }
    assert_eq!(StateHeight::after(Height(0)), None);
    assert_eq!(StateHeight::after(Height(u64::MAX)), None);
    let empty = [
        changed(&answer, |leaf, _| leaf.key.clear()),
        changed(&answer, |leaf, _| leaf.value.clear()),
        changed(&answer, |leaf, _| leaf.leaf = None),
        changed(&answer, |_, store| store.key.clear()),
        changed(&answer, |_, store| store.value.clear()),
        changed(&answer, |_, store| store.leaf = None),
    ];
    for (index, proof) in empty.into_iter().enumerate() {
        assert!(matches!(proof, Err(BadProof::Empty(_))), "{index}: {proof:?}");
    }
    assert_eq!(StateProof::from_bytes(&[]), Err(BadProof::Count(0)));
    let no_height = StateProof::from_bytes(&answer.proof().to_bytes()[2..]);
    assert_eq!(no_height, Err(BadProof::NoHeight));
}

/// Class (c): operations too many, too few, of another kind or at another place.
#[test]
fn r10_c_operations_of_another_number_kind_or_order_are_refused() {
    let answer = answer("sequence");
    let [leaf, store] = <[ProofOp; 2]>::try_from(answer.ops()).unwrap();
    let read = |ops: &[ProofOp]| StateProof::from_ops(answer.state(), ops).unwrap_err();
    let kind =
        |index, expected, found: &str| BadProof::Kind { index, expected, found: found.into() };
    assert_eq!(read(&[]), BadProof::Count(0));
    assert_eq!(read(std::slice::from_ref(&leaf)), BadProof::Count(1));
    let three = [leaf.clone(), store.clone(), store.clone()];
    assert_eq!(read(&three), BadProof::Count(3));
    assert_eq!(read(&vec![store.clone(); 10_000]), BadProof::Count(10_000));
    let swapped = [store.clone(), leaf.clone()];
    assert_eq!(read(&swapped), kind(0, "ics23:iavl", "ics23:simple"));
    let twice = [leaf.clone(), leaf.clone()];
    assert_eq!(read(&twice), kind(1, "ics23:simple", "ics23:iavl"));
    let smt = ProofOp { field_type: "ics23:smt".into(), ..leaf.clone() };
    assert_eq!(read(&[smt, store.clone()]), kind(0, "ics23:iavl", "ics23:smt"));
    for (index, key) in
        [(0, b"".to_vec()), (0, b"nextClientSequencf".to_vec()), (1, b"bank".to_vec())]
    {
        let mut ops = [leaf.clone(), store.clone()];
        ops[index].key = key;
        assert_eq!(read(&ops), BadProof::OtherKey { index });
    }
    let long = ProofOp { data: vec![0; MAX_OP_BYTES + 1], ..leaf.clone() };
    assert_eq!(read(&[long, store.clone()]), BadProof::TooLong(MAX_OP_BYTES + 1));
    let cut = ProofOp { data: leaf.data[..leaf.data.len() - 1].to_vec(), ..leaf.clone() };
    assert!(matches!(read(&[cut, store.clone()]), BadProof::Malformed(_)));
    let empty = ProofOp { data: vec![], ..leaf.clone() };
    assert_eq!(read(&[empty, store.clone()]), BadProof::NeitherNor);
    let no_store = ProofOp { data: vec![], ..store.clone() };
    assert_eq!(read(&[leaf.clone(), no_store]), BadProof::NoStore);
    let batch = ics23::BatchProof {
        entries: vec![ics23::BatchEntry {
            proof: Some(ics23::batch_entry::Proof::Exist(existence(&leaf))),
        }],
    };
    let batch = op("ics23:iavl", &leaf.key, Some(Proof::Batch(batch)));
    let proof = CommitmentProof::decode(batch.data.as_slice()).unwrap();
    let compressed = op("ics23:iavl", &leaf.key, ics23::compress(&proof).unwrap().proof);
    for one in [batch, compressed] {
        assert_eq!(read(&[one, store.clone()]), BadProof::NeitherNor);
    }
    let long = vec![0; MAX_STATE_PROOF_BYTES + 1];
    assert_eq!(StateProof::from_bytes(&long), Err(BadProof::TooLong(long.len())));
}

/// Class (b): Dragonfruit's nodes with both children, and what else no tree has.
#[test]
fn b_dragonfruit_a_step_has_exactly_one_sibling() {
    type Change = fn(&mut InnerOp);
    let answer = answer("balance");
    let changes: [Change; 8] = [
        |step| step.suffix.extend([32; 33]),
        |step| step.suffix.extend([32; 32]),
        |step| step.suffix = vec![32; 66],
        |step| step.suffix = vec![7; 33],
        |step| step.prefix.clear(),
        |step| step.prefix.truncate(3),
        |step| step.prefix.extend([32; 33]),
        |step| {
            step.prefix = vec![2, 4, 6, 32];
            step.suffix.clear();
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        for in_store in [false, true] {
            let count = existence(&answer.ops()[usize::from(in_store)]).path.len();
            for step in 0..count {
                let proof = changed(&answer, |leaf, store| {
                    change(&mut if in_store { &mut *store } else { &mut *leaf }.path[step]);
                });
                let Ok(proof) = proof else { continue };
                // Some changes leave some nodes as they are.
                if proof == answer.proof() {
                    continue;
                }
                let verdict = prove_value(&anchor(8), &answer.key(), &answer.value(), &proof);
                let why = refuted(verdict);
                let known = [StateRefutation::Leaf, StateRefutation::Store].contains(&why);
                assert!(known, "change {index}, step {step}: {why}");
            }
        }
    }
    let both = changed(&answer, |leaf, _| {
        let step = leaf.path.iter_mut().find(|step| step.suffix.is_empty()).unwrap();
        step.suffix = [&[32][..], &[7; 32]].concat();
    });
    assert_eq!(both, Err(BadProof::Step("IAVL")));
    let both = changed(&answer, |_, store| {
        store.path[0].prefix = vec![1; 33];
        store.path[0].suffix = vec![1; 32];
    });
    assert_eq!(both, Err(BadProof::Step("multistore")));
    let longer = changed(&answer, |_, store| store.leaf.as_mut().unwrap().prefix.push(0));
    assert_eq!(longer, Err(BadProof::Step("multistore")));
    let deep = changed(&answer, |leaf, _| {
        let step = leaf.path[0].clone();
        leaf.path.resize(MAX_DEPTH + 1, step);
    });
    assert_eq!(deep, Err(BadProof::TooDeep(MAX_DEPTH + 1)));
}

#[test]
fn b_steps_and_leaves_of_another_kind_lead_nowhere() {
    type Change = fn(&mut ExistenceProof);
    let answer = answer("balance");
    let changes: [Change; 12] = [
        |p| drop(p.path.pop()),
        |p| drop(p.path.remove(0)),
        |p| p.path.clear(),
        |p| p.path.reverse(),
        |p| p.path.push(p.path[0].clone()),
        |p| p.path[0].hash = ics23::HashOp::NoHash.into(),
        |p| p.path[0].hash = 99,
        |p| p.leaf.as_mut().unwrap().hash = ics23::HashOp::NoHash.into(),
        |p| p.leaf.as_mut().unwrap().prehash_value = ics23::HashOp::NoHash.into(),
        |p| p.leaf.as_mut().unwrap().prehash_key = ics23::HashOp::Sha256.into(),
        |p| p.leaf.as_mut().unwrap().length = ics23::LengthOp::NoPrefix.into(),
        |p| p.leaf.as_mut().unwrap().length = 99,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let proof = changed(&answer, |leaf, _| change(leaf)).unwrap();
        let verdict = prove_value(&anchor(8), &answer.key(), &answer.value(), &proof);
        assert_eq!(refuted(verdict), StateRefutation::Leaf, "change {index}");
        let proof = changed(&answer, |_, store| change(store)).unwrap();
        let verdict = prove_value(&anchor(8), &answer.key(), &answer.value(), &proof);
        assert_eq!(refuted(verdict), StateRefutation::Store, "change {index}");
    }
    for prefix in [vec![], vec![0], vec![1, 2, 2], vec![0, 2, 2, 0], vec![0; 40]] {
        let proof =
            changed(&answer, |leaf, _| leaf.leaf.as_mut().unwrap().prefix.clone_from(&prefix));
        let verdict = prove_value(&anchor(8), &answer.key(), &answer.value(), &proof.unwrap());
        assert_eq!(refuted(verdict), StateRefutation::Leaf, "{prefix:?}");
    }
}

/// Presence or absence of the key of `answer`, whichever it is an answer of, with other operations.
pub(crate) fn is_proven(anchor: &CosmosAnchor, answer: &Answer, proof: &StateProof) -> bool {
    match answer.value() {
        value if value.is_empty() => {
            matches!(prove_absent(anchor, &answer.key(), proof), Verdict::Accepted(_))
        }
        value => {
            let verdict = prove_value(anchor, &answer.key(), &value, proof);
            matches!(verdict, Verdict::Accepted(_))
        }
    }
}

/// Whatever bit of a proof is turned, it is refused, or says the same in other bytes.
#[test]
fn r1_r10_no_turned_bit_verifies() {
    let eight = anchor(8);
    for name in ["sequence", "balance", "between", "first", "last"] {
        let answer = answer(name);
        let original = answer.proof();
        for index in 0..2 {
            for bit in 0..answer.ops()[index].data.len() * 8 {
                let mut ops = answer.ops();
                ops[index].data[bit / 8] ^= 1 << (bit % 8);
                let Ok(proof) = StateProof::from_ops(answer.state(), &ops) else { continue };
                assert!(!is_proven(&eight, &answer, &proof) || proof == original, "{name}: {bit}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn r10_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = StateProof::from_bytes(&bytes);
    }

    /// Several bytes changed, left out or put in anywhere.
    #[test]
    fn r1_changed_proofs_never_verify(
        which in 0_usize..5,
        in_store in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
    ) {
        let answer = answer(["sequence", "balance", "between", "first", "last"][which]);
        let mut ops = answer.ops();
        let data = &mut ops[usize::from(in_store)].data;
        for (at, byte, kind) in edits {
            let at = at.index(data.len());
            match kind {
                0 => data[at] = byte,
                1 => data.insert(at, byte),
                _ => drop(data.remove(at)),
            }
        }
        if let Ok(proof) = StateProof::from_ops(answer.state(), &ops) {
            prop_assert!(!is_proven(&anchor(8), &answer, &proof) || proof == answer.proof());
        }
    }

    /// No other value or key is proven by a sound proof.
    #[test]
    fn r1_d_changed_claims_never_verify(
        value in prop::collection::vec(any::<u8>(), 0..20),
        path in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let answer = answer("sequence");
        let key = StateKey::ibc(path).unwrap();
        prop_assume!(value != answer.value() && key != answer.key());
        let (eight, proof) = (anchor(8), answer.proof());
        for (key, value) in [(&key, &answer.value()), (&answer.key(), &value)] {
            prop_assert!(matches!(prove_value(&eight, key, value, &proof), Verdict::Refuted(_)));
        }
    }
}
