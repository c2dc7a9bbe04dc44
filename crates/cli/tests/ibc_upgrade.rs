//! A chain that stops for an upgrade on which its governance decided, and goes on with other rules: the clients
//! of it are taken over.

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
use governance::{gov_address, propose, quickly_governed};
use postrider_devnet::{CosmosAccount, CosmosChain, Silent, Simd};
use serde_json::{Value, json};

/// How many blocks a proposal is given to be accepted.
const BLOCKS: u64 = 24;
/// Longer than the three weeks that clients were told.
const UNBONDING_SECONDS: u64 = 1_900_000;

/// The upgrade at a height: what a client on `host` becomes, whose chain binds its stake longer from then on.
async fn upgrade_at(height: u64, host: &CosmosChain) -> Value {
    let simd = Simd::ensure(&Silent).await.unwrap();
    let node = host.nodes().next().unwrap();
    let url = node.url().replacen("http", "tcp", 1);
    let query = ["query", "ibc", "client", "state", "07-tendermint-0", "--node", &url];
    let told = simd.run(node.home(), &[&query[..], &["--output", "json"]].concat()).await.unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let mut state = told["client_state"].clone();
    state["latest_height"] =
        json!({ "revision_number": "1", "revision_height": (height + 1).to_string() });
    state["unbonding_period"] = json!(format!("{UNBONDING_SECONDS}s"));
    json!({
        "@type": "/ibc.core.client.v1.MsgIBCSoftwareUpgrade",
        "plan": {
            "name": "longer", "time": "0001-01-01T00:00:00Z", "height": height.to_string(), "info": "",
            "upgraded_client_state": null,
        },
        "upgraded_client_state": state,
        "signer": gov_address(),
    })
}

/// What `ibc client upgrade` says when it cannot.
fn refused(world: &World, more: &[&str]) -> String {
    let over = ["ibc", "client", "upgrade", "beta", "07-tendermint-0"];
    let told = world.command(&[&over[..], more].concat()).output().unwrap();
    assert!(!told.status.success(), "{told:?}");
    String::from_utf8(told.stderr).unwrap()
}

fn send(world: &World) {
    let bob = CosmosAccount::named("bob");
    for network in ["alpha", "beta"] {
        let over = ["ibc", "transfer", network, "transfer/channel-0", "1token", bob.address()];
        world.run_as_alice(&[&over[..], &["--count", "3"]].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_taken_over_the_upgrade_of_a_chain() {
    let mut world = World::start_with(quickly_governed).await;
    world.create_path();
    // Nobody looks after it until the chain has gone on.
    world.run(&["ibc", "client", "create", "beta", "alpha"]);
    let _node = world.node();
    let unplanned = refused(&world, &[]);
    assert!(unplanned.contains("no upgrade is planned"), "{unplanned}");

    let (alpha, beta) = (&world.chains[0], &world.chains[1]);
    let height = alpha.rpc().height().await.unwrap() + BLOCKS;
    propose(&world, alpha, upgrade_at(height, beta).await).await;
    send(&world);
    world.until_settled(6).await;
    let early = refused(&world, &[]);
    assert!(early.contains(&format!("is planned at height {height}")), "{early}");
    // The block of the upgrade is there, and what it does is not.
    let stopped = async || alpha.rpc().status().await.unwrap().height == height;
    world.until("the chain stops for its upgrade", stopped).await;

    let upgraded = world.run(&["ibc", "client", "upgrade", "beta", "07-tendermint-0"]);
    let expected = json!([height, format!("1-{}", height + 1), UNBONDING_SECONDS]);
    let is = |told: &Value| {
        json!([told["upgraded_at"], told["latest"], told["unbonding_period_seconds"]])
    };
    assert_eq!(is(&upgraded), expected, "{upgraded}");
    let late = refused(&world, &[]);
    assert!(late.contains("holds height"), "{late}");

    // It goes on, with what was planned taken as done.
    world.chains[0].kill().await;
    for node in world.chains[0].nodes_mut() {
        node.set_arguments(&["--unsafe-skip-upgrades", &height.to_string()]);
    }
    world.chains[0].restart().await.unwrap();
    let alpha = &world.chains[0];
    alpha.rpc().wait_for_height(height + 3, cosmos::PATIENCE).await.unwrap();
    send(&world);
    let messages = world.until_settled(12).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");

    let at = height.to_string();
    let over = ["ibc", "client", "upgrade", "beta", "07-tendermint-1", "--height", &at];
    let upgraded = world.run(&over);
    assert_eq!(is(&upgraded), expected, "{upgraded}");
    let led = world.run(&["ibc", "client", "update", "beta", "07-tendermint-1"]);
    assert!(led["updated_to"].as_u64().unwrap() > height, "{led}");
    world.assert_supply_agrees().await;
}
