//! A few ibc-go chains, and a configuration for all.

#![allow(dead_code)] // No test file uses all of it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ibc_proto::{
    cosmos::{
        bank::v1beta1::{
            QueryAllBalancesRequest, QueryAllBalancesResponse, QueryTotalSupplyRequest,
            QueryTotalSupplyResponse,
        },
        base::{query::v1beta1::PageRequest, v1beta1::Coin},
        tx::v1beta1::{TxBody, TxRaw},
    },
    google::protobuf::Any,
    ibc::core::channel::v1::{
        QueryChannelClientStateRequest, QueryChannelClientStateResponse, QueryChannelsRequest,
        QueryChannelsResponse,
    },
};
use postrider_cosmos::{RpcClient, RpcUrl, Upstream, upstream::default_limits};
use postrider_devnet::{CosmosAccount, CosmosChain, CosmosPlan, Silent, Simd};
use postrider_ibc::{
    ChannelEndId,
    transfer::{Denom, escrow},
};
use prost::Message;
use serde_json::{Value, json};
use sha2::Digest;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "test-password";
const NAMES: &[&str] = &["alpha", "beta"];
/// Long enough for a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) chains: Vec<CosmosChain>,
    names: &'static [&'static str],
}

impl World {
    /// Two chains, and who pays on each.
    pub(crate) async fn start() -> Self {
        Self::start_with(|plan| plan).await
    }

    pub(crate) async fn start_with(change: impl Fn(CosmosPlan) -> CosmosPlan) -> Self {
        Self::start_named(NAMES, change).await
    }

