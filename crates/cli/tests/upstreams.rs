//! Upstreams that lie, drop, and die. Whatever one of three does, nothing false is signed and what
//! is true arrives; with two of three gone, nothing is signed at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use postrider_devnet::{
    Anvil, AnvilOptions, Fault, Packages, Silent,
    faulty::forged_log,
    layerzero::{Apps, DEFAULT_OPTIONS},
};
use postrider_layerzero::{
    contracts::{EndpointV2, SendUln302},
    wire::{Eid, Packet, PacketHeader, PacketNonce},
};
use postrider_message::AlarmKind;
use postrider_store::Store;
use serde_json::{Value, json};
use std::time::Duration;
use support::{PATIENCE, Setup, World, assert_executed, rows, until};

const THREE: Setup =
    Setup { nodes: 1, upstreams: 3, quorum: 2, confirmations: 1, adapt: |_| {}, op_stack: false };

/// The logs of a send that never was, in the block of the last transaction to alpha's application.
async fn forged_send(world: &World) -> Vec<Fault> {
    let (alpha, beta) = (world.alpha(), world.beta());
    let at = alpha.deployment();
    let header = PacketHeader {
        nonce: PacketNonce::new(2).unwrap(),
        src_eid: Eid(at.eid),
        sender: at.oapp_mock.into(),
        dst_eid: Eid(beta.deployment().eid),
        receiver: beta.deployment().oapp_mock.into(),
    };
    let packet = Packet::new(header, ("forged",).abi_encode().into()).unwrap();
    let sent = EndpointV2::PacketSent {
        encodedPayload: packet.encode().into(),
        options: postrider_devnet::layerzero::DEFAULT_OPTIONS,
        sendLibrary: at.send_uln,
    };
    let executor = SendUln302::ExecutorFeePaid { executor: at.executor, fee: U256::from(1) };
    let dvn = SendUln302::DVNFeePaid {
        requiredDVNs: at.dvns.clone(),
        optionalDVNs: vec![],
        fees: at.dvns.iter().map(|_| U256::from(1)).collect(),
    };
    let (height, hash, transaction) = last_transaction(world).await;
    let log = |index: u64, address: Address, topic: B256, data: Vec<u8>| Fault::ForgeLog {
        log: forged_log(
            (height, hash),
            (0, transaction),
            index,
            address,
            &[topic],
            &Bytes::from(data),
        ),
        all_ones_bloom: true,
    };
    vec![
        log(90, at.send_uln, SendUln302::ExecutorFeePaid::SIGNATURE_HASH, executor.encode_data()),
        log(91, at.send_uln, SendUln302::DVNFeePaid::SIGNATURE_HASH, dvn.encode_data()),
        log(92, at.endpoint, EndpointV2::PacketSent::SIGNATURE_HASH, sent.encode_data()),
    ]
}

/// A transaction with no interest to us, and the block it is in.
async fn last_transaction(world: &World) -> (u64, B256, B256) {
    let rpc = world.alpha().rpc();
    let hash: B256 = serde_json::from_value(
        rpc.call(
            "eth_sendTransaction",
            json!([{
                "from": postrider_devnet::layerzero::USER,
                "to": Address::repeat_byte(9), "value": "0x1",
            }]),
        )
        .await
        .unwrap(),
    )
    .unwrap();
    let receipt = rpc.wait_receipt(hash, PATIENCE).await.unwrap();
    let height: U256 = serde_json::from_value(receipt["blockNumber"].clone()).unwrap();
    let block: B256 = serde_json::from_value(receipt["blockHash"].clone()).unwrap();
    (height.to(), block, hash)
}

/// The nonces that somebody attested on beta, by the chain's own logs.
async fn attested_on_beta(world: &World) -> usize {
    let beta = world.beta();
    let topic = postrider_layerzero::contracts::ReceiveUln302::PayloadVerified::SIGNATURE_HASH;
    let logs: Value = beta
        .rpc()
        .call(
            "eth_getLogs",
            json!([{ "fromBlock": "0x0", "toBlock": "latest",
                "address": beta.deployment().receive_uln, "topics": [topic] }]),
        )
        .await
        .unwrap();
    logs.as_array().unwrap().len()
}

