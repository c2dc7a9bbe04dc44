use crate::world::*;
use postrider_message::*;
use postrider_store::*;

#[tokio::test]
async fn pages_follow_each_other_newest_first() {
    let world = World::new().await;
    for height in 1..=7 {
        world.store.record_blocks(sending(height, &[message(height)])).await.unwrap();
    }
    let (mut after, mut seen) = (None, vec![]);
    loop {
        let filter = MessageFilter { limit: 3, after, ..MessageFilter::default() };
        let page = world.store.messages(filter).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.sequence);
        seen.extend(page.iter().map(|r| r.nonce.0));
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn filters_counts_and_lanes_agree() {
    let world = World::new().await;
    let (one, two, other) = (message(1), message(2), message_on("other", 1));
    let all = [one.clone(), two.clone(), other.clone()];
    world.store.record_blocks(sending(1, &all)).await.unwrap();
    world
        .store
        .record_blocks(BlockBatch {
            facts: vec![fact(&one, Fact::Executed, "beta", 1)],
            ..batch("beta", 0, 1)
        })
        .await
        .unwrap();
    let list = async |filter| {
        let rows = world.store.messages(filter).await.unwrap();
        rows.into_iter().map(|r| r.id).collect::<Vec<_>>()
    };
    let any = MessageFilter::default;
    let settled = MessageFilter { status: Some(MessageStatus::Settled), ..any() };
    assert_eq!(list(settled).await, [one.id()]);
    let open = MessageFilter { open_only: true, ..any() };
    assert_eq!(list(open).await, [other.id(), two.id()]);
    let lane = MessageFilter { lane: Some(one.lane.id()), ..any() };
    assert_eq!(list(lane).await, [two.id(), one.id()]);
    for (name, count) in [("alpha", 3), ("beta", 3), ("gamma", 0)] {
        let on = MessageFilter { network: Some(network(name)), ..any() };
        assert_eq!(list(on).await.len(), count, "{name}");
    }
    let expected = [(MessageStatus::Verified, 2), (MessageStatus::Settled, 1)];
    assert_eq!(world.store.counts().await.unwrap(), expected);
    let LaneList { lanes, more } = world.store.lanes(10).await.unwrap();
    assert_eq!((lanes.len(), more), (2, 0));
    assert_eq!(lanes[0].lane, one.lane);
    assert_eq!(lanes[0].counts, [(MessageStatus::Verified, 1), (MessageStatus::Settled, 1)]);
    let oldest = Oldest { message: two.id(), learnt_at: UnixMillis(1) };
    assert_eq!((lanes[0].backlog, lanes[0].oldest), (1, Some(oldest)));
    let first = world.store.lanes(1).await.unwrap();
    assert_eq!((first.lanes.len(), first.more), (1, 1));
}

#[tokio::test]
async fn a_message_is_found_by_what_names_it() {
    let world = World::new().await;
    let (one, two) = (message(1), message(2));
    world.store.record_blocks(sending(1, &[one.clone(), two.clone()])).await.unwrap();
    let reference = one.reference.unwrap().to_string();
    let cases = [
        (one.id().to_string(), Found::One(one.id())),
        (one.id().short(), Found::One(one.id())),
        (reference, Found::One(one.id())),
        ("0xffffffffffffffffff".into(), Found::None),
        ("no digits".into(), Found::None),
    ];
    for (text, expected) in cases {
        assert_eq!(world.store.find(&text).await.unwrap(), expected, "{text}");
    }
    // Both were sent by the same transaction.
    let many = world.store.find(&tx(1).to_string()).await.unwrap();
    assert!(matches!(many, Found::Many(ids) if ids.len() == 2));
    assert_eq!(world.store.message(message(9).id()).await.unwrap(), None);
}

#[tokio::test]
async fn all_about_a_message_becomes_json() {
    let world = World::new().await;
    let one = message(1);
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    let attest = duty(&one, DutyKind::Attest).id();
    world
        .store
        .record_transactions(vec![transaction(1, 0, vec![attest])], UnixMillis(2))
        .await
        .unwrap();
    let detail = world.detail(&one).await;
    let kinds: Vec<_> = detail.history.iter().map(|e| std::mem::discriminant(&e.event)).collect();
    assert_eq!(kinds.len(), 6, "learnt, two duties, standing; duty, standing: {kinds:?}");
    assert!(detail.history.is_sorted_by_key(|e| e.sequence));
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["transactions"][0]["fees"]["max_fee"], u128::MAX.to_string());
    assert_eq!(json["row"]["standing"]["status"], "verified");
}

#[tokio::test]
async fn the_same_alarm_is_raised_once_an_hour() {
    let world = World::new().await;
    let alarm = |detail: &str, at| Alarm {
        kind: AlarmKind::QuorumLost,
        network: network("alpha"),
        message: None,
        detail: detail.into(),
        at: UnixMillis(at),
    };
    let hour = 3_600_000;
    let cases =
        [("a", hour, true), ("a", 2 * hour - 1, false), ("b", hour, true), ("a", 2 * hour, true)];
    for (detail, at, expected) in cases {
        assert_eq!(world.store.raise(alarm(detail, at)).await.unwrap(), expected, "{detail} {at}");
    }
    let newest = world.store.alarms(2).await.unwrap();
    assert_eq!(newest, [alarm("a", 2 * hour), alarm("b", hour)]);
}
