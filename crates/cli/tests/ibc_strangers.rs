//! Packets between real ibc-go chains that others meddle with, or send on: who uses our paying key, who
//! governs the chain, and chains that forward what they receive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;
#[path = "support/governance.rs"]
mod governance;

use cosmos::World;
use governance::{as_validator, gov_address, propose, quickly_governed};
use ibc_proto::cosmos::{bank::v1beta1::MsgSend, base::v1beta1::Coin};
use postrider_cosmos::{
    CheckTx, GasPolicy, RpcClient, RpcUrl, TxBuilder, Upstream, tx::any, upstream::default_limits,
};
use postrider_devnet::CosmosAccount;
use postrider_signing::{CosmosAlgorithm, CosmosKey, Keystore, Password};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn key(account: &CosmosAccount) -> CosmosKey {
    let folder = tempfile::tempdir().unwrap();
    let store = Keystore::open(folder.path()).unwrap();
    let (name, password) = ("payer".parse().unwrap(), Password::from("secret"));
    store.import(&name, &account.secret_hex().into(), &password).unwrap();
    store.cosmos_key(&name, &password, CosmosAlgorithm::Secp256k1).unwrap()
}

/// Sends a token with an account's key every second, whatever sequence that takes, until told to stop.
/// Gives how many a pool took.
async fn send_every_second(
    chain_id: String,
    url: String,
    name: &str,
    stop: Arc<AtomicBool>,
) -> u32 {
    let account = CosmosAccount::named(name);
    let key = key(&account);
    let client = RpcClient::new(RpcUrl::new(&url).unwrap(), default_limits()).unwrap();
    let stranger = "stranger";
    let (name, operator) = (stranger.parse().unwrap(), stranger.parse().unwrap());
    let node = Upstream::new(name, operator, chain_id.parse().unwrap(), client);
    let send = any(&MsgSend {
        from_address: account.address().to_owned(),
        to_address: CosmosAccount::named("alice").address().to_owned(),
        amount: vec![Coin { denom: "token".into(), amount: "1".into() }],
    });
    let policy = GasPolicy {
        price: "0stake".parse().unwrap(),
        multiplier_permille: 1000,
        max_gas: 1_000_000,
    };
    let mut at = node.account(account.address()).await.unwrap().unwrap();
    let mut taken = 0;
    while !stop.load(Ordering::Relaxed) {
        let tx = TxBuilder::new(chain_id.parse().unwrap(), vec![send.clone()]);
        let tx = tx.sign(&key, at, &policy.fee_of(200_000)).unwrap();
        match node.broadcast(&tx.bytes).await {
            Ok(CheckTx::Accepted(_)) => {
                at.sequence += 1;
                taken += 1;
            }
            Ok(CheckTx::SequenceMismatch { expected: Some(expected), .. }) => {
                at.sequence = expected;
                continue;
            }
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    taken
}

/// R6: somebody else pays with our key, on both chains, every second, under 500 transfers. Our own sequences
/// are used up under our hands, and all settles all the same, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn r6_another_process_with_our_key_loses_nothing() {
    let world = World::start().await;
    world.create_path();
    let _node = world.node();
    let stop = Arc::new(AtomicBool::new(false));
    let strangers: Vec<_> = world
        .chains
        .iter()
        .map(|chain| {
            let (id, url) = (chain.chain_id().to_owned(), chain.rpc().url().to_owned());
            tokio::spawn(send_every_second(id, url, "relayer", Arc::clone(&stop)))
        })
        .collect();
    let bob = CosmosAccount::named("bob");
    for _ in 0..5 {
        for network in ["alpha", "beta"] {
            let over = ["ibc", "transfer", network, "transfer/channel-0", "1token", bob.address()];
            world.run_as_alice(&[&over[..], &["--count", "50"]].concat());
        }
    }
    let messages = world.until_settled(500).await;
    stop.store(true, Ordering::Relaxed);
    for stranger in strangers {
        assert!(stranger.await.unwrap() >= 10, "the stranger was not in the way");
    }
    assert_eq!(messages.len(), 500);
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    for chain in &world.chains {
        assert_eq!(world.received(chain, bob.address()).await, 250, "each was received once");
    }
    world.assert_supply_agrees().await;
}

/// A packet that a governance proposal sends: it is in the events of a block, and of no transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_a_proposal_sent_is_brought() {
    let world = World::start_with(quickly_governed).await;
    world.create_path();
    let _node = world.node();
    let alpha = &world.chains[0];
    let bob = CosmosAccount::named("bob");
    let (gov, now) = (gov_address(), std::time::SystemTime::now());
    let later = now.duration_since(std::time::UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    // Validators have stake only.
    as_validator(alpha, &["tx", "bank", "send", "validator-0", &gov, "1000stake"]).await;
    let grant = json!({
        "@type": "/ibc.applications.transfer.v1.MsgTransfer",
        "source_port": "transfer",
        "source_channel": "channel-0",
        "token": { "denom": "stake", "amount": "1000" },
        "sender": gov,
        "receiver": bob.address(),
        "timeout_height": { "revision_number": "0", "revision_height": "0" },
        "timeout_timestamp": later.as_nanos().to_string(),
        "memo": "",
    });
    propose(&world, alpha, grant).await;
    let messages = world.until_settled(1).await;
    assert_eq!(messages[0]["outcome"], "succeeded", "{messages:#?}");
    world.assert_supply_agrees().await;
}

/// Three chains in a row: what the first one sends, the second one forwards to the third. Its acknowledgement
/// comes once the third one's did: that it arrived, or that it came back.
#[tokio::test(flavor = "multi_thread")]
async fn packets_are_forwarded_and_refunded_over_three_chains() {
    let world = World::start_named(&["alpha", "beta", "gamma"], |plan| plan).await;
    world.create_path();
    world.run(&["ibc", "path", "create", "beta", "gamma"]);
    let _node = world.node();
    let (alice, bob) = (CosmosAccount::named("alice"), CosmosAccount::named("bob"));
    let alpha = world.chains[0].rpc();
    let had = alpha.balance(alice.address(), "token").await.unwrap();
    let forward = |receiver: &str| {
        let memo = json!({ "forward": {
            "receiver": receiver, "port": "transfer", "channel": "channel-1", "retries": 0,
        }});
        let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
        world.run_as_alice(&[&over[..], &["--memo", &memo.to_string()]].concat());
    };
    forward(bob.address());
    let messages = world.until_settled(2).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    let gamma = world.chains[2].rpc();
    let denom = cosmos::voucher("transfer/channel-0/transfer/channel-0/token");
    assert_eq!(gamma.balance(bob.address(), &denom).await.unwrap(), 7);

    forward("nobody");
    let messages = world.until_settled(4).await;
    let failed = messages.iter().filter(|m| m["outcome"] == "app_error").count();
    assert_eq!(failed, 2, "both hops say that it came back: {messages:#?}");
    assert_eq!(alpha.balance(alice.address(), "token").await.unwrap(), had - 7, "it is back");
    assert_eq!(gamma.balance(bob.address(), &denom).await.unwrap(), 7);
    world.assert_supply_agrees().await;
}
