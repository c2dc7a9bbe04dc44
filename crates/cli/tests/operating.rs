//! What an operator does to a running node: pausing and holding, looking at it over HTTP, stopping it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use postrider_devnet::{Fault, layerzero::DEFAULT_OPTIONS};
use postrider_message::Fact;
use postrider_store::Store;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Output},
};
use support::{NodeHandle, PATIENCE, Setup, World, assert_executed, until};

/// Runs a command beside the node.
fn postrider(node: &NodeHandle, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(arguments)
        .arg("--config")
        .arg(node.workspace.config_path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The document of a command that must succeed.
fn document(node: &NodeHandle, arguments: &[&str]) -> Value {
    let output = postrider(node, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The reasons of all messages that have one, the newest first.
fn reasons(document: &Value) -> Vec<String> {
    let messages = document["messages"].as_array().unwrap();
    messages.iter().filter_map(|m| m["reason_code"].as_str().map(str::to_owned)).collect()
}

/// Lets the node serve HTTP at a port that the system chooses.
fn with_http(world: &World) {
    let path = world.nodes[0].workspace.config_path();
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("[api]\nlisten = \"127.0.0.1:0\"\n{config}")).unwrap();
}

/// Status and body of an answer; nothing while nobody listens.
fn get(node: &NodeHandle, path: &str) -> Option<(u16, String)> {
    let log = node.log_text();
    let address = log.rsplit_once("HTTP at http://")?.1.lines().next()?.to_owned();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        body.split_once("\r\n")?.1.rsplit_once("\r\n0\r\n")?.0.to_owned()
    } else {
        body.to_owned()
    };
    Some((status, body))
}

fn json(node: &NodeHandle, path: &str) -> Option<(u16, Value)> {
    let (status, body) = get(node, path)?;
    Some((status, serde_json::from_str(&body).ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_paused_lane_and_a_held_message_wait_and_then_go_on() {
    let mut world = World::new(Setup::default()).await;
    with_http(&world);
    world.node().start();
    world.say("first").await;
    world.nodes[0].settled(1).await;
    let node = &world.nodes[0];

    let unknown = postrider(node, &["pause", "alpha->gamma"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("layerzero: alpha"), "{}", text(&unknown.stderr));

    let paused = document(node, &["pause", "alpha->beta"]);
    assert_eq!((paused["paused"].as_bool(), paused["changed"].as_bool()), (Some(true), Some(true)));
    world.say("second").await;
    let node = &world.nodes[0];
    until("the message says that its lane is paused", node, || async {
        reasons(&document(node, &["messages"])) == ["lane_paused"]
    })
    .await;
    let (status, found) = json(node, "/messages?reason=lane_paused").unwrap();
    assert_eq!((status, reasons(&found)), (200, vec!["lane_paused".to_owned()]));
    let lanes = document(node, &["lanes"]);
    assert_eq!(lanes["lanes"][0]["paused"], true);
    assert_eq!(lanes["lanes"][0]["reasons"]["lane_paused"], 1);
    let served = json(node, "/lanes").unwrap().1;
    assert_eq!(served["lanes"][0]["reasons"], lanes["lanes"][0]["reasons"]);

    let id = found["messages"][0]["id"].as_str().unwrap().to_owned();
    document(node, &["hold", &id, "--because", "asked for by the application"]);
    let resumed = document(node, &["resume", "alpha->beta"]);
    assert_eq!(resumed["history"].as_array().unwrap().len(), 2);
    // The other way is open, and shows that the node has gone on meanwhile.
    support::say(world.beta(), world.alpha(), "back").await;
    let rows = node.settled(2).await;
    assert_eq!(rows.len(), 3);
    let trace = document(node, &["trace", &id]);
    assert_eq!(
        (trace["status"].as_str(), trace["reason_code"].as_str()),
        (Some("held"), Some("held_by_operator"))
    );
    assert!(trace["reason"].as_str().unwrap().contains("asked for by the application"));
    assert_eq!(json(node, &format!("/messages/{id}")).unwrap().1["reason"], trace["reason"]);
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "first", "nothing was brought");
    for duty in trace["detail"]["duties"].as_array().unwrap() {
        assert_eq!(
            (duty["state"]["state"].as_str(), duty["attempts"].as_u64()),
            (Some("held"), Some(0))
        );
    }

    document(node, &["release", &id]);
    assert_executed(&node.settled(3).await, 3);
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "second");
    let late = postrider(node, &["retry", &id]);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("has ended"), "{}", text(&late.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_lost_quorum_shows_in_readiness_and_metrics() {
    let setup = Setup { upstreams: 3, quorum: 2, ..Setup::default() };
    let mut world = World::new(setup).await;
    with_http(&world);
    world.node().start();
    let node = &world.nodes[0];
    let is_ready = async || json(node, "/ready").is_some_and(|(status, _)| status == 200);
    until("the node is ready", node, &is_ready).await;
    assert_eq!(json(node, "/health").unwrap().0, 200);

    node.lie_on_alpha(0, [Fault::Dead]);
    node.lie_on_alpha(1, [Fault::Dead]);
    world.say("meanwhile").await;
    until("the node says that the quorum is lost", node, || async {
        json(node, "/ready").is_some_and(|(status, found)| {
            let why = found["why_not"].as_array().unwrap();
            status == 503
                && why.iter().any(|w| w["code"] == "quorum_lost" && w["network"] == "alpha")
        })
    })
    .await;
    let metrics = get(node, "/metrics").unwrap().1;
    let expected = "postrider_network_condition{network=\"alpha\",reason=\"quorum_lost\"} 1";
    assert!(metrics.contains(expected), "{metrics}");
    assert!(
        metrics.contains("postrider_alarms_total{kind=\"quorum_lost\",network=\"alpha\"}"),
        "{metrics}"
    );
    let errors = "postrider_upstream_errors_total{network=\"alpha\",upstream=\"up-1\"} ";
    let count = metrics.lines().find_map(|l| l.strip_prefix(errors)).unwrap();
    assert!(count.parse::<u64>().unwrap() > 0, "{metrics}");
    let health = json(node, "/health").unwrap();
    assert_eq!(health.0, 200, "it lives all the same");

    node.upstreams[0].iter().for_each(|u| u.clear());
    assert_executed(&node.settled(1).await, 1);
    until("the node is ready again", node, &is_ready).await;
    let metrics = get(node, "/metrics").unwrap().1;
    assert!(!metrics.contains(expected), "{metrics}");
    assert!(metrics.contains("postrider_wallet_balance{network=\"beta\""), "{metrics}");
}

/// R4: told to stop while messages and transactions are under way, and while an upstream hangs.
#[tokio::test(flavor = "multi_thread")]
async fn r4_stopped_in_mid_flight_everything_is_parked_and_delivered_once() {
    let mut world = World::new(Setup::default()).await;
    with_http(&world);
    world.node().start();
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock_burst(eid, "parked", 6, &DEFAULT_OPTIONS).await.unwrap();
    let store = world.nodes[0].store().await;
    until("transactions are on their way", &world.nodes[0], || async {
        !store.tally().await.unwrap().transactions.is_empty()
    })
    .await;
    world.nodes[0].upstreams[1][0].set([Fault::Hang]);
    assert_eq!(world.node().terminate(), Some(0), "it ends well");
    let log = world.nodes[0].log_text();
    assert!(log.contains("parked on disk: ") && log.contains("transactions on their way"), "{log}");
    assert!(get(&world.nodes[0], "/health").is_none(), "HTTP ended with it");

    world.nodes[0].upstreams[1][0].clear();
    world.say("last").await;
    world.node().start();
    assert_executed(&world.nodes[0].settled(7).await, 7);
    for detail in world.nodes[0].details().await {
        let executed = detail.facts.iter().filter(|r| matches!(r.fact, Fact::Executed)).count();
        assert_eq!(executed, 1, "{detail:?}");
    }
    until("every transaction is final", &world.nodes[0], || async {
        store.tally().await.unwrap().transactions.is_empty()
    })
    .await;
    assert_eq!(world.node().terminate(), Some(0));
    assert!(
        world.nodes[0]
            .log_text()
            .contains("parked on disk: 0 transactions on their way, 0 messages")
    );
}

/// Stopped and woken again, the process finds both signals at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_node_at_once() {
    let mut world = World::new(Setup::default()).await;
    with_http(&world);
    world.node().start();
    until("the node is ready", &world.nodes[0], async || {
        json(&world.nodes[0], "/ready").is_some_and(|(status, _)| status == 200)
    })
    .await;
    for upstreams in &world.nodes[0].upstreams {
        upstreams[0].set([Fault::Hang]);
    }
    assert_eq!(world.node().signals(&["-STOP", "-INT", "-TERM", "-CONT"]), Some(1));
    assert!(world.nodes[0].log_text().contains("ended at once"));
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_postrider"))
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success());
        let script = text(&output.stdout);
        for command in
            ["pause", "resume", "hold", "release", "retry", "lanes", "messages", "completions"]
        {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let other = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["completions", "tcsh"])
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(2));
}
