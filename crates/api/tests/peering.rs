//! The way in for peers, over HTTP: who is not known gets nothing, whatever is sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use alloy_primitives::{Address, hex};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use postrider_api::peering::router;
use postrider_layerzero::{
    dvn::Vid,
    request::{Asked, DvnPlace, MAX_REQUEST_BYTES, SignatureAnswer, SignatureRequest, VERSION},
    wire::Eid,
};
use postrider_message::UnixMillis;
use postrider_node::{
    Config, Context,
    peers::{Desk, PATH, SEAL},
};
use postrider_signing::{IdentityKey, Sealed, random_nonce};
use postrider_store::SqliteStore;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tempfile::TempDir;
use tower::ServiceExt;

struct World {
    router: Router,
    own: Address,
    peer: IdentityKey,
    _folder: TempDir,
}

async fn world() -> World {
    let (own, peer) = (IdentityKey::random(), IdentityKey::random());
    let text = format!(
        "[networks.alpha]\nkind = \"evm\"\nchain_id = 1\nquorum = 1\nfinality = \"finalized\"\n\
         upstreams = [{{ name = \"a\", operator = \"x\", url = \"http://127.0.0.1:1\" }}]\n\
         [peering]\nidentity = \"who\"\n\
         [peers.bern]\nurl = \"http://127.0.0.1:1\"\nidentity = \"{:#x}\"\n",
        peer.address()
    );
    let folder = tempfile::tempdir().unwrap();
    let config = Config::parse(&text, Path::new("f"), folder.path()).unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("store")).await.unwrap());
    let context = Arc::new(Context::new(config, store).unwrap());
    let desk = Arc::new(Desk::new(context, own.clone()));
    desk.open(BTreeMap::new());
    World { router: router(desk), own: own.address(), peer, _folder: folder }
}

fn request(to: Address) -> Vec<u8> {
    let asked = Asked {
        chain_id: 1,
        eid: Eid(30101),
        height: 5,
        block: random_nonce(),
        index: 0,
        library: Address::repeat_byte(2),
        confirmations: 1,
        expires: 1,
    };
    let dvn =
        DvnPlace { chain_id: 1, eid: Eid(30101), address: Address::repeat_byte(3), vid: Vid(1) };
    let (nonce, at, items) = (random_nonce(), UnixMillis::now(), vec![asked]);
    SignatureRequest { version: VERSION, to, nonce, at, dvn, items }.bytes().unwrap()
}

fn seal(by: &IdentityKey, body: &[u8]) -> String {
    hex::encode_prefixed(by.seal(Sealed::Request, body).unwrap())
}

async fn post(
    world: &World,
    seal: Option<&str>,
    body: Vec<u8>,
) -> (StatusCode, Option<String>, Vec<u8>) {
    let mut request = Request::post(PATH);
    if let Some(seal) = seal {
        request = request.header(SEAL, seal);
    }
    let request = request.body(Body::from(body)).unwrap();
    let answer = world.router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let seal = answer.headers().get(SEAL).map(|v| v.to_str().unwrap().to_owned());
    (status, seal, to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec())
}

/// Class (j), R3: unsealed, of a stranger, replayed, for another: each is turned away, without a seal
/// that could be shown elsewhere.
#[tokio::test]
async fn r3_j_only_a_fresh_request_of_a_known_peer_is_answered() {
    let world = world().await;
    let body = request(world.own);
    let good = seal(&world.peer, &body);
    let stranger = seal(&IdentityKey::random(), &body);
    let elsewhere = request(Address::repeat_byte(9));
    let other = seal(&world.peer, &elsewhere);
    let turned_away = [
        (None, body.clone(), 401),
        (Some("0x1234"), body.clone(), 401),
        (Some(stranger.as_str()), body.clone(), 403),
        (Some(good.as_str()), request(world.own), 403),
        (Some(other.as_str()), elsewhere, 403),
    ];
    for (seal, body, expected) in turned_away {
        let (status, sealed, _) = post(&world, seal, body).await;
        assert_eq!((status.as_u16(), sealed), (expected, None));
    }

    let (status, sealed, bytes) = post(&world, Some(&good), body.clone()).await;
    assert_eq!(status, StatusCode::OK);
    let sealed = hex::decode_to_array(sealed.unwrap()).unwrap();
    assert_eq!(Sealed::Answer.sealed_by(&bytes, &sealed), Some(world.own));
    let digest = Sealed::Request.digest(&body);
    assert_eq!(SignatureAnswer::read(&bytes, digest, 1).unwrap().items.len(), 1);

    let (status, sealed, _) = post(&world, Some(&good), body).await;
    assert_eq!((status, sealed), (StatusCode::CONFLICT, None), "it is heard once");
}

#[tokio::test]
async fn r10_long_bodies_and_other_paths_are_refused() {
    let world = world().await;
    let long = vec![b' '; MAX_REQUEST_BYTES + 1];
    let by = seal(&world.peer, &long);
    assert_eq!(post(&world, Some(&by), long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    for (method, path, expected) in [
        ("GET", PATH, StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/messages", StatusCode::NOT_FOUND),
        ("POST", "/", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), expected, "{method} {path}");
    }
}
