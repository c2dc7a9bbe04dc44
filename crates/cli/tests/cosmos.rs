//! What an operator sees of Cosmos networks: `postrider check`, and the readiness and metrics of a node.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use cosmos::{PATIENCE, World};
use postrider_devnet::CosmosAccount;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Where errors and warnings stand, and what they say.
fn serious(world: &World) -> Vec<(String, String, String)> {
    let told = findings(world);
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let list = told.iter().filter(|finding| finding["severity"] != "note");
    list.map(|f| (text(f, "severity"), text(f, "place"), text(f, "what"))).collect()
}

fn findings(world: &World) -> Vec<Value> {
    let output = world.command(&["check", "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = told["findings"].as_array().unwrap().clone();
    let errors = findings.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(output.status.code(), Some(if errors { 3 } else { 0 }), "{told:#}");
    for finding in &findings {
        for field in ["what", "risk", "remedy"] {
            assert!(!finding[field].as_str().unwrap().is_empty(), "{finding:#}");
        }
    }
    findings
}

fn change(world: &World, from: &str, to: &str) -> String {
    let before = std::fs::read_to_string(world.config()).unwrap();
    assert!(before.contains(from), "{from}: {before}");
    std::fs::write(world.config(), before.replacen(from, to, 1)).unwrap();
    before
}

/// One fault at a time, against real chains: each is named at its place, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_cosmos_network_is_named_with_its_place() {
    let plan = |plan| postrider_devnet::CosmosPlan { min_gas_price: "0.01stake".into(), ..plan };
    let world = World::start_with(plan).await;
    let text = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), text.replace("0stake", "0.02stake")).unwrap();

    // One operator, no witness: that stays.
    let lone = |name: &str| {
        let what = "all upstreams are of one operator: there is no witness".to_owned();
        ("warning".to_owned(), format!("networks.{name}.upstreams"), what)
    };
    let usual = [lone("alpha"), lone("beta")];
    assert_eq!(serious(&world), usual);
    let notes = findings(&world);
    assert!(notes.iter().any(|f| f["place"] == "ibc.alpha.clients"), "no channel yet: {notes:#?}");

    let text = std::fs::read_to_string(world.config()).unwrap();
    let hash = text.split("hash = \"").nth(1).unwrap()[..64].to_owned();
    let url = world.chains[0].rpc().url().to_owned();
    let other = "ab".repeat(32);
    let cases = [
        (url.as_str(), "http://127.0.0.1:1", "networks.alpha.upstreams.node", "no usable answer"),
        (url.as_str(), world.chains[1].rpc().url(), "networks.alpha.upstreams.node", "beta-1"),
        (hash.as_str(), other.as_str(), "networks.alpha.trust.hash", "another block"),
        ("height = 1,", "height = 900000,", "networks.alpha.trust.height", "900000"),
        ("0.02stake", "0.001stake", "networks.alpha.gas.price", "0.01stake"),
        ("0.02stake", "0.02token", "networks.alpha.gas.price", "token"),
        ("0.02stake\"", "0.02stake\", max = 1000", "networks.alpha.gas", "1000"),
        ("period_hours = 336", "period_hours = 504", "networks.alpha.trust.period_hours", "504 h"),
        ("period_hours = 336", "period_hours = 400", "networks.alpha.trust.period_hours", "thirds"),
        ("roles = [\"relay\"]", "roles = [\"watch\"]", "ibc.beta.roles", "no other network"),
        ("signer = \"relayer\"", "signer = \"nobody\"", "networks.alpha.signer", "nobody"),
    ];
    for (from, to, place, hint) in cases {
        let before = change(&world, from, to);
        let found = serious(&world);
        assert!(
            found.iter().any(|(_, at, what)| at == place && what.contains(hint)),
            "{to}: {found:#?}"
        );
        std::fs::write(world.config(), before).unwrap();
    }
    // Somebody who never received anything.
    let mut new = world.command(&["keys", "new", "poor"]);
    assert!(new.output().unwrap().status.success());
    let before = change(&world, "signer = \"relayer\"", "signer = \"poor\"");
    let found = serious(&world);
    assert!(
        found.iter().any(|(_, at, what)| at == "networks.alpha.signer"
            && what.contains("never received anything"))
    );
    std::fs::write(world.config(), before).unwrap();

    world.create_path();
    assert_eq!(serious(&world), usual);
    let found = findings(&world);
    for name in ["alpha", "beta"] {
        let place = format!("ibc.{name}.clients.07-tendermint-0");
        let client = found.iter().find(|f| f["place"] == place.as_str());
        let what = client.unwrap_or_else(|| panic!("{found:#?}"))["what"].as_str().unwrap();
        assert!(what.contains("expires in") && what.contains("1 open channels"), "{what}");
    }

    // A node that has a store goes on from what it accepted, wherever the file would let it begin.
    let node = world.node();
    let started = Instant::now();
    let config = postrider_node::Config::load(&world.config()).unwrap();
    let path = postrider_node::node::store_path(&config);
    for name in ["alpha", "beta"] {
        while !has_begun(&path, name).await {
            assert!(started.elapsed() < PATIENCE, "{}", world.log());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    node.kill();
    change(&world, "height = 1,", "height = 900000,");
    assert_eq!(serious(&world), usual);
}

/// What `postrider init` writes of real chains is accepted as it is; a fork is not taken for the chain.
#[tokio::test(flavor = "multi_thread")]
async fn init_writes_what_nodes_tell() {
    let world = World::start().await;
    let urls: Vec<String> = world.chains.iter().map(|chain| chain.rpc().url().to_owned()).collect();
    let file = world.folder.path().join("new.toml");
    let init = |networks: &[String]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.args(["init", "--json", "--config"]).arg(&file);
        for network in networks {
            command.args(["--cosmos", network]);
        }
        command.output().unwrap()
    };
    let wrong = init(&[format!("alpha=alpha-1@{}", urls[1])]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("beta-1") && !file.exists(), "{said}");
    let wanted =
        [format!("alpha=alpha-1@{},{}", urls[0], urls[0]), format!("beta=beta-1@{}", urls[1])];
    let done = init(&wanted);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told["roots"].as_array().unwrap().len(), 2, "{told:#}");

    let text = std::fs::read_to_string(&file).unwrap();
    for line in ["prefix = \"cosmos\"", "period_hours = 336", "COMPARE IT"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    std::fs::write(world.config(), text).unwrap();
    let found = serious(&world);
    let places: Vec<&str> = found.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(places, ["networks.beta.upstreams"], "no witness: {found:#?}");
}

