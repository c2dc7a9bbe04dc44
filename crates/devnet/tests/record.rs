//! Writes the vectors that the light client and the proofs of state are tested with, from a chain
//! that is made for it. Not run with the others: `crates/verification/tests/vectors/simd/README.md`
//! says when and how.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postrider_devnet::cosmos::AbciQuery;
use postrider_devnet::{CosmosChain, CosmosPlan, CosmosRpc, Silent, Simd};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(120);
const FOLDER: &str = "../verification/tests/vectors/simd";

/// What `commit` and `validators` answer about a height and the next.
async fn block(rpc: &CosmosRpc, height: u64) -> Value {
    let at = |height: u64| json!({"height": height.to_string()});
    json!({
        "signed_header": rpc.call("commit", at(height)).await.unwrap()["signed_header"],
        "validators": validators(rpc, height).await,
        "next_validators": validators(rpc, height + 1).await,
    })
}

async fn validators(rpc: &CosmosRpc, height: u64) -> Value {
    let params = json!({"height": height.to_string(), "per_page": "100"});
    rpc.call("validators", params).await.unwrap()["validators"].take()
}

async fn proof(rpc: &CosmosRpc, name: &str, store: &str, key: &[u8], height: u64) -> Value {
    let path = format!("store/{store}/key");
    let query = AbciQuery { path: &path, data: key, height, prove: true };
    let answer = rpc.abci_query(&query).await.unwrap();
    json!({
        "name": name,
        "store": store,
        "key": BASE64.encode(key),
        "value": BASE64.encode(&answer.value),
        "height": answer.height,
        "proof_ops": answer.proof_ops.unwrap(),
    })
}

/// Delegates nearly all that alice has to the validator of `node`, so that from then on it outvotes
/// all others together.
async fn delegate_to(simd: &Simd, chain: &CosmosChain, node: &CosmosRpc) {
    let home = chain.nodes().next().unwrap().home();
    let url = chain.rpc().url().replacen("http", "tcp", 1);
    let key = node.call("status", json!({})).await.unwrap()["validator_info"]["pub_key"]["value"]
        .as_str()
        .unwrap()
        .to_owned();
    let genesis = std::fs::read(home.join("config/genesis.json")).unwrap();
    let genesis: Value = serde_json::from_slice(&genesis).unwrap();
    let operator = genesis["app_state"]["genutil"]["gen_txs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|transaction| &transaction["body"]["messages"][0])
        .find(|message| message["pubkey"]["key"] == key.as_str())
        .map(|message| message["validator_address"].as_str().unwrap())
        .unwrap_or_else(|| panic!("no validator has the key {key}"));

    let secret = chain.account("alice").unwrap().secret_hex();
    let import = ["keys", "import-hex", "alice", &secret, "--keyring-backend", "test"];
    simd.run(home, &import).await.unwrap();
    let said = simd
        .run(
            home,
            &[
                "tx",
                "staking",
                "delegate",
                operator,
                "900000000000stake",
                "--from",
                "alice",
                "--keyring-backend",
                "test",
                "--chain-id",
                chain.chain_id(),
                "--node",
                &url,
                "--gas",
                "1000000",
                "--yes",
                "--output",
                "json",
            ],
        )
        .await
        .unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["code"], 0, "{said}");
}

#[tokio::test]
#[ignore = "writes files that are committed"]
async fn records_blocks_and_proofs() {
    let simd = Simd::ensure(&Silent).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plan = CosmosPlan {
        validators: vec![100; 4],
        block_time: Duration::from_millis(500),
        ..CosmosPlan::new("vectors-4", folder.path())
    };
    let mut chain = CosmosChain::start(&simd, &plan).await.unwrap();
    let rpc = chain.rpc().clone();
    rpc.wait_for_height(10, DEADLINE).await.unwrap();
    let mut blocks = Vec::new();
    for height in [3, 4, 5, 8, 9] {
        blocks.push(block(&rpc, height).await);
    }

    let (_, alice) = bech32::decode(chain.account("alice").unwrap().address()).unwrap();
    let balance = [&[2, 20][..], &alice, b"token"].concat();
    let commitment = b"commitments/ports/transfer/channels/channel-0/sequences/1";
    let mut proofs = Vec::new();
    for (name, store, key) in [
        ("sequence", "ibc", &b"nextClientSequence"[..]),
        ("balance", "bank", &balance),
        ("between", "ibc", commitment),
        ("first", "bank", &[0]),
        ("last", "bank", &[0xff; 8]),
    ] {
        proofs.push(proof(&rpc, name, store, key, 7).await);
    }
    // The same key in another state, which another block names.
    proofs.push(proof(&rpc, "later", "ibc", b"nextClientSequence", 8).await);

    let heavy = chain.nodes().last().unwrap().rpc().clone();
    let mut height = rpc.height().await.unwrap();
    delegate_to(&simd, &chain, &heavy).await;
    let before = validators(&rpc, height).await;
    let change = loop {
        rpc.wait_for_height(height + 1, DEADLINE).await.unwrap();
        let powers = |set: &Value| -> Vec<String> {
            set.as_array().unwrap().iter().map(|v| v["voting_power"].to_string()).collect()
        };
        if powers(&validators(&rpc, height + 1).await) != powers(&before) {
            break height;
        }
        height += 1;
    };
    // The last block of the old validators, and the first of the new: all of them still sign.
    rpc.wait_for_height(change + 4, DEADLINE).await.unwrap();
    blocks.push(block(&rpc, change).await);
    blocks.push(block(&rpc, change + 1).await);

    let count = chain.nodes().count();
    for node in chain.nodes_mut().take(count - 1) {
        node.kill().await;
    }
    let alone = heavy.height().await.unwrap() + 6;
    heavy.wait_for_height(alone + 1, DEADLINE).await.unwrap();
    blocks.push(block(&heavy, alone).await);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let write = |name: &str, content: &Value| {
        let text = serde_json::to_string_pretty(content).unwrap();
        std::fs::write(folder.join(name), text + "\n").unwrap();
    };
    write("blocks.json", &json!(blocks));
    write("proofs.json", &json!(proofs));
}
