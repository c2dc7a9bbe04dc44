//! Each fault in front of a real chain.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256, address};
use postrider_devnet::faulty::forged_log;
use postrider_devnet::{
    Anvil, AnvilOptions, Fault, FaultyUpstream, Packages, Rpc, RpcError, Silent,
};
use serde_json::{Value, json};

const FROM: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const BOOM: Address = address!("00000000000000000000000000000000000b0033");

struct Setup {
    chain: Anvil,
    faulty: FaultyUpstream,
    rpc: Rpc,
    /// The only transaction, which emitted a log of `BOOM`, and its block.
    transaction: B256,
    block: (u64, B256),
}

/// A chain of 30 blocks with one transaction in block 1, and a faulty upstream in front of it.
async fn setup() -> Setup {
    let packages = Packages::ensure(&Silent).await.unwrap();
    let chain = Anvil::start(packages.anvil(), &AnvilOptions::new(31_337)).await.unwrap();
    let direct = chain.rpc();
    // PUSH1 0 PUSH1 0 LOG0 STOP: one empty log.
    let code = json!([BOOM, "0x60006000a000"]);
    direct.call::<Value>("anvil_setCode", code).await.unwrap();
    let transaction = direct.send_transaction(json!({"from": FROM, "to": BOOM})).await.unwrap();
    let receipt = direct.wait_receipt(transaction, Duration::from_secs(30)).await.unwrap();
    let hash: B256 = serde_json::from_value(receipt["blockHash"].clone()).unwrap();
    direct.mine(29).await.unwrap();
    let faulty = FaultyUpstream::start(chain.url()).await.unwrap();
    let rpc = Rpc::new(faulty.url()).unwrap();
    Setup { rpc, faulty, chain, transaction, block: (1, hash) }
}

async fn get(rpc: &Rpc, method: &str, params: Value) -> Value {
    rpc.call(method, params).await.unwrap()
}

async fn logs(rpc: &Rpc) -> usize {
    let logs = get(rpc, "eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "0x5"}])).await;
    logs.as_array().unwrap().len()
}

#[tokio::test]
async fn a_faulty_upstream_without_faults_answers_as_the_chain_does_and_counts() {
    let s = setup().await;
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0x1", true])),
        ("eth_getBlockReceipts", json!(["0x1"])),
        ("eth_chainId", json!([])),
    ] {
        let direct = get(s.chain.rpc(), method, params.clone()).await;
        assert_eq!(get(&s.rpc, method, params).await, direct);
    }
    let calls =
        [("eth_chainId", json!([])), ("eth_nothing", json!([])), ("eth_chainId", json!([]))];
    let answers = s.rpc.batch(&calls).await.unwrap();
    assert!(matches!(answers[1], Err(RpcError::Refused { .. })), "{answers:?}");
    let stats = s.faulty.reset_stats();
    assert_eq!((stats.requests, stats.total_calls()), (4, 6));
    assert_eq!((stats.calls["eth_chainId"], stats.calls["eth_nothing"]), (3, 1));
    assert!(stats.request_bytes > 200 && stats.response_bytes > 200);
    assert_eq!(s.faulty.stats().requests, 0);
}

#[tokio::test]
async fn connections_break_and_come_back() {
    let s = setup().await;
    s.rpc.chain_id().await.unwrap();
    let dead = s.faulty.add(Fault::Dead);
    let error = s.rpc.chain_id().await.unwrap_err();
    assert!(matches!(error, RpcError::Unreachable { .. }), "{error}");
    s.faulty.remove(dead);
    s.rpc.chain_id().await.unwrap();

    s.faulty.set([Fault::Hang]);
    let hanging = tokio::spawn({
        let rpc = s.rpc.clone();
        async move { rpc.chain_id().await }
    });
    while s.faulty.stats().requests < 3 {
        tokio::task::yield_now().await;
    }
    assert!(!hanging.is_finished());
    s.faulty.clear();
    assert_eq!(hanging.await.unwrap().unwrap(), 31_337);

    s.faulty.set([Fault::Slow(Duration::from_millis(300))]);
    let start = Instant::now();
    s.rpc.chain_id().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));

    drop(s.faulty);
    assert!(s.rpc.chain_id().await.unwrap_err().is_transient());
}

