use crate::world::*;
use postrider_message::*;
use postrider_store::*;

async fn handed_out(world: &World) -> Vec<(MessageNonce, DutyKind)> {
    let open =
        world.store.open_messages(&network("beta"), UnixMillis(1_000), None, 100).await.unwrap();
    open.into_iter()
        .flat_map(|o| o.duties.into_iter().map(move |d| (o.message.nonce, d)))
        .filter(|(_, d)| d.not_before <= UnixMillis(1_000))
        .filter(|(_, d)| matches!(d.state, DutyState::Waiting(_) | DutyState::Ready(_)))
        .map(|(nonce, d)| (nonce, d.kind))
        .collect()
}

fn codes(detail: &MessageDetail) -> Vec<&'static str> {
    detail.duties.iter().map(|d| d.state.reason().map_or("done", Reason::code)).collect()
}

fn reason(detail: &MessageDetail) -> &'static str {
    detail.row.standing.reason.as_ref().map_or("none", Reason::code)
}

/// A process beside the one that runs: it may decide, and nothing else.
async fn operator(world: &World) -> SqliteStore {
    SqliteStore::open_for_steering(world.store.path()).await.unwrap()
}

#[tokio::test]
async fn r6_a_paused_lane_hands_out_nothing_and_others_go_on() {
    let world = World::new().await;
    let (one, other) = (message(1), message_on("other", 2));
    world.store.record_blocks(sending(1, &[one.clone(), other.clone()])).await.unwrap();
    let operator = operator(&world).await;
    let lane = one.lane.id();
    assert!(operator.pause_lane(lane, UnixMillis(5)).await.unwrap());
    assert!(!operator.pause_lane(lane, UnixMillis(6)).await.unwrap(), "it is paused already");

    let rest = handed_out(&world).await;
    assert!(rest.iter().all(|(nonce, _)| *nonce == other.nonce) && rest.len() == 2, "{rest:?}");
    let detail = world.detail(&one).await;
    assert_eq!(
        (detail.row.standing.status, reason(&detail)),
        (MessageStatus::Verified, "lane_paused")
    );
    assert_eq!(codes(&detail), ["lane_paused", "lane_paused"]);
    assert_eq!(reason(&world.detail(&other).await), "awaiting_plan");
    // What is sent while it is paused waits as well.
    world.store.record_blocks(sending(2, &[message(3)])).await.unwrap();
    assert_eq!(reason(&world.detail(&message(3)).await), "lane_paused");
    assert_eq!(handed_out(&world).await.len(), 2);

    assert!(operator.resume_lane(lane, UnixMillis(7)).await.unwrap());
    assert!(!operator.resume_lane(lane, UnixMillis(8)).await.unwrap());
    assert_eq!(handed_out(&world).await.len(), 6);
    assert_eq!(reason(&world.detail(&one).await), "awaiting_plan");
    let history = world.store.lane_history(lane, 10).await.unwrap();
    let expected = [(7, LaneEvent::Resumed), (5, LaneEvent::Paused)];
    assert_eq!(history, expected.map(|(at, event)| LaneEntry { at: UnixMillis(at), event }));
}

#[tokio::test]
async fn r4_what_was_decided_survives_a_restart() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1), message_on("other", 1)])).await.unwrap();
    world.store.pause_lane(lane("app").id(), UnixMillis(5)).await.unwrap();
    let held = message_on("other", 1).id();
    world.store.hold_message(held, "x".into(), UnixMillis(5)).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(handed_out(&world).await, []);
}

#[tokio::test]
async fn a_held_message_stands_until_it_is_released() {
    let world = World::new().await;
    let (one, two) = (message(1), message(2));
    world.store.record_blocks(sending(1, &[one.clone(), two.clone()])).await.unwrap();
    let operator = operator(&world).await;
    let hold = async |because: &str| {
        operator.hold_message(one.id(), because.into(), UnixMillis(5)).await.unwrap()
    };
    assert!(hold("asked for").await);
    assert!(!hold("asked for").await, "nothing changes");
    assert!(hold("for another reason").await);
    let detail = world.detail(&one).await;
    assert_eq!(
        (detail.row.standing.status, reason(&detail)),
        (MessageStatus::Held, "held_by_operator")
    );
    assert_eq!(codes(&detail), ["held_by_operator", "held_by_operator"]);
    assert!(detail.duties.iter().all(|d| !d.state.is_open()));
    let filter = MessageFilter { status: Some(MessageStatus::Held), ..MessageFilter::default() };
    assert_eq!(world.store.messages(filter).await.unwrap().len(), 1);
    assert!(handed_out(&world).await.iter().all(|(nonce, _)| *nonce == two.nonce));

    assert!(operator.release_message(one.id(), UnixMillis(6)).await.unwrap());
    assert!(!operator.release_message(one.id(), UnixMillis(7)).await.unwrap());
    assert_eq!(handed_out(&world).await.len(), 4);
    let after = world.detail(&one).await;
    assert_eq!(
        (world.status(&one).await, reason(&after)),
        (MessageStatus::Verified, "awaiting_plan")
    );
    let decided: Vec<_> = after
        .history
        .iter()
        .filter(|e| matches!(e.event, HistoryEvent::Held { .. } | HistoryEvent::Released))
        .map(|e| e.at.0)
        .collect();
    assert_eq!(decided, [5, 5, 6]);
}

