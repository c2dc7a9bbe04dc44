//! Every way in which an upstream can be wrong, each by itself. One of three that is wrong delays
//! nothing and nothing false is signed; two of three stop the network with a named reason, until
//! they are right again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use postrider_devnet::Fault;
use postrider_layerzero::contracts::{ReceiveUln302, UlnConfig};
use postrider_message::{AlarmKind, Fact};
use postrider_store::Store;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Setup, World, assert_executed, rows, until};

const THREE: Setup =
    Setup { nodes: 1, upstreams: 3, quorum: 2, confirmations: 1, adapt: |_| {}, op_stack: false };

/// How many attestations stand on beta, by the chain's own logs.
async fn attested_on_beta(world: &World) -> usize {
    let filter = json!([{
        "fromBlock": "0x0", "toBlock": "latest",
        "address": world.beta().deployment().receive_uln,
        "topics": [ReceiveUln302::PayloadVerified::SIGNATURE_HASH],
    }]);
    let logs: Value = world.beta().rpc().call("eth_getLogs", filter).await.unwrap();
    logs.as_array().unwrap().len()
}

/// One of three is wrong on both networks: the message arrives as it was sent, attested once.
async fn one_of_three(world: &mut World, wrong: &[Fault]) {
    for network in 0..2 {
        world.nodes[0].upstreams[network][0].set(wrong.to_vec());
    }
    world.node().start();
    world.say("as it was sent").await;
    assert_executed(&world.nodes[0].settled(1).await, 1);
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "as it was sent");
    assert_eq!(attested_on_beta(world).await, 1);
}

/// Two of three are wrong: nothing more is signed, and the message says why; right again, it goes on.
async fn two_of_three(world: &World, wrong: &[Fault]) {
    for upstream in 0..2 {
        world.nodes[0].upstreams[0][upstream].set(wrong.to_vec());
    }
    world.say("while two are wrong").await;
    let store = world.nodes[0].store().await;
    until("the quorum is lost", &world.nodes[0], || async {
        let conditions = store.conditions().await.unwrap();
        conditions
            .iter()
            .any(|(network, reason)| network.as_str() == "alpha" && reason.code() == "quorum_lost")
    })
    .await;
    assert_eq!(attested_on_beta(world).await, 1, "nothing was signed meanwhile");
    for upstream in 0..2 {
        world.nodes[0].upstreams[0][upstream].clear();
    }
    assert_executed(&world.nodes[0].settled(2).await, 2);
}

async fn alarms(world: &World, kind: AlarmKind) -> bool {
    let alarms = world.nodes[0].store().await.alarms(50).await.unwrap();
    alarms.iter().any(|alarm| alarm.kind == kind)
}

/// The others answer more slowly, so that the one that is wrong is asked first.
fn slow_down_the_others(world: &World) {
    for network in &world.nodes[0].upstreams {
        for other in &network[1..] {
            other.set([Fault::Slow(Duration::from_millis(150))]);
        }
    }
}

/// Wrong in a way that is no answer at all.
async fn does_not_answer(wrong: &[Fault]) {
    let mut world = World::new(THREE).await;
    one_of_three(&mut world, wrong).await;
    two_of_three(&world, wrong).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_changed_receipt() {
    let field = "cumulativeGasUsed".to_owned();
    let changed = Fault::ChangeReceipt { transaction: None, field, value: json!("0x1") };
    let mut world = World::new(THREE).await;
    slow_down_the_others(&world);
    one_of_three(&mut world, &[changed]).await;
    assert!(alarms(&world, AlarmKind::EvidenceRefuted).await);
    assert!(alarms(&world, AlarmKind::UpstreamDissents).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_changed_header() {
    let changed = |field: &str| Fault::ChangeHeader {
        block: None,
        field: field.into(),
        value: json!(B256::repeat_byte(7)),
    };
    let mut world = World::new(THREE).await;
    // A header that does not hash to what it is said to is no answer.
    one_of_three(&mut world, &[changed("receiptsRoot")]).await;
    two_of_three(&world, &[changed("stateRoot")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_j_a_false_configuration() {
    let mut world = World::new(THREE).await;
    let stranger = Address::repeat_byte(0x5a);
    let false_config = UlnConfig {
        confirmations: 1,
        requiredDVNCount: 1,
        optionalDVNCount: 0,
        optionalDVNThreshold: 0,
        requiredDVNs: vec![stranger],
        optionalDVNs: vec![],
    };
    let wrong = Fault::ReplaceCall {
        to: world.beta().deployment().receive_uln,
        selector: ReceiveUln302::getUlnConfigCall::SELECTOR,
        answer: false_config.abi_encode().into(),
    };
    one_of_three(&mut world, &[wrong]).await;
    assert!(alarms(&world, AlarmKind::UpstreamDissents).await);
    for detail in world.nodes[0].details().await {
        let history = format!("{:?}", detail.history);
        assert!(!history.contains("AttesterNotCounted"), "the lie decided nothing: {history}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_h_an_old_height() {
    let mut world = World::new(THREE).await;
    one_of_three(&mut world, &[Fault::StaleHeight(20)]).await;
    // Two that are far behind hold the quorum's height back: nothing is signed before its time.
    for upstream in 0..2 {
        world.nodes[0].upstreams[0][upstream].set([Fault::StaleHeight(1_000_000)]);
    }
    world.say("not yet final for a quorum").await;
    let store = world.nodes[0].store().await;
    until("it waits for finality", &world.nodes[0], || async {
        let waits = ["awaiting_finality", "awaiting_confirmations", "quorum_lost"];
        rows(&store)
            .await
            .iter()
            .any(|row| row.standing.reason.as_ref().is_some_and(|r| waits.contains(&r.code())))
    })
    .await;
    assert_eq!(attested_on_beta(&world).await, 1);
    for upstream in 0..2 {
        world.nodes[0].upstreams[0][upstream].clear();
    }
    assert_executed(&world.nodes[0].settled(2).await, 2);
}

/// One that claims heights which nobody else has makes nothing final before its time.
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_false_finality() {
    let mut world = World::new(THREE).await;
    one_of_three(&mut world, &[Fault::FalseFinality { ahead: 1_000 }]).await;
    for detail in world.nodes[0].details().await {
        let depth = detail.facts.iter().find_map(|r| match &r.fact {
            Fact::Attested { confirmations, .. } => Some(confirmations.0),
            _ => None,
        });
        let head = world.alpha().rpc().block_number().await.unwrap();
        assert!(depth.is_some_and(|depth| depth <= head), "{depth:?} at {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_another_chain() {
    let wrong = [Fault::WrongChainId(424_242)];
    let mut world = World::new(THREE).await;
    one_of_three(&mut world, &wrong).await;
    // Which chain answers is asked when a connection is new.
    world.node().kill();
    world.nodes[0].upstreams[0][1].set(wrong.clone());
    world.node().start();
    two_of_three(&world, &wrong).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_stalled() {
    does_not_answer(&[Fault::Hang]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_garbage() {
    does_not_answer(&[Fault::Garbage]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_an_endless_answer() {
    does_not_answer(&[Fault::Endless]).await;
}
