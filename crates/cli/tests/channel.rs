//! What others may do to a lane: other attesters that are late or never come, configurations that
//! change, nonces that are taken back or given up, strangers who are quicker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Address, B256, Bytes};
use postrider_devnet::LayerZeroPlan;
use postrider_layerzero::{
    contracts::{EndpointV2, ReceiveUln302},
    wire::OptionsBuilder,
};
use postrider_message::{DutyKind, DutyState, Fact, MessageStatus, Outcome, Reason};
use postrider_store::MessageDetail;
use serde_json::{Value, json};
use support::{
    Setup, World,
    actor::{
        Packet, STRANGER, act, add_stranger, blocks_later, configure, count_events, detail, employ,
        send, uln_config,
    },
    assert_executed, until,
};

async fn committed(world: &World) -> usize {
    count_events::<EndpointV2::PacketVerified>(world.beta(), world.beta().deployment().endpoint)
        .await
}

async fn attested(world: &World) -> usize {
    let library = world.beta().deployment().receive_uln;
    count_events::<ReceiveUln302::PayloadVerified>(world.beta(), library).await
}

fn state(detail: &MessageDetail, kind: DutyKind) -> &DutyState {
    &detail.duties.iter().find(|duty| duty.kind == kind).unwrap().state
}

/// R5: two required and one of two optional, by the application's own configuration: the nodes run one
/// of each, strangers the others. Nothing is committed before the configuration is satisfied, what a
/// stranger attests counts for nothing, and what comes late does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn r5_two_required_and_one_of_two_optional() {
    let adapt = |plan: &mut LayerZeroPlan| {
        add_stranger(plan);
        add_stranger(plan);
        plan.required = Some(vec![0]);
    };
    let mut world = World::new(Setup { nodes: 2, adapt, ..Setup::default() }).await;
    let (required, optional) = ([0, 2], (1, [1, 3].as_slice()));
    for (chain, other, library) in [
        (world.alpha(), world.beta(), world.alpha().deployment().send_uln),
        (world.beta(), world.alpha(), world.beta().deployment().receive_uln),
    ] {
        configure(chain, other, library, &uln_config(chain, 1, &required, optional)).await;
    }
    for node in &mut world.nodes {
        node.start();
    }

    world.say("first").await;
    let first = Packet::proven(&world, 1).await;
    until("both nodes have attested", &world.nodes[0], || async {
        first.attested(&world, 0).await.is_some() && first.attested(&world, 1).await.is_some()
    })
    .await;
    // A stranger attests the truth and a lie, in its own name.
    first.verify(&world, STRANGER, first.payload_hash(), u64::MAX).await;
    first.verify(&world, STRANGER, B256::repeat_byte(9), u64::MAX).await;
    first.waits_with(&world, "awaiting_attestations").await;
    let reason = detail(&world, 1).await.unwrap().row.standing.reason;
    assert_eq!(reason, Some(Reason::AwaitingAttestations { present: 2, needed: 3 }));
    blocks_later(&world, world.beta(), 4).await;
    assert_eq!(committed(&world).await, 0, "a required attester is missing");
    first.vouch(&world, 2).await;
    let ended = first.ended(&world).await;
    assert_eq!(ended.row.standing.outcome, Some(Outcome::Executed));

    // The other optional one comes late, and the lane goes on.
    first.vouch(&world, 3).await;
    world.nodes[1].kill();
    world.say("second").await;
    let second = Packet::proven(&world, 2).await;
    second.vouch(&world, 2).await;
    second.attested_by_us(&world).await;
    blocks_later(&world, world.beta(), 4).await;
    assert_eq!(committed(&world).await, 1, "no optional attester has spoken");
    second.vouch(&world, 3).await;
    assert_executed(&world.nodes[0].settled(2).await, 2);
    let before = attested(&world).await;
    world.nodes[1].start();
    assert_executed(&world.nodes[1].settled(2).await, 2);
    assert_eq!(attested(&world).await, before, "what has ended is not attested");
    let first = detail(&world, 1).await.unwrap();
    assert_eq!(first.row.standing, ended.row.standing);
    assert!(first.duties.iter().all(|d| d.state == DutyState::Done), "{:?}", first.duties);
}

/// One node, and a DVN of a stranger that is required as well: nothing is committed without its
/// word, so each message can be met where it stands.
async fn with_a_stranger() -> World {
    World::started(Setup { adapt: add_stranger, ..Setup::default() }).await
}

fn options(build: impl FnOnce(OptionsBuilder) -> OptionsBuilder) -> Bytes {
    build(OptionsBuilder::new()).build().unwrap()
}

/// Sends a message that its receiver cannot take with the gas that was paid for.
async fn send_starved(world: &World) {
    let starved = options(|o| o.lz_receive(1, 0));
    let long = "starved ".repeat(80);
    let eid = world.beta().deployment().eid;
    world.alpha().apps().send_mock(eid, &long, &starved).await.unwrap();
}

