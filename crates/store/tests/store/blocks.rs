use crate::world::*;
use postrider_message::*;
use postrider_store::*;

#[tokio::test]
async fn r4_messages_and_cursor_move_together() {
    let world = World::new().await;
    assert_eq!(world.store.cursor(&network("alpha")).await.unwrap(), None);
    let (one, two) = (message(1), message(2));
    let recorded =
        world.store.record_blocks(sending(1, &[one.clone(), two.clone()])).await.unwrap();
    assert_eq!(recorded.new_messages, 2);
    assert_eq!(recorded.affected.len(), 2);
    let cursor = world.store.cursor(&network("alpha")).await.unwrap().unwrap();
    assert_eq!((cursor.tip, cursor.recent), (block(1), vec![block(1)]));
    assert_eq!(world.status(&one).await, MessageStatus::Verified);
    let evidence = world.store.message_evidence(&[two.id()]).await.unwrap();
    assert_eq!(evidence, [(two.id(), block(1), b"proof".to_vec())]);
}

#[tokio::test]
async fn r4_a_batch_that_fails_leaves_everything_as_it_was() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1)])).await.unwrap();
    let mut bad = sending(2, &[message(2)]);
    bad.duties.push(duty(&message(99), DutyKind::Attest));
    let error = world.store.record_blocks(bad).await.unwrap_err();
    assert!(matches!(error, StoreError::BadBatch { what: "a duty", .. }), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(world.store.cursor(&network("alpha")).await.unwrap().unwrap().tip, block(1));
    assert_eq!(world.store.message(message(2).id()).await.unwrap(), None);
}