#[tokio::test]
async fn what_was_broadcast_is_followed_under_pause_and_hold() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let attest = duty(&one, DutyKind::Attest).id();
    world
        .store
        .record_transactions(vec![transaction(1, 0, vec![attest])], UnixMillis(2))
        .await
        .unwrap();
    world.store.pause_lane(one.lane.id(), UnixMillis(3)).await.unwrap();
    assert_eq!(reason(&world.detail(&one).await), "awaiting_inclusion");
    world.store.hold_message(one.id(), "x".into(), UnixMillis(3)).await.unwrap();
    assert_eq!(handed_out(&world).await, []);
    assert_eq!(codes(&world.detail(&one).await), ["awaiting_inclusion", "held_by_operator"]);
    assert_eq!(world.store.in_flight(&network("beta"), "0xsigner").await.unwrap().len(), 1);
    // Given up, it is not planned anew.
    world.store.transaction_dropped(tx(1), "lost".into(), UnixMillis(4)).await.unwrap();
    assert_eq!(handed_out(&world).await, []);
    // It arrives all the same: a hold stops nobody else.
    let done = saying(1, fact(&one, Fact::Executed, "beta", 1));
    world.store.record_blocks(BlockBatch { previous: None, ..done }).await.unwrap();
    assert_eq!(world.status(&one).await, MessageStatus::Settled);
    let ended = world.store.hold_message(one.id(), "y".into(), UnixMillis(9)).await.unwrap_err();
    assert!(matches!(ended, StoreError::HasEnded { .. }), "{ended}");
    assert_eq!(world.store.tally().await.unwrap().held_messages, 0);
}

#[tokio::test]
async fn a_retry_is_due_at_once_and_leaves_what_others_hold() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let refused = || Reason::SimulationFailed { detail: "x".into() };
    let shift = |kind, to, not_before| DutyMove {
        duty: duty(&one, kind).id(),
        from: "waiting",
        to,
        not_before,
        count_attempt: true,
    };
    let late = Some(UnixMillis(1_000_000));
    let moves = vec![
        shift(DutyKind::Attest, DutyState::Waiting(refused()), late),
        shift(DutyKind::Commit, DutyState::Held(Reason::LaneNotInitialised), None),
    ];
    world.store.move_duties(moves, UnixMillis(2)).await.unwrap();
    world.store.hold_message(one.id(), "x".into(), UnixMillis(3)).await.unwrap();
    assert_eq!(handed_out(&world).await, []);

    let retried = operator(&world).await.retry_message(one.id(), UnixMillis(4)).await.unwrap();
    assert_eq!((retried.duties, retried.released, retried.left.len()), (1, true, 1));
    assert_eq!(handed_out(&world).await, [(one.nonce, DutyKind::Attest)]);
    let detail = world.detail(&one).await;
    assert_eq!(codes(&detail), ["awaiting_plan", "lane_not_initialised"]);
    assert_eq!(detail.duties[0].attempts, 1, "how often it was tried is not forgotten");
    assert!(detail.history.iter().any(|e| e.event == HistoryEvent::Retried));
}

#[tokio::test]
async fn what_does_not_exist_cannot_be_steered() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1)])).await.unwrap();
    let nothing = message_on("none", 9);
    let at = UnixMillis(1);
    let error = world.store.pause_lane(nothing.lane.id(), at).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownLane { .. }), "{error}");
    let error = world.store.resume_lane(nothing.lane.id(), at).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownLane { .. }), "{error}");
    for error in [
        world.store.hold_message(nothing.id(), "x".into(), at).await.unwrap_err(),
        world.store.release_message(nothing.id(), at).await.unwrap_err(),
        world.store.retry_message(nothing.id(), at).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::UnknownMessage { .. }), "{error}");
    }
}

#[tokio::test]
async fn r4_who_steers_writes_nothing_else() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1)])).await.unwrap();
    let operator = operator(&world).await;
    let refused = operator.record_blocks(sending(2, &[message(2)])).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
    let refused = operator.check_writable(UnixMillis(1)).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
    world.store.check_writable(UnixMillis(1)).await.unwrap();
    let missing = SqliteStore::open_for_steering(world.folder.path().join("none.db")).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn decisions_and_recording_do_not_wait_for_each_other_forever() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1)])).await.unwrap();
    let operator = operator(&world).await;
    let record = async {
        for height in 2..=20 {
            world.store.record_blocks(sending(height, &[message(height)])).await.unwrap();
        }
    };
    let decide = async {
        for at in 0..10 {
            operator.pause_lane(lane("app").id(), UnixMillis(at)).await.unwrap();
            operator.resume_lane(lane("app").id(), UnixMillis(at)).await.unwrap();
        }
    };
    tokio::join!(record, decide);
    assert_eq!(handed_out(&world).await.len(), 40);
    assert_eq!(world.store.lane_history(lane("app").id(), 0).await.unwrap().len(), 20);
}

