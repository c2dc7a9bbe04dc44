//! Transactions on a real chain.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod common;

use common::{BLOCKS, fee, key, more_blocks, plan, start, upstream};
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
    Account, CheckTx, SignedTx, Simulation, SimulationFailure, TxBuilder, TxInclusion, Upstream,
    tx::any,
};
use postrider_devnet::{CosmosChain, CosmosPlan};
use postrider_message::{Height, TxHash};
use postrider_signing::CosmosKey;

struct Payer {
    key: CosmosKey,
    address: String,
    account: Account,
}

async fn payer(chain: &CosmosChain, node: &Upstream, name: &str) -> Payer {
    let account = chain.account(name).unwrap();
    let key = key(account);
    let address = key.address(&"cosmos".parse().unwrap());
    assert_eq!(address, account.address());
    let account = node.account(&address).await.unwrap().unwrap();
    Payer { key, address, account }
}

fn send(from: &str, to: &str, amount: u128) -> Any {
    let amount = vec![Coin { denom: "token".into(), amount: amount.to_string() }];
    any(&MsgSend { from_address: from.into(), to_address: to.into(), amount })
}

fn builder(chain: &CosmosChain, messages: Vec<Any>) -> TxBuilder {
    TxBuilder::new(chain.chain_id().parse().unwrap(), messages)
}

impl Payer {
    fn sign(&self, tx: &TxBuilder, sequence: u64, gas: u64) -> SignedTx {
        tx.sign(&self.key, Account { sequence, ..self.account }, &fee(gas)).unwrap()
    }
}

/// Waits until a transaction is in a block.
async fn included(chain: &CosmosChain, node: &Upstream, hash: TxHash) -> TxInclusion {
    let start = chain.rpc().height().await.unwrap();
    for height in start..start + 40 {
        if let Some(found) = node.tx(hash).await.unwrap() {
            return found;
        }
        chain.rpc().wait_for_height(height + 1, BLOCKS).await.unwrap();
    }
    panic!("{hash} is in none of 40 blocks");
}

