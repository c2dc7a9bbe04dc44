//! Real ibc-go chains, started and stopped in every way that there is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use alloy_primitives::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postrider_devnet::cosmos::{AbciQuery, GenesisPatch};
use postrider_devnet::{
    CosmosAccount, CosmosChain, CosmosPlan, CosmosRpc, DevnetError, RpcError, Silent, Simd,
};
use serde_json::json;
use tempfile::TempDir;

/// Blocks come every half second; this is for a machine that does ten other things.
const BLOCKS: Duration = Duration::from_secs(120);
/// The SDK's code for a fee below what the node takes.
const INSUFFICIENT_FEE: u64 = 13;
/// Names the folder to the child process of a test.
const CHILD: &str = "POSTRIDER_TEST_COSMOS_START_AND_WAIT";
const HALF_A_SECOND: Duration = Duration::from_millis(500);

async fn simd() -> Simd {
    Simd::ensure(&Silent).await.unwrap_or_else(|error| panic!("{error}"))
}

fn plan(chain_id: &str, folder: &TempDir) -> CosmosPlan {
    CosmosPlan { block_time: HALF_A_SECOND, ..CosmosPlan::new(chain_id, folder.path()) }
}

async fn more_blocks(rpc: &CosmosRpc, count: u64) -> u64 {
    let height = rpc.height().await.unwrap();
    rpc.wait_for_height(height + count, BLOCKS).await.unwrap()
}

#[tokio::test]
async fn one_validator_makes_blocks_and_answers() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let chain = CosmosChain::start(&simd, &plan("single-1", &folder)).await.unwrap();
    let rpc = chain.rpc();
    let height = more_blocks(rpc, 2).await;

    let status = rpc.status().await.unwrap();
    assert_eq!((status.chain_id.as_str(), status.voting_power), ("single-1", 100));
    assert!(status.height >= height);
    assert_eq!(rpc.block_results(height).await.unwrap()["height"], height.to_string());
    let future = rpc.block_results(height + 10_000).await.unwrap_err();
    assert!(matches!(future, RpcError::Refused { .. }), "{future}");

    let alice = chain.account("alice").unwrap();
    assert_eq!(rpc.balance(alice.address(), "token").await.unwrap(), 1_000_000_000_000);
    assert_eq!(rpc.balance(alice.address(), "nothing").await.unwrap(), 0);
    let unknown = AbciQuery { path: "/no.such.Query/Method", ..AbciQuery::default() };
    let refused = rpc.abci_query(&unknown).await.unwrap_err();
    assert!(matches!(refused, RpcError::Refused { .. }), "{refused}");

    // A key of the balances' store, proven at a height whose successor's header names its root.
    let (_, account) = bech32::decode(alice.address()).unwrap();
    let key = [&[2, 20][..], &account, b"token"].concat();
    let query = AbciQuery { path: "store/bank/key", data: &key, height: height - 1, prove: true };
    let proven = rpc.abci_query(&query).await.unwrap();
    assert_eq!((proven.value.as_slice(), proven.height), (&b"1000000000000"[..], height - 1));
    assert_eq!(proven.proof_ops.unwrap()["ops"].as_array().unwrap().len(), 2);
    chain.stop().await.unwrap();
}

#[tokio::test]
async fn two_chains_run_at_once_and_share_nothing() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let plans = [plan("left-1", &folder), plan("right-1", &folder)];
    let chains = CosmosChain::start_all(&simd, &plans).await.unwrap();
    let (left, right) = (&chains[0], &chains[1]);
    assert_ne!(left.rpc().url(), right.rpc().url());
    for chain in &chains {
        assert_eq!(chain.rpc().status().await.unwrap().chain_id, chain.chain_id());
    }
    assert_eq!(left.account("relayer"), right.account("relayer"));
    assert_eq!(left.account("nobody"), None);
    left.halt().unwrap();
    more_blocks(right.rpc(), 2).await;

    let twice = CosmosChain::start_all(&simd, &[plans[0].clone(), plans[0].clone()]).await;
    assert!(matches!(twice.unwrap_err(), DevnetError::Plan(_)));
}

