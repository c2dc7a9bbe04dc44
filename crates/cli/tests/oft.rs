//! Tokens on real chains: they go out and come back, and what was never sent is noticed where it is
//! credited, whoever attested it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolValue};
use postrider_cli::workspace::PASSWORD;
use postrider_devnet::{
    Chain,
    layerzero::{
        BATCH_USER, BURST_USER, DEFAULT_OPTIONS, DEPLOYER, USER,
        abi::{IEndpoint, IMessageLib, Origin, UlnConfig},
    },
};
use postrider_layerzero::wire::{
    Eid, OptionsBuilder, PacketHeader, PacketNonce, packet::payload_hash,
};
use postrider_message::{Alarm, AlarmKind};
use postrider_store::Store;
use serde_json::{Value, json};
use std::process::Command;
use support::{PATIENCE, Setup, World, assert_executed, until};

/// Takes every call, a composed one too.
const COMPOSER: Address = Address::repeat_byte(0xc0);
/// Who attests what was never sent.
const POISONED: Address = BURST_USER;

/// Thousandths of a token, in local decimals.
fn milli(thousandths: u64) -> U256 {
    U256::from(thousandths) * U256::from(10).pow(U256::from(15))
}

async fn approve(world: &World) {
    let hash = world.alpha().apps().approve_tokens().await.unwrap();
    world.alpha().rpc().wait_receipt(hash, PATIENCE).await.unwrap();
}

async fn send(from: &Chain, to: &Chain, amount: U256) {
    let (eid, nothing) = (to.deployment().eid, Bytes::new());
    from.apps().send_tokens(eid, USER, amount, &nothing, &DEFAULT_OPTIONS).await.unwrap();
}

async fn alarms(world: &World, kind: AlarmKind) -> Vec<Alarm> {
    let mut alarms = world.nodes[0].store().await.alarms(0).await.unwrap();
    alarms.retain(|alarm| alarm.kind == kind);
    alarms
}

/// What `postrider lanes --json` says of the tokens between the two token contracts, by the network
/// they leave.
fn tokens(world: &World, from: &str) -> Value {
    let told = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["--json", "lanes", "--config"])
        .arg(world.nodes[0].workspace.config_path())
        .env("POSTRIDER_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&told.stdout).unwrap();
    let lanes = document["lanes"].as_array().unwrap();
    let from = format!("layerzero: {from} ");
    let is_it = |lane: &&Value| {
        lane["tokens"].is_object() && lane["lane"].as_str().unwrap().starts_with(&from)
    };
    lanes.iter().find(is_it).map_or(Value::Null, |lane| lane["tokens"].clone())
}

/// Out, back, both at once, with a composed call, and with dust that does not travel: both sides add
/// up, and nothing is an alarm.
#[tokio::test(flavor = "multi_thread")]
async fn class_e_tokens_go_out_and_come_back() {
    let world = World::started(Setup::default()).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let code = json!([COMPOSER, "0x00"]);
    let _: Value = beta.rpc().call("anvil_setCode", code).await.unwrap();
    approve(&world).await;
    let had = alpha.apps().tokens_of(USER).await.unwrap();
    send(alpha, beta, milli(100_000) + U256::from(7)).await;
    assert_executed(&world.nodes[0].settled(1).await, 1);
    assert_eq!(beta.apps().tokens_of(USER).await.unwrap(), milli(100_000));
    assert_eq!(tokens(&world, "alpha")["even"], json!(true));

    for _ in 0..4 {
        send(alpha, beta, milli(2_500)).await;
        send(beta, alpha, milli(10_000)).await;
    }
    let options = OptionsBuilder::new().lz_receive(200_000, 0).compose(0, 100_000, 0);
    let (eid, options, call) = (beta.deployment().eid, options.build().unwrap(), b"call".into());
    alpha.apps().send_tokens(eid, COMPOSER, milli(7_000), &call, &options).await.unwrap();
    assert_executed(&world.nodes[0].settled(10).await, 10);

    let locked = milli(100_000 + 4 * 2_500 + 7_000 - 4 * 10_000);
    assert_eq!(alpha.apps().tokens_of(USER).await.unwrap(), had - locked);
    assert_eq!(alpha.apps().tokens_of(alpha.deployment().oft).await.unwrap(), locked);
    assert_eq!(beta.apps().token_supply().await.unwrap(), locked);
    assert_eq!(beta.apps().tokens_of(COMPOSER).await.unwrap(), milli(7_000));
    let even = |sum: &str| {
        json!({
            "debited": sum, "credited": sum, "in_flight": "0", "awaited": "0",
            "even": true, "breaches": 0,
        })
    };
    assert_eq!(tokens(&world, "alpha"), even("117"));
    assert_eq!(tokens(&world, "beta"), even("40"));
    assert_eq!(alarms(&world, AlarmKind::SupplyBreached).await, []);
    assert_eq!(alarms(&world, AlarmKind::DeliveredUnsent).await, []);
}

