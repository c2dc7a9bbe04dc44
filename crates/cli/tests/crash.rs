//! kill -9 at random instants while messages travel: each is delivered once, and no key signs two
//! things for one subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use postrider_devnet::layerzero::DEFAULT_OPTIONS;
use postrider_message::{DutyState, Fact};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use support::{Setup, World, assert_executed};

/// The instants follow from a seed, which is printed; POSTRIDER_SEED repeats a run.
fn seed() -> u64 {
    let seed = std::env::var("POSTRIDER_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("POSTRIDER_SEED={seed}");
    seed
}

/// How often each (payload, event) stands on beta, by the chain's own logs.
async fn events_on_beta(world: &World, topic: &str) -> BTreeMap<String, usize> {
    let logs: Value = world
        .beta()
        .rpc()
        .call(
            "eth_getLogs",
            json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": [topic] }]),
        )
        .await
        .unwrap();
    let mut counts = BTreeMap::new();
    for log in logs.as_array().unwrap() {
        *counts.entry(log["data"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// R3, R4, class (q): crash between signing, storing and submitting.
#[tokio::test(flavor = "multi_thread")]
async fn r3_r4_q_killed_at_random_each_message_is_delivered_once() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut world = World::started(Setup::default()).await;
    let eid = world.beta().deployment().eid;
    for round in 0..8 {
        let text = format!("round {round}");
        world.alpha().apps().send_mock_burst(eid, &text, 4, &DEFAULT_OPTIONS).await.unwrap();
        // The instant is the subject here: nothing is waited for.
        let instant = Duration::from_millis(random.random_range(50..2500));
        tokio::time::sleep(instant).await;
        world.node().kill();
        world.node().start();
    }
    assert_executed(&world.nodes[0].settled(32).await, 32);

    let delivered = "0x3cd5e48f9730b129dc7550f0fcea9c767b7be37837cd10e55eb35f734f4bca04";
    let delivered = events_on_beta(&world, delivered).await;
    assert_eq!(delivered.len(), 32);
    assert!(delivered.values().all(|n| *n == 1), "{delivered:?}");
    for detail in world.nodes[0].details().await {
        let executed = detail.facts.iter().filter(|r| matches!(r.fact, Fact::Executed)).count();
        assert_eq!(executed, 1, "{detail:?}");
        for duty in &detail.duties {
            assert!(matches!(duty.state, DutyState::Done | DutyState::NotNeeded(_)), "{duty:?}");
        }
    }
    assert!(!world.nodes[0].log_text().contains("journal_conflict"));
}
