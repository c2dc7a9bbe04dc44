use super::*;
use proptest::{collection::vec, prelude::*};

fn asked(index: u64) -> Asked {
    Asked {
        chain_id: 1,
        eid: Eid(30101),
        height: 7,
        block: B256::repeat_byte(1),
        index,
        library: Address::repeat_byte(2),
        confirmations: 15,
        expires: 1_800_000_000,
    }
}

fn request(items: Vec<Asked>) -> SignatureRequest {
    SignatureRequest {
        version: VERSION,
        to: Address::repeat_byte(3),
        nonce: B256::repeat_byte(4),
        at: UnixMillis(5),
        dvn: DvnPlace {
            chain_id: 10,
            eid: Eid(30111),
            address: Address::repeat_byte(6),
            vid: Vid(111),
        },
        items,
    }
}

fn answer(items: Vec<Answered>) -> SignatureAnswer {
    SignatureAnswer { version: VERSION, request: B256::repeat_byte(9), items }
}

fn read_request(request: &SignatureRequest) -> Result<SignatureRequest, BadText> {
    SignatureRequest::read(&request.bytes().unwrap())
}

#[test]
fn the_largest_texts_fit() {
    let index = |i| Asked { confirmations: u64::MAX, expires: u64::MAX, ..asked(u64::MAX - i) };
    let full = request((0..MAX_ITEMS as u64).map(index).collect());
    assert_eq!(read_request(&full), Ok(full));
    let signatures = vec![FixedBytes::repeat_byte(0xff); MAX_SIGNATURES];
    let refused = || Answered::Refused {
        why: Refused::TooFewConfirmations,
        detail: "\"".repeat(1000).into(),
    };
    let signed = || Answered::Signed(signatures.clone());
    let both =
        answer((0..MAX_ITEMS).map(|i| if i % 2 == 0 { signed() } else { refused() }).collect());
    let bytes = both.bytes().unwrap();
    assert_eq!(SignatureAnswer::read(&bytes, both.request, MAX_ITEMS), Ok(both));
}

/// Class (m): nothing, too much and duplicates are no request.
#[test]
fn r5_m_empty_and_duplicate_requests_are_none() {
    assert_eq!(read_request(&request(vec![])), Err(BadText::Count(0)));
    let many = (0..=MAX_ITEMS as u64).map(asked).collect();
    assert_eq!(read_request(&request(many)), Err(BadText::Count(MAX_ITEMS + 1)));
    let other_terms = Asked { expires: 1, confirmations: 2, ..asked(1) };
    assert_eq!(read_request(&request(vec![asked(1), other_terms])), Err(BadText::Duplicate));
    assert!(read_request(&request(vec![asked(1), asked(2)])).is_ok());
    let newer = SignatureRequest { version: 2, ..request(vec![asked(1)]) };
    assert_eq!(read_request(&newer), Err(BadText::Version(2)));
}

/// Class (n): one text, one meaning.
#[test]
fn r10_n_fields_twice_unknown_or_missing_are_refused() {
    let text = String::from_utf8(request(vec![asked(1)]).bytes().unwrap()).unwrap();
    assert!(SignatureRequest::read(text.as_bytes()).is_ok());
    for (from, to) in [
        ("\"height\":7", "\"height\":7,\"height\":8"),
        ("\"height\":7", "\"height\":7,\"digest\":8"),
        ("\"height\":7,", ""),
        ("\"height\":7", "\"height\":-7"),
        ("\"height\":7", "\"height\":7.5"),
        ("\"version\":1", "\"version\":257"),
        ("\"chain_id\":10", "\"chain_id\":18446744073709551616"),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        let read = SignatureRequest::read(changed.as_bytes());
        assert!(matches!(read, Err(BadText::Form(_))), "{to}: {read:?}");
    }
    let trailing = format!("{text} x");
    assert!(matches!(SignatureRequest::read(trailing.as_bytes()), Err(BadText::Form(_))));
    let long = vec![b' '; MAX_REQUEST_BYTES + 1];
    assert!(matches!(SignatureRequest::read(&long), Err(BadText::TooLong { .. })));
}

/// Class (d): an answer is bound to its request, item by item.
#[test]
fn d_an_answer_belongs_to_its_request() {
    let signed = Answered::Signed(vec![FixedBytes::repeat_byte(1)]);
    let bytes = |items| answer(items).bytes().unwrap();
    let good = bytes(vec![signed]);
    let request = B256::repeat_byte(9);
    assert!(SignatureAnswer::read(&good, request, 1).is_ok());
    let other = SignatureAnswer::read(&good, B256::repeat_byte(8), 1);
    assert_eq!(other, Err(BadText::OtherRequest));
    for asked in [0, 2] {
        let read = SignatureAnswer::read(&good, request, asked);
        assert_eq!(read, Err(BadText::Answers { found: 1, asked }));
    }
    let many = Answered::Signed(vec![FixedBytes::ZERO; MAX_SIGNATURES + 1]);
    let read = SignatureAnswer::read(&bytes(vec![many]), request, 1);
    assert_eq!(read, Err(BadText::Signatures(MAX_SIGNATURES + 1)));
}

fn any_asked() -> impl Strategy<Value = Asked> {
    (any::<[u64; 5]>(), any::<u32>(), any::<[u8; 32]>(), any::<[u8; 20]>()).prop_map(
        |([chain_id, height, index, confirmations, expires], eid, block, library)| Asked {
            chain_id,
            eid: Eid(eid),
            height,
            block: block.into(),
            index,
            library: library.into(),
            confirmations,
            expires,
        },
    )
}

proptest! {
    #[test]
    fn a_request_is_read_back(items in vec(any_asked(), 1..6), nonce in any::<[u8; 32]>()) {
        let written = SignatureRequest { nonce: nonce.into(), ..request(items) };
        prop_assert_eq!(read_request(&written), Ok(written));
    }

    #[test]
    fn r10_hostile_texts_never_panic(bytes in vec(any::<u8>(), 0..400), at in 0..300usize) {
        let _ = SignatureRequest::read(&bytes);
        let _ = SignatureAnswer::read(&bytes, B256::ZERO, 1);
        // Nearly right.
        let mut text = request(vec![asked(1)]).bytes().unwrap();
        let end = (at + bytes.len().min(8)).min(text.len());
        let at = at.min(end);
        text.splice(at..end, bytes.iter().copied().take(8));
        let _ = SignatureRequest::read(&text);
    }
}