/// What an application or its delegate may do to a message: take its commitment back, which asks for
/// attestations and a commit anew; skip it, burn it, clear it. Each ends as what it is.
#[tokio::test(flavor = "multi_thread")]
async fn r9_nilified_skipped_burnt_and_cleared() {
    let world = with_a_stranger().await;
    let eid = world.beta().deployment().eid;
    let ordered = options(|o| o.lz_receive(200_000, 0).ordered());
    send_starved(&world).await;
    let first = Packet::proven(&world, 1).await;
    world.alpha().apps().send_mock(eid, "in order", &ordered).await.unwrap();
    let second = Packet::proven(&world, 2).await;
    first.vouch(&world, 1).await;
    second.vouch(&world, 1).await;
    first.waits_with(&world, "receiver_reverted").await;
    second.waits_with(&world, "lower_nonce_not_executed").await;
    until("both are committed", &world.nodes[0], async || committed(&world).await == 2).await;

    second.nilify(&world).await;
    second.attested_by_us(&world).await;
    blocks_later(&world, world.beta(), 3).await;
    assert_eq!(second.slot(&world).await, B256::repeat_byte(0xff), "one attestation is not enough");
    second.vouch(&world, 1).await;
    until("it is committed again", &world.nodes[0], async || {
        second.slot(&world).await == second.payload_hash()
    })
    .await;
    // A stranger gives the first its gas; so the second's turn comes.
    let endpoint = world.beta().deployment().endpoint;
    act(world.beta(), STRANGER, endpoint, &first.execute_call(&world)).await;
    let first = first.ended(&world).await;
    assert_eq!(first.row.standing.outcome, Some(Outcome::Executed));
    let by_others = DutyState::NotNeeded(Reason::DoneByOthers);
    assert_eq!(state(&first, DutyKind::Execute), &by_others);
    let second = second.ended(&world).await;
    assert_eq!(second.row.standing.outcome, Some(Outcome::Executed));
    assert!(second.duties.iter().all(|d| d.state == DutyState::Done), "{:?}", second.duties);

    world.say("skipped").await;
    let third = Packet::proven(&world, 3).await;
    third.attested_by_us(&world).await;
    third.skip(&world).await;
    let third = third.ended(&world).await;
    assert_eq!(third.row.standing.outcome, Some(Outcome::Skipped));
    assert_eq!(state(&third, DutyKind::Execute), &DutyState::NotNeeded(Reason::MessageEnded));

    send_starved(&world).await;
    let fourth = Packet::proven(&world, 4).await;
    fourth.vouch(&world, 1).await;
    fourth.waits_with(&world, "receiver_reverted").await;
    // Struck out before anything is committed there: what was attested before counts all the same.
    world.say("goes past").await;
    let fifth = Packet::proven(&world, 5).await;
    fifth.attested_by_us(&world).await;
    fifth.nilify(&world).await;
    fifth.vouch(&world, 1).await;
    assert_eq!(fifth.ended(&world).await.row.standing.outcome, Some(Outcome::Executed));
    fourth.burn(&world).await;
    assert_eq!(fourth.ended(&world).await.row.standing.outcome, Some(Outcome::Burnt));

    send_starved(&world).await;
    let sixth = Packet::proven(&world, 6).await;
    sixth.vouch(&world, 1).await;
    sixth.waits_with(&world, "receiver_reverted").await;
    sixth.clear(&world).await;
    assert_eq!(sixth.ended(&world).await.row.standing.outcome, Some(Outcome::Cleared));
    // The lane is as open as before.
    world.say("after all that").await;
    let seventh = Packet::proven(&world, 7).await;
    seventh.vouch(&world, 1).await;
    assert_eq!(seventh.ended(&world).await.row.standing.outcome, Some(Outcome::Executed));
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "after all that");
}

