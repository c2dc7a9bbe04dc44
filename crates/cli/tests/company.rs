//! Others on the same lane, and other kinds of chain.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use alloy_primitives::U256;
use postrider_devnet::layerzero::DEFAULT_OPTIONS;
use postrider_message::{DutyKind, DutyState, Reason};
use serde_json::{Value, json};
use support::{Setup, World, assert_executed, say};

/// Receipts of the OP Stack have fields of their own; both ends are such chains.
#[tokio::test(flavor = "multi_thread")]
async fn op_stack_chains_are_source_and_destination() {
    let world = World::started(Setup { op_stack: true, ..Setup::default() }).await;
    world.say("there").await;
    say(world.beta(), world.alpha(), "and back").await;
    assert_executed(&world.nodes[0].settled(2).await, 2);
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "there");
    assert_eq!(world.alpha().apps().read_mock_data().await.unwrap(), "and back");
}

/// What both nodes' accounts used on beta, and how many of their transactions did nothing.
async fn used_on_beta(world: &World) -> (u64, usize) {
    let rpc = world.beta().rpc();
    let name = "beta".parse().unwrap();
    let mut payers = Vec::new();
    for node in &world.nodes {
        payers.push(format!("{:#x}", node.workspace.keys(&name).await.unwrap().payer));
    }
    let (mut gas, mut in_vain) = (0, 0);
    for height in 0..=rpc.block_number().await.unwrap() {
        let receipts: Vec<Value> =
            rpc.call("eth_getBlockReceipts", json!([format!("{height:#x}")])).await.unwrap();
        for receipt in receipts {
            let from = receipt["from"].as_str().unwrap().to_lowercase();
            if !payers.contains(&from) {
                continue;
            }
            let used: U256 = serde_json::from_value(receipt["gasUsed"].clone()).unwrap();
            gas += used.to::<u64>();
            // A commit that came too late reverts; an execution that did leaves an alert.
            let alert = "0x7edfa10fe10193301ad8a8bea7e968c7bcabcc64981f368e3aeada40ce26ae2c";
            let logs = receipt["logs"].as_array().unwrap();
            let failed = receipt["status"] == "0x0" || logs.iter().any(|l| l["topics"][0] == alert);
            in_vain += usize::from(failed);
        }
    }
    (gas, in_vain)
}

/// R4: two nodes that both commit and execute. Each message is delivered once; what the race
/// costs is gas, and is counted.
#[tokio::test(flavor = "multi_thread")]
async fn r4_two_executors_on_one_lane_deliver_once() {
    const MESSAGES: u64 = 20;
    let mut world = World::new(Setup { nodes: 2, ..Setup::default() }).await;
    world.nodes[1].workspace.executes = true;
    world.nodes[1].write_config(&world.devnet);
    for node in &mut world.nodes {
        node.start();
    }
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock_burst(eid, "race", MESSAGES, &DEFAULT_OPTIONS).await.unwrap();
    let count = usize::try_from(MESSAGES).unwrap();
    for node in &world.nodes {
        assert_executed(&node.settled(count).await, count);
    }
    let mut done = 0;
    for node in &world.nodes {
        for detail in node.details().await {
            for duty in detail.duties.iter().filter(|d| d.kind == DutyKind::Execute) {
                let by_others = DutyState::NotNeeded(Reason::DoneByOthers);
                assert!(duty.state == DutyState::Done || duty.state == by_others, "{duty:?}");
                done += usize::from(duty.state == DutyState::Done);
            }
        }
    }
    assert_eq!(done, count, "each message was executed by one of them");
    let (gas, in_vain) = used_on_beta(&world).await;
    println!("{gas} gas for {MESSAGES} messages; {in_vain} transactions of the race were in vain");
}