/// Makes one attester, who is not this node, enough for tokens that arrive on `on`.
async fn trust_poisoned(on: &Chain, from: &Chain) {
    let config = UlnConfig {
        confirmations: 1,
        requiredDVNCount: 1,
        optionalDVNCount: 0,
        optionalDVNThreshold: 0,
        requiredDVNs: vec![POISONED],
        optionalDVNs: vec![],
    };
    let param = IEndpoint::SetConfigParam {
        eid: from.deployment().eid,
        configType: 2,
        config: config.abi_encode().into(),
    };
    let (oapp, lib) = (on.deployment().oft, on.deployment().receive_uln);
    let call = IEndpoint::setConfigCall { oapp, lib, params: vec![param] };
    transact(on, DEPLOYER, on.deployment().endpoint, &call).await;
}

/// Sends a transaction that must succeed; gives its block's height.
async fn transact<C: SolCall>(on: &Chain, from: Address, to: Address, call: &C) -> u64 {
    let data = Bytes::from(call.abi_encode());
    let transaction = json!({ "from": from, "to": to, "data": data, "gas": "0xf4240" });
    let hash = on.rpc().send_transaction(transaction).await.unwrap();
    let receipt = on.rpc().wait_receipt(hash, PATIENCE).await.unwrap();
    assert_eq!(receipt["status"], "0x1", "{} failed: {receipt}", C::SIGNATURE);
    let height = receipt["blockNumber"].as_str().unwrap().trim_start_matches("0x");
    u64::from_str_radix(height, 16).unwrap()
}

/// A packet that says that so much was sent is attested, committed and executed, by strangers all.
/// Gives its guid, and when the tokens were credited.
async fn forge(from: &Chain, to: &Chain, nonce: u64, thousandths: u64) -> (B256, u64) {
    let (source, here) = (from.deployment(), to.deployment());
    let header = PacketHeader {
        nonce: PacketNonce::new(nonce).unwrap(),
        src_eid: Eid(source.eid),
        sender: source.oft.into(),
        dst_eid: Eid(here.eid),
        receiver: here.oft.into(),
    };
    let shared = (thousandths * 1_000).to_be_bytes();
    let message = [BATCH_USER.into_word().as_slice(), &shared].concat();
    let (guid, packet_header) = (header.guid(), Bytes::from(header.encode()));
    let hash = payload_hash(guid, &message).0;
    let verify = IMessageLib::verifyCall {
        packetHeader: packet_header.clone(),
        payloadHash: hash,
        confirmations: 1,
    };
    transact(to, POISONED, here.receive_uln, &verify).await;
    let commit =
        IMessageLib::commitVerificationCall { packetHeader: packet_header, payloadHash: hash };
    transact(to, BATCH_USER, here.receive_uln, &commit).await;
    let deliver = IEndpoint::lzReceiveCall {
        origin: Origin { srcEid: source.eid, sender: source.oft.into_word(), nonce },
        receiver: here.oft,
        guid: guid.0,
        message: message.into(),
        extraData: Bytes::new(),
    };
    let height = transact(to, BATCH_USER, here.endpoint, &deliver).await;
    (guid.0, to.rpc().timestamp(height).await.unwrap())
}

/// Waits for the alarm about a packet.
async fn alarm(world: &World, guid: B256) -> Alarm {
    let guid = guid.to_string();
    let named = |alarm: &Alarm| alarm.detail.to_string().contains(&guid);
    until("the forged credit is an alarm", &world.nodes[0], || async {
        alarms(world, AlarmKind::SupplyBreached).await.iter().any(named)
    })
    .await;
    alarms(world, AlarmKind::SupplyBreached).await.into_iter().find(named).unwrap()
}

