//! Connections and channels of other kinds than token transfers have: in order, with a delay, begun by others,
//! closed; and the commands that make them, killed on the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use cosmos::{PATIENCE, World};
use ibc_proto::{
    cosmos::{bank::v1beta1::MsgSend, base::v1beta1::Coin, staking::v1beta1::MsgDelegate},
    google::protobuf::Any,
    ibc::{
        applications::interchain_accounts::{
            controller::v1::{MsgRegisterInterchainAccount, MsgSendTx},
            v1::{CosmosTx, InterchainAccountPacketData, Type},
        },
        core::channel::v1::Order,
    },
};
use postrider_cosmos::{
    CheckTx, GasPolicy, RpcClient, RpcUrl, TxBuilder, Upstream, tx::any, upstream::default_limits,
};
use postrider_devnet::{CosmosAccount, CosmosChain, CosmosPlan};
use postrider_ibc::{
    ClientId, PortId,
    messages::{NewChannel, Signer, channel_open_init, connection_open_init},
};
use postrider_signing::{CosmosAlgorithm, CosmosKey, Keystore, Password};
use prost::Message;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::{process::Stdio, time::Duration};

fn key(account: &CosmosAccount) -> CosmosKey {
    let folder = tempfile::tempdir().unwrap();
    let store = Keystore::open(folder.path()).unwrap();
    let (name, password) = ("payer".parse().unwrap(), Password::from("secret"));
    store.import(&name, &account.secret_hex().into(), &password).unwrap();
    store.cosmos_key(&name, &password, CosmosAlgorithm::Secp256k1).unwrap()
}

