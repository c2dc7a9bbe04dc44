//! What a relayer pays with, on real ibc-go chains that take fees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cosmos::{PASSWORD, World, transactions_of};
use ibc_proto::{
    cosmos::{
        authz::v1beta1::{GenericAuthorization, Grant, MsgGrant},
        bank::v1beta1::MsgSend,
        base::v1beta1::Coin,
        feegrant::v1beta1::{BasicAllowance, MsgGrantAllowance},
    },
    google::protobuf::Any,
};
use postrider_cosmos::{
    CheckTx, GasPrice, RpcClient, RpcUrl, TxBuilder, Upstream, tx::any, upstream::default_limits,
};
use postrider_devnet::{CosmosAccount, CosmosChain, CosmosPlan};
use postrider_signing::{CosmosAlgorithm, CosmosKey, Keystore, Password};
use serde_json::{Value, json};
use std::process::Stdio;

const FREE: &str = "gas = { price = \"0stake\" }";

/// Two chains whose nodes take 0.01stake for a unit of gas, a path between them, and settings of who relays.
async fn world(settings: &str) -> World {
    let change = |plan: CosmosPlan| CosmosPlan { min_gas_price: "0.01stake".into(), ..plan };
    let world = World::start_with(change).await;
    let fee = "gas = { price = \"0.01stake\" }";
    let alice = world.folder.path().join("alice.toml");
    let text = std::fs::read_to_string(&alice).unwrap();
    std::fs::write(&alice, text.replace(FREE, fee)).unwrap();
    world.change_config(|text| text.replace(FREE, fee));
    world.create_path();
    world.change_config(|text| text.replace(fee, settings));
    world
}

fn key(account: &CosmosAccount) -> CosmosKey {
    let folder = tempfile::tempdir().unwrap();
    let store = Keystore::open(folder.path()).unwrap();
    let (name, password) = ("payer".parse().unwrap(), Password::from("secret"));
    store.import(&name, &account.secret_hex().into(), &password).unwrap();
    store.cosmos_key(&name, &password, CosmosAlgorithm::Secp256k1).unwrap()
}

/// Does something by hand in an account's name.
async fn by_hand(world: &World, chain: &CosmosChain, name: &str, messages: Vec<Any>) {
    let account = CosmosAccount::named(name);
    let client = RpcClient::new(RpcUrl::new(chain.rpc().url()).unwrap(), default_limits()).unwrap();
    let (node, operator) = ("hand".parse().unwrap(), "hand".parse().unwrap());
    let node = Upstream::new(node, operator, chain.chain_id().parse().unwrap(), client);
    let at = node.account(account.address()).await.unwrap().unwrap();
    let price: GasPrice = "0.01stake".parse().unwrap();
    let tx = TxBuilder::new(chain.chain_id().parse().unwrap(), messages)
        .sign(&key(&account), at, &price.fee_of(500_000))
        .unwrap();
    assert_eq!(node.broadcast(&tx.bytes).await.unwrap(), CheckTx::Accepted(tx.hash));
    let is_in = async || node.tx(tx.hash).await.unwrap().is_some();
    world.until("a transaction by hand is in a block", is_in).await;
    let done = node.tx(tx.hash).await.unwrap().unwrap().result;
    assert!(done.succeeded(), "{done:?}");
}

/// What an account paid for on a chain.
async fn paid_by(chain: &CosmosChain, address: &str) -> Vec<Value> {
    let query = format!("tx.fee_payer='{address}'");
    let search = json!({ "query": query, "per_page": "100" });
    let told = chain.rpc().call("tx_search", search).await.unwrap();
    told["txs"].as_array().cloned().unwrap_or_default()
}

fn bytes(tx: &Value) -> Vec<u8> {
    BASE64.decode(tx["tx"].as_str().unwrap()).unwrap()
}

fn contains(tx: &Value, text: &str) -> bool {
    bytes(tx).windows(text.len()).any(|window| window == text.as_bytes())
}

fn transfer(world: &World, count: &str, memo: &str) {
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&[&over[..], &["--count", count, "--memo", memo]].concat());
}