/// Classes (e) and (h), the attack of April 2026: the one attester of a token is deceived, and what
/// was never sent, or sent with less, is credited. This node attests nothing for that token; it
/// watches, and says so within a minute.
#[tokio::test(flavor = "multi_thread")]
async fn class_e_a_forged_credit_is_an_alarm_within_a_minute() {
    let world = World::started(Setup::default()).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    approve(&world).await;
    send(alpha, beta, milli(50_000)).await;
    assert_executed(&world.nodes[0].settled(1).await, 1);
    assert_eq!(alarms(&world, AlarmKind::SupplyBreached).await, []);
    trust_poisoned(beta, alpha).await;
    trust_poisoned(alpha, beta).await;

    // Minted at the one end; and what is locked at the other, on a lane that never carried anything.
    let minted = forge(alpha, beta, 2, 1_000_500).await;
    let unlocked = forge(beta, alpha, 1, 20_000).await;
    assert_eq!(beta.apps().tokens_of(BATCH_USER).await.unwrap(), milli(1_000_500));
    assert_eq!(alpha.apps().tokens_of(BATCH_USER).await.unwrap(), milli(20_000));
    for ((guid, credited_at), network, amounts) in [
        (minted, "beta", "credited 1000.5, debited 0"),
        (unlocked, "alpha", "credited 20, debited 0"),
    ] {
        let alarm = alarm(&world, guid).await;
        let said = alarm.detail.to_string();
        assert!(said.contains(amounts) && said.contains("debited nothing"), "{said}");
        assert_eq!((alarm.network.as_str(), alarm.message), (network, None), "{said}");
        // The promise itself: most of the minute is room for a slow machine.
        let waited = alarm.at.0.saturating_sub(credited_at * 1_000);
        assert!(waited < 60_000, "the alarm came after {waited} ms");
    }

    // A packet that was sent, with another amount: the third, for the next one that is sent takes the
    // number of the one that was forged, and does not make that good.
    send(alpha, beta, milli(1_000)).await;
    send(alpha, beta, milli(1_000)).await;
    let store = world.nodes[0].store().await;
    until("both are proven", &world.nodes[0], || async {
        tokens(&world, "alpha")["debited"] == json!("52")
    })
    .await;
    assert_eq!(tokens(&world, "alpha")["in_flight"], json!("1"));
    let (guid, _) = forge(alpha, beta, 3, 9_000).await;
    let said = alarm(&world, guid).await.detail.to_string();
    assert!(said.contains("credited 9, debited 1"), "{said}");
    let told = tokens(&world, "alpha");
    assert_eq!(told["breaches"], json!(2));
    assert_eq!((&told["debited"], &told["credited"]), (&json!("52"), &json!("1059.5")));
    assert_eq!(alarms(&world, AlarmKind::SupplyBreached).await.len(), 3);
    let tally = store.tally().await.unwrap();
    let counted = tally.alarms.iter().filter(|(kind, ..)| *kind == AlarmKind::SupplyBreached);
    assert_eq!(counted.map(|(.., n)| n).sum::<u64>(), 3);
    let log = world.nodes[0].log_text();
    assert!(log.contains("ALARM: the source debited nothing for it"), "the log says it too");
}

/// The same long before anything is final: that more was delivered than ever sent shows in the newest
/// state of both.
#[tokio::test(flavor = "multi_thread")]
async fn class_h_a_forged_message_is_an_alarm_before_anything_is_final() {
    let world = World::started(Setup { confirmations: 1_000_000, ..Setup::default() }).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    trust_poisoned(beta, alpha).await;
    let (_, credited_at) = forge(alpha, beta, 1, 1_000).await;
    let kind = AlarmKind::DeliveredUnsent;
    until("the forged message is an alarm", &world.nodes[0], || async {
        !alarms(&world, kind).await.is_empty()
    })
    .await;
    let found = alarms(&world, kind).await;
    let said = found[0].detail.to_string();
    assert!(said.contains("1 messages are delivered or skipped and 0 were ever sent"), "{said}");
    assert_eq!((found.len(), found[0].network.as_str()), (1, "beta"));
    // The promise itself: half of the minute is room for a slow machine.
    let waited = found[0].at.0.saturating_sub(credited_at * 1_000);
    assert!(waited < 60_000, "the alarm came after {waited} ms");
    assert_eq!(alarms(&world, AlarmKind::SupplyBreached).await, [], "nothing is final");
}
