use crate::world::*;
use alloy_primitives::Bytes;
use postrider_message::*;
use postrider_store::*;

fn sent_hint(about: &Message, height: u64) -> HintBatch {
    HintBatch {
        messages: vec![about.clone()],
        ..hints("alpha", (1, 10), vec![hinted(fact(about, Fact::Sent, "alpha", height))])
    }
}

#[tokio::test]
async fn a_hint_shows_and_proof_replaces_it() {
    let world = World::new().await;
    let one = message(1);
    let mut lying = sent_hint(&one, 1);
    lying.messages[0].options = Bytes::from_static(b"lies");
    assert_eq!(lying.messages[0].id(), one.id());
    assert_eq!(world.store.record_hints(lying).await.unwrap().new_messages, 1);
    assert_eq!(world.status(&one).await, MessageStatus::Observed);
    assert_eq!(world.store.cursor(&network("alpha")).await.unwrap(), None);

    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let detail = world.detail(&one).await;
    assert_eq!(detail.message, one, "proof overwrites what a hint said");
    assert_eq!(detail.row.standing.status, MessageStatus::Verified);
    assert_eq!(detail.facts.len(), 1);
    assert_eq!(detail.facts[0].certainty, Certainty::Verified);

    // A hint never changes what is proven, nor what lies behind the cursor.
    world.store.record_hints(sent_hint(&one, 1)).await.unwrap();
    world.store.record_hints(hints("alpha", (1, 10), vec![])).await.unwrap();
    assert_eq!(world.detail(&one).await, detail);
}

#[tokio::test]
async fn r1_a_hint_opens_no_duty_and_ends_none() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_hints(sent_hint(&one, 5)).await.unwrap();
    let owed = BlockBatch { duties: vec![duty(&one, DutyKind::Attest)], ..batch("beta", 0, 1) };
    world.store.record_blocks(owed).await.unwrap();
    assert_eq!(
        world.store.open_messages(&network("beta"), UnixMillis(9), None, 10).await.unwrap(),
        []
    );
    let attested = hinted(fact(&one, attested(OURS), "beta", 2));
    world.store.record_hints(hints("beta", (2, 2), vec![attested])).await.unwrap();
    assert!(world.detail(&one).await.duties[0].state.is_open());
}

#[tokio::test]
async fn hints_of_the_same_heights_are_replaced() {
    let world = World::new().await;
    let (one, two) = (message(1), message(2));
    world.store.record_hints(sent_hint(&one, 5)).await.unwrap();
    let before = world.detail(&one).await;
    let same = world.store.record_hints(sent_hint(&one, 5)).await.unwrap();
    assert_eq!(same, Recorded::default());
    assert_eq!(world.detail(&one).await, before);

    world.store.record_hints(sent_hint(&two, 5)).await.unwrap();
    let gone = world.detail(&one).await;
    assert!(gone.row.gone && gone.facts.is_empty());
    assert!(gone.history.iter().any(|e| matches!(e.event, HistoryEvent::TakenBack { .. })));
    let listed = world.store.messages(MessageFilter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|r| r.id).collect::<Vec<_>>(), [two.id()]);
    let all = MessageFilter { include_gone: true, ..MessageFilter::default() };
    assert_eq!(world.store.messages(all).await.unwrap().len(), 2);

    world.store.record_hints(hints("alpha", (6, 9), vec![])).await.unwrap();
    assert!(!world.detail(&two).await.row.gone, "other heights are not touched");
}

#[tokio::test]
async fn r9_a_hint_that_was_not_proven_goes_when_the_cursor_passes() {
    let world = World::new().await;
    let (one, later) = (message(1), message(2));
    let mut seen = sent_hint(&one, 2);
    seen.messages.push(later.clone());
    seen.facts.push(hinted(fact(&later, Fact::Sent, "alpha", 8)));
    world.store.record_hints(seen).await.unwrap();
    let recorded = world.store.record_blocks(batch("alpha", 0, 3)).await.unwrap();
    assert_eq!(recorded.affected, [one.id()]);
    assert!(world.detail(&one).await.row.gone);
    assert!(!world.detail(&later).await.row.gone);
}

#[tokio::test]
async fn hints_that_contradict_themselves_are_refused() {
    let world = World::new().await;
    let sent = fact(&message(1), Fact::Sent, "alpha", 5);
    let cases = [
        hints("alpha", (1, 10), vec![sent.clone()]),
        hints("alpha", (6, 10), vec![hinted(sent.clone())]),
        hints("beta", (1, 10), vec![hinted(sent)]),
    ];
    for bad in cases {
        let error = world.store.record_hints(bad).await.unwrap_err();
        assert!(matches!(error, StoreError::BadBatch { what: "hints", .. }), "{error}");
    }
}

#[tokio::test]
async fn when_a_fact_was_first_learnt_stays() {
    let world = World::new().await;
    let one = message(1);
    let mut early = sent_hint(&one, 1);
    early.facts[0].at = UnixMillis(7);
    world.store.record_hints(early).await.unwrap();
    let mut proven = sending(1, std::slice::from_ref(&one));
    proven.facts[0].at = UnixMillis(70);
    world.store.record_blocks(proven).await.unwrap();
    assert_eq!(world.detail(&one).await.facts[0].at, UnixMillis(7));
}
