use super::*;
use crate::peers::testing::{DVN, context};
use alloy_primitives::B256;
use postrider_layerzero::{
    dvn::Vid,
    request::{Answered, Asked, DvnPlace, Refused},
    wire::Eid,
};
use postrider_signing::random_nonce;
use tempfile::TempDir;

struct World {
    desk: Desk,
    own: Address,
    peer: IdentityKey,
    _folder: TempDir,
}

async fn world() -> World {
    let (own, peer) = (IdentityKey::random(), IdentityKey::random());
    let (context, folder) = context(peer.address()).await;
    let identity = own.clone();
    World { desk: Desk::new(context, identity), own: own.address(), peer, _folder: folder }
}

fn request(to: Address) -> SignatureRequest {
    SignatureRequest {
        version: VERSION,
        to,
        nonce: random_nonce(),
        at: UnixMillis::now(),
        dvn: DvnPlace {
            chain_id: 1,
            eid: Eid(30101),
            address: DVN.parse().unwrap(),
            vid: Vid(101),
        },
        items: vec![Asked {
            chain_id: 1,
            eid: Eid(30101),
            height: 5,
            block: B256::repeat_byte(1),
            index: 0,
            library: Address::repeat_byte(0x22),
            confirmations: 1,
            expires: 1,
        }],
    }
}

async fn ask(
    desk: &Desk,
    by: &IdentityKey,
    request: &SignatureRequest,
) -> Result<SignatureAnswer, TurnedAway> {
    let body = request.bytes().unwrap();
    let seal = seal_text(&by.seal(Sealed::Request, &body).unwrap());
    let reply = desk.answer(Some(&seal), &body).await?;
    let seal = read_seal(&reply.seal).unwrap();
    let sealed_by = Sealed::Answer.sealed_by(&reply.body, &seal);
    assert_eq!(sealed_by, Some(desk.identity().address()));
    let digest = Sealed::Request.digest(&body);
    Ok(SignatureAnswer::read(&reply.body, digest, request.items.len()).unwrap())
}

fn refused(answer: &SignatureAnswer) -> Refused {
    match &answer.items[..] {
        [Answered::Refused { why, .. }] => *why,
        other => panic!("{other:?}"),
    }
}

/// R3, R5: nothing is done for whoever is not known, and nothing that does not bear his seal.
#[tokio::test]
async fn r3_r5_who_is_not_known_is_turned_away() {
    let World { desk, own, peer, _folder } = world().await;
    desk.open(BTreeMap::new());
    let body = request(own).bytes().unwrap();
    for seal in [None, Some(""), Some("0x00"), Some("x")] {
        let answer = desk.answer(seal, &body).await;
        assert!(matches!(answer, Err(TurnedAway::NoSeal)), "{seal:?}: {answer:?}");
    }
    let zero = seal_text(&[0; 65]);
    let answer = desk.answer(Some(&zero), &body).await;
    assert!(matches!(answer, Err(TurnedAway::Unknown)), "{answer:?}");
    let stranger = ask(&desk, &IdentityKey::random(), &request(own)).await;
    assert!(matches!(stranger, Err(TurnedAway::Unknown)), "{stranger:?}");

    // The peer's seal, but on something else.
    let seal = seal_text(&peer.seal(Sealed::Request, &body).unwrap());
    let other = request(own).bytes().unwrap();
    let answer = desk.answer(Some(&seal), &other).await;
    assert!(matches!(answer, Err(TurnedAway::Unknown)), "{answer:?}");
    // An answer of the peer's is no request of his.
    let seal = seal_text(&peer.seal(Sealed::Answer, &body).unwrap());
    let answer = desk.answer(Some(&seal), &body).await;
    assert!(matches!(answer, Err(TurnedAway::Unknown)), "{answer:?}");
    assert_eq!(answer.unwrap_err().status(), 403);
}

/// Class (j): a request counts for one process, once, and now.
#[tokio::test]
async fn j_a_request_for_another_an_old_one_and_a_second_one_are_turned_away() {
    let World { desk, own, peer, _folder } = world().await;
    let busy = ask(&desk, &peer, &request(own)).await;
    assert!(matches!(busy, Err(TurnedAway::Busy)), "not open yet: {busy:?}");
    desk.open(BTreeMap::new());

    let elsewhere = ask(&desk, &peer, &request(Address::repeat_byte(9))).await;
    assert!(matches!(elsewhere, Err(TurnedAway::NotForUs)), "{elsewhere:?}");
    let good = request(own);
    assert!(ask(&desk, &peer, &good).await.is_ok());
    let again = ask(&desk, &peer, &good).await.unwrap_err();
    assert!(matches!(again, TurnedAway::NotFresh(NotFresh::Replayed)), "{again:?}");
    assert_eq!(again.status(), 409);
    for at in [0, good.at.0 - 120_000, good.at.0 + 120_000] {
        let late = SignatureRequest { at: UnixMillis(at), ..request(own) };
        let late = ask(&desk, &peer, &late).await;
        assert!(matches!(late, Err(TurnedAway::NotFresh(NotFresh::Time(_)))), "{late:?}");
    }
    // A second process of the same identity may have heard it.
    let before = SignatureRequest { at: UnixMillis(good.at.0 - 30_000), ..request(own) };
    let before = ask(&desk, &peer, &before).await;
    assert!(matches!(before, Err(TurnedAway::NotFresh(NotFresh::BeforeStart))), "{before:?}");
}

/// R10: whatever bytes a peer seals, it gets a typed answer.
#[tokio::test]
async fn r10_sealed_nonsense_is_turned_away() {
    let World { desk, own, peer, _folder } = world().await;
    desk.open(BTreeMap::new());
    let long = vec![b' '; 1 << 20];
    let empty = SignatureRequest { items: vec![], ..request(own) }.bytes().unwrap();
    for body in [&b""[..], b"{}", b"null", b"\xff\xfe", &long, &empty] {
        let seal = seal_text(&peer.seal(Sealed::Request, body).unwrap());
        let answer = desk.answer(Some(&seal), body).await;
        assert!(matches!(answer, Err(TurnedAway::Text(_))), "{answer:?}");
    }
}

/// A peer's part in one DVN gives it none in another, and no other DVN exists here.
#[tokio::test]
async fn j_another_dvn_is_not_signed_for() {
    let World { desk, own, peer, _folder } = world().await;
    desk.open(BTreeMap::new());
    let good = request(own);
    for dvn in [
        DvnPlace { chain_id: 2, ..good.dvn },
        DvnPlace { eid: Eid(1), ..good.dvn },
        DvnPlace { address: Address::ZERO, ..good.dvn },
    ] {
        let answer = ask(&desk, &peer, &SignatureRequest { dvn, ..request(own) }).await.unwrap();
        assert_eq!(refused(&answer), Refused::Unwilling, "{dvn:?}");
    }
}
