//! What a real chain answers, and the light client over it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{BLOCKS, light_client, more_blocks, plan, root, start, started, upstream};
use ibc_proto::cosmos::base::tendermint::v1beta1::{GetLatestBlockRequest, GetLatestBlockResponse};
use postrider_cosmos::{
    AbciQuery, AtHeight, LightError, Need, UpstreamError, Upstreams, Witnesses,
};
use postrider_devnet::{CosmosPlan, Fault, FaultyUpstream};
use postrider_message::{Height, UnixMillis};
use postrider_verification::tendermint::{StateKey, StoreName};

const CHAIN: &str = "reads-1";

#[tokio::test]
async fn a_chain_is_read_and_its_state_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan(CHAIN, &folder)).await;
    let node = upstream("node", CHAIN, chain.rpc().url());
    let height = more_blocks(&chain, 12).await;

    let status = node.status().await.unwrap();
    assert!(status.latest >= height && status.earliest == Height(1) && !status.catching_up);
    assert!(status.indexes_transactions);

    // More than one batch, in the order asked for, and the one that is to come.
    let mut heights: Vec<Height> = (1..=height.0).rev().map(Height).collect();
    heights.push(Height(height.0 + 10_000));
    let told = node.block_events(&heights).await.unwrap();
    assert_eq!(told.last(), Some(&AtHeight::NotYet));
    for (told, height) in told.into_iter().zip(&heights).take(heights.len() - 1) {
        let block = told.known().unwrap();
        assert_eq!(block.height, *height);
        assert!(block.block.iter().any(|event| event.kind == "mint"), "{height}");
    }
    let empty = node.block_transactions(height).await.unwrap().known().unwrap();
    assert_eq!(empty.hashes, []);
    let future = Height(height.0 + 10_000);
    assert_eq!(node.block_transactions(future).await.unwrap(), AtHeight::NotYet);
    assert_eq!(node.commit(future).await, Err(UpstreamError::Missing("the block yet")));

    let alice = chain.account("alice").unwrap().address();
    assert_eq!(node.balance(alice, "token").await.unwrap(), 1_000_000_000_000);
    assert!(node.account(alice).await.unwrap().is_some());
    let nobody = "cosmos1w508d6qejxtdg4y5r3zarvary0c5xw7k6ah60c";
    assert_eq!(node.account(nobody).await.unwrap(), None);
    let unknown =
        AbciQuery { path: "/no.such/Method".into(), data: vec![], height: None, prove: false };
    let refused = node.query(&unknown).await.unwrap().accepted().unwrap_err();
    assert!(matches!(refused, UpstreamError::Refused { code: 1.., .. }), "{refused}");
    let path = "/cosmos.base.tendermint.v1beta1.Service/GetLatestBlock";
    let latest: Result<GetLatestBlockResponse, _> =
        node.grpc(path, &GetLatestBlockRequest {}, None).await;
    assert!(latest.is_ok(), "{latest:?}");

    let client = started(CHAIN, vec![node.clone()], &node).await;
    let now = UnixMillis::now();
    let anchored = client.anchor_at(height, now).await.unwrap();
    assert_eq!(anchored.witnesses, Witnesses { asked: 0, agreed: 0 });
    assert_eq!(client.anchor_at(height, now).await.unwrap(), anchored);

    let (_, bytes) = bech32::decode(alice).unwrap();
    let bank = StoreName::new("bank").unwrap();
    let balance = |denom: &str| {
        let path = [&[2, 20][..], &bytes, denom.as_bytes()].concat();
        StateKey::new(bank.clone(), path).unwrap()
    };
    let mut keys = vec![balance("token"), balance("nothing")];
    keys.extend((0..30).map(|n| balance(&format!("none{n}"))));
    let proven = client.prove(&anchored.anchor, &keys).await.unwrap();
    assert_eq!(proven.len(), keys.len());
    assert_eq!(proven[0].fact.value(), Some(&b"1000000000000"[..]));
    assert!(proven[1..].iter().all(|proven| proven.fact.value().is_none()));
    let again = client.prove(&anchored.anchor, &keys[..1]).await.unwrap();
    assert_eq!(again[0].proof.key(), &keys[0]);

    // Downwards too, and from a stored block after a restart.
    let start = client.anchor_at(Height(1), now).await.unwrap();
    assert_eq!(start.anchor.block().height, Height(1));
    let later = light_client(CHAIN, vec![node.clone()]);
    let stored = anchored.anchor.claimed().clone();
    later.resume(&anchored.anchor.root().unwrap(), stored, now).unwrap();
    let below = later.anchor_at(Height(height.0 - 3), now).await.unwrap();
    assert_eq!(below.anchor, client.anchor_at(Height(height.0 - 3), now).await.unwrap().anchor);
    let far = later.anchor_at(Height(0), now).await.unwrap_err();
    assert!(matches!(far, LightError::TooFarBack { .. }), "{far}");
}