/// A price that is too low is raised; what runs out of gas is given more; two accounts pay, and one without
/// coins is passed over; each transaction has the memo. With nobody left who has coins, a message says so,
/// and goes on once there are some.
#[tokio::test(flavor = "multi_thread")]
async fn fees_gas_and_accounts_are_seen_to() {
    let world = world(
        "gas = { price = \"0.009stake\", max_price = \"0.02stake\" }\nmemo = \"carried by us\"",
    )
    .await;
    let carol = CosmosAccount::named("carol");
    let mut import = world.command(&["keys", "import", "carol"]);
    let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), carol.secret_hex().as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "{PASSWORD}");
    let one = "signer = \"relayer\"";
    world.change_config(|text| text.replace(one, "signer = [\"carol\", \"relayer\", \"bob\"]"));

    let node = world.node();
    transfer(&world, "3", "");
    world.until_settled(3).await;
    transfer(&world, "3", "");
    world.until_settled(6).await;
    // Receiving this takes more gas than the packets before: it is sent on at once, and comes back.
    let memo = json!({ "forward": {
        "receiver": CosmosAccount::named("bob").address(),
        "port": "transfer",
        "channel": "channel-0",
    }});
    transfer(&world, "1", &memo.to_string());
    let messages = world.until_settled(8).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");

    let (mut ran_out, mut by_us) = (0, 0);
    for name in ["relayer", "bob"] {
        let account = CosmosAccount::named(name);
        let mut count = 0;
        for chain in &world.chains {
            let paid = paid_by(chain, account.address()).await;
            ran_out += paid.iter().filter(|tx| tx["tx_result"]["code"] == 11).count();
            count += paid.iter().filter(|tx| contains(tx, "carried by us")).count();
        }
        assert!(count > 0, "{name} paid for nothing");
        by_us += count;
    }
    assert!(ran_out > 0, "none of {by_us} ran out of gas: {}", world.log());
    for chain in &world.chains {
        assert_eq!(transactions_of(chain, carol.address()).await, 0);
    }
    node.kill();

    world.change_config(|text| {
        text.replace("signer = [\"carol\", \"relayer\", \"bob\"]", "signer = [\"carol\"]")
    });
    let _node = world.node();
    transfer(&world, "1", "");
    let is_held = async || {
        world.messages().iter().any(|m| m["reason_code"] == "signer_empty" && m["status"] == "held")
    };
    world.until("the message says that nobody can pay", is_held).await;
    for chain in &world.chains {
        let alice = CosmosAccount::named("alice");
        let send = any(&MsgSend {
            from_address: alice.address().to_owned(),
            to_address: carol.address().to_owned(),
            amount: vec![Coin { denom: "stake".into(), amount: "10000000".into() }],
        });
        by_hand(&world, chain, "alice", vec![send]).await;
    }
    world.until_settled(9).await;
    // A node's index of transactions may come after its state.
    let has_paid = async || transactions_of(&world.chains[1], carol.address()).await > 0;
    world.until("the account that was funded has paid", has_paid).await;
    world.assert_supply_agrees().await;
}

/// Another account pays the fees and lends its name, and nothing of the signer's own is spent.
#[tokio::test(flavor = "multi_thread")]
async fn others_pay_and_lend_their_name() {
    let (granter, grantee) = (CosmosAccount::named("bob"), CosmosAccount::named("relayer"));
    let settings = format!(
        "gas = {{ price = \"0.01stake\" }}\nfee_granter = \"{0}\"\ngranter = \"{0}\"",
        granter.address()
    );
    let world = world(&settings).await;
    let names = || (granter.address().to_owned(), grantee.address().to_owned());
    for chain in &world.chains {
        let (from, to) = names();
        let allowance = Some(any(&BasicAllowance::default()));
        let mut grants = vec![any(&MsgGrantAllowance { granter: from, grantee: to, allowance })];
        for kind in [
            "client.v1.MsgUpdateClient",
            "channel.v1.MsgRecvPacket",
            "channel.v1.MsgAcknowledgement",
        ] {
            let (granter, grantee) = names();
            let authorization = GenericAuthorization { msg: format!("/ibc.core.{kind}") };
            let grant = Grant { authorization: Some(any(&authorization)), expiration: None };
            grants.push(any(&MsgGrant { granter, grantee, grant: Some(grant) }));
        }
        by_hand(&world, chain, "bob", grants).await;
    }
    let balances = async || {
        let mut has = Vec::new();
        for chain in &world.chains {
            has.push(chain.rpc().balance(grantee.address(), "stake").await.unwrap());
        }
        has
    };
    let had = balances().await;
    let _node = world.node();
    transfer(&world, "3", "");
    let messages = world.until_settled(3).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    assert_eq!(balances().await, had, "the granter paid");
    for chain in &world.chains {
        let paid = paid_by(chain, granter.address()).await;
        assert!(paid.iter().any(|tx| contains(tx, "/cosmos.authz.v1beta1.MsgExec")), "{paid:#?}");
    }
    world.assert_supply_agrees().await;
}
