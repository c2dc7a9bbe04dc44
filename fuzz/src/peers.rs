//! What peers say to each other.

use crate::memory::bounded;
use alloy_primitives::B256;
use postrider_layerzero::request::{
    Answered, MAX_ANSWER_BYTES, MAX_ITEMS, MAX_REQUEST_BYTES, MAX_SIGNATURES, SignatureAnswer,
    SignatureRequest,
};

/// Requests and answers: what is read is within its bounds, and reads the same when written back.
pub fn peer_text(data: &[u8]) {
    if let Ok(request) = bounded(data.len(), 20, || SignatureRequest::read(data)) {
        assert!((1..=MAX_ITEMS).contains(&request.items.len()) && data.len() <= MAX_REQUEST_BYTES);
        let written = request.bytes().expect("it is written");
        assert_eq!(SignatureRequest::read(&written), Ok(request));
    }
    let answer = bounded(data.len(), 20, || SignatureAnswer::read(data, B256::ZERO, 1));
    let Ok(answer) = answer else { return };
    assert!(data.len() <= MAX_ANSWER_BYTES && answer.items.len() == 1);
    for item in &answer.items {
        match item {
            Answered::Signed(list) => assert!(list.len() <= MAX_SIGNATURES),
            Answered::Refused { detail, .. } => {
                assert!(!detail.to_string().contains(char::is_control));
            }
        }
    }
    let written = answer.bytes().expect("it is written");
    assert_eq!(SignatureAnswer::read(&written, B256::ZERO, 1), Ok(answer));
}