#[tokio::test]
async fn the_cursor_is_compared_before_it_is_moved() {
    let world = World::new().await;
    world.store.record_blocks(batch("alpha", 0, 3)).await.unwrap();
    for wrong in [batch("alpha", 0, 2), batch("alpha", 2, 4)] {
        let expected_place = wrong.previous;
        match world.store.record_blocks(wrong).await.unwrap_err() {
            StoreError::CursorMoved { expected, found, .. } => {
                assert_eq!((expected, found), (expected_place, Some(block(3))));
            }
            other => panic!("{other}"),
        }
    }
    world.store.record_blocks(batch("beta", 0, 1)).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_contradicts_itself_is_refused() {
    let world = World::new().await;
    let sent = |height| fact(&message(1), Fact::Sent, "alpha", height);
    let with = |facts| BlockBatch { facts, ..batch("alpha", 5, 7) };
    let other_block = FactRecord {
        observation: Observation { block: block_of(1, 6), ..sent(6).observation },
        ..sent(6)
    };
    let mut unordered = batch("alpha", 5, 7);
    unordered.blocks.reverse();
    let without_fact = BlockBatch { facts: vec![], ..sending(1, &[message(1)]) };
    let cases = [
        (with(vec![sent(5)]), "outside"),
        (with(vec![sent(8)]), "outside"),
        (with(vec![hinted(sent(6))]), "not verified"),
        (with(vec![fact(&message(1), Fact::Sent, "beta", 6)]), "stands on beta"),
        (with(vec![other_block]), "another block"),
        (unordered, "not above"),
        (batch("alpha", 5, 5), "no block"),
        (without_fact, "without the fact"),
    ];
    for (bad, why) in cases {
        let error = world.store.record_blocks(bad).await.unwrap_err();
        assert!(matches!(error, StoreError::BadBatch { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn r4_a_batch_recorded_again_after_reopening_doubles_nothing() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let moved = DutyMove {
        duty: duty(&one, DutyKind::Attest).id(),
        from: "waiting",
        to: DutyState::Ready(Reason::AwaitingSubmission),
        not_before: None,
        count_attempt: true,
    };
    assert_eq!(world.store.move_duties(vec![moved], UnixMillis(2)).await.unwrap(), 1);
    let before = world.detail(&one).await;
    let world = world.reopen().await;
    let again = world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    assert_eq!(again, Recorded::default());
    assert_eq!(world.detail(&one).await, before);
    assert_eq!(before.duties[0].state.as_str(), "ready");
}

#[tokio::test]
async fn only_the_newest_blocks_are_kept() {
    let world = World::new().await;
    let keep = KEEP_BLOCKS as u64;
    world.store.record_blocks(batch("alpha", 0, keep + 10)).await.unwrap();
    world.store.record_blocks(batch("alpha", keep + 10, keep + 15)).await.unwrap();
    let cursor = world.store.cursor(&network("alpha")).await.unwrap().unwrap();
    assert_eq!(cursor.recent.len(), KEEP_BLOCKS);
    assert_eq!(cursor.recent[0], cursor.tip);
    assert_eq!(cursor.recent.last(), Some(&block(16)));
    let gone = world.store.unwind(&network("alpha"), Height(15), UnixMillis(1)).await;
    assert!(matches!(gone, Err(StoreError::UnknownBlock { height: Height(15), .. })));
}

#[tokio::test]
async fn a_fact_is_joined_when_its_message_comes() {
    let world = World::new().await;
    let (one, two) = (message(1), message(2));
    let mut nonce_only = fact(&one, Fact::Executed, "beta", 1);
    nonce_only.subject.payload = None;
    let mut other_payload = fact(&two, Fact::Executed, "beta", 1);
    other_payload.subject.payload = Some(PayloadHash(hash(1)));
    let early = BlockBatch { facts: vec![nonce_only, other_payload], ..batch("beta", 0, 1) };
    let recorded = world.store.record_blocks(early).await.unwrap();
    assert_eq!(recorded, Recorded::default());
    world.store.record_blocks(sending(1, &[one.clone(), two.clone()])).await.unwrap();
    let detail = world.detail(&one).await;
    assert_eq!(detail.row.standing.status, MessageStatus::Settled);
    assert_eq!(detail.row.standing.outcome, Some(Outcome::Executed));
    let learnt = detail.history.iter().filter(|e| matches!(e.event, HistoryEvent::Learnt { .. }));
    assert_eq!(learnt.count(), 2);
    assert_eq!(world.status(&two).await, MessageStatus::Verified);
}

#[tokio::test]
async fn one_log_can_assign_work_to_several() {
    let world = World::new().await;
    let one = message(1);
    let assigned = |worker: &str| Fact::Assigned {
        role: Role::Attest,
        worker: worker.into(),
        fee: "0".into(),
    };
    let mut block = sending(1, std::slice::from_ref(&one));
    block.facts.push(fact(&one, assigned("0xa"), "alpha", 1));
    block.facts.push(fact(&one, assigned("0xb"), "alpha", 1));
    world.store.record_blocks(block).await.unwrap();
    assert_eq!(world.detail(&one).await.facts.len(), 3);
}

#[tokio::test]
async fn r9_going_back_takes_back_and_names_what_was_signed() {
    let world = World::new().await;
    let (one, two, kept) = (message(1), message(2), message(3));
    world.store.record_blocks(sending(1, std::slice::from_ref(&kept))).await.unwrap();
    world.store.record_blocks(sending(2, &[one.clone(), two.clone()])).await.unwrap();
    let attest = duty(&one, DutyKind::Attest).id();
    world
        .store
        .record_transactions(vec![transaction(1, 0, vec![attest])], UnixMillis(3))
        .await
        .unwrap();

    let unwound = world.store.unwind(&network("alpha"), Height(1), UnixMillis(4)).await.unwrap();
    assert_eq!(unwound.taken_back, 2);
    assert_eq!(unwound.affected.len(), 2);
    assert_eq!(unwound.signed, [one.id()]);
    assert_eq!(world.store.cursor(&network("alpha")).await.unwrap().unwrap().tip, block(1));
    assert_eq!(world.store.message_evidence(&[one.id(), two.id()]).await.unwrap(), []);

    let signed = world.detail(&one).await;
    assert!(!signed.row.gone, "what was signed for stays in sight");
    assert_eq!(signed.row.standing.status, MessageStatus::Observed);
    assert!(signed.history.iter().any(|e| matches!(e.event, HistoryEvent::TakenBack { .. })));
    assert!(world.detail(&two).await.row.gone);
    assert!(!world.detail(&kept).await.row.gone);
    let open = world.store.open_messages(&network("beta"), UnixMillis(9), None, 100).await.unwrap();
    assert!(open.iter().all(|o| o.message == kept) && open.len() == 1);

    // The same messages in another block at the same height.
    let mut again = sending(2, std::slice::from_ref(&two));
    again.blocks = vec![block_of(1, 2)];
    again.facts[0].observation.block = block_of(1, 2);
    world.store.record_blocks(again).await.unwrap();
    assert!(!world.detail(&two).await.row.gone);
    assert_eq!(world.status(&two).await, MessageStatus::Verified);
}

#[tokio::test]
async fn r9_going_back_on_the_destination_opens_duties_again() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    world.store.record_blocks(batch("beta", 0, 1)).await.unwrap();
    let committed = fact(&one, Fact::Committed, "beta", 2);
    world.store.record_blocks(saying(2, committed)).await.unwrap();
    assert_eq!(
        world.detail(&one).await.duties[1].state,
        DutyState::NotNeeded(Reason::DoneByOthers)
    );
    world.store.unwind(&network("beta"), Height(1), UnixMillis(4)).await.unwrap();
    assert_eq!(world.detail(&one).await.duties[1].state, DutyState::Waiting(Reason::AwaitingPlan));
}

#[tokio::test]
async fn a_thousand_messages_are_one_batch() {
    let world = World::new().await;
    let messages: Vec<_> = (1..=1_000).map(message).collect();
    let recorded = world.store.record_blocks(sending(1, &messages)).await.unwrap();
    assert_eq!((recorded.new_messages, recorded.affected.len()), (1_000, 1_000));
    let open =
        world.store.open_messages(&network("beta"), UnixMillis(9), None, 1_000).await.unwrap();
    assert_eq!(open.len(), 1_000);
    assert!(open.windows(2).all(|w| w[0].message.nonce <= w[1].message.nonce));
    let executed = messages.iter().map(|m| fact(m, Fact::Executed, "beta", 1)).collect();
    let end = BlockBatch { facts: executed, ..batch("beta", 0, 1) };
    world.store.record_blocks(end).await.unwrap();
    assert_eq!(world.store.counts().await.unwrap(), [(MessageStatus::Settled, 1_000)]);
    assert_eq!(
        world.store.open_messages(&network("beta"), UnixMillis(9), None, 10).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn r4_an_operation_that_is_dropped_half_way_happens_not_at_all_or_entirely() {
    let world = World::new().await;
    let mut height = 0;
    for polls in 0..60 {
        let mut operation =
            Box::pin(world.store.record_blocks(sending(height + 1, &[message(height + 1)])));
        for _ in 0..polls {
            let once = std::time::Duration::from_micros(50);
            if tokio::time::timeout(once, &mut operation).await.is_ok() {
                break;
            }
        }
        drop(operation);
        let world = &world.store;
        // Through the writing connection, which first ends what was dropped.
        world.move_duties(vec![], UnixMillis(1)).await.unwrap();
        let cursor = world.cursor(&network("alpha")).await.unwrap();
        height = cursor.map_or(0, |c| c.tip.height.0);
        let counts = world.counts().await.unwrap();
        assert_eq!(counts.first().map_or(0, |(_, n)| *n), height);
    }
    world.store.record_blocks(sending(height + 1, &[message(height + 1)])).await.unwrap();
}
