//! One DVN whose signers are spread over several processes, each with its own key and upstreams: a
//! message is attested when a quorum of them has proven it, and not because one of them says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use alloy_primitives::Bytes;
use alloy_sol_types::SolEvent;
use postrider_cli::workspace::{NETWORKS, PeerLine, PeeringLines};
use postrider_devnet::{Devnet, Fault, FaultyUpstream, LayerZeroPlan, Silent};
use postrider_layerzero::{contracts::ReceiveUln302, wire::PacketHeader};
use postrider_message::{AlarmKind, Reason, UnixMillis};
use postrider_store::{SqliteStore, Store};
use serde_json::{Value, json};
use std::net::TcpListener;
use support::{NodeHandle, Setup, World, assert_executed, rows, say, until};

/// One DVN of which every node's keys are signers, and two of them a quorum.
fn shared(plan: &mut LayerZeroPlan) {
    let mut all = plan.dvns.remove(0);
    for dvn in plan.dvns.drain(..) {
        all.signers.extend(dvn.signers);
        all.admins.extend(dvn.admins);
    }
    all.quorum = 2;
    plan.dvns = vec![all];
}

/// Chains with one DVN that so many nodes share, each holding one of its keys; no node is started.
async fn company(nodes: usize) -> World {
    let mut world = World::new(Setup { nodes, adapt: shared, ..Setup::default() }).await;
    let mut lines = Vec::new();
    for (i, node) in world.nodes.iter().enumerate() {
        let mut signers = Vec::new();
        for name in NETWORKS {
            let keys = node.workspace.keys(&name.parse().unwrap()).await.unwrap();
            signers.push(keys.signers[0]);
        }
        // Let go at once, for the node to take.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        lines.push(PeerLine {
            name: format!("node-{i}"),
            url: format!("http://{listen}"),
            identity: node.workspace.identity().unwrap(),
            signers: [signers[0], signers[1]],
        });
    }
    for (i, node) in world.nodes.iter_mut().enumerate() {
        let listen = lines[i].url.trim_start_matches("http://").to_owned();
        let mut peers = lines.clone();
        peers.remove(i);
        node.workspace.dvn = 0;
        node.workspace.signers = 1;
        node.workspace.peering = Some(PeeringLines { listen, peers });
        node.write_config(&world.devnet);
    }
    world
}

/// The nonces whose packets the DVN attested on beta, by the chain's own logs.
async fn attested_on_beta(world: &World) -> Vec<u64> {
    let filter = json!([{
        "fromBlock": "0x0", "toBlock": "latest",
        "address": world.beta().deployment().receive_uln,
        "topics": [ReceiveUln302::PayloadVerified::SIGNATURE_HASH],
    }]);
    let logs: Value = world.beta().rpc().call("eth_getLogs", filter).await.unwrap();
    let nonce = |log: &Value| {
        let data: Bytes = serde_json::from_value(log["data"].clone()).unwrap();
        let (_, header, ..) = ReceiveUln302::PayloadVerified::abi_decode_data(&data).unwrap();
        PacketHeader::decode(&header).unwrap().nonce.get()
    };
    logs.as_array().unwrap().iter().map(nonce).collect()
}

/// Waits until some message of the node waits for signatures, and the words say this.
async fn waits_saying(node: &NodeHandle, words: &str) {
    let store = node.store().await;
    until(&format!("a message waits: {words}"), node, || async {
        for row in rows(&store).await {
            let detail = store.message(row.id).await.unwrap().unwrap();
            let said = detail.duties.iter().filter_map(|duty| duty.state.reason());
            let said: Vec<_> =
                said.filter(|r| matches!(r, Reason::AwaitingSignatures { .. })).collect();
            if said.iter().any(|reason| reason.to_string().contains(words)) {
                return true;
            }
        }
        false
    })
    .await;
}

