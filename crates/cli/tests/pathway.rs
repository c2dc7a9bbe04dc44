//! `postrider layerzero inspect` and `postrider check` on pathways of real contracts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod support;

use alloy_primitives::U256;
use postrider_devnet::Fault;
use serde_json::{Value, json};
use std::{
    process::{Command, Output},
    time::Duration,
};
use support::{NodeHandle, Setup, World};

fn postrider(node: &NodeHandle, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(arguments)
        .arg("--config")
        .arg(node.workspace.config_path())
        .output()
        .unwrap()
}

fn document(node: &NodeHandle, arguments: &[&str]) -> Value {
    let output = postrider(node, &[&["--json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn codes(pathway: &Value) -> Vec<String> {
    let findings = pathway["findings"].as_array().unwrap();
    let code = |f: &Value| format!("{} {}", f["severity"], f["code"]).replace('"', "");
    findings.iter().map(code).collect()
}

/// Has beta's next block ask for `price` wei a gas, and waits for it.
async fn gas_price(world: &World, price: u64) {
    let rpc = world.beta().rpc();
    let set = json!([U256::from(price)]);
    let _: Value = rpc.call("anvil_setNextBlockBaseFeePerGas", set).await.unwrap();
    let before: U256 = rpc.call("eth_blockNumber", json!([])).await.unwrap();
    while rpc.call::<U256>("eth_blockNumber", json!([])).await.unwrap() == before {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What an application relies on is named, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_pathway_is_shown_with_what_is_wrong_on_either_side() {
    let mut world = World::new(Setup::default()).await;
    let missing = postrider(&world.nodes[0], &["layerzero", "inspect"]);
    assert_eq!(missing.status.code(), Some(1), "there is no store yet");
    world.node().start();
    world.say("first").await;
    world.nodes[0].settled(1).await;
    let node = &world.nodes[0];

    // One DVN, everything by default, one upstream a network; all else is as it should be.
    let expected = [
        "danger single_dvn",
        "warning default_library",
        "warning same_operator",
        "warning default_library",
        "warning same_operator",
        "warning default_configuration",
        "warning default_configuration",
    ];
    let found = document(node, &["layerzero", "inspect"]);
    assert_eq!(found["left_out"], 0);
    let pathways = found["pathways"].as_array().unwrap();
    assert_eq!(pathways.len(), 1);
    assert_eq!(codes(&pathways[0]), expected, "{found:#}");
    let (alpha, beta) = (world.alpha().deployment(), world.beta().deployment());
    let facts = &pathways[0]["facts"];
    let dvns = |side: &str| facts[side]["verifiers"]["required"].clone();
    assert_eq!(dvns("source"), json!(alpha.dvns));
    assert_eq!(dvns("destination"), json!(beta.dvns));
    assert_eq!(facts["execution"]["executor"], json!(alpha.executor));

    let text = |address| format!("{address:#x}");
    let (sender, receiver) = (text(beta.oapp_mock), text(alpha.oapp_mock));
    let pair = ["layerzero", "inspect", "--from", "beta", "--to", "alpha", "--sender", &sender];
    let back = document(node, &[&pair[..], &["--receiver", &receiver]].concat());
    assert_eq!(codes(&back["pathways"][0]), expected, "it needs no message");
    let counter = text(alpha.omni_counter);
    let stranger = document(node, &[&pair[..], &["--receiver", &counter]].concat());
    assert!(codes(&stranger["pathways"][0]).contains(&"danger no_peer".to_owned()));
    let shown = postrider(node, &["layerzero", "inspect"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for part in ["send, alpha", "receive, beta", "(yours) (default)", "1 pathway examined"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // At what gas costs on beta now, neither the DVN nor the executor is paid enough. The price falls
    // by an eighth a block, so it is far above at first.
    gas_price(&world, 10_000_000_000_000).await;
    let costly = codes(&document(node, &["layerzero", "inspect"])["pathways"][0]);
    let short = costly.iter().filter(|code| *code == "warning fees_below_gas").count();
    assert_eq!(short, 2, "{costly:?}");
    gas_price(&world, 1_000_000_000).await;

    // What strangers set up badly is told, and fails no check.
    let checked = document(node, &["check"]);
    let findings = checked["findings"].as_array().unwrap();
    let told: Vec<_> =
        findings.iter().filter(|f| f["place"].as_str().unwrap().contains("->")).collect();
    assert_eq!(told.len(), 5, "{checked:#}");
    assert_eq!(told[0]["severity"], "warning");
    assert!(told[0]["what"].as_str().unwrap().contains("single_dvn"));

    // R5: a network that does not answer is never taken for one on which all is well.
    node.lie_on_alpha(0, [Fault::Dead]);
    let dark = document(node, &["layerzero", "inspect"]);
    let dark = codes(&dark["pathways"][0]);
    assert!(dark.contains(&"warning unreadable".to_owned()), "{dark:?}");
    assert!(dark.contains(&"danger single_dvn".to_owned()), "beta is still heard: {dark:?}");
}
