//! Messages between real chains, through real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use postrider_devnet::layerzero::DEFAULT_OPTIONS;
use postrider_layerzero::wire::OptionsBuilder;
use postrider_message::{DutyKind, DutyState, Fact, MessageStatus};
use support::{Setup, World, assert_executed, until};

/// Both ways, many at once, several in one transaction; two nodes with different keys and upstreams
/// are two required DVNs.
#[tokio::test(flavor = "multi_thread")]
async fn two_required_dvns_bring_many_messages_both_ways() {
    let world = World::started(Setup { nodes: 2, ..Setup::default() }).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let (to_alpha, to_beta) = (alpha.deployment().eid, beta.deployment().eid);
    alpha.apps().send_mock_burst(to_beta, "burst", 12, &DEFAULT_OPTIONS).await.unwrap();
    beta.apps().send_mock_burst(to_alpha, "back", 8, &DEFAULT_OPTIONS).await.unwrap();
    let texts = ["one", "two", "three", "four", "five"];
    alpha.apps().send_mock_many_in_one_tx(to_beta, &texts, &DEFAULT_OPTIONS).await.unwrap();

    for node in &world.nodes {
        assert_executed(&node.settled(25).await, 25);
    }
    for detail in world.nodes[0].details().await {
        let mut attesters: Vec<_> = detail
            .facts
            .iter()
            .filter_map(|r| match &r.fact {
                Fact::Attested { by, .. } => Some(by.clone()),
                _ => None,
            })
            .collect();
        attesters.sort();
        attesters.dedup();
        assert_eq!(attesters.len(), 2, "two DVNs attest each message: {detail:?}");
        let executed = detail.facts.iter().filter(|r| matches!(r.fact, Fact::Executed)).count();
        assert_eq!(executed, 1);
        for duty in &detail.duties {
            assert_eq!(duty.state, DutyState::Done, "{duty:?}");
        }
    }
    for detail in world.nodes[1].details().await {
        let kinds: Vec<_> = detail.duties.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [DutyKind::Attest], "the second node attests only");
    }
    let heard = world.beta().apps().read_mock_data().await.unwrap();
    assert!(heard.starts_with("burst") || texts.contains(&heard.as_str()), "{heard}");
}

/// R6, class (r): a message that its receiver cannot take, for want of gas, stops no other, and
/// says why it is where it is.
#[tokio::test(flavor = "multi_thread")]
async fn r6_r_a_message_that_fails_holds_up_no_other() {
    let world = World::started(Setup::default()).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let starved: alloy_primitives::Bytes = OptionsBuilder::new()
        .lz_receive(1, 0)
        .build()
        .expect("options with one gas are well-formed");
    // Storing a long text takes far more gas than the endpoint itself leaves over.
    let long = "starved ".repeat(80);
    alpha.apps().send_mock(beta.deployment().eid, &long, &starved).await.unwrap();
    world.say("fed").await;
    let node = &world.nodes[0];
    let rows = node.settled(1).await;
    let settled: Vec<_> =
        rows.iter().filter(|r| r.standing.status == MessageStatus::Settled).collect();
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].nonce.0, 2, "the later message went past the failing one");
    assert_eq!(beta.apps().read_mock_data().await.unwrap(), "fed");
    let store = node.store().await;
    until("the failing message says why", node, || async {
        support::rows(&store).await.iter().any(|r| {
            r.nonce.0 == 1
                && r.standing.reason.as_ref().is_some_and(|r| r.code() == "receiver_reverted")
        })
    })
    .await;
}

/// A message that brings coins to an account beside its receiver.
#[tokio::test(flavor = "multi_thread")]
async fn a_native_drop_arrives_with_its_message() {
    let world = World::started(Setup::default()).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let account = alloy_primitives::Address::repeat_byte(0x77);
    let options = OptionsBuilder::new()
        .lz_receive(200_000, 0)
        .native_drop(12_345, account.into())
        .build()
        .unwrap();
    alpha.apps().send_mock(beta.deployment().eid, "with coins", &options).await.unwrap();
    assert_executed(&world.nodes[0].settled(1).await, 1);
    let balance = beta.rpc().balance(account).await.unwrap();
    assert_eq!(balance, alloy_primitives::U256::from(12_345));
}
