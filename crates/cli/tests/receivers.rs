//! Receivers that do their worst, with messages brought one by one and many in one transaction: each
//! keeps its own message back, says why, and takes nothing from the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod support;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{Revert, SolCall, SolError};
use postrider_devnet::layerzero::{DEPLOYER, abi::IOApp};
use postrider_layerzero::{contracts::OApp, wire::OptionsBuilder};
use postrider_message::{MessageStatus, reason::MAX_DETAIL_BYTES};
use serde_json::{Value, json};
use support::{Setup, World, actor::act, rows, until};

/// How many messages fail before one that does not.
const FAILING: u64 = 30;

/// Code of a contract that opens every lane, and when it is given a message, goes on with `then`. All
/// else it answers with nothing, in 32 bytes.
fn receiver(then: &[u8], data: &[u8]) -> Bytes {
    let mut code = vec![0x5f, 0x35, 0x60, 0xe0, 0x1c]; // the selector
    let mut jumps = Vec::new();
    for selector in [OApp::lzReceiveCall::SELECTOR, OApp::allowInitializePathCall::SELECTOR] {
        code.extend([0x80, 0x63]); // DUP1 PUSH4
        code.extend(selector);
        code.extend([0x14, 0x60, 0x00, 0x57]); // EQ PUSH1 JUMPI
        jumps.push(code.len() - 2);
    }
    code.extend([0x60, 0x20, 0x5f, 0xf3]); // return 32 bytes of nothing
    code[jumps[1]] = u8::try_from(code.len()).unwrap();
    code.extend([0x5b, 0x60, 0x01, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]); // return 1
    code[jumps[0]] = u8::try_from(code.len()).unwrap();
    code.push(0x5b);
    code.extend(then);
    code.extend(data);
    code.into()
}

/// Reverts with a text.
fn reverting() -> Bytes {
    let reason = Revert::from("no, thank you").abi_encode();
    let size = u8::try_from(reason.len()).unwrap();
    let at = |start: usize| {
        let start = u8::try_from(start).unwrap();
        // CODECOPY, REVERT.
        receiver(&[0x60, size, 0x60, start, 0x5f, 0x39, 0x60, size, 0x5f, 0xfd], &reason)
    };
    at(at(0).len() - reason.len())
}

/// Never ends.
fn looping() -> Bytes {
    let at = u8::try_from(receiver(&[], &[]).len()).unwrap();
    receiver(&[0x5b, 0x60, at, 0x56], &[])
}

/// Reverts with a megabyte.
fn megabyte() -> Bytes {
    receiver(&[0x62, 0x10, 0x00, 0x00, 0x5f, 0xfd], &[])
}

async fn hostile_receivers(batched: bool) {
    let mut world = World::new(Setup::default()).await;
    if batched {
        world.deploy_batches().await;
    }
    let (alpha, beta) = (world.alpha(), world.beta());
    let (eid, oapp) = (beta.deployment().eid, alpha.deployment().oapp_mock);
    let options = |gas| OptionsBuilder::new().lz_receive(gas, 0).build().unwrap();
    let peer = async |address: Address| {
        let call = IOApp::setPeerCall { eid, peer: address.into_word() };
        act(alpha, DEPLOYER, oapp, &call).await;
    };
    let hostile = [(0xe1, reverting()), (0xe2, looping()), (0xe3, megabyte())];
    for (byte, code) in hostile {
        let address = Address::repeat_byte(byte);
        let set = json!([address, code]);
        let _: Value = beta.rpc().call("anvil_setCode", set).await.unwrap();
        peer(address).await;
        for text in ["one", "two"] {
            // Enough to make a megabyte of memory, and to hand it on.
            let sent = alpha.apps().send_mock(eid, text, &options(8_000_000)).await.unwrap();
            alpha.rpc().wait_receipt(sent, support::PATIENCE).await.unwrap();
        }
    }
    peer(beta.deployment().oapp_mock).await;
    let long = "starved ".repeat(40);
    alpha.apps().send_mock_burst(eid, &long, FAILING, &options(1)).await.unwrap();
    until("all failing ones are sent", &world.nodes[0], async || {
        alpha.apps().sent_by_mock(beta.deployment()).await.unwrap() == FAILING
    })
    .await;
    world.say("fed").await;
    world.node().start();

    let node = &world.nodes[0];
    node.settled(1).await;
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "fed");
    let store = node.store().await;
    let count = usize::try_from(FAILING).unwrap() + 6;
    until("every other message says what its receiver did", node, || async {
        let all = rows(&store).await;
        let refused = all.iter().filter(|row| {
            row.standing.reason.as_ref().is_some_and(|r| r.code() == "receiver_reverted")
        });
        refused.count() == count
    })
    .await;
    let mut said = Vec::new();
    for row in rows(&store).await {
        let detail = row.standing.reason.map(|reason| reason.to_string()).unwrap_or_default();
        assert!(detail.len() < MAX_DETAIL_BYTES + 100, "{detail}");
        if row.standing.status == MessageStatus::Settled {
            assert_eq!(row.nonce.0, FAILING + 1);
        }
        said.push(detail);
    }
    let says = |text: &str| said.iter().filter(|detail| detail.contains(text)).count();
    assert_eq!(says("no, thank you"), 2, "{said:?}");
    assert_eq!(says("0x00000000"), 2, "{said:?}");
}

