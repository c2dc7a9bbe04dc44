//! The light client over real chains, with upstreams that lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod common;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use common::{BLOCKS, Liar, changed, fee, key, more_blocks, plan, start, started, upstream};
use ibc_proto::cosmos::{
    base::v1beta1::Coin,
    staking::v1beta1::{MsgDelegate, QueryValidatorsRequest, QueryValidatorsResponse},
};
use postrider_cosmos::{CheckTx, LightError, TxBuilder, UpstreamError, Witnesses, tx::any};
use postrider_devnet::{CosmosChain, CosmosPlan};
use postrider_message::{AlarmKind, Height, UnixMillis};
use postrider_verification::tendermint::{MisbehaviourKind, StateKey, StoreName};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tendermint::{
    block::Header,
    vote::{Type, Vote},
};

/// What is changed of an answer.
type Lie = (&'static str, fn(&mut Value));

/// The key of an account's balance in the store `bank`.
fn balance(address: &str, denom: &str) -> StateKey {
    let (_, bytes) = bech32::decode(address).unwrap();
    let path = [&[2, 20][..], &bytes, denom.as_bytes()].concat();
    StateKey::new(StoreName::new("bank").unwrap(), path).unwrap()
}

fn is_proof(method: &str, params: &Value) -> bool {
    method == "abci_query" && params["prove"] == json!(true)
}

#[tokio::test]
async fn r1_a_forged_header_gives_no_anchor_and_quarantines_who_told_it() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("forged-1", &folder)).await;
    let liar = Liar::before(chain.rpc().url()).await;
    let height = more_blocks(&chain, 3).await;
    let now = UnixMillis::now();
    let forgeries: [Lie; 4] = [
        ("the state", |told| told["header"]["app_hash"] = json!("AB".repeat(32))),
        ("the next validators", |told| {
            told["header"]["next_validators_hash"] = json!("AB".repeat(32));
        }),
        ("the chain", |told| told["header"]["chain_id"] = json!("other-1")),
        ("a signature", |told| {
            let signature = &mut told["commit"]["signatures"][0]["signature"];
            *signature = changed(signature);
        }),
    ];
    for (what, forge) in forgeries {
        let bad = upstream("liar", "forged-1", &liar.url);
        liar.tell(|_, _, _| {});
        let client = started("forged-1", vec![bad.clone()], &bad).await;
        liar.tell(move |method, _, result| {
            if method == "commit" {
                forge(&mut result["signed_header"]);
            }
        });
        let error = client.anchor_at(height, now).await.unwrap_err();
        assert!(matches!(error, LightError::Refuted { .. }), "{what}: {error}");
        assert!(!bad.is_usable(), "{what}");
        assert_eq!(client.upstreams().take_alarms()[0].kind, AlarmKind::UpstreamDissents);

        // Beside an honest one it is found out whether it is asked first or as a witness.
        let (bad, good) = (
            upstream("liar", "forged-1", &liar.url),
            upstream("good", "forged-1", chain.rpc().url()),
        );
        let client = started("forged-1", vec![bad.clone(), good.clone()], &good).await;
        let anchored = client.anchor_at(height, now).await.unwrap();
        assert_eq!(anchored.anchor.block().height, height, "{what}");
        // Who only forges signatures names the right header all the same.
        assert!(anchored.witnesses.agreed == 0 || what == "a signature", "{what}");
        assert!(good.is_usable(), "{what}");
    }
}