async fn pending(world: &World) -> u64 {
    let status: Value = world.beta().rpc().call("txpool_status", json!([])).await.unwrap();
    u64::from_str_radix(status["pending"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// R4: a stranger commits and executes before our transactions for the same are included. The message
/// has ended all the same, it says by whom, and what our transactions cost is known.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_stranger_who_is_quicker() {
    let world = with_a_stranger().await;
    let beta = world.beta();
    world.say("by a stranger").await;
    let packet = Packet::proven(&world, 1).await;
    packet.attested_by_us(&world).await;
    packet.waits_with(&world, "awaiting_attestations").await;
    beta.rpc().set_block_time(0).await.unwrap();
    let library = beta.deployment().receive_uln;
    let vouch = ReceiveUln302::verifyCall {
        packetHeader: packet.header.encode().into(),
        payloadHash: packet.payload_hash(),
        confirmations: u64::MAX,
    };
    send(beta, beta.deployment().dvns[1], library, &vouch).await;
    beta.rpc().mine(1).await.unwrap();
    until("ours are on their way", &world.nodes[0], async || pending(&world).await >= 2).await;
    send(beta, STRANGER, library, &packet.commit_call()).await;
    send(beta, STRANGER, beta.deployment().endpoint, &packet.execute_call(&world)).await;
    beta.rpc().mine(1).await.unwrap();
    beta.rpc().set_block_time(1).await.unwrap();

    let ended = packet.ended(&world).await;
    assert_eq!(ended.row.standing.outcome, Some(Outcome::Executed));
    let by_others = DutyState::NotNeeded(Reason::DoneByOthers);
    assert_eq!(state(&ended, DutyKind::Commit), &by_others);
    assert_eq!(state(&ended, DutyKind::Execute), &by_others);
    assert_eq!(state(&ended, DutyKind::Attest), &DutyState::Done);
    let executed = ended.facts.iter().filter(|r| matches!(r.fact, Fact::Executed)).count();
    assert_eq!(executed, 1);
    let payer = world.nodes[0].workspace.keys(&"beta".parse().unwrap()).await.unwrap().payer;
    assert_eq!(in_vain(&world, payer).await, 2, "{:?}", ended.transactions);
}

/// How many of an account's transactions on beta did nothing.
async fn in_vain(world: &World, payer: Address) -> usize {
    let rpc = world.beta().rpc();
    let mut count = 0;
    for height in 0..=rpc.block_number().await.unwrap() {
        let receipts: Vec<Value> =
            rpc.call("eth_getBlockReceipts", json!([format!("{height:#x}")])).await.unwrap();
        let ours = receipts.iter().filter(|r| r["from"] == json!(payer));
        // A commit that came too late reverts; an execution that did leaves an alert.
        let alert = "0x7edfa10fe10193301ad8a8bea7e968c7bcabcc64981f368e3aeada40ce26ae2c";
        let failed = |r: &&Value| {
            r["status"] == "0x0"
                || r["logs"].as_array().unwrap().iter().any(|l| l["topics"][0] == alert)
        };
        count += ours.filter(failed).count();
    }
    count
}

/// The receive side asks for more confirmations than the send side, and for yet more once we have
/// attested: what we attest is as deep as the receive side asks.
#[tokio::test(flavor = "multi_thread")]
async fn r5_confirmations_are_those_of_the_receive_side() {
    let world = with_a_stranger().await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let library = beta.deployment().receive_uln;
    let asks = async |depth| {
        configure(beta, alpha, library, &uln_config(beta, depth, &[0, 1], (0, &[]))).await;
    };
    asks(5).await;
    world.say("deep").await;
    let packet = Packet::proven(&world, 1).await;
    let first = packet.attested_by_us(&world).await;
    assert!(first >= 5, "attested at {first}");
    let head = alpha.rpc().block_number().await.unwrap();
    assert!(first <= head, "{first} at {head}");

    let deeper = first + 8;
    asks(deeper).await;
    packet.vouch(&world, 1).await;
    let ended = packet.ended(&world).await;
    assert_eq!(ended.row.standing.outcome, Some(Outcome::Executed));
    let depths: Vec<u64> = ended
        .facts
        .iter()
        .filter_map(|r| match &r.fact {
            Fact::Attested { confirmations, .. } if confirmations.0 != u64::MAX => {
                Some(confirmations.0)
            }
            _ => None,
        })
        .collect();
    assert!(depths.iter().any(|depth| *depth >= deeper), "{depths:?}, {deeper} are asked for");
    assert_eq!(depths.len(), 2, "attested twice: {depths:?}");
}

/// A lower nonce that is another executor's work, and that nobody commits, does not stop ours: its commit is
/// open to anyone. What that executor was paid for, executing it, stays undone.
#[tokio::test(flavor = "multi_thread")]
async fn commits_that_another_executor_owes_open_the_way_for_ours() {
    let world = World::started(Setup::default()).await;
    let alpha = world.alpha();
    // It charges nothing, and does nothing.
    let idle = Address::repeat_byte(0xe8);
    let _: Value =
        alpha.rpc().call("anvil_setCode", json!([idle, "0x5f5f5260205ff3"])).await.unwrap();
    let employ = async |executor: Address| employ(&world, executor).await;
    employ(idle).await;
    world.say("for the idle one").await;
    Packet::proven(&world, 1).await;
    employ(alpha.deployment().executor).await;
    world.say("for us").await;
    world.nodes[0].settled(1).await;
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "for us");
    assert_eq!(committed(&world).await, 2);
    let first = detail(&world, 1).await.unwrap();
    assert_ne!(first.row.standing.status, MessageStatus::Settled, "{first:?}");
}