#[tokio::test]
async fn four_validators_agree_and_outvote_one_that_is_down() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let plan = CosmosPlan { validators: vec![100, 101, 102, 103], ..plan("quartet-1", &folder) };
    let mut chain = CosmosChain::start(&simd, &plan).await.unwrap();
    let height = more_blocks(chain.rpc(), 2).await;
    let validators = chain.rpc().call("validators", json!({})).await.unwrap();
    assert_eq!(validators["total"], "4");

    let last = chain.nodes_mut().last().unwrap();
    assert_eq!(last.rpc().status().await.unwrap().voting_power, 103);
    last.kill().await;
    assert_eq!(last.pid(), None);
    more_blocks(chain.rpc(), 3).await;

    chain.restart().await.unwrap();
    for node in chain.nodes() {
        node.rpc().wait_for_height(height + 3, BLOCKS).await.unwrap();
    }
    let hash = async |rpc: &CosmosRpc| {
        let block = rpc.call("block", json!({"height": height.to_string()})).await.unwrap();
        block["block_id"]["hash"].as_str().unwrap().to_owned()
    };
    let expected = hash(chain.rpc()).await;
    for node in chain.nodes() {
        assert_eq!(hash(node.rpc()).await, expected);
    }
}

#[tokio::test]
async fn a_genesis_patch_is_on_the_chain() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let mut plan = plan("patched-7", &folder).patch(|genesis| {
        genesis["app_state"]["ibc"]["client_genesis"]["next_client_sequence"] = json!("40");
    });
    plan.genesis.push(GenesisPatch::new(|genesis| {
        genesis["consensus"]["params"]["block"]["max_gas"] = json!("7000000");
    }));
    let chain = CosmosChain::start(&simd, &plan).await.unwrap();
    let params = chain.rpc().call("consensus_params", json!({})).await.unwrap();
    assert_eq!(params["consensus_params"]["block"]["max_gas"], "7000000");
    let key =
        AbciQuery { path: "store/ibc/key", data: b"nextClientSequence", ..AbciQuery::default() };
    let answer = chain.rpc().abci_query(&key).await.unwrap();
    assert_eq!(answer.value, 40_u64.to_be_bytes());

    let bad = plan.patch(|genesis| genesis["app_state"]["bank"] = json!({"balances": 1}));
    let error = CosmosChain::start(&simd, &bad).await.unwrap_err();
    assert!(matches!(error, DevnetError::NodeStart { .. }), "{error}");
}

#[tokio::test]
async fn a_chain_that_was_halted_or_killed_goes_on() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let mut chain = CosmosChain::start(&simd, &plan("resume-1", &folder)).await.unwrap();
    let url = chain.rpc().url().to_owned();

    chain.halt().unwrap();
    let stat = format!("/proc/{}/stat", chain.nodes().next().unwrap().pid().unwrap());
    let halted = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
    while !halted() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    chain.resume().unwrap();
    let height = more_blocks(chain.rpc(), 1).await;

    chain.kill().await;
    let gone = chain.rpc().height().await.unwrap_err();
    assert!(matches!(gone, RpcError::Unreachable { .. }), "{gone}");
    chain.restart().await.unwrap();
    assert_eq!(chain.rpc().url(), url);
    assert!(more_blocks(chain.rpc(), 2).await >= height);

    // A process that is halted is ended too.
    chain.halt().unwrap();
    let log = chain.nodes().next().unwrap().log_file().to_owned();
    chain.stop().await.unwrap();
    assert!(log.metadata().unwrap().len() > 0);
}

/// The program's own command line, with the keys of accounts in its keyring.
struct Cli<'a> {
    simd: &'a Simd,
    chain: &'a CosmosChain,
}

impl<'a> Cli<'a> {
    async fn with_keys(simd: &'a Simd, chain: &'a CosmosChain, names: &[&str]) -> Self {
        let cli = Self { simd, chain };
        for name in names {
            let account = chain.account(name).unwrap();
            let secret = account.secret_hex();
            let import = ["keys", "import-hex", name, &secret, "--keyring-backend", "test"];
            simd.run(cli.home(), &import).await.unwrap();
            let show = ["keys", "show", name, "--keyring-backend", "test"];
            assert_eq!(cli.run(&show).await["address"], account.address());
        }
        cli
    }

    fn home(&self) -> &Path {
        self.chain.nodes().next().unwrap().home()
    }

    /// Runs a command whose output is JSON.
    async fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        let said = self.simd.run(self.home(), &arguments).await.unwrap();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Sends a transaction and waits until it is in a block; the code with which it was accepted
    /// or refused.
    async fn send(&self, arguments: &[&str]) -> u64 {
        let node = self.chain.rpc().url().replacen("http", "tcp", 1);
        let common = ["--node", &node, "--chain-id", self.chain.chain_id(), "--yes"];
        let arguments = [&["tx"], arguments, &common, &["--keyring-backend", "test"]].concat();
        let answer = self.run(&arguments).await;
        let code = answer["code"].as_u64().unwrap();
        if code != 0 {
            return code;
        }
        let hash = BASE64.encode(hex::decode(answer["txhash"].as_str().unwrap()).unwrap());
        let height = self.chain.rpc().height().await.unwrap();
        for next in height + 1..height + 20 {
            let found = self.chain.rpc().call("tx", json!({"hash": hash, "prove": false})).await;
            if let Ok(found) = found {
                return found["tx_result"]["code"].as_u64().unwrap();
            }
            self.chain.rpc().wait_for_height(next, BLOCKS).await.unwrap();
        }
        panic!("{hash} is in none of 20 blocks");
    }
}

