//! `OmniCounter` on real chains: plain messages, composed calls, messages that answer, with value
//! and in order; one by one and many in one transaction.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Bytes, U256};
use postrider_devnet::layerzero::{CounterMessage, DEFAULT_OPTIONS};
use postrider_layerzero::wire::OptionsBuilder;
use postrider_message::{DutyKind, DutyState, Fact, Outcome};
use support::{Setup, World, assert_executed, until};

/// What an answer costs, with room: the counter keeps the rest.
const ANSWER_VALUE: u128 = 20_000_000_000_000_000;

fn options(build: impl FnOnce(OptionsBuilder) -> OptionsBuilder) -> Bytes {
    build(OptionsBuilder::new()).build().unwrap()
}

async fn send(world: &World, message: CounterMessage, options: &Bytes) {
    let eid = world.beta().deployment().eid;
    world.alpha().apps().increment(eid, message, options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_count_compose_and_answer() {
    let world = World::started(Setup::default()).await;
    let plain = options(|o| o.lz_receive(200_000, 0));
    let composed = options(|o| o.lz_receive(200_000, 0).compose(0, 300_000, 0));
    let answering = options(|o| o.lz_receive(800_000, ANSWER_VALUE));
    let both = options(|o| o.lz_receive(200_000, 0).compose(0, 900_000, ANSWER_VALUE));
    send(&world, CounterMessage::Vanilla, &plain).await;
    send(&world, CounterMessage::Composed, &composed).await;
    send(&world, CounterMessage::Aba, &answering).await;
    send(&world, CounterMessage::ComposedAba, &both).await;
    // Two of the four are answered.
    assert_executed(&world.nodes[0].settled(6).await, 6);
    assert_eq!(world.beta().apps().count().await.unwrap(), U256::from(4));
    assert_eq!(world.beta().apps().composed_count().await.unwrap(), U256::from(2));
    assert_eq!(world.alpha().apps().count().await.unwrap(), U256::from(2));

    let details = world.nodes[0].details().await;
    let composes = details.iter().flat_map(|d| &d.duties).filter(|d| d.kind == DutyKind::Compose);
    assert!(composes.clone().all(|duty| duty.state == DutyState::Done), "{composes:?}");
    assert_eq!(composes.count(), 2);
    let delivered = |part| Fact::ComposeDelivered { part };
    let facts = details.iter().flat_map(|d| &d.facts);
    assert_eq!(facts.filter(|r| r.fact == delivered(0)).count(), 2);
}

/// A composed call that is paid for and not composed is not owed; the message settles all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_composed_keeps_nothing_open() {
    let world = World::started(Setup::default()).await;
    let unused = options(|o| o.lz_receive(200_000, 0).compose(3, 100_000, 0));
    send(&world, CounterMessage::Vanilla, &unused).await;
    assert_executed(&world.nodes[0].settled(1).await, 1);
    let duties = world.nodes[0].details().await.remove(0).duties;
    let compose = duties.iter().find(|d| d.kind == DutyKind::Compose).unwrap();
    assert_eq!(compose.part, 3);
    assert_eq!(compose.state.reason().unwrap().code(), "nothing_composed");
}

/// Messages that ask for order are executed in it, those after one that fails wait for it, and other
/// lanes go on.
#[tokio::test(flavor = "multi_thread")]
async fn r6_ordered_messages_are_executed_in_their_order() {
    let world = World::started(Setup::default()).await;
    let ordered = options(|o| o.lz_receive(200_000, 0).ordered());
    // It would answer, and brings no value to pay for the answer: its receiver reverts.
    let unpaid = options(|o| o.lz_receive(800_000, 0).ordered());
    for _ in 0..4 {
        send(&world, CounterMessage::Vanilla, &ordered).await;
    }
    send(&world, CounterMessage::Aba, &unpaid).await;
    send(&world, CounterMessage::Vanilla, &ordered).await;
    world.say("another lane").await;
    let node = &world.nodes[0];
    node.settled(5).await;
    until("the last waits for the one before", node, || async {
        let details = node.details().await;
        let last = details.iter().find(|d| d.row.nonce.0 == 6);
        let reason = last.and_then(|d| d.row.standing.reason.clone());
        reason.is_some_and(|r| r.code() == "lower_nonce_not_executed")
    })
    .await;
    let mut executed: Vec<(u64, (u64, u64))> = Vec::new();
    for detail in node.details().await {
        let fact = detail.facts.iter().find(|r| r.fact == Fact::Executed);
        let is_ordered = detail.message.options != DEFAULT_OPTIONS;
        executed.extend(fact.filter(|_| is_ordered).map(|r| (detail.row.nonce.0, r.position())));
    }
    executed.sort_by_key(|(_, position)| *position);
    let nonces: Vec<u64> = executed.iter().map(|(nonce, _)| *nonce).collect();
    assert_eq!(nonces, [1, 2, 3, 4]);
}

/// The same with the contract that delivers many at once: value and composed calls go along, and an
/// item that fails takes nothing from the others and says why.
#[tokio::test(flavor = "multi_thread")]
async fn r6_many_are_delivered_in_one_transaction() {
    let mut world = World::new(Setup::default()).await;
    world.deploy_batches().await;
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock_burst(eid, "batch", 20, &DEFAULT_OPTIONS).await.unwrap();
    let answering = options(|o| o.lz_receive(800_000, ANSWER_VALUE));
    let composed = options(|o| o.lz_receive(200_000, 0).compose(0, 300_000, 0));
    send(&world, CounterMessage::Aba, &answering).await;
    send(&world, CounterMessage::Composed, &composed).await;
    world.node().start();
    let rows = world.nodes[0].settled(23).await;
    assert_executed(&rows, 23);
    assert!(rows.iter().all(|row| row.standing.outcome == Some(Outcome::Executed)));
    let mut purposes: Vec<String> = Vec::new();
    for detail in world.nodes[0].details().await {
        assert!(detail.duties.iter().all(|d| d.state == DutyState::Done), "{:?}", detail.duties);
        purposes.extend(detail.transactions.into_iter().map(|t| t.purpose));
    }
    assert!(purposes.iter().any(|purpose| purpose.starts_with("deliver ")), "{purposes:?}");
    assert!(!purposes.iter().any(|purpose| purpose.starts_with("execute")), "{purposes:?}");
}
