//! Installing the packages, and starting chains in every way that there is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use alloy_primitives::{Address, U256};
use postrider_devnet::{Anvil, AnvilOptions, Packages, Silent};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_install_at_once_share_one_installation() {
    let cache = tempfile::tempdir().unwrap();
    let install = || {
        let cache = cache.path().to_path_buf();
        tokio::spawn(async move { Packages::ensure_in(&cache, &Silent).await })
    };
    let (one, two) = (install(), install());
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!(one.anvil(), two.anvil());
    assert!(one.anvil().is_file());
    let mut names: Vec<String> = std::fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "the installation and its lock: {names:?}");
    assert_eq!(format!("{}.lock", names[0]), names[1]);
}

#[tokio::test]
async fn options_reach_the_chain_and_state_survives_a_restart() {
    let packages = Packages::ensure(&Silent).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = AnvilOptions {
        block_time: Some(Duration::from_millis(200)),
        gas_limit: Some(40_000_000),
        slots_in_an_epoch: Some(1),
        optimism: true,
        state: Some(folder.path().join("chain.json")),
        log_file: Some(folder.path().join("chain.log")),
        ..AnvilOptions::new(10_010)
    };
    let account = Address::repeat_byte(0x77);
    let first = Anvil::start(packages.anvil(), &options).await.unwrap();
    first.rpc().set_balance(account, U256::from(5)).await.unwrap();
    first.rpc().mine(10).await.unwrap();
    let block = |tag| first.rpc().call::<Value>("eth_getBlockByNumber", json!([tag, false]));
    assert_eq!(block("latest").await.unwrap()["gasLimit"], "0x2625a00");
    assert_ne!(block("finalized").await.unwrap()["number"], "0x0");
    assert!(first.ws_url().starts_with("ws://127.0.0.1:"));
    let port = first.url().rsplit_once(':').unwrap().1.parse().unwrap();
    first.stop().await.unwrap();

    let again = AnvilOptions { port: Some(port), ..options };
    let second = Anvil::start(packages.anvil(), &again).await.unwrap();
    assert_eq!(second.url(), format!("http://127.0.0.1:{port}"));
    assert_eq!(second.rpc().balance(account).await.unwrap(), U256::from(5));

    let taken = AnvilOptions { state: None, log_file: None, ..again };
    let error = Anvil::start(packages.anvil(), &taken).await.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
}
