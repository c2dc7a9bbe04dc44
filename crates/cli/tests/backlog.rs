//! Many messages at once: all arrive, and the upstreams are asked in bulk rather than message by
//! message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use postrider_devnet::layerzero::DEFAULT_OPTIONS;
use support::{Setup, World, assert_executed};

const MESSAGES: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_delivered_in_bulk() {
    let mut world = World::new(Setup::default()).await;
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock_burst(eid, "backlog", MESSAGES, &DEFAULT_OPTIONS).await.unwrap();
    world.node().start();
    assert_executed(&world.nodes[0].settled(200).await, 200);
    let requests: u64 = world.nodes[0].upstreams.iter().flatten().map(|u| u.stats().requests).sum();
    for upstream in world.nodes[0].upstreams.iter().flatten() {
        println!("{:?}", upstream.stats().calls);
    }
    println!("{requests} HTTP requests for {MESSAGES} messages");
    assert!(requests < 3 * MESSAGES, "{requests} HTTP requests for {MESSAGES} messages");
}