#[tokio::test]
async fn fees_are_taken_and_others_can_pay_them() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let plan = CosmosPlan { min_gas_price: "0.01stake".to_owned(), ..plan("fees-1", &folder) };
    let chain = CosmosChain::start(&simd, &plan).await.unwrap();
    let cli = Cli::with_keys(&simd, &chain, &["alice", "bob"]).await;
    let (alice, bob) = (chain.account("alice").unwrap(), chain.account("bob").unwrap());
    let pay = ["bank", "send", "alice", bob.address(), "5token"];
    assert_eq!(cli.send(&pay).await, INSUFFICIENT_FEE);
    assert_eq!(cli.send(&[&pay[..], &["--fees", "3000stake"]].concat()).await, 0);
    let had = 1_000_000_000_000;
    let balance = async |account: &CosmosAccount, denom| {
        chain.rpc().balance(account.address(), denom).await.unwrap()
    };
    assert_eq!(balance(bob, "token").await, had + 5);
    assert_eq!(balance(alice, "stake").await, had - 3000);

    let grant = ["feegrant", "grant", "bob", alice.address(), "--fees", "3000stake"];
    assert_eq!(cli.send(&grant).await, 0);
    let granted = ["--fees", "4000stake", "--fee-granter", bob.address()];
    assert_eq!(cli.send(&[&pay[..], &granted].concat()).await, 0);
    assert_eq!(balance(bob, "token").await, had + 10);
    assert_eq!(balance(alice, "stake").await, had - 3000);
    assert_eq!(balance(bob, "stake").await, had - 7000);
}

#[tokio::test]
async fn unordered_transactions_and_evidence_are_known_to_the_chain() {
    let (simd, folder) = (simd().await, tempfile::tempdir().unwrap());
    let chain = CosmosChain::start(&simd, &plan("extras-1", &folder)).await.unwrap();
    let cli = Cli::with_keys(&simd, &chain, &["alice"]).await;
    let bob = chain.account("bob").unwrap();
    let pay = ["bank", "send", "alice", bob.address(), "5token"];
    let unordered = ["--unordered", "--timeout-duration", "5m"];
    for _ in 0..2 {
        assert_eq!(cli.send(&[&pay[..], &unordered].concat()).await, 0);
    }
    // The account's sequence has not moved. It is the second of the genesis.
    let ordered = ["--sequence", "0", "--account-number", "1", "--offline"];
    assert_eq!(cli.send(&[&pay[..], &ordered].concat()).await, 0);
    assert_eq!(chain.rpc().balance(bob.address(), "token").await.unwrap(), 1_000_000_000_015);
    let path = "/cosmos.evidence.v1beta1.Query/AllEvidence";
    chain.rpc().abci_query(&AbciQuery { path, ..AbciQuery::default() }).await.unwrap();
}

/// In the child process: starts a chain, says its validator's process id, and waits to be killed.
async fn start_and_wait(folder: &Path) {
    let plan = CosmosPlan::new("orphan-1", folder);
    let chain = CosmosChain::start(&simd().await, &plan).await.unwrap();
    let line = format!("\npid {}\n", chain.nodes().next().unwrap().pid().unwrap());
    // Straight to the output, around the capture of the test harness.
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_validator_ends_with_a_parent_that_is_killed() {
    if let Some(folder) = std::env::var_os(CHILD) {
        start_and_wait(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_validator_ends_with_a_parent_that_is_killed", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid: u32 = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("pid ").map(|pid| pid.parse().unwrap()))
        .unwrap();
    let runs = || {
        let ps = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
        String::from_utf8_lossy(&ps.unwrap().stdout).contains("orphan-1")
    };
    assert!(runs());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let start = Instant::now();
    while runs() {
        assert!(start.elapsed() < BLOCKS, "the validator outlives its parent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_script_builds_what_the_chains_run() {
    let simd = simd().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(root.join("scripts/simd")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout).unwrap();
    assert_eq!(Path::new(path.trim()), simd.program());
    assert!(simd.program().is_file());
}
