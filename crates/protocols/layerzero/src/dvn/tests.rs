use super::*;
use proptest::prelude::*;

const LOW_S: [u8; 32] = [1; 32];

fn signature(s: [u8; 32], v: u8) -> [u8; SIGNATURE_SIZE] {
    let mut bytes = [9; SIGNATURE_SIZE];
    bytes[32..64].copy_from_slice(&s);
    bytes[64] = v;
    bytes
}

fn signer(byte: u8) -> (Address, [u8; SIGNATURE_SIZE]) {
    let mut bytes = signature(LOW_S, 27);
    bytes[0] = byte;
    (Address::repeat_byte(byte), bytes)
}

#[test]
fn signatures_go_in_the_order_of_their_signers() {
    let joined = assemble_signatures(vec![signer(3), signer(1), signer(2)], 3).unwrap();
    let expected = [signer(1).1, signer(2).1, signer(3).1].concat();
    assert_eq!(joined, Bytes::from(expected));
}

#[test]
fn signatures_the_contract_would_refuse_are_named() {
    use SignatureError as E;
    let one = Address::repeat_byte(1);
    let half: [u8; 32] = HALF_ORDER.to_be_bytes();
    let above: [u8; 32] = (HALF_ORDER + U256::from(1)).to_be_bytes();
    let cases = [
        (vec![], 0, E::ZeroQuorum),
        (vec![signer(1)], 0, E::ZeroQuorum),
        (vec![signer(1)], u64::MAX, E::QuorumTooLarge { quorum: u64::MAX }),
        (vec![], 1, E::WrongCount { have: 0, need: 1 }),
        (vec![signer(1)], 2, E::WrongCount { have: 1, need: 2 }),
        (vec![signer(1), signer(2)], 1, E::WrongCount { have: 2, need: 1 }),
        (vec![signer(1), signer(0)], 2, E::ZeroSigner),
        (vec![signer(1), signer(1)], 2, E::DuplicateSigner { signer: one }),
        (vec![(one, signature(above, 27))], 1, E::SOutOfRange { signer: one }),
        (vec![(one, signature([0; 32], 27))], 1, E::SOutOfRange { signer: one }),
        (vec![(one, signature(LOW_S, 0))], 1, E::RecoveryByte { signer: one, v: 0 }),
        (vec![(one, signature(LOW_S, 1))], 1, E::RecoveryByte { signer: one, v: 1 }),
        (vec![(one, signature(LOW_S, 29))], 1, E::RecoveryByte { signer: one, v: 29 }),
    ];
    for (signatures, quorum, expected) in cases {
        assert_eq!(assemble_signatures(signatures, quorum), Err(expected));
    }
    assert!(assemble_signatures(vec![(one, signature(half, 28))], 1).is_ok());
}

#[test]
fn only_missing_signatures_are_worth_waiting_for() {
    assert!(SignatureError::WrongCount { have: 1, need: 2 }.is_retryable());
    assert!(!SignatureError::WrongCount { have: 3, need: 2 }.is_retryable());
    assert!(!SignatureError::ZeroQuorum.is_retryable());
}

#[test]
fn the_digest_depends_on_every_part() {
    let target = Address::repeat_byte(1);
    let digest = execute_digest(Vid(1), target, Expiration(2), b"call");
    for other in [
        execute_digest(Vid(2), target, Expiration(2), b"call"),
        execute_digest(Vid(1), Address::ZERO, Expiration(2), b"call"),
        execute_digest(Vid(1), target, Expiration(3), b"call"),
        execute_digest(Vid(1), target, Expiration(2), b"calls"),
    ] {
        assert_ne!(digest, other);
    }
}

proptest! {
    #[test]
    fn hostile_signatures_never_panic(
        digest in any::<[u8; 32]>(),
        bytes in any::<[u8; 32]>(),
        s in any::<[u8; 32]>(),
        v in prop_oneof![Just(27u8), Just(28), any::<u8>()],
    ) {
        let mut bytes_and_s = signature(s, v);
        bytes_and_s[..32].copy_from_slice(&bytes);
        let _ = recover_signer(ExecuteDigest(digest.into()), &bytes_and_s);
    }
}