#[tokio::test]
async fn witnesses_that_agree_are_counted_and_those_that_are_silent_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain =
        start(&CosmosPlan { validators: vec![100, 1], ..plan("seen-1", &folder) }).await;
    let urls: Vec<String> = chain.nodes().map(|node| node.url().to_owned()).collect();
    let height = more_blocks(&chain, 2).await;
    for node in chain.nodes() {
        node.rpc().wait_for_height(height.0, BLOCKS).await.unwrap();
    }
    let (first, second) = (upstream("a", "seen-1", &urls[0]), upstream("b", "seen-1", &urls[1]));
    let client = started("seen-1", vec![first.clone(), second], &first).await;
    let now = UnixMillis::now();
    let seen = client.anchor_at(height, now).await.unwrap();
    assert_eq!(seen.witnesses, Witnesses { asked: 1, agreed: 1 });

    chain.nodes_mut().last().unwrap().kill().await;
    let next = more_blocks(&chain, 1).await;
    let unseen = client.anchor_at(next, now).await.unwrap();
    assert_eq!(unseen.witnesses.agreed, 0);
    assert!(unseen.witnesses.asked <= 1);
}

#[tokio::test]
async fn r5_a_value_or_an_absence_that_is_not_proven_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("proofs-1", &folder)).await;
    let liar = Liar::before(chain.rpc().url()).await;
    let alice = chain.account("alice").unwrap().address();
    let keys = [balance(alice, "token"), balance(alice, "nothing")];
    let height = more_blocks(&chain, 3).await;
    let now = UnixMillis::now();
    let lies: [Lie; 5] = [
        ("another value", |told| {
            if !told["value"].is_null() {
                told["value"] = json!("AAAA");
            }
        }),
        ("a value that is kept back", |told| told["value"] = Value::Null),
        ("a value that is not there", |told| told["value"] = json!("AAAA")),
        ("another proof", |told| {
            let data = &mut told["proofOps"]["ops"][0]["data"];
            *data = changed(data);
        }),
        ("half a proof", |told| {
            told["proofOps"]["ops"].as_array_mut().unwrap().pop();
        }),
    ];
    for (what, lie) in lies {
        liar.tell(|_, _, _| {});
        let (bad, good) = (
            upstream("liar", "proofs-1", &liar.url),
            upstream("good", "proofs-1", chain.rpc().url()),
        );
        let client = started("proofs-1", vec![bad.clone()], &bad).await;
        let anchor = client.anchor_at(height, now).await.unwrap().anchor;
        liar.tell(move |method, params, result| {
            if is_proof(method, params) {
                lie(&mut result["response"]);
            }
        });
        let error = client.prove(&anchor, &keys).await.unwrap_err();
        assert!(matches!(error, LightError::BadProof { .. }), "{what}: {error}");
        assert!(!bad.is_usable(), "{what}");

        let bad = upstream("liar", "proofs-1", &liar.url);
        let client = started("proofs-1", vec![bad, good.clone()], &good).await;
        let proven = client.prove(&anchor, &keys).await.unwrap();
        assert_eq!(proven[0].fact.value(), Some(&b"1000000000000"[..]), "{what}");
        assert_eq!(proven[1].fact.value(), None, "{what}");
    }

    // A node that answers of another state than it was asked for does not lie.
    liar.tell(|_, _, _| {});
    let bad = upstream("liar", "proofs-1", &liar.url);
    let client = started("proofs-1", vec![bad.clone()], &bad).await;
    let anchor = client.anchor_at(height, now).await.unwrap().anchor;
    liar.tell(|method, params, result| {
        if is_proof(method, params) {
            result["response"]["height"] = json!("1");
        }
    });
    let error = client.prove(&anchor, &keys).await.unwrap_err();
    assert!(matches!(error, LightError::Upstream(UpstreamError::Garbage(_))), "{error}");
    assert!(client.upstreams().take_alarms().is_empty());
}

