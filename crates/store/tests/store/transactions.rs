use crate::world::*;
use postrider_message::*;
use postrider_store::*;

async fn world_with(messages: &[Message]) -> World {
    let world = World::new().await;
    world.store.record_blocks(sending(1, messages)).await.unwrap();
    world
}

async fn nonces(world: &World) -> Vec<(u64, TxHash)> {
    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    flying.into_iter().map(|f| (f.nonce, f.hash)).collect()
}

#[tokio::test]
async fn r4_a_transaction_is_on_record_with_its_duties() {
    let one = message(1);
    let world = world_with(std::slice::from_ref(&one)).await;
    let duties = vec![duty(&one, DutyKind::Attest).id()];
    let new = transaction(10, 4, duties.clone());
    world.store.record_transaction(new.clone(), UnixMillis(5)).await.unwrap();
    world.store.record_transaction(new.clone(), UnixMillis(6)).await.unwrap();
    let world = world.reopen().await;

    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    assert_eq!(
        flying,
        [InFlight {
            hash: new.hash,
            nonce: 4,
            raw: new.raw.clone(),
            fees: new.fees,
            submission: new.submission.clone(),
            duties,
            recorded_at: UnixMillis(5),
            state: TransactionState::Recorded,
            included: None,
            replaced: vec![],
        }]
    );
    let detail = world.detail(&one).await;
    let inclusion = Reason::AwaitingInclusion { network: network("beta") };
    assert_eq!(detail.duties[0].state, DutyState::Submitted(inclusion));
    assert_eq!(detail.duties[0].attempts, 1);
    assert_eq!(detail.transactions[0].purpose, new.submission.purpose);
    assert_eq!(world.store.is_ours(&[tx(10), tx(11)]).await.unwrap(), [tx(10)].into());
    assert_eq!(world.store.next_nonce(&network("beta"), "0xsigner").await.unwrap(), Some(5));
    assert_eq!(world.store.next_nonce(&network("beta"), "0xother").await.unwrap(), None);
}

#[tokio::test]
async fn one_nonce_carries_one_live_transaction() {
    let world = world_with(&[]).await;
    for nonce in [300, 2, 256] {
        let new = transaction(nonce, nonce, vec![]);
        world.store.record_transaction(new, UnixMillis(1)).await.unwrap();
    }
    let second = transaction(1_000, 2, vec![]);
    let error = world.store.record_transaction(second.clone(), UnixMillis(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::NonceTaken { nonce: 2, .. }), "{error}");
    assert_eq!(nonces(&world).await, [(2, tx(2)), (256, tx(256)), (300, tx(300))]);

    let bad = NewTransaction { replaces: Some(tx(256)), ..second.clone() };
    let error = world.store.record_transaction(bad, UnixMillis(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::BadBatch { .. }), "{error}");
    let unknown = NewTransaction { replaces: Some(tx(9)), ..second.clone() };
    let error = world.store.record_transaction(unknown, UnixMillis(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownTransaction { .. }), "{error}");

    let good = NewTransaction { replaces: Some(tx(2)), ..second };
    world.store.record_transaction(good, UnixMillis(3)).await.unwrap();
    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    assert_eq!((flying[0].hash, flying[0].replaced.clone()), (tx(1_000), vec![tx(2)]));
}

#[tokio::test]
async fn a_transaction_for_an_unknown_duty_is_refused_whole() {
    let world = world_with(&[]).await;
    let unknown = duty(&message(9), DutyKind::Attest).id();
    let new = transaction(1, 0, vec![unknown]);
    let error = world.store.record_transaction(new, UnixMillis(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownDuty { duty } if duty == unknown), "{error}");
    assert_eq!(nonces(&world).await, []);
}

#[tokio::test]
async fn the_replaced_one_may_be_included_after_all() {
    let world = world_with(&[]).await;
    world.store.record_transaction(transaction(1, 0, vec![]), UnixMillis(1)).await.unwrap();
    let second = NewTransaction { replaces: Some(tx(1)), ..transaction(2, 0, vec![]) };
    world.store.record_transaction(second, UnixMillis(2)).await.unwrap();
    world.store.transaction_included(tx(1), block(7), true, UnixMillis(3)).await.unwrap();
    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    assert_eq!(flying.len(), 1);
    assert_eq!((flying[0].hash, flying[0].included), (tx(1), Some(block(7))));
    assert_eq!(flying[0].state, TransactionState::Included);

    world.store.transaction_final(tx(1), UnixMillis(4)).await.unwrap();
    assert_eq!(nonces(&world).await, []);
    assert_eq!(world.store.next_nonce(&network("beta"), "0xsigner").await.unwrap(), Some(1));
    let late = world.store.transaction_included(tx(2), block(8), true, UnixMillis(5)).await;
    assert!(matches!(late, Err(StoreError::NonceTaken { nonce: 0, .. })), "{late:?}");
    let unknown = world.store.transaction_final(tx(99), UnixMillis(5)).await;
    assert!(matches!(unknown, Err(StoreError::UnknownTransaction { .. })));
}

#[tokio::test]
async fn r4_a_dropped_transaction_leaves_no_duty_behind() {
    let (one, two) = (message(1), message(2));
    let world = world_with(&[one.clone(), two.clone()]).await;
    let duties = [duty(&one, DutyKind::Attest).id(), duty(&two, DutyKind::Attest).id()];
    world
        .store
        .record_transaction(transaction(1, 0, duties.to_vec()), UnixMillis(1))
        .await
        .unwrap();
    let other = transaction(2, 1, vec![duties[1]]);
    world.store.record_transaction(other, UnixMillis(2)).await.unwrap();
    world.store.transaction_dropped(tx(1), "underpriced".into(), UnixMillis(3)).await.unwrap();
    assert_eq!(world.detail(&one).await.duties[0].state, DutyState::Waiting(Reason::AwaitingPlan));
    assert_eq!(world.detail(&two).await.duties[0].state.as_str(), "submitted");
    let row = &world.detail(&one).await.transactions[0];
    assert_eq!((row.state, row.note.as_deref()), (TransactionState::Dropped, Some("underpriced")));
    assert_eq!(nonces(&world).await, [(1, tx(2))]);
    let again = world.store.record_transaction(transaction(1, 0, vec![]), UnixMillis(4)).await;
    assert!(matches!(again, Err(StoreError::BadBatch { .. })));
    assert!(world.store.is_ours(&[tx(1)]).await.unwrap().contains(&tx(1)));
}

#[tokio::test]
async fn r9_going_back_takes_inclusion_back() {
    let world = world_with(&[]).await;
    world.store.record_blocks(batch("beta", 0, 5)).await.unwrap();
    for (hash, height) in [(1, 3), (2, 5)] {
        world
            .store
            .record_transaction(transaction(hash, hash, vec![]), UnixMillis(1))
            .await
            .unwrap();
        world
            .store
            .transaction_included(tx(hash), block(height), true, UnixMillis(2))
            .await
            .unwrap();
    }
    world.store.unwind(&network("beta"), Height(4), UnixMillis(3)).await.unwrap();
    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    let states: Vec<_> = flying.iter().map(|f| (f.state, f.included)).collect();
    assert_eq!(
        states,
        [(TransactionState::Included, Some(block(3))), (TransactionState::Recorded, None)]
    );
}