    /// A chain for each name.
    pub(crate) async fn start_named(
        names: &'static [&'static str],
        change: impl Fn(CosmosPlan) -> CosmosPlan,
    ) -> Self {
        let simd = Simd::ensure(&Silent).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut chains = Vec::new();
        for name in names {
            let plan = CosmosPlan::new(format!("{name}-1"), folder.path().join(name));
            chains.push(CosmosChain::start(&simd, &change(plan)).await.unwrap());
        }
        let world = Self { folder, chains, names };
        world.write_config().await;
        for (name, account) in [("relayer", "relayer"), ("alice", "alice"), ("bob", "bob")] {
            let secret = CosmosAccount::named(account).secret_hex();
            let mut import = world.command(&["keys", "import", name]);
            let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), secret.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
        world
    }

    async fn write_config(&self) {
        let mut text = String::new();
        for (name, chain) in self.names.iter().zip(&self.chains) {
            chain.rpc().wait_for_height(2, PATIENCE).await.unwrap();
            let commit = chain.rpc().call("commit", json!({ "height": "1" })).await.unwrap();
            let hash = commit["signed_header"]["commit"]["block_id"]["hash"].as_str().unwrap();
            let url = chain.rpc().url();
            text += &format!(
                r#"
[networks.{name}]
kind = "cosmos"
chain_id = "{name}-1"
prefix = "cosmos"
gas = {{ price = "0stake" }}
trust = {{ height = 1, hash = "{hash}", period_hours = 336 }}
poll_ms = 250
signer = "relayer"
upstreams = [{{ name = "node", operator = "local", url = "{url}" }}]

[ibc.{name}]
roles = ["relay"]
"#
            );
        }
        std::fs::write(self.config(), &text).unwrap();
        // Alice sends; nobody relays with her key.
        let alice = text.replace("signer = \"relayer\"", "signer = \"alice\"");
        std::fs::write(self.folder.path().join("alice.toml"), alice).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("postrider.toml")
    }

    fn with_config(&self, config: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.args(arguments).arg("--config").arg(config).env("POSTRIDER_PASSWORD", PASSWORD);
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.with_config(&self.config(), arguments)
    }

    /// Runs a command, and gives its JSON.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        read(&self.command(arguments).arg("--json").output().unwrap(), arguments)
    }

    /// Runs a command in Alice's name.
    pub(crate) fn run_as_alice(&self, arguments: &[&str]) -> Value {
        let mut command = self.with_config(&self.folder.path().join("alice.toml"), arguments);
        read(&command.arg("--json").output().unwrap(), arguments)
    }

    pub(crate) fn create_path(&self) -> Value {
        self.run(&["ibc", "path", "create", "alpha", "beta"])
    }

    pub(crate) fn node(&self) -> RunningNode {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("node.log"))
            .unwrap();
        let child = self.command(&["start"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        RunningNode(child)
    }

    /// Another node, with a store and a wallet of its own, and more settings of IBC.
    pub(crate) fn second_node(&self, signer: &str, settings: &str) -> RunningNode {
        let folder = self.folder.path().join("second");
        copy(&self.folder.path().join("data/keys"), &folder.join("data/keys"));
        let text = std::fs::read_to_string(self.config()).unwrap();
        let text = text
            .replace("listen = \"127.0.0.1:", "listen = \"127.0.0.2:")
            .replace("signer = \"relayer\"", &format!("signer = \"{signer}\""))
            .replace("roles = [\"relay\"]", &format!("roles = [\"relay\"]\n{settings}"));
        let config = folder.join("postrider.toml");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(folder.join("node.log")).unwrap();
        let mut command = self.with_config(&config, &["start"]);
        RunningNode(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Changes the node's file.
    pub(crate) fn change_config(&self, change: impl Fn(String) -> String) {
        let before = std::fs::read_to_string(self.config()).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "nothing to change");
        std::fs::write(self.config(), after).unwrap();
    }

    /// Deletes the node's store.
    pub(crate) fn forget_everything(&self) {
        for entry in std::fs::read_dir(self.folder.path().join("data")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("postrider.sqlite") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Waits for something.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        while !is_so().await {
            assert!(started.elapsed() < PATIENCE, "not seen: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default()
    }

    pub(crate) fn messages(&self) -> Vec<Value> {
        let told = self.run(&["messages", "--limit", "999"]);
        told["messages"].as_array().or(told.as_array()).cloned().unwrap_or_default()
    }

    /// What an account has of the tokens that came over `transfer/channel-0`.
    pub(crate) async fn received(&self, chain: &CosmosChain, address: &str) -> u128 {
        chain.rpc().balance(address, &voucher("transfer/channel-0/token")).await.unwrap()
    }

    /// Waits until as many messages as given are there and all of them are settled.
    pub(crate) async fn until_settled(&self, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let messages = self.messages();
            let settled = messages.iter().filter(|m| m["status"] == "settled").count();
            if settled >= count && settled == messages.len() {
                return messages;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{settled} of {count} settled\n{messages:#?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// A transfer channel's ends, on the chains at these places: tokens are kept at the one, vouchers made at the
/// other.
struct Crossing {
    from: (usize, ChannelEndId),
    to: (usize, ChannelEndId),
}

impl World {
    /// Asserts that nothing is out of place once nothing is on its way: on every chain, for every transfer
    /// channel to another one, there are as many vouchers of each token as the other chain keeps for them,
    /// and there are no vouchers of which it cannot be said what they are for.
    pub(crate) async fn assert_supply_agrees(&self) {
        let (mut supplies, mut crossings) = (Vec::new(), Vec::new());
        for (place, chain) in self.chains.iter().enumerate() {
            supplies.push(amounts(total_supply(chain).await));
            crossings.extend(self.crossings_to(place).await);
        }
        // What is on each chain, by its name there; vouchers of vouchers take more than one round.
        let natives = |supply: &BTreeMap<String, u128>| {
            let native = supply.keys().filter(|name| !name.starts_with("ibc/"));
            let known =
                native.map(|name| (name.clone(), Denom { hops: vec![], base: name.clone() }));
            known.collect::<BTreeMap<_, _>>()
        };
        let mut known: Vec<BTreeMap<String, Denom>> = supplies.iter().map(natives).collect();
        for _ in 0..self.chains.len() {
            for Crossing { from, to } in &crossings {
                for token in known[from.0].clone().into_values() {
                    let hops = [vec![to.1.clone()], token.hops].concat();
                    let voucher = Denom { hops, base: token.base };
                    if supplies[to.0].contains_key(&voucher.on_chain()) {
                        known[to.0].insert(voucher.on_chain(), voucher);
                    }
                }
            }
        }
        for (supply, known) in supplies.iter().zip(&known) {
            for name in supply.keys() {
                assert!(known.contains_key(name), "nobody knows what {name} is for: {supply:?}");
            }
        }
        for Crossing { from, to } in &crossings {
            let held = amounts(balances(&self.chains[from.0], &from.1).await);
            let made_there = |(name, voucher): (&String, &Denom)| {
                let (first, before) = voucher.hops.split_first()?;
                let kept = Denom { hops: before.to_vec(), base: voucher.base.clone() };
                (*first == to.1).then(|| (kept.on_chain(), supplies[to.0][name]))
            };
            let made: BTreeMap<_, _> = known[to.0].iter().filter_map(made_there).collect();
            let names = (self.names[from.0], self.names[to.0]);
            assert_eq!(held, made, "in escrow, and vouchers: {names:?} over {}", from.1);
        }
    }

    /// The transfer channels that lead to a chain from others.
    async fn crossings_to(&self, place: usize) -> Vec<Crossing> {
        const CHANNELS: &str = "/ibc.core.channel.v1.Query/Channels";
        const CLIENT: &str = "/ibc.core.channel.v1.Query/ChannelClientState";
        let node = upstream(&self.chains[place]);
        let asked = QueryChannelsRequest { pagination: Some(all()) };
        let told: QueryChannelsResponse = node.grpc(CHANNELS, &asked, None).await.unwrap();
        let mut crossings = Vec::new();
        for channel in told.channels.into_iter().filter(|channel| channel.port_id == "transfer") {
            let end = |port: &str, channel: &str| -> ChannelEndId {
                format!("{port}/{channel}").parse().unwrap()
            };
            let there = channel.counterparty.unwrap();
            let to = end(&channel.port_id, &channel.channel_id);
            let asked = QueryChannelClientStateRequest {
                port_id: channel.port_id,
                channel_id: channel.channel_id,
            };
            let told: QueryChannelClientStateResponse =
                node.grpc(CLIENT, &asked, None).await.unwrap();
            let state = told.identified_client_state.unwrap().client_state.unwrap().value;
            let state = String::from_utf8_lossy(&state);
            let from = self.names.iter().position(|name| state.contains(&format!("{name}-1")));
            let Some(from) = from.filter(|_| !there.channel_id.is_empty()) else { continue };
            let from = (from, end(&there.port_id, &there.channel_id));
            crossings.push(Crossing { from, to: (place, to) });
        }
        crossings
    }
}

fn all() -> PageRequest {
    PageRequest { limit: 1_000, ..PageRequest::default() }
}

fn upstream(chain: &CosmosChain) -> Upstream {
    let client = RpcClient::new(RpcUrl::new(chain.rpc().url()).unwrap(), default_limits()).unwrap();
    let (name, chain_id) = ("test".parse().unwrap(), chain.chain_id().parse().unwrap());
    Upstream::new(name, "test".parse().unwrap(), chain_id, client)
}

async fn total_supply(chain: &CosmosChain) -> Vec<Coin> {
    const PATH: &str = "/cosmos.bank.v1beta1.Query/TotalSupply";
    let asked = QueryTotalSupplyRequest { pagination: Some(all()) };
    let told: QueryTotalSupplyResponse = upstream(chain).grpc(PATH, &asked, None).await.unwrap();
    told.supply
}

/// What a chain keeps in escrow for a channel.
async fn balances(chain: &CosmosChain, end: &ChannelEndId) -> Vec<Coin> {
    const PATH: &str = "/cosmos.bank.v1beta1.Query/AllBalances";
    let prefix = bech32::Hrp::parse("cosmos").unwrap();
    let address = bech32::encode::<bech32::Bech32>(prefix, &escrow(end).0).unwrap();
    let asked = QueryAllBalancesRequest {
        address,
        pagination: Some(all()),
        ..QueryAllBalancesRequest::default()
    };
    let told: QueryAllBalancesResponse = upstream(chain).grpc(PATH, &asked, None).await.unwrap();
    told.balances
}

fn amounts(coins: Vec<Coin>) -> BTreeMap<String, u128> {
    let amounts = coins.into_iter().map(|coin| (coin.denom, coin.amount.parse().unwrap()));
    amounts.filter(|(_, amount)| *amount > 0).collect()
}

/// The denomination of what came over a path of channels (ICS-20).
pub(crate) fn voucher(path: &str) -> String {
    format!("ibc/{}", alloy_primitives::hex::encode_upper(sha2::Sha256::digest(path)))
}

fn read(output: &Output, arguments: &[&str]) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}\n{error}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}\n{error}"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// How many transactions an account paid for.
pub(crate) async fn transactions_of(chain: &CosmosChain, address: &str) -> u64 {
    let query = format!("tx.fee_payer='{address}'");
    let told = chain.rpc().call("tx_search", json!({ "query": query })).await.unwrap();
    told["total_count"].as_str().unwrap().parse().unwrap()
}

/// What relayers' transactions did on a chain.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Messages that bring a packet, its acknowledgement or its timeout, in transactions that succeeded.
    pub(crate) messages: usize,
    /// Those of them that changed something.
    pub(crate) effective: usize,
    /// Transactions that changed nothing of packets: all in them had been done, or they failed.
    pub(crate) in_vain: u64,
}

/// What the transactions that an account paid for brought to a chain.
pub(crate) async fn brought_by(chain: &CosmosChain, address: &str) -> Brought {
    const MESSAGES: [&str; 3] = ["MsgRecvPacket", "MsgAcknowledgement", "MsgTimeout"];
    const EVENTS: [&str; 3] = ["recv_packet", "acknowledge_packet", "timeout_packet"];
    let mut brought = Brought::default();
    for page in 1.. {
        let query = format!("tx.fee_payer='{address}'");
        let asked = json!({ "query": query, "per_page": "100", "page": page.to_string() });
        // There is no page after the last.
        let Ok(told) = chain.rpc().call("tx_search", asked).await else { break };
        let transactions = told["txs"].as_array().cloned().unwrap_or_default();
        for transaction in &transactions {
            let raw = BASE64.decode(transaction["tx"].as_str().unwrap()).unwrap();
            let raw = TxRaw::decode(&raw[..]).unwrap();
            let body = TxBody::decode(&raw.body_bytes[..]).unwrap();
            let ours = |any: &&Any| MESSAGES.iter().any(|name| any.type_url.ends_with(name));
            let messages = body.messages.iter().filter(ours).count();
            let events = transaction["tx_result"]["events"].as_array().cloned().unwrap_or_default();
            let is_one = |event: &&Value| EVENTS.iter().any(|name| event["type"] == *name);
            let effective = events.iter().filter(is_one).count();
            brought.in_vain += u64::from(messages > 0 && effective == 0);
            if transaction["tx_result"]["code"] == 0 {
                brought.messages += messages;
                brought.effective += effective;
            }
        }
        if transactions.len() < 100 {
            break;
        }
    }
    brought
}

pub(crate) struct RunningNode(Child);

impl RunningNode {
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many updates of clients a chain has taken.
pub(crate) async fn updates_on(chain: &CosmosChain) -> u64 {
    let query = "message.action='/ibc.core.client.v1.MsgUpdateClient'";
    let told = chain.rpc().call("tx_search", json!({ "query": query })).await.unwrap();
    told["total_count"].as_str().unwrap().parse().unwrap()
}