/// One proof that there is nothing between two neighbours serves for all keys between them; keys that have
/// a value all the same are found, and a proof that does not hold serves for none.
#[tokio::test]
async fn r5_absences_are_proven_together() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("absent-1", &folder)).await;
    let liar = Liar::before(chain.rpc().url()).await;
    let (alice, bob) =
        (chain.account("alice").unwrap().address(), chain.account("bob").unwrap().address());
    let mut keys: Vec<_> = (0..200).map(|n| balance(alice, &format!("tokem{n}"))).collect();
    keys.insert(100, balance(alice, "token"));
    keys.push(balance(bob, "stake"));
    let height = more_blocks(&chain, 3).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    liar.tell(move |method, params, _| {
        if is_proof(method, params) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let node = upstream("node", "absent-1", &liar.url);
    let client = started("absent-1", vec![node.clone()], &node).await;
    let anchor = client.anchor_at(height, UnixMillis::now()).await.unwrap().anchor;
    let facts = client.prove_absences(&anchor, &keys).await.unwrap();
    assert_eq!(facts.len(), keys.len());
    for (index, fact) in facts.iter().enumerate() {
        assert_eq!(fact.value().is_some(), index == 100 || index == 201, "{index}");
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked <= 15, "{asked} proofs for {} keys", keys.len());

    liar.tell(|method, params, told| {
        if is_proof(method, params) {
            let data = &mut told["response"]["proofOps"]["ops"][0]["data"];
            *data = changed(data);
        }
    });
    let error = client.prove_absences(&anchor, &keys).await.unwrap_err();
    assert!(matches!(error, LightError::BadProof { .. }), "{error}");
    assert!(client.prove_absences(&anchor, &[]).await.unwrap().is_empty());
}

/// Gives the first validator more than two thirds of all power.
async fn delegate(chain: &CosmosChain) -> Height {
    let node = upstream("node", chain.chain_id(), chain.rpc().url());
    let path = "/cosmos.staking.v1beta1.Query/Validators";
    let told: QueryValidatorsResponse =
        node.grpc(path, &QueryValidatorsRequest::default(), None).await.unwrap();
    // Powers differ, so that the greatest is the first validator's.
    let first = told.validators.iter().max_by_key(|v| v.tokens.parse::<u128>().unwrap()).unwrap();
    let alice = chain.account("alice").unwrap();
    let coin = Coin { denom: "stake".into(), amount: "500000000000".into() };
    let delegate = any(&MsgDelegate {
        delegator_address: alice.address().to_owned(),
        validator_address: first.operator_address.clone(),
        amount: Some(coin),
    });
    let account = node.account(alice.address()).await.unwrap().unwrap();
    let tx = TxBuilder::new(chain.chain_id().parse().unwrap(), vec![delegate]);
    let tx = tx.sign(&key(alice), account, &fee(500_000)).unwrap();
    assert_eq!(node.broadcast(&tx.bytes).await.unwrap(), CheckTx::Accepted(tx.hash));
    let mut height = more_blocks(chain, 1).await;
    loop {
        let set = node.validators(height).await.unwrap();
        if set.iter().any(|validator| validator.power() > 100_000) {
            return height;
        }
        height = Height(chain.rpc().wait_for_height(height.0 + 1, BLOCKS).await.unwrap());
    }
}

/// Of the validators that were trusted at the start only one signs the newest blocks, which is too
/// few: a block between, that all signed, must be accepted first.
#[tokio::test]
async fn blocks_of_other_validators_are_reached_by_halving_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let plan = CosmosPlan { validators: vec![103, 102, 101, 100], ..plan("halves-1", &folder) };
    let mut chain = start(&plan).await;
    let node = upstream("node", "halves-1", chain.rpc().url());
    let client = started("halves-1", vec![node.clone()], &node).await;
    delegate(&chain).await;
    let all_signed = more_blocks(&chain, 2).await;
    for other in chain.nodes_mut().skip(1) {
        other.kill().await;
    }
    let newest = more_blocks(&chain, 3).await;
    let signers = |height| {
        let node = node.clone();
        async move {
            let commit = node.commit(height).await.unwrap().commit;
            commit.signatures.iter().filter(|signature| signature.is_commit()).count()
        }
    };
    assert_eq!(signers(newest).await, 1);
    assert!(signers(Height(1)).await > 2);
    let now = UnixMillis::now();
    let trusted = client.highest().unwrap().block().height;
    assert_eq!(trusted, Height(1));
    let anchored = client.anchor_at(newest, now).await.unwrap();
    assert_eq!(anchored.anchor.block().height, newest);
    assert!(all_signed > trusted && all_signed < newest);
    // It learnt a block between, which it was not asked for.
    let between = client.anchor_at(all_signed, now).await.unwrap();
    assert_eq!(between.anchor.block().height, all_signed);
}

