//! What goes wrong around a node: an empty account, a price above its cap, a stranger with its key,
//! a broken store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Address, U256};
use postrider_cli::workspace::PASSWORD;
use postrider_devnet::{
    Chain,
    layerzero::{CounterMessage, DEFAULT_OPTIONS},
};
use postrider_layerzero::{contracts::ReceiveUln302, wire::OptionsBuilder};
use postrider_message::MessageStatus;
use postrider_node::{Config, node::store_path};
use postrider_signing::journal::journal_path;
use serde_json::{Value, json};
use std::process::Command;
use support::{
    Setup, World,
    actor::{blocks_later, count_events},
    assert_executed, rows, say, until,
};

async fn payer_on_beta(world: &World) -> Address {
    let name = "beta".parse().unwrap();
    world.nodes[0].workspace.keys(&name).await.unwrap().payer
}

async fn set_balance(chain: &Chain, account: Address, balance: U256) {
    let _: Value = chain.rpc().call("anvil_setBalance", json!([account, balance])).await.unwrap();
}

async fn reason_is(world: &World, code: &str) {
    let store = world.nodes[0].store().await;
    until(&format!("a message waits with {code}"), &world.nodes[0], || async {
        let all = rows(&store).await;
        all.iter().any(|r| r.standing.reason.as_ref().is_some_and(|r| r.code() == code))
    })
    .await;
}

/// R6: an empty account on one network says so, holds up no other network, and its messages go on
/// when it is filled.
#[tokio::test(flavor = "multi_thread")]
async fn r6_an_empty_account_says_so_and_the_rest_goes_on() {
    let world = World::started(Setup::default()).await;
    let payer = payer_on_beta(&world).await;
    set_balance(world.beta(), payer, U256::ZERO).await;
    world.say("unpaid").await;
    reason_is(&world, "signer_empty").await;
    let store = world.nodes[0].store().await;
    assert_eq!(rows(&store).await[0].standing.status, MessageStatus::Held);
    say(world.beta(), world.alpha(), "the other way is paid for").await;
    world.nodes[0].settled(1).await;
    set_balance(world.beta(), payer, U256::from(10u64.pow(18))).await;
    assert_executed(&world.nodes[0].settled(2).await, 2);
}

/// R6: a message that brings more value than the account has, and one whose gas no transaction may have, say
/// so and keep nothing else back: not what shares a batch with them, not their lane, not another one.
#[tokio::test(flavor = "multi_thread")]
async fn r6_what_cannot_be_paid_or_sent_takes_nothing_from_the_rest() {
    let mut world = World::new(Setup::default()).await;
    world.deploy_batches().await;
    let payer = payer_on_beta(&world).await;
    let ether = U256::from(10u64.pow(18));
    set_balance(world.beta(), payer, ether / U256::from(2)).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let (apps, eid) = (alpha.apps(), beta.deployment().eid);
    let dear = OptionsBuilder::new().lz_receive(200_000, 900_000_000_000_000_000).build().unwrap();
    let huge = OptionsBuilder::new().lz_receive(29_900_000, 0).build().unwrap();
    for n in 0..3 {
        apps.send_mock(eid, &format!("before {n}"), &DEFAULT_OPTIONS).await.unwrap();
    }
    apps.send_mock(eid, "dear", &dear).await.unwrap();
    apps.send_mock(eid, "huge", &huge).await.unwrap();
    for n in 0..3 {
        apps.send_mock(eid, &format!("after {n}"), &DEFAULT_OPTIONS).await.unwrap();
    }
    let counted = apps.increment(eid, CounterMessage::Vanilla, &DEFAULT_OPTIONS).await.unwrap();
    alpha.rpc().wait_receipt(counted, support::PATIENCE).await.unwrap();
    let sent = async || apps.sent_by_mock(beta.deployment()).await.unwrap() == 8;
    until("all are sent", &world.nodes[0], sent).await;
    world.node().start();
    world.nodes[0].settled(7).await;
    let all = rows(&world.nodes[0].store().await).await;
    let held = |nonce: u64| {
        let row =
            all.iter().find(|r| r.nonce.0 == nonce && r.standing.status == MessageStatus::Held);
        row.and_then(|row| row.standing.reason.clone()).map(|reason| reason.code())
    };
    assert_eq!(held(4), Some("signer_empty"), "{all:#?}");
    assert_eq!(held(5), Some("options_not_supported"), "{all:#?}");
    set_balance(world.beta(), payer, ether + ether).await;
    world.nodes[0].settled(8).await;
}

/// A gas price above the operator's cap: nothing is paid beyond it, and what waits is delivered when
/// the price comes down.
#[tokio::test(flavor = "multi_thread")]
async fn a_price_above_the_cap_is_waited_out() {
    let world = World::started(Setup::default()).await;
    world.say("first").await;
    world.nodes[0].settled(1).await;
    let high = U256::from(1_500_000_000_000u64);
    let rpc = world.beta().rpc();
    let _: Value = rpc.call("anvil_setNextBlockBaseFeePerGas", json!([high])).await.unwrap();
    world.say("when it is cheaper").await;
    assert_executed(&world.nodes[0].settled(2).await, 2);
    for detail in world.nodes[0].details().await {
        let cap = 500_000_000_000;
        assert!(detail.transactions.iter().all(|t| t.fees.max_fee <= cap), "{detail:?}");
    }
}

