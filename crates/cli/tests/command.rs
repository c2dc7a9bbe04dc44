//! The command line: what a person sees when something is wrong, and the demo.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
};
use support::{Setup, World};

fn postrider(arguments: &[&str], config: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).env("POSTRIDER_PASSWORD", postrider_cli::workspace::PASSWORD);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One error that names the place and the remedy: an unknown key, a wrong chain id, an upstream
/// that cannot be reached, a contract that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_one_error_with_place_and_remedy() {
    let world = World::new(Setup::default()).await;
    let config = world.nodes[0].workspace.config_path();
    let good = std::fs::read_to_string(&config).unwrap();
    let fine = postrider(&["check", "--json"], Some(&config));
    assert!(fine.status.success(), "{}", text(&fine.stdout));

    let endpoint = format!("{:#x}", world.alpha().deployment().endpoint);
    let url = world.nodes[0].upstreams[0][0].url().to_owned();
    let cases = [
        ("poll_ms = 200", "pol_ms = 200", "pol_ms", "docs/operate.md"),
        ("chain_id = 31901", "chain_id = 5", "networks.alpha", "5"),
        (url.as_str(), "http://127.0.0.1:1", "networks.alpha.upstreams", "unreachable"),
        (
            endpoint.as_str(),
            "0x00000000000000000000000000000000000000aa",
            "layerzero.alpha",
            "0x00000000000000000000000000000000000000aa",
        ),
    ];
    for (from, to, place, hint) in cases {
        assert!(good.contains(from), "{from}");
        std::fs::write(&config, good.replacen(from, to, 1)).unwrap();
        let found = postrider(&["check"], Some(&config));
        let said = text(&found.stdout) + &text(&found.stderr);
        assert_eq!(found.status.code(), Some(3), "{to}: {said}");
        assert!(said.contains(place) && said.contains(hint), "{to}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_delivers_and_ends_with_one_document() {
    let output =
        tokio::task::spawn_blocking(|| postrider(&["demo", "--json"], None)).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let messages = document["messages"].as_array().unwrap();
    let of = |protocol: &str| {
        let is_of = |m: &&Value| m["lane"].as_str().unwrap().starts_with(protocol);
        messages.iter().filter(is_of).count()
    };
    assert_eq!((of("layerzero: "), of("ibc: "), messages.len()), (6, 5, 11), "{document:#}");
    let layerzero = ["seen", "final", "proven", "attested", "committed", "executed", "settled"];
    let ibc = ["seen", "proven", "received", "succeeded", "settled"];
    for message in messages {
        let is_ibc = message["lane"].as_str().unwrap().starts_with("ibc: ");
        let (outcome, expected) =
            if is_ibc { ("succeeded", &ibc[..]) } else { ("executed", &layerzero[..]) };
        assert_eq!(message["status"], "settled");
        assert_eq!(message["outcome"], outcome);
        assert!(message["id"].as_str().unwrap().starts_with("0x"));
        let stages = message["stages"].as_array().unwrap();
        let names: Vec<_> = stages.iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
        assert!(stages.iter().all(|s| s["seconds"].is_number()));
    }
}

#[test]
fn usage_and_missing_things_have_their_exit_codes() {
    let missing = postrider(&["messages"], Some(Path::new("/nowhere/postrider.toml")));
    assert_eq!(missing.status.code(), Some(3));
    assert!(text(&missing.stderr).contains("postrider init"), "{}", text(&missing.stderr));
    assert_eq!(postrider(&["frobnicate"], None).status.code(), Some(2));
}