#[tokio::test]
async fn transactions_of_one_account_go_out_together_and_refusals_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let plan = CosmosPlan { min_gas_price: "0.01stake".to_owned(), ..plan("send-1", &folder) };
    let chain = start(&plan).await;
    let node = upstream("node", "send-1", chain.rpc().url());
    more_blocks(&chain, 1).await;
    let alice = payer(&chain, &node, "alice").await;
    let bob = chain.account("bob").unwrap().address().to_owned();
    let tx = builder(&chain, vec![send(&alice.address, &bob, 5)]).memo("hello");
    let next = alice.account.sequence;

    let simulated = tx.to_simulate(&alice.key, next, &fee(0));
    let Simulation::GasUsed(gas) = node.simulate(&simulated).await.unwrap() else {
        panic!("fails")
    };
    assert!((30_000..300_000).contains(&gas), "{gas}");
    let poor =
        builder(&chain, vec![send(&alice.address, &bob, 1), send(&alice.address, &bob, 1 << 70)]);
    let failing = node.simulate(&poor.to_simulate(&alice.key, next, &fee(0))).await.unwrap();
    let Simulation::Fails(SimulationFailure::Message { index: 1, log }) = failing else {
        panic!("{failing:?}")
    };
    assert!(log.to_string().contains("insufficient funds"), "{log}");
    let ahead = node.simulate(&tx.to_simulate(&alice.key, next + 4, &fee(0))).await.unwrap();
    let mismatch = SimulationFailure::SequenceMismatch { expected: next, got: next + 4 };
    assert_eq!(ahead, Simulation::Fails(mismatch));

    // More than one batch of ten, in order.
    let gas = gas * 2;
    let signed: Vec<_> = (next..next + 25).map(|s| alice.sign(&tx, s, gas)).collect();
    let bytes: Vec<&[u8]> = signed.iter().map(|tx| tx.bytes.as_slice()).collect();
    let outcomes = node.broadcast_all(&bytes).await.unwrap();
    let accepted: Vec<_> = signed.iter().map(|tx| CheckTx::Accepted(tx.hash)).collect();
    assert_eq!(outcomes, accepted);
    assert_eq!(node.broadcast(bytes[0]).await.unwrap(), CheckTx::InCache);
    let gap = alice.sign(&tx, next + 30, gas);
    let mismatch = CheckTx::SequenceMismatch { expected: Some(next + 25), got: Some(next + 30) };
    assert_eq!(node.broadcast(&gap.bytes).await.unwrap(), mismatch);
    let last = included(&chain, &node, signed[24].hash).await;
    assert!(last.result.succeeded(), "{last:?}");
    assert_eq!(node.account(&alice.address).await.unwrap().unwrap().sequence, next + 25);
    assert_eq!(node.balance(&bob, "token").await.unwrap(), 1_000_000_000_125);

    // The block tells of it without the index.
    let block = node.block_transactions(last.height).await.unwrap().known().unwrap();
    let place = block.hashes.iter().position(|hash| *hash == last.hash).unwrap();
    let told = node.block_events(&[last.height]).await.unwrap().remove(0).known().unwrap();
    assert_eq!(
        (told.transactions[place].clone(), place),
        (last.result.clone(), last.index as usize)
    );
    let sequence = format!("{}/{}", alice.address, next + 24);
    let has_sequence = told.transactions[place]
        .events
        .iter()
        .any(|event| event.kind == "tx" && event.attribute("acc_seq") == Some(sequence.as_str()));
    assert!(has_sequence);
    let page = node.tx_search(&format!("message.sender='{}'", alice.address), 1).await.unwrap();
    assert_eq!((page.total, page.transactions.len()), (25, 25));
    assert_eq!(node.tx(TxHash(alloy_primitives::B256::ZERO)).await.unwrap(), None);

    let cheap = tx.sign(
        &alice.key,
        Account { sequence: next + 25, ..alice.account },
        &postrider_cosmos::Fee { amount: alloy_primitives::U256::from(1), ..fee(gas) },
    );
    let refused = node.broadcast(&cheap.unwrap().bytes).await.unwrap();
    assert!(matches!(refused, CheckTx::InsufficientFee(_)), "{refused:?}");
    let late = tx.clone().timeout_height(Height(1));
    let refused = node.broadcast(&alice.sign(&late, next + 25, gas).bytes).await.unwrap();
    assert!(matches!(refused, CheckTx::Other { code: 30, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_transaction_beyond_the_bounds_of_a_node_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let chain = start(&plan("large-1", &folder)).await;
    let node = upstream("node", "large-1", chain.rpc().url());
    more_blocks(&chain, 1).await;
    let alice = payer(&chain, &node, "alice").await;
    let one = send(&alice.address, &alice.address, 1);
    // Beyond the body that the node takes: no transaction of it goes out.
    let huge = builder(&chain, vec![one.clone(); 10_000]);
    let huge = alice.sign(&huge, alice.account.sequence, 40_000_000);
    let refused = node.broadcast(&huge.bytes).await;
    assert!(matches!(refused, Ok(CheckTx::TooLarge(_))), "{refused:?}");
    let simulated = node.simulate(&huge.bytes).await.unwrap();
    assert_eq!(simulated, Simulation::Fails(SimulationFailure::TooLarge));
    assert!(node.is_usable(), "that is no fault of the node");
    // Two that only together are beyond it are handed in one after the other.
    let large = builder(&chain, vec![one; 3_000]);
    let both = [0, 1].map(|n| alice.sign(&large, alice.account.sequence + n, 49_000_000));
    assert!(both[0].bytes.len() > 400_000);
    let outcomes =
        node.broadcast_all(&both.each_ref().map(|tx| tx.bytes.as_slice())).await.unwrap();
    assert_eq!(outcomes, both.each_ref().map(|tx| CheckTx::Accepted(tx.hash)));
}

#[tokio::test]
async fn others_pay_and_authorize() {
    let folder = tempfile::tempdir().unwrap();
    let plan = CosmosPlan { min_gas_price: "0.01stake".to_owned(), ..plan("grants-1", &folder) };
    let chain = start(&plan).await;
    let node = upstream("node", "grants-1", chain.rpc().url());
    more_blocks(&chain, 1).await;
    let (alice, bob) = (payer(&chain, &node, "alice").await, payer(&chain, &node, "bob").await);
    let (granter, grantee) = (bob.address.clone(), alice.address.clone());
    let allowance = any(&MsgGrantAllowance {
        granter: granter.clone(),
        grantee: grantee.clone(),
        allowance: Some(any(&BasicAllowance::default())),
    });
    let authorization = GenericAuthorization { msg: "/cosmos.bank.v1beta1.MsgSend".into() };
    let grant = any(&MsgGrant {
        granter: granter.clone(),
        grantee: grantee.clone(),
        grant: Some(Grant { authorization: Some(any(&authorization)), expiration: None }),
    });
    let grants = bob.sign(&builder(&chain, vec![allowance, grant]), bob.account.sequence, 300_000);
    assert_eq!(node.broadcast(&grants.bytes).await.unwrap(), CheckTx::Accepted(grants.hash));
    let granted = included(&chain, &node, grants.hash).await.result;
    assert!(granted.succeeded(), "{granted:?}");

    let had = node.balance(&grantee, "stake").await.unwrap();
    let paid = builder(&chain, vec![send(&granter, &grantee, 7)])
        .authorized(&grantee)
        .fee_granter(&granter);
    let paid = alice.sign(&paid, alice.account.sequence, 300_000);
    assert_eq!(node.broadcast(&paid.bytes).await.unwrap(), CheckTx::Accepted(paid.hash));
    let result = included(&chain, &node, paid.hash).await.result;
    assert!(result.succeeded(), "{result:?}");
    assert_eq!(node.balance(&grantee, "token").await.unwrap(), 1_000_000_000_007);
    assert_eq!(node.balance(&grantee, "stake").await.unwrap(), had, "the granter paid");
}
