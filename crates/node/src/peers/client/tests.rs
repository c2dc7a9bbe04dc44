use super::*;
use crate::peers::testing::{Script, http, peer};
use alloy_primitives::{B256, FixedBytes};
use postrider_layerzero::{dvn::Vid, wire::Eid};
use std::sync::Arc;

fn items() -> Vec<Asked> {
    vec![Asked {
        chain_id: 1,
        eid: Eid(30101),
        height: 5,
        block: B256::repeat_byte(1),
        index: 0,
        library: Address::repeat_byte(2),
        confirmations: 1,
        expires: 1,
    }]
}

fn dvn() -> DvnPlace {
    DvnPlace { chain_id: 2, eid: Eid(30102), address: Address::repeat_byte(3), vid: Vid(102) }
}

async fn ask(identity: Address, script: Script) -> Result<Vec<Answered>, AskError> {
    let config = PeerConfig { url: peer(script).await, identity };
    PeerClient::new(config, IdentityKey::random()).unwrap().ask(dvn(), items()).await
}

fn sealed(by: &IdentityKey, answer: &SignatureAnswer) -> Vec<u8> {
    let body = answer.bytes().unwrap();
    http(200, Some(by.seal(Sealed::Answer, &body).unwrap()), &body)
}

fn answer_to(request: B256, count: usize) -> SignatureAnswer {
    let items = vec![Answered::Signed(vec![FixedBytes::repeat_byte(1)]); count];
    SignatureAnswer { version: VERSION, request, items }
}

/// Classes (d), (j), R10: what is not the peer's own answer to this request is none, however it
/// looks, and however long it is.
#[tokio::test(flavor = "multi_thread")]
async fn d_j_r10_only_the_peers_answer_to_this_request_counts() {
    let key = IdentityKey::random();
    let digest = |body: &[u8]| Sealed::Request.digest(body);

    let good = key.clone();
    let script = Arc::new(move |body: &[u8]| sealed(&good, &answer_to(digest(body), 1)));
    assert_eq!(ask(key.address(), script).await.unwrap().len(), 1);

    let other = IdentityKey::random();
    let script = Arc::new(move |body: &[u8]| sealed(&other, &answer_to(digest(body), 1)));
    let error = ask(key.address(), script).await.unwrap_err();
    assert!(matches!(error, AskError::NotSealed(_)) && error.is_suspicious(), "{error}");

    let script =
        Arc::new(move |body: &[u8]| http(200, None, &answer_to(digest(body), 1).bytes().unwrap()));
    let error = ask(key.address(), script).await.unwrap_err();
    assert!(matches!(error, AskError::NotSealed(_)), "{error}");

    // An answer that was true for another request, and one that leaves an item out.
    let good = key.clone();
    let script = Arc::new(move |_: &[u8]| sealed(&good, &answer_to(B256::repeat_byte(4), 1)));
    let error = ask(key.address(), script).await.unwrap_err();
    assert!(matches!(error, AskError::Text(BadText::OtherRequest)), "{error}");
    let good = key.clone();
    let script = Arc::new(move |body: &[u8]| sealed(&good, &answer_to(digest(body), 0)));
    let error = ask(key.address(), script).await.unwrap_err();
    assert!(matches!(error, AskError::Text(BadText::Answers { .. })), "{error}");

    let script = Arc::new(|_: &[u8]| http(200, None, &vec![b' '; 4 * MAX_ANSWER_BYTES]));
    let error = ask(key.address(), script).await.unwrap_err();
    assert!(matches!(error, AskError::TooLong), "{error}");
}

/// R8: what a peer says in place of an answer is told without the secrets of its URL.
#[tokio::test(flavor = "multi_thread")]
async fn r8_r10_a_peer_that_turns_us_away_or_breaks_off_is_named_so() {
    let key = IdentityKey::random();
    let script = Arc::new(|_: &[u8]| http(403, None, b"not to /with-secret, \x1b[31m nor to you"));
    let error = ask(key.address(), script).await.unwrap_err();
    assert!(matches!(error, AskError::TurnedAway { status: 403, .. }), "{error}");
    assert!(!error.to_string().contains("secret") && !error.to_string().contains('\u{1b}'));
    assert!(!error.is_suspicious());

    for said in ["", "nonsense", "HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nshort"] {
        let script = Arc::new(move |_: &[u8]| said.as_bytes().to_vec());
        let error = ask(key.address(), script).await.unwrap_err();
        assert!(matches!(error, AskError::Unreachable(_)), "{said}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
