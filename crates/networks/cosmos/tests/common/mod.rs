//! What the tests against real chains share: a chain, its upstreams, a payer, and a liar between.

#![allow(dead_code)] // No test file uses all of it.

use axum::{Router, extract::State, routing::post};
use postrider_cosmos::{
    Fee, GasPolicy, LightClient, RpcClient, RpcUrl, Upstream, Upstreams, upstream::default_limits,
};
use postrider_devnet::{CosmosAccount, CosmosChain, CosmosPlan, Silent, Simd};
use postrider_message::{BlockHash, Height, UnixMillis};
use postrider_signing::{CosmosAlgorithm, CosmosKey, Keystore, Password};
use postrider_verification::tendermint::{RootOfTrust, TrustOptions};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// Blocks come every half second; this is for a machine that does ten other things.
pub(crate) const BLOCKS: Duration = Duration::from_secs(120);
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) fn plan(chain_id: &str, folder: &TempDir) -> CosmosPlan {
    let block_time = Duration::from_millis(500);
    CosmosPlan { block_time, ..CosmosPlan::new(chain_id, folder.path()) }
}

pub(crate) async fn start(plan: &CosmosPlan) -> CosmosChain {
    let simd = Simd::ensure(&Silent).await.unwrap();
    CosmosChain::start(&simd, plan).await.unwrap()
}

/// Waits for so many more blocks, and gives the height.
pub(crate) async fn more_blocks(chain: &CosmosChain, count: u64) -> Height {
    let height = chain.rpc().height().await.unwrap();
    Height(chain.rpc().wait_for_height(height + count, BLOCKS).await.unwrap())
}

pub(crate) fn upstream(name: &str, chain_id: &str, url: &str) -> Arc<Upstream> {
    let client = RpcClient::new(RpcUrl::new(url).unwrap(), default_limits()).unwrap();
    let (name, operator) = (name.parse().unwrap(), name.parse().unwrap());
    Arc::new(Upstream::new(name, operator, chain_id.parse().unwrap(), client))
}

pub(crate) fn light_client(chain_id: &str, list: Vec<Arc<Upstream>>) -> LightClient {
    let upstreams = Arc::new(Upstreams::new("devnet".parse().unwrap(), list));
    let drift = Duration::from_secs(60);
    LightClient::new(TrustOptions::with_two_thirds(chain_id, WEEK, drift).unwrap(), upstreams)
}

/// What an operator would name as root of trust.
pub(crate) async fn root(upstream: &Upstream, height: Height) -> RootOfTrust {
    let header = upstream.commit(height).await.unwrap().header;
    let hash = BlockHash(header.hash().as_bytes().try_into().unwrap());
    RootOfTrust::new(height, hash).unwrap()
}

pub(crate) async fn started(
    chain_id: &str,
    list: Vec<Arc<Upstream>>,
    honest: &Upstream,
) -> LightClient {
    let client = light_client(chain_id, list);
    client.start(&root(honest, Height(1)).await, UnixMillis::now()).await.unwrap();
    client
}

pub(crate) fn key(account: &CosmosAccount) -> CosmosKey {
    let folder = tempfile::tempdir().unwrap();
    let store = Keystore::open(folder.path()).unwrap();
    let (name, password) = ("payer".parse().unwrap(), Password::from("secret"));
    store.import(&name, &account.secret_hex().into(), &password).unwrap();
    store.cosmos_key(&name, &password, CosmosAlgorithm::Secp256k1).unwrap()
}

pub(crate) fn fee(gas: u64) -> Fee {
    let price = "0.01stake".parse().unwrap();
    GasPolicy { price, multiplier_permille: 1100, max_gas: 50_000_000 }.fee_of(gas)
}

/// Changes the result of a call: method, parameters, result.
type Lie = Box<dyn Fn(&str, &Value, &mut Value) + Send + Sync>;

/// A proxy in front of a real node that lies as it is told.
pub(crate) struct Liar {
    pub(crate) url: String,
    lie: Arc<Mutex<Lie>>,
    server: tokio::task::JoinHandle<()>,
}

impl Liar {
    pub(crate) async fn before(target: &str) -> Self {
        let honest: Lie = Box::new(|_, _, _| {});
        let lie = Arc::new(Mutex::new(honest));
        let state = (target.to_owned(), Arc::clone(&lie));
        let app = Router::new().fallback_service(post(answer).with_state(state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, lie, server }
    }

    pub(crate) fn tell(&self, lie: impl Fn(&str, &Value, &mut Value) + Send + Sync + 'static) {
        *self.lie.lock().unwrap() = Box::new(lie);
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = (String, Arc<Mutex<Lie>>);

async fn answer(State((target, lie)): State<Shared>, body: String) -> String {
    let asked: Value = serde_json::from_str(&body).unwrap();
    let request = reqwest::Client::new().post(target).header("content-type", "application/json");
    let told = request.body(body).send().await.unwrap().text().await.unwrap();
    let mut told: Value = serde_json::from_str(&told).unwrap();
    let calls = asked.as_array().cloned().unwrap_or_else(|| vec![asked.clone()]);
    let lie = lie.lock().unwrap();
    let mut change = |answer: &mut Value| {
        let call = calls.iter().find(|call| call["id"] == answer["id"]);
        if let (Some(call), Some(result)) = (call, answer.get_mut("result")) {
            lie(call["method"].as_str().unwrap(), &call["params"], result);
        }
    };
    match &mut told {
        Value::Array(answers) => answers.iter_mut().for_each(&mut change),
        one => change(one),
    }
    told.to_string()
}

/// A base64 text with its first byte changed.
pub(crate) fn changed(text: &Value) -> Value {
    let text = text.as_str().unwrap();
    let first = if text.starts_with('A') { "B" } else { "A" };
    json!(format!("{first}{}", text.chars().skip(1).collect::<String>()))
}
