//! The accounts that pay on EVM networks: several of them, nonces that are missing, prices that rise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Address, U256, address};
use postrider_cli::workspace::PASSWORD;
use postrider_devnet::{Chain, LayerZeroPlan};
use serde_json::{Value, json};
use std::{
    process::{Command, Stdio},
    time::Duration,
};
use support::{Setup, World, assert_executed, until};

/// The account of the secret key 1.
const SECOND: Address = address!("7E5F4552091A69125d5DfCb7b8C2659029395Bdf");

async fn payer_on_beta(world: &World) -> Address {
    let name = "beta".parse().unwrap();
    world.nodes[0].workspace.keys(&name).await.unwrap().payer
}

async fn call(chain: &Chain, method: &str, params: Value) -> Value {
    chain.rpc().call(method, params).await.unwrap()
}

async fn set_balance(chain: &Chain, account: &str, balance: U256) {
    call(chain, "anvil_setBalance", json!([account, balance])).await;
}

/// Blocks come when they are asked for, until [`every_second`].
async fn stop_blocks(chain: &Chain) {
    call(chain, "evm_setIntervalMining", json!([0])).await;
}

async fn every_second(chain: &Chain) {
    call(chain, "evm_setIntervalMining", json!([1])).await;
}

/// How many transactions of an account wait in the chain's pool.
async fn waiting(chain: &Chain, account: Address) -> usize {
    let pool = call(chain, "txpool_content", json!([])).await;
    let of = |part: &str| -> usize {
        let accounts = pool[part].as_object().unwrap();
        let own = accounts
            .iter()
            .filter(|(address, _)| address.eq_ignore_ascii_case(&account.to_string()));
        own.map(|(_, transactions)| transactions.as_object().unwrap().len()).sum()
    };
    of("pending") + of("queued")
}

/// Who signed the transactions that carried a message to beta.
async fn signers(world: &World, nonce: u64) -> Vec<String> {
    let detail = support::actor::detail(world, nonce).await.unwrap();
    let mut signers: Vec<String> = detail.transactions.into_iter().map(|t| t.signer).collect();
    signers.sort();
    signers.dedup();
    signers
}

/// R6: of two accounts one pays for a lane; when it is emptied, the other one does, and when that one is
/// emptied too, the first again, which was given something.
#[tokio::test(flavor = "multi_thread")]
async fn r6_another_account_pays_for_a_lane_when_the_first_is_empty() {
    let adapt = |plan: &mut LayerZeroPlan| {
        plan.dvns.iter_mut().for_each(|dvn| dvn.admins.push(SECOND));
        plan.executor_admins.push(SECOND);
    };
    let mut world = World::new(Setup { adapt, ..Setup::default() }).await;
    let path = world.nodes[0].workspace.config_path();
    let mut import = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["keys", "import", "beta-second", "--config"])
        .arg(&path)
        .env("POSTRIDER_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let secret = format!("{:064x}", 1);
    std::io::Write::write_all(&mut import.stdin.take().unwrap(), secret.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let second = format!("{SECOND:#x}");
    let first = format!("{:#x}", payer_on_beta(&world).await);
    let ether = U256::from(10u64.pow(18));
    set_balance(world.beta(), &second, ether).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let both = text.replace("\"beta-payer\"", "[\"beta-payer\", \"beta-second\"]");
    assert_ne!(text, both);
    std::fs::write(&path, both).unwrap();
    world.node().start();

    let mut paid = Vec::new();
    for round in 1..=3u64 {
        world.say(&format!("round {round}")).await;
        let rows = world.nodes[0].settled(usize::try_from(round).unwrap()).await;
        assert_executed(&rows, rows.len());
        let signers = signers(&world, round).await;
        assert_eq!(signers.len(), 1, "all steps of a message are paid for by one: {signers:?}");
        let (one, other) = (&signers[0], if signers[0] == first { &second } else { &first });
        set_balance(world.beta(), one, U256::ZERO).await;
        set_balance(world.beta(), other, ether).await;
        paid.push(signers[0].clone());
    }
    assert_ne!(paid[0], paid[1]);
    assert_eq!(paid[0], paid[2]);
}

/// R4: the chain waits for nonces that nobody holds, below one of ours that is in its pool: they are filled, and
/// the message arrives.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_gap_of_nonces_is_filled() {
    let world = World::started(Setup::default()).await;
    let payer = payer_on_beta(&world).await;
    world.say("before").await;
    world.nodes[0].settled(1).await;
    let nonce = async || {
        let told = call(world.beta(), "eth_getTransactionCount", json!([payer, "latest"])).await;
        u64::from_str_radix(told.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let used = nonce().await;
    // As if somebody else's transactions had used these nonces and were taken back with their block.
    call(world.beta(), "anvil_setNonce", json!([payer, format!("{:#x}", used + 2)])).await;
    until("the node has seen it", &world.nodes[0], async || nonce().await == used + 2).await;
    stop_blocks(world.beta()).await;
    world.say("after a gap").await;
    let beta = world.beta();
    until("it is in the pool", &world.nodes[0], async || waiting(beta, payer).await > 0).await;
    call(beta, "anvil_setNonce", json!([payer, format!("{used:#x}")])).await;
    let is_filled = async || {
        call(beta, "anvil_mine", json!(["0x1"])).await;
        nonce().await > used + 2
    };
    until("the gap is filled", &world.nodes[0], is_filled).await;
    every_second(beta).await;
    assert_executed(&world.nodes[0].settled(2).await, 2);
}

/// A price that rises after a transaction was sent: it is replaced by one that pays more, within the cap, and
/// the message arrives while the price stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_price_is_too_low_is_replaced() {
    let world = World::started(Setup::default()).await;
    let (payer, beta) = (payer_on_beta(&world).await, world.beta());
    world.say("before").await;
    world.nodes[0].settled(1).await;
    stop_blocks(beta).await;
    world.say("when it is dearer").await;
    until("it is in the pool", &world.nodes[0], async || waiting(beta, payer).await > 0).await;
    // Forty times what any transaction of before offered.
    let high = U256::from(100_000_000_000u64);
    let is_replaced = async || {
        call(beta, "anvil_setNextBlockBaseFeePerGas", json!([high])).await;
        call(beta, "anvil_mine", json!(["0x1"])).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let details = world.nodes[0].details().await;
        let settled = details.iter().filter(|d| d.row.standing.outcome.is_some()).count();
        settled == 2
    };
    until("it is delivered at the higher price", &world.nodes[0], is_replaced).await;
    let detail = support::actor::detail(&world, 2).await.unwrap();
    let states: Vec<&str> = detail.transactions.iter().map(|t| t.state.as_str()).collect();
    assert!(states.contains(&"replaced"), "{:?}", detail.transactions);
    let cap = 500_000_000_000;
    assert!(detail.transactions.iter().all(|t| t.fees.max_fee <= cap), "{detail:?}");
    every_second(beta).await;
}