#[tokio::test]
async fn r2_another_chain_a_dead_and_a_garbled_upstream_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("right-1", &folder)).await;
    let url = chain.rpc().url();
    let height = more_blocks(&chain, 1).await;
    let wrong = upstream("wrong", "left-1", url);
    let error = wrong.status().await.unwrap_err();
    let expected = UpstreamError::WrongChain { expected: "left-1".into(), found: "right-1".into() };
    assert_eq!(error, expected);
    // Whatever is asked first.
    let error = upstream("wrong", "left-1", url).balance("x", "y").await.unwrap_err();
    assert_eq!(error, expected);

    let bad = FaultyUpstream::start(url).await.unwrap();
    for fault in [Fault::Garbage, Fault::Dead, Fault::Endless] {
        bad.clear();
        bad.add(fault.clone());
        let limits = postrider_cosmos::RpcLimits {
            answer_bytes: 1 << 20,
            ..postrider_cosmos::upstream::default_limits()
        };
        let rpc = postrider_cosmos::RpcUrl::new(bad.url()).unwrap();
        let rpc = postrider_cosmos::RpcClient::new(rpc, limits).unwrap();
        let name = || "bad".parse().unwrap();
        let bad = postrider_cosmos::Upstream::new(
            name(),
            "bad".parse().unwrap(),
            "right-1".parse().unwrap(),
            rpc,
        );
        let good = upstream("good", "right-1", url);
        let list = vec![std::sync::Arc::new(bad), good];
        let upstreams = Upstreams::new("devnet".parse().unwrap(), list);
        use futures::FutureExt;
        let (who, told) = upstreams
            .first_named(Need::Newest, |u| {
                async move { u.block_events(&[Height(1)]).await }.boxed()
            })
            .await
            .unwrap();
        assert_eq!(who.name().as_str(), "good", "{fault:?}");
        assert!(told[0].clone().known().is_some());
        assert!(upstreams.highest() >= height);
        let report = upstreams.all()[0].report();
        assert!(report.errors > 0 && report.last_error.is_some(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_node_that_lags_is_not_asked_for_the_newest_state() {
    use futures::FutureExt;
    let folder = tempfile::tempdir().unwrap();
    let plan = CosmosPlan { validators: vec![100, 1], ..plan("lags-1", &folder) };
    let mut chain = start(&plan).await;
    more_blocks(&chain, 1).await;
    let urls: Vec<String> = chain.nodes().map(|node| node.url().to_owned()).collect();
    // It lies about its height: a node that is really behind catches up when it likes.
    let behind = common::Liar::before(&urls[1]).await;
    behind.tell(|method, _, result| {
        if method == "status" {
            result["sync_info"]["latest_block_height"] = "1".into();
        }
    });
    let list =
        vec![upstream("behind", "lags-1", &behind.url), upstream("good", "lags-1", &urls[0])];
    let upstreams = Upstreams::new("devnet".parse().unwrap(), list);
    chain.rpc().wait_for_height(8, BLOCKS).await.unwrap();
    assert_eq!(upstreams.statuses().await.len(), 2);
    for _ in 0..3 {
        let (who, _) = upstreams.first_named(Need::Newest, |u| u.status().boxed()).await.unwrap();
        assert_eq!(who.name().as_str(), "good");
    }
    chain.kill().await;
}

#[tokio::test]
async fn a_root_that_is_no_block_of_the_chain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("root-1", &folder)).await;
    let node = upstream("node", "root-1", chain.rpc().url());
    let height = more_blocks(&chain, 2).await;
    let client = light_client("root-1", vec![node.clone()]);
    let now = UnixMillis::now();
    assert_eq!(client.anchor_at(height, now).await, Err(LightError::NotStarted));
    let other = root(&node, Height(2)).await.block().hash;
    let wrong = postrider_verification::tendermint::RootOfTrust::new(Height(1), other).unwrap();
    let error = client.start(&wrong, now).await.unwrap_err();
    assert!(matches!(error, LightError::BadRoot(_)), "{error}");
    assert!(node.is_usable(), "the operator may be wrong");
    let late = UnixMillis(now.0 + 8 * 24 * 3600 * 1000);
    let error = client.start(&root(&node, Height(1)).await, late).await.unwrap_err();
    assert!(matches!(error, LightError::Expired(_)), "{error}");
    client.start(&root(&node, Height(1)).await, now).await.unwrap();
    let early = UnixMillis(now.0 - 3600 * 1000);
    let error = client.anchor_at(height, early).await.unwrap_err();
    assert!(matches!(error, LightError::TooEarly(_)), "{error}");
    assert!(node.is_usable(), "a clock is no lie");
}