/// Sends messages of an account in one transaction, and waits until a block has it, and the next one its state.
async fn submit(chain: &CosmosChain, account: &CosmosAccount, messages: Vec<Any>) {
    let (name, operator) = ("user".parse().unwrap(), "user".parse().unwrap());
    let client = RpcClient::new(RpcUrl::new(chain.rpc().url()).unwrap(), default_limits()).unwrap();
    let chain_id = chain.chain_id();
    let node = Upstream::new(name, operator, chain_id.parse().unwrap(), client);
    let at = node.account(account.address()).await.unwrap().unwrap();
    let policy = GasPolicy {
        price: "0stake".parse().unwrap(),
        multiplier_permille: 1000,
        max_gas: 10_000_000,
    };
    let tx = TxBuilder::new(chain_id.parse().unwrap(), messages);
    let tx = tx.sign(&key(account), at, &policy.fee_of(2_000_000)).unwrap();
    let told = node.broadcast(&tx.bytes).await.unwrap();
    assert!(matches!(told, CheckTx::Accepted(_)), "{told:?}");
    let started = std::time::Instant::now();
    loop {
        // Not known before a block has it.
        if let Ok(Some(found)) = node.tx(tx.hash).await {
            assert!(found.result.succeeded(), "{:?}", found.result.log);
            chain.rpc().wait_for_height(found.height.0 + 1, PATIENCE).await.unwrap();
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{} is in no block", tx.hash);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn tokens(amount: u32) -> Vec<Coin> {
    vec![Coin { denom: "token".into(), amount: amount.to_string() }]
}

/// What an interchain account is told: to send tokens to Bob, within so many seconds.
fn order_to_pay(owner: &str, account: &str, amount: u32, seconds: u64) -> Any {
    let pay = any(&MsgSend {
        from_address: account.to_owned(),
        to_address: CosmosAccount::named("bob").address().to_owned(),
        amount: tokens(amount),
    });
    let data = CosmosTx { messages: vec![pay] }.encode_to_vec();
    any(&MsgSendTx {
        owner: owner.to_owned(),
        connection_id: "connection-0".into(),
        packet_data: Some(InterchainAccountPacketData {
            r#type: Type::ExecuteTx.into(),
            data,
            memo: String::new(),
        }),
        relative_timeout: seconds * 1_000_000_000,
    })
}

/// The only row of a list between the two networks that `is_it`.
fn listed(world: &World, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let told = world.run(&["ibc", what, "list", "alpha", "beta"]);
    let rows = told[format!("{what}s")].as_array().unwrap();
    let found: Vec<_> = rows.iter().filter(|row| is_it(row)).collect();
    assert_eq!(found.len(), 1, "{told:#}");
    found[0].clone()
}

fn states(row: &Value) -> [&str; 2] {
    [0, 1].map(|side| row["sides"][side]["state"].as_str().unwrap_or("none"))
}

fn outcomes(messages: &[Value]) -> Vec<&str> {
    let mut outcomes: Vec<_> =
        messages.iter().map(|m| m["outcome"].as_str().unwrap_or("none")).collect();
    outcomes.sort_unstable();
    outcomes
}

/// An interchain account over an ordered channel. Its module begins the channel, and the command ends it; its
/// packets are executed in order. One that times out closes the channel, and what waits behind it comes back
/// once the other end is closed too.
#[tokio::test(flavor = "multi_thread")]
async fn ordered_channels_carry_in_order_and_close() {
    let world = World::start().await;
    world.create_path();
    let [alpha, beta] = &world.chains[..] else { panic!("two chains") };
    let (alice, bob) = (CosmosAccount::named("alice"), CosmosAccount::named("bob"));
    let owner = alice.address();
    let register = any(&MsgRegisterInterchainAccount {
        owner: owner.to_owned(),
        connection_id: "connection-0".into(),
        version: String::new(),
        ordering: Order::Ordered.into(),
    });
    submit(alpha, &alice, vec![register]).await;
    let is_ours =
        |row: &Value| row["sides"][0]["channel"] == format!("icacontroller-{owner}/channel-1");
    assert_eq!(
        states(&listed(&world, "channel", is_ours)),
        ["init", "none"],
        "begun by its module"
    );
    let port = format!("icacontroller-{owner}");
    let create = [
        ["ibc", "channel", "create", "alpha", "beta"].as_slice(),
        &["--connection", "connection-0", "--order", "ordered"],
        &["--port", &port, "--counterparty-port", "icahost"],
    ]
    .concat();
    let made = world.run(&create);
    assert_eq!(made["steps"], 3, "it goes on from what was begun: {made:#}");
    assert_eq!(world.run(&create)["steps"], 0, "and does nothing twice");
    let row = listed(&world, "channel", is_ours);
    assert_eq!(states(&row), ["open", "open"], "{row:#}");
    let version: Value =
        serde_json::from_str(row["sides"][0]["version"].as_str().unwrap()).unwrap();
    let account = version["address"].as_str().unwrap();

    let fund = any(&MsgSend {
        from_address: owner.to_owned(),
        to_address: account.to_owned(),
        amount: tokens(100),
    });
    submit(beta, &alice, vec![fund]).await;
    let had = beta.rpc().balance(bob.address(), "token").await.unwrap();
    let node = world.node();
    let orders = |amounts: &[u32], seconds: u64| -> Vec<Any> {
        amounts.iter().map(|amount| order_to_pay(owner, account, *amount, seconds)).collect()
    };
    submit(alpha, &alice, orders(&[1, 2, 3], 600)).await;
    let messages = world.until_settled(3).await;
    assert_eq!(outcomes(&messages), ["succeeded"; 3], "{messages:#?}");
    let has = beta.rpc().balance(bob.address(), "token").await.unwrap();
    assert_eq!(has - had, 6);
    node.kill();

    // The first of these is too late before anybody brings it, and the others cannot pass it.
    submit(alpha, &alice, orders(&[4], 1)).await;
    submit(alpha, &alice, orders(&[5, 6], 600)).await;
    let height = beta.rpc().height().await.unwrap();
    beta.rpc().wait_for_height(height + 3, PATIENCE).await.unwrap();
    let _node = world.node();
    world
        .until("the first one times out", async || {
            world.messages().iter().any(|m| m["outcome"] == "timed_out")
        })
        .await;
    let row = listed(&world, "channel", is_ours);
    assert_eq!(states(&row), ["closed", "open"], "{row:#}");
    let waiting: Vec<_> =
        world.messages().into_iter().filter(|m| m["status"] != "settled").collect();
    assert_eq!(waiting.len(), 2, "{waiting:#?}");
    assert!(waiting.iter().all(|m| m["reason_code"].is_string()), "{waiting:#?}");
    let end = format!("{port}/channel-1");
    let closed = world.run(&["ibc", "channel", "close", "alpha", &end, "beta"]);
    assert_eq!(closed["steps"], 1, "only the other end was to be closed: {closed:#}");
    let row = listed(&world, "channel", is_ours);
    assert_eq!(states(&row), ["closed", "closed"], "{row:#}");
    let messages = world.until_settled(6).await;
    assert_eq!(
        outcomes(&messages),
        ["succeeded", "succeeded", "succeeded", "timed_out", "timed_out", "timed_out"],
        "{messages:#?}"
    );
    let has = beta.rpc().balance(bob.address(), "token").await.unwrap();
    assert_eq!(has - had, 6, "what came back was not executed");
    world.assert_supply_agrees().await;
}

/// A running node ends what others began, on both chains, where the settings say so: a connection, a channel over
/// it, and an interchain account's ordered channel that no relayer began. What `deny` names is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_others_began_are_ended_by_a_running_node() {
    let world = World::start().await;
    world.create_path();
    world.change_config(|text| {
        let settings = "roles = [\"relay\"]\nhandshakes = true\ndeny = [\"mock/*\"]";
        text.replace("roles = [\"relay\"]", settings)
    });
    let _node = world.node();
    let [alpha, beta] = &world.chains[..] else { panic!("two chains") };
    let alice = CosmosAccount::named("alice");
    let signer = Signer(alice.address());
    let client: ClientId = "07-tendermint-0".parse().unwrap();
    let begin = connection_open_init(&client, &client, Duration::ZERO, signer);
    submit(beta, &alice, vec![begin]).await;
    let register = any(&MsgRegisterInterchainAccount {
        owner: alice.address().to_owned(),
        connection_id: "connection-0".into(),
        version: String::new(),
        ordering: Order::Ordered.into(),
    });
    submit(alpha, &alice, vec![register]).await;
    let are_open = async |what: &str, count: usize| {
        let told = world.run(&["ibc", what, "list", "alpha", "beta"]);
        let rows = told[format!("{what}s")].as_array().unwrap().clone();
        rows.iter().filter(|row| states(row) == ["open", "open"]).count() == count
    };
    world.until("the connection is open", async || are_open("connection", 2).await).await;
    world.until("the account's channel is open", async || are_open("channel", 2).await).await;

    let channel = |port: &str, version: &str| {
        let port: PortId = port.parse().unwrap();
        let (counterparty_port, order) = (port.clone(), postrider_ibc::Order::Unordered);
        let new = NewChannel { port, counterparty_port, order, version: version.to_owned() };
        channel_open_init(&new, &"connection-1".parse().unwrap(), signer)
    };
    submit(beta, &alice, vec![channel("mock", "mock-version")]).await;
    submit(beta, &alice, vec![channel("transfer", "ics20-1")]).await;
    world.until("the second channel is open", async || are_open("channel", 3).await).await;
    let row = listed(&world, "channel", |row| states(row).contains(&"init"));
    assert!(row["sides"][1]["channel"].as_str().unwrap().starts_with("mock/"), "{row:#}");
    assert_eq!(states(&row), ["none", "init"], "it is left alone: {row:#}");

    // Packets cross what nobody told this node of.
    let row = listed(&world, "channel", |row| {
        row["sides"][1]["channel"]
            .as_str()
            .is_some_and(|end| end.starts_with("transfer/") && end != "transfer/channel-0")
    });
    let bob = CosmosAccount::named("bob");
    let end = row["sides"][1]["channel"].as_str().unwrap();
    world.run_as_alice(&["ibc", "transfer", "beta", end, "7token", bob.address()]);
    let messages = world.until_settled(1).await;
    assert_eq!(outcomes(&messages), ["succeeded"]);
    let again = world.run(&["ibc", "connection", "list", "alpha", "beta"]);
    assert_eq!(again["connections"].as_array().unwrap().len(), 2, "none is made twice: {again:#}");
    world.assert_supply_agrees().await;
}

/// A connection that asks for a delay: a packet is brought when it has passed, and says meanwhile what it
/// waits for. A channel that may be closed is, on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn connections_with_a_delay_are_kept_to() {
    let world = World::start().await;
    let made = world.run(&["ibc", "connection", "create", "alpha", "beta", "--delay", "12"]);
    assert_eq!(made["sides"][0]["connection"], "connection-0", "{made:#}");
    assert_eq!(made["sides"][0]["channel"], Value::Null, "{made:#}");
    let row = listed(&world, "connection", |_| true);
    assert_eq!(states(&row), ["open", "open"]);
    assert_eq!(row["sides"][1]["delay_seconds"], 12, "{row:#}");
    let create = ["ibc", "channel", "create", "alpha", "beta", "--connection", "connection-0"];
    world.run(&[&create[..], &["--channel-version", "ics20-1"]].concat());

    let _node = world.node();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&over);
    let mut waited = false;
    world
        .until("it is received", async || {
            waited |= world
                .messages()
                .iter()
                .any(|m| m.to_string().contains("awaiting_connection_delay"));
            world.received(&world.chains[1], bob.address()).await == 7
        })
        .await;
    assert!(waited, "it did not say what it waits for\n{:#?}", world.messages());
    let messages = world.until_settled(1).await;
    assert_eq!(outcomes(&messages), ["succeeded"]);

    let mock = ["--port", "mock", "--channel-version", "mock-version"];
    let made = world.run(&[&create[..], &mock].concat());
    let end = format!("mock/{}", made["sides"][0]["channel"].as_str().unwrap());
    let close = ["ibc", "channel", "close", "alpha", &end, "beta"];
    assert_eq!(world.run(&close)["steps"], 2);
    assert_eq!(world.run(&close)["steps"], 0, "it is closed");
    let row = listed(&world, "channel", |row| row["sides"][0]["channel"] == end);
    assert_eq!(states(&row), ["closed", "closed"]);

    let named = ["ibc", "connection", "create", "alpha", "beta", "--delay", "12"];
    let none = ["--client-a", "07-tendermint-9"];
    let told = world.command(&[&named[..], &none].concat()).output().unwrap();
    assert!(!told.status.success());
    assert!(
        String::from_utf8_lossy(&told.stderr).contains("no client 07-tendermint-9"),
        "{told:?}"
    );
    world.assert_supply_agrees().await;
}