/// The key by which a validator signs, from its home.
fn validator_key(chain: &CosmosChain) -> ed25519_consensus::SigningKey {
    let home = chain.nodes().next().unwrap().home();
    let file = std::fs::read_to_string(home.join("config/priv_validator_key.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let key = BASE64.decode(file["priv_key"]["value"].as_str().unwrap()).unwrap();
    <[u8; 32]>::try_from(&key[..32]).unwrap().into()
}

/// Makes of a signed header another one of the same height that the validator signs too.
fn fork(told: &mut Value, key: &ed25519_consensus::SigningKey) {
    told["header"]["app_hash"] = json!("AB".repeat(32));
    let header: Header = serde_json::from_value(told["header"].clone()).unwrap();
    told["commit"]["block_id"]["hash"] = json!(header.hash().to_string());
    let commit = told["commit"].clone();
    let vote = Vote {
        vote_type: Type::Precommit,
        height: header.height,
        round: u16::try_from(commit["round"].as_u64().unwrap()).unwrap().into(),
        block_id: Some(serde_json::from_value(commit["block_id"].clone()).unwrap()),
        timestamp: Some(
            serde_json::from_value(commit["signatures"][0]["timestamp"].clone()).unwrap(),
        ),
        validator_address: header.proposer_address,
        validator_index: 0u32.try_into().unwrap(),
        signature: None,
        extension: Vec::new(),
        extension_signature: None,
    };
    let signature = key.sign(&vote.into_signable_vec(header.chain_id));
    told["commit"]["signatures"][0]["signature"] = json!(BASE64.encode(signature.to_bytes()));
}

/// A validator signs two blocks of one height, and shows each to one upstream.
#[tokio::test]
async fn r1_two_blocks_signed_by_trusted_validators_stop_everything() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("forked-1", &folder)).await;
    let liar = Liar::before(chain.rpc().url()).await;
    let height = more_blocks(&chain, 3).await;
    let now = UnixMillis::now();
    let (other, good) =
        (upstream("other", "forked-1", &liar.url), upstream("good", "forked-1", chain.rpc().url()));
    let client = started("forked-1", vec![other.clone(), good.clone()], &good).await;
    let key = validator_key(&chain);
    liar.tell(move |method, params, result| {
        if method == "commit" && params["height"] == json!(height.to_string()) {
            fork(&mut result["signed_header"], &key);
        }
    });
    for _ in 0..2 {
        let error = client.anchor_at(height, now).await.unwrap_err();
        let LightError::Contradicted(found) = error else { panic!("{error}") };
        assert_eq!(found.common.block().height, Height(1));
        assert_eq!(found.own.block().height, found.other.block().height);
        assert_ne!(found.own.block().hash, found.other.block().hash);
        let misbehaviour = found.misbehaviour.unwrap();
        assert_eq!(misbehaviour.kind(), MisbehaviourKind::Equivocation);
        assert_eq!(client.upstreams().take_alarms().len(), 1);
        assert_eq!(client.highest().unwrap().block().height, Height(1), "nothing is accepted");
    }
    // Alone, it is believed: without witnesses nobody can tell.
    let client = started("forked-1", vec![other.clone()], &other).await;
    let anchored = client.anchor_at(height, now).await.unwrap();
    assert_eq!(anchored.witnesses, Witnesses { asked: 0, agreed: 0 });
}