/// R1, class (h): one of three upstreams forges a `PacketSent`, receipts and blooms included.
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_message_is_not_signed_and_a_true_one_passes() {
    let mut world = World::started(THREE).await;
    world.say("first").await;
    world.node().settled(1).await;
    let forged = forged_send(&world).await;
    // Which upstream is asked first is the node's choice: each of them lies in turn.
    for liar in 0..3 {
        world.nodes[0].lie_on_alpha(liar, forged.clone());
        world.say("true").await;
        world.nodes[0].settled(2 + liar).await;
        world.nodes[0].upstreams[0][liar].clear();
    }
    let all = world.nodes[0].settled(4).await;
    assert_executed(&all, 4);
    assert_eq!(attested_on_beta(&world).await, 4, "one attestation for each true message");
    for detail in world.nodes[0].details().await {
        let text = detail.message.payload.bytes().cloned().unwrap_or_default();
        assert!(!text.windows(6).any(|w| w == b"forged"), "{detail:?}");
    }
}

/// R1, class (h): one of three drops a real message, and says so in blooms, receipts and logs.
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_dropped_message_is_found_all_the_same() {
    let mut world = World::new(THREE).await;
    let endpoint = world.alpha().deployment().endpoint;
    let drop = Fault::DropLogs { address: endpoint, zero_bloom: true };
    world.nodes[0].lie_on_alpha(0, [drop]);
    world.node().start();
    world.say("real").await;
    assert_executed(&world.nodes[0].settled(1).await, 1);
    let alarms = world.nodes[0].store().await.alarms(50).await.unwrap();
    assert!(alarms.iter().any(|a| a.kind == AlarmKind::UpstreamDissents), "{alarms:?}");
}

/// R2, class (h): one lies and one is down. Nothing is signed, the reason says why, and work goes on
/// when they are back.
#[tokio::test(flavor = "multi_thread")]
async fn r2_h_without_a_quorum_nothing_is_signed_and_the_reason_says_so() {
    let mut world = World::started(THREE).await;
    world.say("before").await;
    world.node().settled(1).await;
    let before = attested_on_beta(&world).await;

    let lie = |field: &str| Fault::ChangeHeader {
        block: None,
        field: field.into(),
        value: json!(B256::repeat_byte(7)),
    };
    world.nodes[0].lie_on_alpha(0, [lie("stateRoot")]);
    world.nodes[0].lie_on_alpha(1, [Fault::Dead]);
    world.say("meanwhile").await;
    let node = &world.nodes[0];
    let store = node.store().await;
    until("the message says that the quorum is lost", node, || async {
        let conditions = store.conditions().await.unwrap();
        rows(&store).await.into_iter().any(|row| {
            let standing = row.standing.under(&conditions);
            standing.reason.is_some_and(|r| r.code() == "quorum_lost")
        })
    })
    .await;
    let alarms = store.alarms(50).await.unwrap();
    assert!(alarms.iter().any(|a| a.kind == AlarmKind::QuorumLost), "{alarms:?}");
    assert_eq!(attested_on_beta(&world).await, before, "nothing was signed");

    world.nodes[0].upstreams[0][0].clear();
    world.nodes[0].upstreams[0][1].clear();
    assert_executed(&world.nodes[0].settled(2).await, 2);
    assert!(store.conditions().await.unwrap().is_empty(), "the condition is over");
}

/// A chain that goes on from where alpha is now, with blocks of its own, consistent in themselves, in
/// which a message was sent that alpha never saw.
async fn poisoned_alpha(world: &World) -> Anvil {
    let alpha = world.alpha();
    let options = AnvilOptions {
        fork_of: Some(alpha.url().to_owned()),
        block_time: Some(Duration::from_secs(1)),
        ..AnvilOptions::new(alpha.deployment().chain_id)
    };
    let packages = Packages::ensure(&Silent).await.unwrap();
    let chain = Anvil::start(packages.anvil(), &options).await.unwrap();
    let apps = Apps::new(chain.rpc(), alpha.deployment());
    let sent = apps.send_mock(world.beta().deployment().eid, "forged", &DEFAULT_OPTIONS).await;
    chain.rpc().wait_receipt(sent.unwrap(), PATIENCE).await.unwrap();
    chain
}