/// R3, R6: two of two sign, each for itself; one that is killed is waited for by name, and nothing
/// that was agreed on is lost with either.
#[tokio::test(flavor = "multi_thread")]
async fn r3_r6_two_processes_sign_and_one_that_is_killed_is_waited_for() {
    let mut world = company(2).await;
    for node in &mut world.nodes {
        node.start();
    }
    world.say("both are here").await;
    for node in &world.nodes {
        assert_executed(&node.settled(1).await, 1);
    }
    let once = attested_on_beta(&world).await;
    println!("attested: {once:?}");
    assert!(once.contains(&1));

    world.nodes[1].kill();
    world.say("one is away").await;
    waits_saying(&world.nodes[0], "1 of 2; node-1 does not answer").await;
    assert!(!attested_on_beta(&world).await.contains(&2), "one signature is no quorum");
    // What was asked for is asked for again by the next process, on the same terms.
    world.nodes[0].kill();
    for node in &mut world.nodes {
        node.start();
    }
    for node in &world.nodes {
        assert_executed(&node.settled(2).await, 2);
    }
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "one is away");
    for node in &world.nodes {
        assert!(!node.log_text().contains("journal_conflict"));
    }
}

/// R2, R6: one that has no quorum of its own, or whose operator has paused the lane, signs for its
/// peers neither, and they say why.
#[tokio::test(flavor = "multi_thread")]
async fn r2_r6_a_process_without_quorum_or_with_a_paused_lane_signs_for_nobody() {
    let mut world = company(2).await;
    for node in &mut world.nodes {
        node.start();
    }
    world.say("before the pause").await;
    let first = world.nodes[1].settled(1).await;
    world.nodes[0].settled(1).await;
    let config = postrider_node::Config::load(&world.nodes[1].workspace.config_path()).unwrap();
    let path = postrider_node::node::store_path(&config);
    let operator = SqliteStore::open_for_steering(&path).await.unwrap();
    assert!(operator.pause_lane(first[0].lane_id, UnixMillis::now()).await.unwrap());
    world.say("paused").await;
    waits_saying(&world.nodes[0], "1 of 2; node-1 refuses: an operator paused its lane").await;
    assert!(!attested_on_beta(&world).await.contains(&2));
    assert!(operator.resume_lane(first[0].lane_id, UnixMillis::now()).await.unwrap());
    assert_executed(&world.nodes[0].settled(2).await, 2);

    world.nodes[1].lie_on_alpha(0, [Fault::Dead]);
    world.say("while one sees nothing").await;
    waits_saying(&world.nodes[0], "1 of 2; node-1 refuses: this node has proven alpha up to").await;
    assert!(!attested_on_beta(&world).await.contains(&3));
    world.nodes[1].upstreams[0][0].clear();
    assert_executed(&world.nodes[0].settled(3).await, 3);
}

/// R1, R3, classes (d) and (h): every upstream of one process shows it a chain of its own, down to
/// the last header. It believes, signs and asks, and nobody signs with it: the others look for
/// themselves. What is true is attested without it.
#[tokio::test(flavor = "multi_thread")]
async fn r1_r3_d_h_a_deceived_process_gets_no_signature() {
    let mut world = company(3).await;
    let mut false_plan = world.plan.clone();
    false_plan.folder = world.folder.path().join("false");
    let false_net = Devnet::up(&false_plan, &Silent).await.unwrap();
    let false_alpha = &false_net.chains()[0];
    assert_eq!(false_alpha.deployment().endpoint, world.alpha().deployment().endpoint);
    world.nodes[2].upstreams[0] = vec![FaultyUpstream::start(false_alpha.url()).await.unwrap()];
    world.nodes[2].write_config(&world.devnet);
    for node in &mut world.nodes {
        node.start();
    }
    world.say("true").await;
    say(false_alpha, world.beta(), "true").await;
    say(false_alpha, world.beta(), "forged").await;

    for node in &world.nodes[..2] {
        assert_executed(&node.settled(1).await, 1);
    }
    waits_saying(&world.nodes[2], "node-0 refuses: no such message is in").await;
    waits_saying(&world.nodes[2], "node-1 refuses: no such message is in").await;
    for node in &world.nodes[..2] {
        let store = node.store().await;
        until("an alarm names the peer that is deceived", node, || async {
            let alarms = store.alarms(50).await.unwrap();
            let text = |alarm: &postrider_message::Alarm| alarm.detail.to_string();
            alarms.iter().any(|alarm| {
                alarm.kind == AlarmKind::PeerDissents && text(alarm).contains("peer node-2")
            })
        })
        .await;
    }
    assert!(!attested_on_beta(&world).await.contains(&2), "the forged one stands at nonce 2");

    // The true message of that number passes.
    world.say("true as well").await;
    for node in &world.nodes[..2] {
        assert_executed(&node.settled(2).await, 2);
    }
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "true as well");
    for node in &world.nodes {
        assert!(!node.log_text().contains("journal_conflict"));
    }
}