#[tokio::test]
async fn lanes_are_found_by_what_a_person_calls_them() {
    let world = World::new().await;
    assert_eq!(world.store.find_lanes("alpha").await.unwrap(), FoundLanes::None(vec![]));
    let all = [message_on("app", 1), message_on("app-two", 1), message_on("other", 1)];
    world.store.record_blocks(sending(1, &all)).await.unwrap();
    let find = async |text: &str| world.store.find_lanes(text).await.unwrap();
    assert_eq!(find("other").await, FoundLanes::One(lane("other")));
    assert_eq!(find(&lane("app").id().to_string()).await, FoundLanes::One(lane("app")));
    assert_eq!(find(&lane("app").to_string()).await, FoundLanes::One(lane("app")));
    assert_eq!(find("app").await, FoundLanes::Many(vec![lane("app"), lane("app-two")]));
    assert_eq!(
        find("alpha->beta").await,
        FoundLanes::Many(vec![lane("app"), lane("app-two"), lane("other")])
    );
    for text in ["beta->alpha", "", "'; DROP TABLE lanes; --"] {
        let FoundLanes::None(known) = find(text).await else { panic!("{text}") };
        assert_eq!(known.len(), 3);
    }
}

/// The counts are made in SQL, what a list shows in Rust: they say the same.
#[tokio::test]
async fn reasons_are_counted_as_they_are_shown() {
    let world = World::new().await;
    let sent = [message(1), message(2), message(3), message_on("other", 1), message_on("other", 2)];
    world.store.record_blocks(sending(1, &sent)).await.unwrap();
    let attest = duty(&sent[0], DutyKind::Attest).id();
    world
        .store
        .record_transactions(vec![transaction(1, 0, vec![attest])], UnixMillis(2))
        .await
        .unwrap();
    let waits = DutyMove {
        duty: duty(&sent[3], DutyKind::Attest).id(),
        from: "waiting",
        to: DutyState::Waiting(Reason::AwaitingConfirmations {
            network: network("alpha"),
            more: 2,
        }),
        not_before: None,
        count_attempt: false,
    };
    world.store.move_duties(vec![waits], UnixMillis(2)).await.unwrap();
    world.store.pause_lane(lane("app").id(), UnixMillis(3)).await.unwrap();
    world.store.hold_message(sent[1].id(), "x".into(), UnixMillis(3)).await.unwrap();
    let lost =
        Reason::QuorumLost { network: network("alpha"), agreeing: 1, needed: 2, configured: 3 };
    world.store.set_condition(&network("alpha"), Some(lost)).await.unwrap();

    let conditions = world.store.conditions().await.unwrap();
    let mut shown: std::collections::BTreeMap<ReasonCode, u64> = Default::default();
    for row in world.store.messages(MessageFilter::default()).await.unwrap() {
        let standing = row.standing.under(&conditions);
        *shown.entry(standing.reason.unwrap().code().parse().unwrap()).or_default() += 1;
    }
    let expected =
        ["awaiting_inclusion", "awaiting_plan", "held_by_operator", "lane_paused", "quorum_lost"];
    assert_eq!(shown.keys().map(|c| c.as_str()).collect::<Vec<_>>(), expected);
    let tally = world.store.tally().await.unwrap();
    assert_eq!(tally.reasons.iter().copied().collect::<std::collections::BTreeMap<_, _>>(), shown);
    let mut by_lane: std::collections::BTreeMap<ReasonCode, u64> = Default::default();
    for row in world.store.lanes(0).await.unwrap().lanes {
        assert_eq!(row.backlog, row.reasons.iter().map(|(_, n)| n).sum::<u64>());
        row.reasons.iter().for_each(|(code, n)| *by_lane.entry(*code).or_default() += n);
    }
    assert_eq!(by_lane, shown);
    for (code, n) in &shown {
        let filter = MessageFilter { reason: Some(*code), ..MessageFilter::default() };
        let found = world.store.messages(filter).await.unwrap();
        assert_eq!(found.len() as u64, *n, "{code}");
    }
    let mut duties: Vec<_> = tally
        .duties
        .iter()
        .map(|d| (d.kind.as_str(), d.state.as_str(), d.reason.as_str(), d.count))
        .collect();
    duties.sort_unstable();
    assert_eq!(
        duties,
        [
            ("attest", "held", "held_by_operator", 1),
            ("attest", "submitted", "awaiting_inclusion", 1),
            ("attest", "waiting", "awaiting_confirmations", 1),
            ("attest", "waiting", "awaiting_plan", 1),
            ("attest", "waiting", "lane_paused", 1),
            ("commit", "held", "held_by_operator", 1),
            ("commit", "waiting", "awaiting_plan", 2),
            ("commit", "waiting", "lane_paused", 2),
        ]
    );
    assert_eq!(tally.transactions, [(network("beta"), TransactionState::Recorded, 1)]);
    assert_eq!((tally.paused_lanes, tally.held_messages), (1, 1));
}