/// R4: a stranger who holds the key uses its nonces. Every message arrives all the same.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_stranger_who_uses_our_nonces_loses_nothing() {
    let world = World::started(Setup::default()).await;
    let payer = payer_on_beta(&world).await;
    let rpc = world.beta().rpc();
    let _: Value = rpc.call("anvil_impersonateAccount", json!([payer])).await.unwrap();
    let eid = world.beta().deployment().eid;
    for round in 0..5 {
        let text = format!("round {round}");
        world.alpha().apps().send_mock_burst(eid, &text, 3, &DEFAULT_OPTIONS).await.unwrap();
        let stolen = json!([{ "from": payer, "to": Address::repeat_byte(7), "value": "0x1" }]);
        let _: Value = rpc.call("eth_sendTransaction", stolen).await.unwrap();
        let store = world.nodes[0].store().await;
        until("the round is under way", &world.nodes[0], || async {
            rows(&store).await.len() >= 3 * (round + 1)
        })
        .await;
    }
    assert_executed(&world.nodes[0].settled(15).await, 15);
}

/// R4: a store that is damaged is not worked with; the node says so and what to do, and made anew
/// from the chains it knows what was delivered before and delivers nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_damaged_store_stops_the_node_and_is_made_anew_from_the_chains() {
    let mut world = World::started(Setup::default()).await;
    world.say("before").await;
    world.nodes[0].settled(1).await;
    world.node().kill();
    let config = Config::load(&world.nodes[0].workspace.config_path()).unwrap();
    let path = store_path(&config);
    for suffix in ["", "-wal", "-shm"] {
        let file = path.with_file_name(format!("{}{suffix}", path.file_name().unwrap().display()));
        if file.exists() {
            std::fs::write(&file, vec![0x5a; 8192]).unwrap();
        }
    }
    world.node().start();
    let started = std::time::Instant::now();
    while world.node().is_running() {
        assert!(started.elapsed() < support::PATIENCE, "a damaged store stops the node");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let said = world.nodes[0].log_text();
    assert!(said.contains("postrider.sqlite"), "{said}");
    world.node().kill();
    for suffix in ["", "-wal", "-shm"] {
        let file = path.with_file_name(format!("{}{suffix}", path.file_name().unwrap().display()));
        let _ = std::fs::remove_file(file);
    }
    world.node().start();
    world.say("after").await;
    assert_executed(&world.nodes[0].settled(2).await, 2);
    let delivered = "0x3cd5e48f9730b129dc7550f0fcea9c767b7be37837cd10e55eb35f734f4bca04";
    let filter = json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": [delivered] }]);
    let logs: Value = world.beta().rpc().call("eth_getLogs", filter).await.unwrap();
    assert_eq!(logs.as_array().unwrap().len(), 2, "nothing was delivered twice");
}

/// R3, R4, class (q): a disk on which nothing can be written, the log included. The node says what to
/// do as long as it can say anything, signs nothing, lives, and goes on by itself when there is space.
#[tokio::test(flavor = "multi_thread")]
async fn r3_r4_q_a_full_disk_is_said_and_waited_out() {
    let mut world = World::started(Setup::default()).await;
    world.say("before").await;
    world.nodes[0].settled(1).await;
    world.nodes[0].limit_files(Some(8192));
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock_burst(eid, "full", 5, &DEFAULT_OPTIONS).await.unwrap();
    until("the node says that it cannot write", &world.nodes[0], || async {
        let said = world.nodes[0].log_text();
        said.contains("postrider.sqlite") && said.contains("space")
    })
    .await;
    world.nodes[0].limit_files(Some(1));
    blocks_later(&world, world.beta(), 5).await;
    assert!(world.node().is_running(), "it waits");
    let library = world.beta().deployment().receive_uln;
    let attested = count_events::<ReceiveUln302::PayloadVerified>(world.beta(), library).await;
    assert_eq!(attested, 1, "what cannot be journalled is not signed");

    world.nodes[0].limit_files(None);
    assert_executed(&world.nodes[0].settled(6).await, 6);
    assert_eq!(world.node().terminate(), Some(0));
}

/// R3: a journal that is lost stops its key and no other: while the node runs, and after it was
/// started anew with a journal that the operator confirmed. Without that it does not start.
#[tokio::test(flavor = "multi_thread")]
async fn r3_r6_a_lost_journal_stops_its_key_and_no_other() {
    let mut world = World::started(Setup::default()).await;
    world.say("before").await;
    world.nodes[0].settled(1).await;
    let keys = world.nodes[0].workspace.keys(&"beta".parse().unwrap()).await.unwrap();
    let folder = world.nodes[0].workspace.config_path().with_file_name("data").join("keys");
    let journal = journal_path(&folder, keys.signers[0]);
    std::fs::rename(&journal, journal.with_extension("lost")).unwrap();
    world.say("unsigned").await;
    reason_is(&world, "journal_refused").await;
    say(world.beta(), world.alpha(), "the other way").await;
    world.nodes[0].settled(2).await;

    assert_eq!(world.node().terminate(), Some(0));
    world.node().start();
    let started = std::time::Instant::now();
    while world.node().is_running() {
        assert!(started.elapsed() < support::PATIENCE, "without the journal it does not start");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    world.node().kill();
    let said = world.nodes[0].log_text();
    assert!(said.contains("postrider keys journal"), "{said}");
    let confirmed = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["keys", "journal", "beta-dvn-1", "--config"])
        .arg(world.nodes[0].workspace.config_path())
        .env("POSTRIDER_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert!(confirmed.status.success(), "{}", String::from_utf8_lossy(&confirmed.stderr));
    world.node().start();
    say(world.beta(), world.alpha(), "and once more").await;
    world.nodes[0].settled(3).await;
    reason_is(&world, "journal_refused").await;
    let library = world.beta().deployment().receive_uln;
    let attested = count_events::<ReceiveUln302::PayloadVerified>(world.beta(), library).await;
    assert_eq!(attested, 1, "only the message of before was signed for");
}