#[tokio::test]
async fn answers_that_are_none() {
    let s = setup().await;
    s.faulty.set([Fault::Garbage]);
    let error = s.rpc.chain_id().await.unwrap_err();
    assert!(matches!(error, RpcError::Malformed { .. }), "{error}");
    s.faulty.set([Fault::Endless]);
    let error = s.rpc.chain_id().await.unwrap_err();
    assert!(matches!(&error, RpcError::Malformed { reason, .. } if reason.contains("64 MiB")));
    s.faulty.set([Fault::RateLimited { retry_after: Some(Duration::from_secs(7)) }]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(s.faulty.url()).body("{}").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    let method = Some("eth_chainId".to_owned());
    s.faulty.set([Fault::Error { method, code: -32005, message: "limit exceeded".to_owned() }]);
    let error = s.rpc.chain_id().await.unwrap_err();
    assert!(matches!(error, RpcError::Refused { code: -32005, .. }), "{error}");
    assert_eq!(s.rpc.block_number().await.unwrap(), 30);
}

#[tokio::test]
async fn heights_and_ids_are_lied_about() {
    let s = setup().await;
    s.faulty.set([Fault::WrongChainId(7), Fault::StaleHeight(10)]);
    assert_eq!(s.rpc.chain_id().await.unwrap(), 7);
    assert_eq!(get(&s.rpc, "net_version", json!([])).await, "7");
    assert_eq!(s.rpc.block_number().await.unwrap(), 20);
    let block = |tag: &'static str| get(&s.rpc, "eth_getBlockByNumber", json!([tag, false]));
    assert_eq!(block("latest").await["number"], "0x14");
    assert_eq!(block("0x15").await, Value::Null);
    assert_eq!(get(&s.rpc, "eth_getBlockReceipts", json!(["latest"])).await, json!([]));

    s.faulty.set([Fault::StaleHeight(30)]);
    let receipt = get(&s.rpc, "eth_getTransactionReceipt", json!([s.transaction])).await;
    assert_eq!(receipt, Value::Null);
    assert_eq!(logs(&s.rpc).await, 0);

    s.faulty.set([Fault::FalseFinality { ahead: 0 }]);
    assert_eq!(block("finalized").await["number"], "0x1e");
    s.faulty.set([Fault::FalseFinality { ahead: 1000 }]);
    assert_eq!(block("finalized").await["number"], "0x406");
    assert_eq!(s.rpc.block_number().await.unwrap(), 1030);
}

#[tokio::test]
async fn logs_are_invented() {
    let s = setup().await;
    let log = forged_log(s.block, (0, s.transaction), 1, FROM, &[B256::ZERO], &Bytes::from([1]));
    s.faulty.set([Fault::ForgeLog { log: log.clone(), all_ones_bloom: true }]);
    assert_eq!(logs(&s.rpc).await, 2);
    let filter = json!([{"fromBlock": "0x2", "toBlock": "0x5"}]);
    assert_eq!(get(&s.rpc, "eth_getLogs", filter).await, json!([]));
    let receipts = get(&s.rpc, "eth_getBlockReceipts", json!(["0x1"])).await;
    assert_eq!(receipts[0]["logs"][1], log);
    let receipt = get(&s.rpc, "eth_getTransactionReceipt", json!([s.transaction])).await;
    assert_eq!(receipt["logs"][1], log);
    let ones = format!("0x{}", "ff".repeat(256));
    assert_eq!(receipt["logsBloom"], ones);
    for (method, block) in
        [("eth_getBlockByNumber", json!("0x1")), ("eth_getBlockByHash", json!(s.block.1))]
    {
        assert_eq!(get(&s.rpc, method, json!([block, false])).await["logsBloom"], ones);
    }
    let other = get(&s.rpc, "eth_getBlockByNumber", json!(["0x2", false])).await;
    assert_ne!(other["logsBloom"], ones);
}

#[tokio::test]
async fn logs_are_kept_back() {
    let s = setup().await;
    s.faulty.set([Fault::DropLogs { address: FROM, zero_bloom: false }]);
    assert_eq!(logs(&s.rpc).await, 1);
    s.faulty.set([Fault::DropLogs { address: BOOM, zero_bloom: true }]);
    assert_eq!(logs(&s.rpc).await, 0);
    let zeros = format!("0x{}", "00".repeat(256));
    let receipts = get(&s.rpc, "eth_getBlockReceipts", json!(["0x1"])).await;
    assert_eq!((&receipts[0]["logs"], &receipts[0]["logsBloom"]), (&json!([]), &json!(zeros)));
    let header = get(&s.rpc, "eth_getBlockByNumber", json!(["0x1", false])).await;
    assert_eq!(header["logsBloom"], zeros);
}

#[tokio::test]
async fn fields_and_calls_are_changed_and_faults_add_up() {
    let s = setup().await;
    let status = |transaction| Fault::ChangeReceipt {
        transaction,
        field: "status".to_owned(),
        value: json!("0x0"),
    };
    s.faulty.set([status(Some(B256::ZERO))]);
    let receipt = || get(&s.rpc, "eth_getTransactionReceipt", json!([s.transaction]));
    assert_eq!(receipt().await["status"], "0x1");
    s.faulty.add(status(Some(s.transaction)));
    assert_eq!(receipt().await["status"], "0x0");

    let root = json!(B256::repeat_byte(9));
    let field = "receiptsRoot".to_owned();
    s.faulty.add(Fault::ChangeHeader { block: Some(2), field, value: root.clone() });
    let selector = [1, 2, 3, 4];
    s.faulty.add(Fault::ReplaceCall { to: BOOM, selector, answer: Bytes::from([5]) });
    let result = json!(U256::from(77));
    s.faulty.add(Fault::Replace { method: "eth_gasPrice".to_owned(), result: result.clone() });
    let calls = [
        ("eth_getBlockByNumber", json!(["0x1", false])),
        ("eth_getBlockByNumber", json!(["0x2", false])),
        ("eth_call", json!([{"to": BOOM, "data": "0x0102030405"}, "latest"])),
        ("eth_call", json!([{"to": BOOM, "data": "0x01020300"}, "latest"])),
        ("eth_gasPrice", json!([])),
        ("eth_getTransactionReceipt", json!([s.transaction])),
    ];
    let answers: Vec<Value> =
        s.rpc.batch(&calls).await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_ne!(answers[0]["receiptsRoot"], root);
    assert_eq!(answers[1]["receiptsRoot"], root);
    assert_eq!(answers[2..5], [json!("0x05"), json!("0x"), result]);
    assert_eq!(answers[5]["status"], "0x0");
}

#[tokio::test]
async fn a_chain_is_controlled() {
    let s = setup().await;
    let direct = s.chain.rpc();
    let block = |number: &'static str| get(direct, "eth_getBlockByNumber", json!([number, false]));
    let (kept, replaced) =
        (block("0x19").await["hash"].clone(), block("0x1a").await["hash"].clone());
    direct.reorg(5).await.unwrap();
    assert_eq!(direct.block_number().await.unwrap(), 30);
    assert_eq!(block("0x19").await["hash"], kept);
    assert_ne!(block("0x1a").await["hash"], replaced);
    let snapshot = direct.snapshot().await.unwrap();
    direct.set_balance(BOOM, U256::from(5)).await.unwrap();
    assert_eq!(direct.balance(BOOM).await.unwrap(), U256::from(5));
    assert!(direct.revert(&snapshot).await.unwrap());
    assert_eq!(direct.balance(BOOM).await.unwrap(), U256::ZERO);
    assert!(!direct.revert("0x99").await.unwrap());
    let log = s.chain.log_file().to_path_buf();
    assert!(log.exists());
    s.chain.stop().await.unwrap();
    assert!(!log.exists());
}
