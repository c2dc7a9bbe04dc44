//! Reorganisations before finality: a message moves, changes or disappears, and so does ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use postrider_message::{AlarmKind, Fact, MessageStatus};
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

/// R9, class (g): a block that was final for us is replaced after we had signed for a message in
/// it. What came from it is taken back, and that it was signed is an alarm.
#[tokio::test(flavor = "multi_thread")]
async fn r9_g_a_signed_message_that_is_reorganised_is_an_alarm() {
    let world = World::started(Setup::default()).await;
    let node = &world.nodes[0];
    world.say("signed for").await;
    let all = node.settled(1).await;
    let store = node.store().await;
    let sent = store.message(all[0].id).await.unwrap().unwrap().facts.remove(0);

    let height = world.alpha().rpc().block_number().await.unwrap();
    let depth = height - sent.observation.block.height.0 + 1;
    world.alpha().rpc().reorg(depth).await.unwrap();
    until("the alarm is raised", node, || async {
        let alarms = store.alarms(50).await.unwrap();
        alarms
            .iter()
            .any(|a| a.kind == AlarmKind::SignedThenReorganised && a.message == Some(all[0].id))
    })
    .await;
    let detail = store.message(all[0].id).await.unwrap().unwrap();
    assert!(!detail.facts.iter().any(|r| matches!(r.fact, Fact::Sent)), "{detail:?}");
    assert_ne!(detail.row.standing.status, MessageStatus::Settled);

    // What was delivered at that nonce is not what the source says now: the new message is neither
    // taken for delivered nor attested, although its nonce was executed.
    world.say("another text").await;
    until("the new message is proven", node, || async {
        rows(&store)
            .await
            .iter()
            .any(|row| row.id != all[0].id && row.standing.status == MessageStatus::Verified)
    })
    .await;
    let height = world.beta().rpc().block_number().await.unwrap();
    until("beta has gone on", node, || async {
        world.beta().rpc().block_number().await.unwrap() > height + 4
    })
    .await;
    let new = rows(&store).await.into_iter().find(|row| row.id != all[0].id).unwrap();
    assert_eq!(new.standing.status, MessageStatus::Verified, "{new:?}");
    assert_eq!(new.standing.outcome, None);
}
