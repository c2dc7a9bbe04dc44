//! What a chain's governance decides.

#![allow(dead_code)] // No test file uses all of it.

use crate::cosmos::{PATIENCE, World};
use postrider_devnet::{CosmosChain, CosmosPlan, Silent, Simd};
use serde_json::{Value, json};

/// A chain that decides within seconds.
pub(crate) fn quickly_governed(plan: CosmosPlan) -> CosmosPlan {
    plan.patch(|genesis| {
        let params = &mut genesis["app_state"]["gov"]["params"];
        params["voting_period"] = json!("4s");
        params["expedited_voting_period"] = json!("2s");
        params["min_deposit"] = json!([{ "denom": "stake", "amount": "1000" }]);
    })
}

/// Hands a message in as the chain's first proposal, and votes for it. It is carried out some seconds later.
pub(crate) async fn propose(world: &World, chain: &CosmosChain, message: Value) {
    let proposal = json!({
        "messages": [message],
        "metadata": "",
        "deposit": "1000stake",
        "title": "a proposal",
        "summary": "of a test",
        "expedited": false,
    });
    hand_in(world, chain, proposal).await;
}

/// Hands a whole proposal in as the chain's first one, and votes for it.
pub(crate) async fn hand_in(world: &World, chain: &CosmosChain, proposal: Value) {
    let file = world.folder.path().join("proposal.json");
    std::fs::write(&file, proposal.to_string()).unwrap();
    let file = file.display().to_string();
    as_validator(chain, &["tx", "gov", "submit-proposal", &file]).await;
    as_validator(chain, &["tx", "gov", "vote", "1", "yes"]).await;
}

/// Runs a command of the chain's own program with a validator's key, and waits for the next blocks.
pub(crate) async fn as_validator(chain: &CosmosChain, command: &[&str]) {
    let simd = Simd::ensure(&Silent).await.unwrap();
    let node = chain.nodes().next().unwrap();
    let url = node.url().replacen("http", "tcp", 1);
    let rest =
        ["--from", "validator-0", "--keyring-backend", "test", "--chain-id", chain.chain_id()];
    let more = ["--node", &url, "--gas", "1000000", "--output", "json", "-y"];
    let told = simd.run(node.home(), &[command, &rest, &more].concat()).await.unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["code"], 0, "{told}");
    let height = chain.rpc().height().await.unwrap();
    chain.rpc().wait_for_height(height + 2, PATIENCE).await.unwrap();
}

/// The address of the module `gov`: the first 20 bytes of the hash of its name.
pub(crate) fn gov_address() -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(b"gov");
    let prefix = bech32::Hrp::parse("cosmos").unwrap();
    bech32::encode::<bech32::Bech32>(prefix, &hash[..20]).unwrap()
}
