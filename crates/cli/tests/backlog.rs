//! Many messages at once: all arrive, and the upstreams are asked in bulk rather than message by
//! message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use alloy_primitives::U256;
use postrider_devnet::layerzero::DEFAULT_OPTIONS;
use postrider_layerzero::view::Pathway;
use serde_json::json;
use support::{Setup, World, assert_executed};

const MESSAGES: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_delivered_in_bulk() {
    let mut world = World::new(Setup::default()).await;
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock_burst(eid, "backlog", MESSAGES, &DEFAULT_OPTIONS).await.unwrap();
    world.node().start();
    assert_executed(&world.nodes[0].settled(200).await, 200);
    // Executions were rehearsed on commits that no block held yet: the endpoint's own word tells it.
    let pathway = Pathway {
        receiver: world.beta().deployment().oapp_mock,
        src_eid: world.alpha().deployment().eid,
        sender: world.alpha().deployment().oapp_mock.into_word(),
    };
    let at = json!([world.beta().deployment().endpoint, pathway.lazy_nonce_slot(), "latest"]);
    let word: U256 = world.beta().rpc().call("eth_getStorageAt", at).await.unwrap();
    assert_eq!(word, U256::from(MESSAGES));
    let requests: u64 = world.nodes[0].upstreams.iter().flatten().map(|u| u.stats().requests).sum();
    for upstream in world.nodes[0].upstreams.iter().flatten() {
        println!("{:?}", upstream.stats().calls);
    }
    println!("{requests} HTTP requests for {MESSAGES} messages");
    assert!(requests < 3 * MESSAGES, "{requests} HTTP requests for {MESSAGES} messages");
}
