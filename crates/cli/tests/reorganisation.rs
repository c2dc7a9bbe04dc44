//! Reorganisations before finality: a message moves, changes or disappears, and so does ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use postrider_message::{Fact, MessageStatus};
use postrider_store::Store;
use support::{Setup, World, assert_executed, rows, until};

/// R9: the block of a message that is not final yet goes away, and the message with it; the chain
/// then says something else at the same nonce, and only that is signed and delivered.
#[tokio::test(flavor = "multi_thread")]
async fn r9_a_message_that_is_reorganised_away_is_taken_back() {
    let setup = Setup { confirmations: 6, ..Setup::default() };
    let world = World::started(setup).await;
    let node = &world.nodes[0];
    world.say("this will not have been").await;
    let store = node.store().await;
    until("the message is seen", node, || async { !rows(&store).await.is_empty() }).await;
    let gone = rows(&store).await.remove(0);
    assert_eq!(gone.standing.status, MessageStatus::Observed);

    let height = world.alpha().rpc().block_number().await.unwrap();
    let sent = store.message(gone.id).await.unwrap().unwrap().facts.remove(0);
    let depth = height - sent.observation.block.height.0 + 1;
    world.alpha().rpc().reorg(depth).await.unwrap();
    world.say("this is what was said").await;

    assert_executed(&node.settled(1).await, 1);
    assert_eq!(world.beta().apps().read_mock_data().await.unwrap(), "this is what was said");
    let detail = store.message(gone.id).await.unwrap().unwrap();
    assert!(detail.row.gone, "the first message is gone");
    assert!(!detail.facts.iter().any(|r| matches!(r.fact, Fact::Sent)));
    assert!(detail.duties.is_empty(), "nothing was owed for it");
}

/// R9: the same message in another block is the same message, and is delivered once.
#[tokio::test(flavor = "multi_thread")]
async fn r9_a_message_that_moves_to_another_block_is_delivered_once() {
    let setup = Setup { confirmations: 6, ..Setup::default() };
    let world = World::started(setup).await;
    let node = &world.nodes[0];
    world.say("still here").await;
    let store = node.store().await;
    until("the message is seen", node, || async { !rows(&store).await.is_empty() }).await;
    let first = rows(&store).await.remove(0);
    let sent = store.message(first.id).await.unwrap().unwrap().facts.remove(0);

    let height = world.alpha().rpc().block_number().await.unwrap();
    let depth = height - sent.observation.block.height.0 + 1;
    world.alpha().rpc().reorg(depth).await.unwrap();
    // The sender says it again, in a block of the new chain, with the same nonce and text.
    world.say("still here").await;
    let all = node.settled(1).await;
    assert_executed(&all, 1);
    assert_eq!(all[0].id, first.id);
    let detail = store.message(first.id).await.unwrap().unwrap();
    let now = detail.facts.iter().find(|r| matches!(r.fact, Fact::Sent)).unwrap();
    assert_ne!(now.observation.block, sent.observation.block, "it stands in another block");
}
