//! Ten packets among ten thousand channels: what a relayer does at its start depends on what is pending, not
//! on how many channels there are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use cosmos::World;
use postrider_devnet::{CosmosAccount, FaultyUpstream};
use serde_json::{Value, json};
use std::time::Instant;

const CHANNELS: usize = 10_000;
const PENDING: usize = 10;

/// Open channels of the first connection, from the beginning of the chain.
fn with_channels(genesis: &mut Value) {
    let end = |id: &str| {
        json!({
            "state": "STATE_OPEN",
            "ordering": "ORDER_UNORDERED",
            "counterparty": { "port_id": "transfer", "channel_id": id },
            "connection_hops": ["connection-0"],
            "version": "ics20-1",
            "port_id": "transfer",
            "channel_id": id,
        })
    };
    let first = |id: &str| json!({ "port_id": "transfer", "channel_id": id, "sequence": "1" });
    let ids: Vec<String> = (0..CHANNELS).map(|n| format!("channel-{n}")).collect();
    let sequences: Vec<Value> = ids.iter().map(|id| first(id)).collect();
    let state = &mut genesis["app_state"]["ibc"]["channel_genesis"];
    state["channels"] = ids.iter().map(|id| end(id)).collect();
    for each in ["send_sequences", "recv_sequences", "ack_sequences"] {
        state[each] = json!(sequences);
    }
    state["next_channel_sequence"] = json!(CHANNELS.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn few_packets_among_many_idle_channels_are_found_at_once() {
    let world = World::start_with(|plan| plan.patch(with_channels)).await;
    let path = world.create_path();
    assert_eq!(path["sides"][0]["connection"], "connection-0", "{path:#}");
    let bob = CosmosAccount::named("bob");
    for n in 0..PENDING {
        let channel = format!("transfer/channel-{}", n * CHANNELS / PENDING + 3);
        world.run_as_alice(&["ibc", "transfer", "alpha", &channel, "7token", bob.address()]);
    }
    let mut proxies = Vec::new();
    for chain in &world.chains {
        let url = chain.rpc().url();
        let proxy = FaultyUpstream::start(url).await.unwrap();
        world.change_config(|text| text.replace(url, proxy.url()));
        proxies.push(proxy);
    }
    let started = Instant::now();
    let _node = world.node();
    let beta = world.chains[1].rpc();
    let brought = async || {
        let query = "message.action='/ibc.core.channel.v1.MsgRecvPacket'";
        let told = beta.call("tx_search", json!({ "query": query })).await.unwrap();
        let transactions = told["txs"].as_array().unwrap();
        let events =
            transactions.iter().flat_map(|tx| tx["tx_result"]["events"].as_array().unwrap());
        events.filter(|event| event["type"] == "recv_packet").count() == PENDING
    };
    world.until("all ten are received", brought).await;
    let requests: u64 = proxies.iter().map(|proxy| proxy.stats().requests).sum();
    println!(
        "{PENDING} of {CHANNELS} channels: {:.1} s, {requests} requests",
        started.elapsed().as_secs_f64()
    );
    let messages = world.until_settled(PENDING).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    // About a dozen for each packet and chain; a question for each channel would be thousands.
    assert!(requests < 300, "{requests} requests");
}
