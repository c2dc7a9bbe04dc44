//! Validators of a real ibc-go chain who sign two chains: clients are frozen, and the chain is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cosmos::World;
use ed25519_consensus::SigningKey;
use postrider_devnet::{CosmosAccount, CosmosChain, CosmosPlan, Fault, FaultyUpstream};
use serde_json::{Value, json};
use tendermint::{
    block::Header,
    vote::{Type, Vote},
};

/// The key by which the first validator signs, from its home.
fn validator_key(chain: &CosmosChain) -> SigningKey {
    let home = chain.nodes().next().unwrap().home();
    let file = std::fs::read_to_string(home.join("config/priv_validator_key.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let key = BASE64.decode(file["priv_key"]["value"].as_str().unwrap()).unwrap();
    <[u8; 32]>::try_from(&key[..32]).unwrap().into()
}

/// Makes of a signed header another one of the same height, which the most powerful validator signs too
/// and nobody else does.
fn fork(told: &mut Value, key: &SigningKey) {
    told["header"]["app_hash"] = json!("AB".repeat(32));
    let header: Header = serde_json::from_value(told["header"].clone()).unwrap();
    told["commit"]["block_id"]["hash"] = json!(header.hash().to_string());
    let commit = told["commit"].clone();
    let mut signatures = commit["signatures"].as_array().unwrap().clone();
    let own = &mut signatures[0];
    let vote = Vote {
        vote_type: Type::Precommit,
        height: header.height,
        round: u16::try_from(commit["round"].as_u64().unwrap()).unwrap().into(),
        block_id: Some(serde_json::from_value(commit["block_id"].clone()).unwrap()),
        timestamp: Some(serde_json::from_value(own["timestamp"].clone()).unwrap()),
        validator_address: serde_json::from_value(own["validator_address"].clone()).unwrap(),
        validator_index: 0u32.try_into().unwrap(),
        signature: None,
        extension: Vec::new(),
        extension_signature: None,
    };
    let signature = key.sign(&vote.into_signable_vec(header.chain_id));
    own["signature"] = json!(BASE64.encode(signature.to_bytes()));
    for other in signatures.iter_mut().skip(1) {
        *other = json!({
            "block_id_flag": 1,
            "validator_address": "",
            "timestamp": "0001-01-01T00:00:00Z",
            "signature": null,
        });
    }
    told["commit"]["signatures"] = json!(signatures);
}

/// R1: a validator with more than two thirds of the power signs a second chain, which one upstream shows.
/// Nothing of either is believed; its clients on two other chains are frozen, and the chain that they are of
/// takes the evidence and throws the validator out.
#[tokio::test(flavor = "multi_thread")]
async fn r1_misbehaviour_freezes_clients_and_reaches_the_guilty_chain() {
    let with_two = |plan: CosmosPlan| {
        if plan.chain_id == "alpha-1" {
            CosmosPlan { validators: vec![100, 10], ..plan }
        } else {
            plan
        }
    };
    let world = World::start_named(&["alpha", "beta", "gamma"], with_two).await;
    world.create_path();
    world.run(&["ibc", "path", "create", "gamma", "alpha"]);
    let alpha = &world.chains[0];
    let url = alpha.rpc().url();
    let liar = FaultyUpstream::start(url).await.unwrap();
    let second =
        format!("{{ name = \"second\", operator = \"second\", url = \"{}\" }}", liar.url());
    world.change_config(|text| {
        let one = format!("{{ name = \"node\", operator = \"local\", url = \"{url}\" }}");
        text.replace(&one, &format!("{one}, {second}"))
    });
    let _node = world.node();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&over);
    world.until_settled(1).await;

    let key = validator_key(alpha);
    let from = alpha.rpc().height().await.unwrap() + 1;
    liar.set([Fault::tell("commit", move |_, told| {
        let header = &mut told["signed_header"];
        let height: u64 = header["header"]["height"].as_str().unwrap().parse().unwrap();
        if height >= from {
            fork(header, &key);
        }
    })]);
    for host in ["beta", "gamma"] {
        let is_frozen = async || {
            let told = world.run(&["ibc", "client", "list", host]);
            let mut clients = told["clients"].as_array().unwrap().iter();
            clients.any(|client| client["trouble"].as_str().is_some_and(|t| t.contains("frozen")))
        };
        world.until(&format!("the client on {host} is frozen"), is_frozen).await;
    }
    let is_told = async || world.log().contains("evidence of misbehaviour was taken");
    world.until("a node takes the evidence", is_told).await;
    let is_out = async || {
        let told = alpha.rpc().call("validators", json!({})).await.unwrap();
        told["validators"].as_array().unwrap().len() == 1
    };
    world.until("the validator is thrown out", is_out).await;
    let is_alarmed =
        async || world.log().lines().any(|l| l.contains("ALARM") && l.contains("misbehaviour"));
    world.until("an alarm tells of it", is_alarmed).await;
    world.assert_supply_agrees().await;
}
