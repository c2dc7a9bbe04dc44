use crate::world::*;
use postrider_message::*;
use postrider_store::*;

fn to(duty: &Duty, from: &'static str, to: DutyState) -> DutyMove {
    DutyMove { duty: duty.id(), from, to, not_before: None, count_attempt: false }
}

#[tokio::test]
async fn facts_settle_duties_by_who_did_it() {
    let world = World::new().await;
    let (one, two) = (message(1), message(2));
    world.store.record_blocks(sending(1, &[one.clone(), two.clone()])).await.unwrap();
    let commit = duty(&one, DutyKind::Commit).id();
    world
        .store
        .record_transactions(vec![transaction(55, 0, vec![commit])], UnixMillis(2))
        .await
        .unwrap();
    let mut ours = fact(&one, Fact::Committed, "beta", 1);
    ours.observation.transaction = tx(55);
    let facts = vec![
        ours,
        fact(&one, attested(OURS), "beta", 1),
        fact(&two, Fact::Committed, "beta", 1),
        fact(&two, attested("0xtheirs"), "beta", 1),
    ];
    world.store.record_blocks(BlockBatch { facts, ..batch("beta", 0, 1) }).await.unwrap();
    let states =
        |detail: MessageDetail| detail.duties.into_iter().map(|d| d.state).collect::<Vec<_>>();
    assert_eq!(states(world.detail(&one).await), [DutyState::Done, DutyState::Done]);
    assert_eq!(
        states(world.detail(&two).await),
        [DutyState::Waiting(Reason::AwaitingPlan), DutyState::NotNeeded(Reason::DoneByOthers),]
    );
}

/// What was found and which transactions are in blocks is recorded with the cursor, or not at all: no kill
/// falls between them.
#[tokio::test]
async fn r4_moves_and_inclusions_go_with_the_cursor() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let (attest, commit) = (duty(&one, DutyKind::Attest), duty(&one, DutyKind::Commit).id());
    let new = vec![transaction(55, 0, vec![commit])];
    world.store.record_transactions(new, UnixMillis(2)).await.unwrap();
    let ready = DutyState::Ready(Reason::AwaitingPlan);
    let seen = SeenTransaction { hash: tx(55), block: block(1), succeeded: true };
    let moves = vec![to(&attest, "waiting", ready.clone())];
    let whole = BlockBatch { moves, included: vec![seen], ..batch("beta", 0, 1) };
    let wrong = BlockBatch { facts: vec![fact(&one, Fact::Sent, "alpha", 9)], ..whole.clone() };
    world.store.record_blocks(wrong).await.unwrap_err();
    assert_eq!(world.detail(&one).await.duties[0].state.as_str(), "waiting");
    let signer = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    assert_eq!(signer.len(), 1);
    world.store.record_blocks(whole).await.unwrap();
    let duties = world.detail(&one).await.duties;
    assert_eq!(duties[0].state, ready);
    // It left its aim unreached, so it is tried again.
    assert_eq!(duties[1].state.as_str(), "waiting");
    assert_eq!(world.store.in_flight(&network("beta"), "0xsigner").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_move_is_compared_first_and_repeating_it_writes_nothing() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let attest = duty(&one, DutyKind::Attest);
    let waits =
        DutyState::Waiting(Reason::AwaitingConfirmations { network: network("alpha"), more: 3 });
    let wrong = to(&attest, "ready", waits.clone());
    assert_eq!(world.store.move_duties(vec![wrong], UnixMillis(5)).await.unwrap(), 0);
    let right = to(&attest, "waiting", waits.clone());
    assert_eq!(world.store.move_duties(vec![right.clone()], UnixMillis(6)).await.unwrap(), 1);
    let moved = world.detail(&one).await;
    assert_eq!(moved.duties[0].state, waits);
    assert_eq!(moved.row.standing.reason.as_ref(), waits.reason());
    assert_eq!(moved.row.updated_at, UnixMillis(6));
    assert_eq!(world.store.move_duties(vec![right], UnixMillis(7)).await.unwrap(), 0);
    assert_eq!(world.detail(&one).await, moved);

    let later = DutyMove {
        not_before: Some(UnixMillis(100)),
        count_attempt: true,
        ..to(&attest, "waiting", waits)
    };
    assert_eq!(world.store.move_duties(vec![later], UnixMillis(8)).await.unwrap(), 1);
    let tried = world.detail(&one).await;
    assert_eq!((tried.duties[0].attempts, tried.duties[0].not_before), (1, UnixMillis(100)));
    assert_eq!(tried.history, moved.history);
    let open = world.store.open_messages(&network("beta"), UnixMillis(99), None, 10).await.unwrap();
    let kinds: Vec<_> = open[0].duties.iter().map(|d| d.kind).collect();
    assert_eq!(kinds, [DutyKind::Attest, DutyKind::Commit]);
    assert_eq!(open[0].duties[0].not_before, UnixMillis(100));
}

#[tokio::test]
async fn what_a_planner_read_is_not_undone_by_another_move() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let done = DutyState::NotNeeded(Reason::DoneByOthers);
    let moves = vec![to(&duty(&one, DutyKind::Commit), "waiting", done.clone())];
    assert_eq!(world.store.move_duties(moves, UnixMillis(2)).await.unwrap(), 1);
    let held = DutyState::Held(Reason::LaneNotInitialised);
    let moves = vec![to(&duty(&one, DutyKind::Attest), "waiting", held)];
    world.store.move_duties(moves, UnixMillis(3)).await.unwrap();
    let detail = world.detail(&one).await;
    assert_eq!(detail.duties[1].state, done);
    assert_eq!(detail.row.standing.status, MessageStatus::Held);
}

#[tokio::test]
async fn r6_a_full_lane_does_not_hide_the_others() {
    let world = World::new().await;
    let mut messages: Vec<_> = (1..=50).map(|n| message_on("busy", n)).collect();
    messages.push(message_on("quiet", 1));
    world.store.record_blocks(sending(1, &messages)).await.unwrap();
    let open = world.store.open_messages(&network("beta"), UnixMillis(9), None, 10).await.unwrap();
    assert_eq!(open.len(), 10);
    let quiet = open.iter().filter(|o| o.message.lane == lane("quiet")).count();
    assert_eq!(quiet, 1);
    let order: Vec<_> = open.iter().map(|o| (o.message.lane.id(), o.message.nonce)).collect();
    assert!(order.is_sorted());
    assert!(open.iter().all(|o| o.facts.len() == 1 && o.duties.len() == 2));
    assert_eq!(
        world.store.open_messages(&network("alpha"), UnixMillis(9), None, 10).await.unwrap(),
        []
    );
}