/// R1, R2, class (h): the attack of April 2026. An operator's two nodes are swapped for ones that
/// follow a chain of their own, consistent in every header and receipt; the honest operators' nodes
/// are kept away. Nothing is signed; with the honest ones back the truth goes on, and what was never
/// sent is still not signed.
#[tokio::test(flavor = "multi_thread")]
async fn r1_r2_h_poisoned_nodes_while_the_honest_ones_are_kept_away() {
    let setup = Setup { upstreams: 4, quorum: 2, ..Setup::default() };
    let mut world = World::new(setup).await;
    let path = world.nodes[0].workspace.config_path();
    let config = std::fs::read_to_string(&path).unwrap();
    let mut config = config.replace("operator = \"operator-1\"", "operator = \"operator-0\"");
    std::fs::write(&path, &config).unwrap();
    world.node().start();
    world.say("before").await;
    world.node().settled(1).await;
    world.node().kill();

    let poisoned = poisoned_alpha(&world).await;
    for swapped in 0..2 {
        config = config.replace(world.nodes[0].upstreams[0][swapped].url(), poisoned.url());
    }
    std::fs::write(&path, config).unwrap();
    for kept_away in 2..4 {
        world.nodes[0].lie_on_alpha(kept_away, [Fault::Dead]);
    }
    world.node().start();
    let node = &world.nodes[0];
    let store = node.store().await;
    until("the quorum is lost", node, || async {
        let conditions = store.conditions().await.unwrap();
        conditions.iter().any(|(n, reason)| n.as_str() == "alpha" && reason.code() == "quorum_lost")
    })
    .await;
    until("what they tell is seen, as a hint", node, || async {
        rows(&store).await.iter().any(|row| row.nonce.0 == 2)
    })
    .await;
    let height = world.beta().rpc().block_number().await.unwrap();
    until("beta has gone on", node, || async {
        world.beta().rpc().block_number().await.unwrap() > height + 5
    })
    .await;
    assert_eq!(attested_on_beta(&world).await, 1, "nothing was signed meanwhile");
    let ended = rows(&store).await.iter().filter(|row| row.standing.outcome.is_some()).count();
    assert_eq!(ended, 1, "only the message of before has ended");

    for kept_away in 2..4 {
        node.upstreams[0][kept_away].clear();
    }
    world.say("the truth").await;
    let node = &world.nodes[0];
    node.settled(2).await;
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "the truth");
    assert_eq!(attested_on_beta(&world).await, 2, "one attestation for each true message");
    for detail in node.details().await {
        let payload = detail.message.payload.bytes().cloned().unwrap_or_default();
        if payload.windows(6).any(|w| w == b"forged") {
            assert!(detail.duties.is_empty(), "nothing is owed for it: {detail:?}");
        }
    }
    let alarms = store.alarms(50).await.unwrap();
    let blamed = |kind, upstream: &str| {
        alarms.iter().any(|a| a.kind == kind && a.detail.to_string().contains(upstream))
    };
    assert!(alarms.iter().any(|a| a.kind == AlarmKind::QuorumLost), "{alarms:?}");
    assert!(blamed(AlarmKind::UpstreamDissents, "up-0"), "{alarms:?}");
    assert!(!blamed(AlarmKind::UpstreamDissents, "up-2"), "{alarms:?}");
}

/// R1, class (h): one says that a message was executed already. It is not closed on that word.
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_one_upstreams_executed_closes_nothing() {
    let mut world = World::new(THREE).await;
    let endpoint = world.beta().deployment().endpoint;
    let claim = |selector: [u8; 4], answer: Vec<u8>| Fault::ReplaceCall {
        to: endpoint,
        selector,
        answer: answer.into(),
    };
    // The checkpoint is far ahead and the slot is empty: that is what "executed" looks like.
    world.nodes[0].upstreams[1][0].set([
        claim(EndpointV2::lazyInboundNonceCall::SELECTOR, 1000u64.abi_encode()),
        claim(EndpointV2::inboundNonceCall::SELECTOR, 1000u64.abi_encode()),
        claim(EndpointV2::inboundPayloadHashCall::SELECTOR, B256::ZERO.abi_encode()),
    ]);
    world.node().start();
    world.say("not yet").await;
    assert_executed(&world.nodes[0].settled(1).await, 1);
    let alarms = world.nodes[0].store().await.alarms(50).await.unwrap();
    assert!(alarms.iter().any(|a| a.kind == AlarmKind::UpstreamDissents), "{alarms:?}");
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "not yet");
}