/// R4: `ibc path create` is killed at random instants, again and again, until it ends by itself: there is one
/// client on each side, one connection and one channel.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_path_that_is_killed_on_the_way_is_made_once() {
    let seed: u64 = std::env::var("POSTRIDER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("POSTRIDER_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let create = ["ibc", "path", "create", "alpha", "beta"];
    for _ in 0..60 {
        let mut command = world.command(&create);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1_800))).await;
        if run.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        run.kill().unwrap();
        run.wait().unwrap();
    }
    world.create_path();
    for network in ["alpha", "beta"] {
        let clients = world.run(&["ibc", "client", "list", network]);
        assert_eq!(clients["clients"].as_array().unwrap().len(), 1, "{clients:#}");
    }
    for what in ["connection", "channel"] {
        let row = listed(&world, what, |_| true);
        assert_eq!(states(&row), ["open", "open"], "{row:#}");
    }
    assert_eq!(world.create_path()["steps"], 0);
}

/// Validators whose signatures a client trusts have left: the next one is led to it by way of a block that both
/// the old and the new ones signed, and packets cross.
#[tokio::test(flavor = "multi_thread")]
async fn packets_cross_a_change_of_most_validators() {
    let mut world = World::start_with(|plan| {
        let validators = if plan.chain_id == "alpha-1" { vec![10; 4] } else { vec![100] };
        CosmosPlan { validators, ..plan }
    })
    .await;
    world.create_path();
    let alice = CosmosAccount::named("alice");
    let told = world.chains[0].rpc().call("validators", json!({})).await.unwrap();
    assert_eq!(told["total"], "4", "{told:#}");
    let operator = operator_of_the_first();
    let delegate = any(&MsgDelegate {
        delegator_address: alice.address().to_owned(),
        validator_address: operator,
        amount: Some(Coin { denom: "stake".into(), amount: "1000000000".into() }),
    });
    submit(&world.chains[0], &alice, vec![delegate]).await;
    let height = world.chains[0].rpc().height().await.unwrap();
    world.chains[0].rpc().wait_for_height(height + 4, PATIENCE).await.unwrap();
    for node in world.chains[0].nodes_mut().skip(1) {
        node.kill().await;
    }
    // Blocks that one validator alone signs: less than a third of those that the client trusts.
    let height = world.chains[0].rpc().height().await.unwrap();
    world.chains[0].rpc().wait_for_height(height + 3, PATIENCE).await.unwrap();

    assert_eq!(most_updates_at_once(&world.chains[1]).await, 1);
    let _node = world.node();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&over);
    let messages = world.until_settled(1).await;
    assert_eq!(outcomes(&messages), ["succeeded"]);
    assert_eq!(world.received(&world.chains[1], bob.address()).await, 7);
    let updates = most_updates_at_once(&world.chains[1]).await;
    assert!(updates >= 2, "a block on the way led the client on: {updates}");
    world.assert_supply_agrees().await;
}

/// The most updates of clients that a transaction brought.
async fn most_updates_at_once(chain: &CosmosChain) -> usize {
    let query = json!({ "query": "update_client.client_id='07-tendermint-0'", "per_page": "100" });
    let told = chain.rpc().call("tx_search", query).await.unwrap();
    let of = |tx: &Value| {
        let events = tx["tx_result"]["events"].as_array().unwrap();
        events.iter().filter(|event| event["type"] == "update_client").count()
    };
    told["txs"].as_array().unwrap().iter().map(of).max().unwrap()
}

/// The operator's address of the first validator.
fn operator_of_the_first() -> String {
    let account = CosmosAccount::named("validator-0");
    let (_, bytes) = bech32::decode(account.address()).unwrap();
    let prefix = bech32::Hrp::parse("cosmosvaloper").unwrap();
    bech32::encode::<bech32::Bech32>(prefix, &bytes).unwrap()
}