async fn has_begun(store: &std::path::Path, network: &str) -> bool {
    use postrider_store::{SqliteStore, Store};
    let Ok(store) = SqliteStore::open_read_only(store).await else { return false };
    store.cursor(&network.parse().unwrap()).await.is_ok_and(|cursor| cursor.is_some())
}

fn get(port: u16, path: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, text))
}

/// A node tells of its Cosmos networks what it tells of others: readiness, heights, wallets, upstreams; and
/// how long their clients last.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_of_its_cosmos_networks() {
    let world = World::start().await;
    world.create_path();
    world.change_config(|text| {
        text.replace("signer = \"relayer\"", "signer = [\"relayer\", \"bob\"]")
    });
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = std::fs::read_to_string(world.config()).unwrap();
    let text = format!("[api]\nlisten = \"127.0.0.1:{port}\"\n{text}");
    std::fs::write(world.config(), text).unwrap();
    let _node = world.node();
    let started = Instant::now();
    let wallet = |network: &str, account: &str| {
        let address = CosmosAccount::named(account).address().to_owned();
        format!("postrider_wallet_balance{{network=\"{network}\",address=\"{address}\"}} 1000")
    };
    let wanted = [
        "postrider_follower_caught_up{network=\"alpha\"} 1",
        "postrider_upstream_usable{network=\"beta\",upstream=\"node\"} 1",
        &wallet("alpha", "relayer"),
        &wallet("alpha", "bob"),
        &wallet("beta", "relayer"),
        // Two weeks, and some seconds less.
        "postrider_client_expires_seconds{network=\"alpha\",client=\"07-tendermint-0\",of=\"beta\"} 12",
        "postrider_client_frozen{network=\"beta\",client=\"07-tendermint-0\",of=\"alpha\"} 0",
    ];
    loop {
        let ready = get(port, "/ready").is_some_and(|(status, _)| status == 200);
        let metrics = get(port, "/metrics").map(|(_, text)| text).unwrap_or_default();
        if ready && wanted.iter().all(|line| metrics.contains(line)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{metrics}\n{}", world.log());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
