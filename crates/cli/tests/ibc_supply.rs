//! Escrow and vouchers between real ibc-go chains.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use cosmos::{World, voucher};
use postrider_devnet::CosmosAccount;
use serde_json::{Value, json};

const WAY: &str = "transfer/channel-0/token";

/// What the node says of tokens that were sent to a network over the one channel there is.
fn escrow(world: &World, to: &str) -> Option<Value> {
    let told = world.run(&["ibc", "escrows"]);
    let rows = told["escrows"].as_array().unwrap();
    let is_it = |row: &&Value| {
        let lane = row["lane"].as_str().unwrap();
        row["denom"] == WAY && lane.split_once(" -> ").unwrap().1.starts_with(to)
    };
    rows.iter().find(is_it).cloned()
}

/// Vouchers that nobody made a transfer for are an alarm, which tells what and how many, and comes once; no
/// module of the chain knows their way.
#[tokio::test(flavor = "multi_thread")]
async fn vouchers_out_of_thin_air_are_an_alarm() {
    let world = World::start_with(|plan| {
        if plan.chain_id != "beta-1" {
            return plan;
        }
        plan.patch(|genesis| {
            let bob = CosmosAccount::named("bob");
            let balances = genesis["app_state"]["bank"]["balances"].as_array_mut().unwrap();
            let his = balances.iter_mut().find(|entry| entry["address"] == bob.address()).unwrap();
            // The bank refuses coins that are out of order.
            let coin = json!({ "denom": voucher(WAY), "amount": "1000" });
            his["coins"].as_array_mut().unwrap().insert(0, coin);
        })
    })
    .await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let _node = world.node();
    let alarms = || world.log().matches("supply_breached").count();
    world.until("the alarm", async || alarms() > 0).await;
    let row = escrow(&world, "beta").unwrap();
    assert_eq!((&row["escrow"], &row["vouchers"]), (&json!("0"), &json!("1000")), "{row:#}");
    assert_eq!((&row["breached"], &row["even"]), (&json!(true), &json!(false)), "{row:#}");
    let log = world.log();
    for part in ["1000 on beta", "0 in escrow on alpha", WAY] {
        assert!(log.contains(part), "{part}\n{log}");
    }
    // Transfers that are backed neither hide it nor raise it again.
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&over);
    world.until_settled(1).await;
    let seen = async || escrow(&world, "beta").unwrap()["escrow"] == "7";
    world.until("the transfer is counted", seen).await;
    let row = escrow(&world, "beta").unwrap();
    assert_eq!((&row["vouchers"], &row["breached"]), (&json!("1007"), &json!(true)), "{row:#}");
    assert_eq!(alarms(), 1, "{}", world.log());
}

/// Tokens and vouchers cross in both directions while the node compares: no alarm, and in the end there are as
/// many vouchers as is kept for them.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_that_cross_and_return_raise_no_alarm() {
    let world = World::start().await;
    world.create_path();
    let _node = world.node();
    let alice = CosmosAccount::named("alice");
    let send = |network: &str, what: &str, count: &str| {
        let over = ["ibc", "transfer", network, "transfer/channel-0", what, alice.address()];
        world.run_as_alice(&[&over[..], &["--count", count]].concat());
    };
    let back = format!("1{}", voucher(WAY));
    for _ in 0..2 {
        send("alpha", "1token", "50");
        send("beta", "1token", "50");
    }
    for round in 0..3 {
        let arrived = async || {
            let mut least = u128::MAX;
            for chain in &world.chains {
                least = least.min(world.received(chain, alice.address()).await);
            }
            least >= 25
        };
        world.until(&format!("vouchers to send back in round {round}"), arrived).await;
        send("alpha", &back, "25");
        send("beta", "1token", "25");
        send("beta", &back, "25");
        send("alpha", "1token", "25");
    }
    let messages = world.until_settled(500).await;
    assert_eq!(messages.len(), 500);
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    let drained = async || {
        ["alpha", "beta"].iter().all(|to| {
            escrow(&world, to).is_some_and(|row| row["even"] == true && row["escrow"] == "100")
        })
    };
    world.until("both directions are even", drained).await;
    assert!(!world.log().contains("supply_breached"), "{}", world.log());
    world.assert_supply_agrees().await;
}