/// R6, class (r): a receiver that reverts, one that never ends, one that returns a megabyte, and
/// thirty messages in a row that fail before one that does not.
#[tokio::test(flavor = "multi_thread")]
async fn r6_r_hostile_receivers_one_by_one() {
    hostile_receivers(false).await;
}

/// The same with the contract that delivers many at once.
#[tokio::test(flavor = "multi_thread")]
async fn r6_r_hostile_receivers_in_a_batch() {
    hostile_receivers(true).await;
}

/// Takes a message only where the one who pays for the transaction is a contract, which a rehearsal can be and
/// no chain.
fn two_faced() -> Bytes {
    let at = u8::try_from(receiver(&[], &[]).len() + 8).unwrap();
    // ORIGIN EXTCODESIZE PUSH1 JUMPI, revert with nothing, JUMPDEST STOP.
    receiver(&[0x32, 0x3b, 0x60, at, 0x57, 0x5f, 0x5f, 0xfd, 0x5b, 0x00], &[])
}

/// Class (q): a receiver that takes a message in rehearsal and refuses it on the chain has its native drop
/// paid once, however often it is tried; and when it is mended, the next try on the schedule succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn q_native_drops_are_paid_once_and_what_was_refused_is_tried_again() {
    let mut world = World::new(Setup::default()).await;
    let (alpha, beta) = (world.alpha(), world.beta());
    let (eid, oapp) = (beta.deployment().eid, alpha.deployment().oapp_mock);
    let (address, account) = (Address::repeat_byte(0xe4), Address::repeat_byte(0x77));
    let set_code = async |code: Bytes| {
        let set = json!([address, code]);
        let _: Value = beta.rpc().call("anvil_setCode", set).await.unwrap();
    };
    set_code(two_faced()).await;
    let call = IOApp::setPeerCall { eid, peer: address.into_word() };
    act(alpha, DEPLOYER, oapp, &call).await;
    let options =
        OptionsBuilder::new().lz_receive(200_000, 0).native_drop(12_345, account.into()).build();
    let sent = alpha.apps().send_mock(eid, "with a drop", &options.unwrap()).await.unwrap();
    alpha.rpc().wait_receipt(sent, support::PATIENCE).await.unwrap();
    world.node().start();

    let (node, beta) = (&world.nodes[0], world.beta());
    let failures = async || {
        let details = node.details().await;
        let failed = |kind: &str| kind == "execution_failed";
        details.iter().flat_map(|d| &d.facts).filter(|r| failed(r.fact.kind())).count()
    };
    until("it is refused on the chain three times", node, async || failures().await >= 3).await;
    let has = async || beta.rpc().balance(account).await.unwrap();
    assert_eq!(has().await, U256::from(12_345), "paid once");
    let set = json!([address, receiver(&[0x00], &[])]);
    let _: Value = beta.rpc().call("anvil_setCode", set).await.unwrap();
    let rows = node.settled(1).await;
    support::assert_executed(&rows, 1);
    assert_eq!(has().await, U256::from(12_345), "paid once");
}
