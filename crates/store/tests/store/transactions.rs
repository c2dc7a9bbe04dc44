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
    world.store.record_transactions(vec![new.clone()], UnixMillis(5)).await.unwrap();
    world.store.record_transactions(vec![new.clone()], UnixMillis(6)).await.unwrap();
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
            is_wanted: true,
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
        world.store.record_transactions(vec![new], UnixMillis(1)).await.unwrap();
    }
    let second = transaction(1_000, 2, vec![]);
    let error =
        world.store.record_transactions(vec![second.clone()], UnixMillis(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::NonceTaken { nonce: 2, .. }), "{error}");
    assert_eq!(nonces(&world).await, [(2, tx(2)), (256, tx(256)), (300, tx(300))]);

    let bad = NewTransaction { replaces: Some(tx(256)), ..second.clone() };
    let error = world.store.record_transactions(vec![bad], UnixMillis(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::BadBatch { .. }), "{error}");
    let unknown = NewTransaction { replaces: Some(tx(9)), ..second.clone() };
    let error = world.store.record_transactions(vec![unknown], UnixMillis(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownTransaction { .. }), "{error}");

    let good = NewTransaction { replaces: Some(tx(2)), ..second };
    world.store.record_transactions(vec![good], UnixMillis(3)).await.unwrap();
    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    assert_eq!((flying[0].hash, flying[0].replaced.clone()), (tx(1_000), vec![tx(2)]));
}

#[tokio::test]
async fn a_transaction_for_an_unknown_duty_is_refused_whole() {
    let world = world_with(&[]).await;
    let unknown = duty(&message(9), DutyKind::Attest).id();
    let new = transaction(1, 0, vec![unknown]);
    let error = world.store.record_transactions(vec![new], UnixMillis(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownDuty { duty } if duty == unknown), "{error}");
    assert_eq!(nonces(&world).await, []);
}

async fn include(world: &World, hash: u64, block: BlockRef) {
    let seen = SeenTransaction { hash: tx(hash), block, succeeded: true };
    world.store.transactions_included(&network("beta"), vec![seen], UnixMillis(3)).await.unwrap();
}

async fn states(world: &World) -> Vec<(TxHash, String)> {
    let pool = sqlx::SqlitePool::connect(&world.store.path().to_string_lossy()).await.unwrap();
    let rows = sqlx::query("SELECT hash, state FROM transactions ORDER BY nonce, recorded_at")
        .fetch_all(&pool)
        .await
        .unwrap();
    rows.iter()
        .map(|r| {
            let hash: Vec<u8> = sqlx::Row::get(r, "hash");
            (TxHash(alloy_primitives::B256::from_slice(&hash)), sqlx::Row::get(r, "state"))
        })
        .collect()
}

fn state(hash: u64, state: &str) -> (TxHash, String) {
    (tx(hash), state.into())
}

#[tokio::test]
async fn the_replaced_one_may_be_included_after_all() {
    let world = world_with(&[]).await;
    world.store.record_transactions(vec![transaction(1, 0, vec![])], UnixMillis(1)).await.unwrap();
    let second = NewTransaction { replaces: Some(tx(1)), ..transaction(2, 0, vec![]) };
    world.store.record_transactions(vec![second], UnixMillis(2)).await.unwrap();
    world.store.record_blocks(batch("beta", 0, 6)).await.unwrap();
    include(&world, 1, block(7)).await;
    assert_eq!(states(&world).await, [state(1, "included"), state(2, "replaced")]);
    assert_eq!(nonces(&world).await, []);

    world.store.record_blocks(batch("beta", 6, 7)).await.unwrap();
    assert_eq!(states(&world).await, [state(1, "final"), state(2, "replaced")]);
    assert_eq!(world.store.next_nonce(&network("beta"), "0xsigner").await.unwrap(), Some(1));
    // What was told of the other one is not true: one nonce is used once.
    include(&world, 2, block(8)).await;
    assert_eq!(states(&world).await, [state(1, "final"), state(2, "replaced")]);
}

#[tokio::test]
async fn r9_what_was_included_in_a_block_that_gave_way_is_on_its_way_again() {
    let world = world_with(&[]).await;
    world.store.record_blocks(batch("beta", 0, 6)).await.unwrap();
    world.store.record_transactions(vec![transaction(1, 0, vec![])], UnixMillis(1)).await.unwrap();
    include(&world, 1, block_of(1, 7)).await;
    assert_eq!(nonces(&world).await, []);
    world.store.record_blocks(batch("beta", 6, 7)).await.unwrap();
    assert_eq!(nonces(&world).await, [(0, tx(1))]);
}

/// R9: a transaction for what is no longer true is not wanted any more.
#[tokio::test]
async fn r9_a_transaction_for_messages_that_are_gone_is_not_wanted() {
    let (one, two) = (message(1), message(2));
    let world = World::new().await;
    world.store.record_blocks(sending(1, std::slice::from_ref(&one))).await.unwrap();
    world.store.record_blocks(sending(2, std::slice::from_ref(&two))).await.unwrap();
    let duties = [&one, &two].map(|m| duty(m, DutyKind::Attest).id());
    let new = vec![
        transaction(1, 0, vec![duties[1]]),
        transaction(2, 1, duties.to_vec()),
        transaction(3, 2, vec![]),
    ];
    world.store.record_transactions(new, UnixMillis(3)).await.unwrap();
    world.store.unwind(&network("alpha"), Height(1), UnixMillis(4)).await.unwrap();
    let flying = world.store.in_flight(&network("beta"), "0xsigner").await.unwrap();
    let wanted: Vec<_> = flying.iter().map(|t| t.is_wanted).collect();
    assert_eq!(wanted, [false, true, true]);
    // The alarms are on record with the reorganisation itself.
    let kinds: Vec<_> = world.store.alarms(9).await.unwrap().iter().map(|a| a.kind).collect();
    assert!(kinds.contains(&AlarmKind::SignedThenReorganised), "{kinds:?}");
    assert!(kinds.contains(&AlarmKind::FinalBlockReplaced), "{kinds:?}");
}

#[tokio::test]
async fn a_nonce_that_the_chain_has_not_used_is_on_its_way_again() {
    let world = world_with(&[]).await;
    for nonce in 0..3 {
        let new = transaction(nonce, nonce, vec![]);
        world.store.record_transactions(vec![new], UnixMillis(1)).await.unwrap();
        include(&world, nonce, block(1)).await;
    }
    let beta = network("beta");
    let put_back = world.store.transactions_missing(&beta, "0xsigner", 1, UnixMillis(2)).await;
    assert_eq!(put_back.unwrap(), 2);
    assert_eq!(nonces(&world).await, [(1, tx(1)), (2, tx(2))]);
}

#[tokio::test]
async fn a_duty_whose_transaction_was_in_vain_is_tried_again() {
    let (one, two) = (message(1), message(2));
    let world = world_with(&[one.clone(), two.clone()]).await;
    let duties = [&one, &two].map(|m| duty(m, DutyKind::Attest).id());
    let new = transaction(1, 0, duties.to_vec());
    world.store.record_transactions(vec![new], UnixMillis(1)).await.unwrap();
    let told = SeenTransaction { hash: tx(1), block: block(1), succeeded: true };
    let hint = hinted(fact(&one, attested(OURS), "beta", 1));
    let hints = HintBatch { transactions: vec![told], ..hints("beta", (1, 1), vec![hint]) };
    world.store.record_hints(hints).await.unwrap();
    assert_eq!(world.detail(&one).await.duties[0].state.as_str(), "submitted");
    let again = world.detail(&two).await.duties[0].clone();
    assert_eq!(again.state.reason().unwrap().code(), "retrying");
    assert_eq!((again.attempts, again.not_before), (1, UnixMillis(4_001)));

    // R1: what was only told of the other one is found out when the block is proven.
    world.store.record_blocks(batch("beta", 0, 1)).await.unwrap();
    let found_out = world.detail(&one).await.duties[0].clone();
    assert_eq!(found_out.state.reason().unwrap().code(), "retrying");
}

#[tokio::test]
async fn r4_a_dropped_transaction_leaves_no_duty_behind() {
    let (one, two) = (message(1), message(2));
    let world = world_with(&[one.clone(), two.clone()]).await;
    let duties = [duty(&one, DutyKind::Attest).id(), duty(&two, DutyKind::Attest).id()];
    world
        .store
        .record_transactions(vec![transaction(1, 0, duties.to_vec())], UnixMillis(1))
        .await
        .unwrap();
    let other = transaction(2, 1, vec![duties[1]]);
    world.store.record_transactions(vec![other], UnixMillis(2)).await.unwrap();
    world.store.transaction_dropped(tx(1), "underpriced".into(), UnixMillis(3)).await.unwrap();
    assert_eq!(world.detail(&one).await.duties[0].state, DutyState::Waiting(Reason::AwaitingPlan));
    assert_eq!(world.detail(&two).await.duties[0].state.as_str(), "submitted");
    let row = &world.detail(&one).await.transactions[0];
    assert_eq!((row.state, row.note.as_deref()), (TransactionState::Dropped, Some("underpriced")));
    assert_eq!(nonces(&world).await, [(1, tx(2))]);
    // Signed again with the same nonce and prices it is the same transaction, and goes again.
    world.store.record_transactions(vec![transaction(1, 0, vec![])], UnixMillis(4)).await.unwrap();
    assert_eq!(nonces(&world).await, [(0, tx(1)), (1, tx(2))]);
    assert!(world.store.is_ours(&[tx(1)]).await.unwrap().contains(&tx(1)));
}

#[tokio::test]
async fn r9_going_back_takes_inclusion_back() {
    let world = world_with(&[]).await;
    world.store.record_blocks(batch("beta", 0, 5)).await.unwrap();
    for (hash, height) in [(1, 3), (2, 5)] {
        let new = transaction(hash, hash, vec![]);
        world.store.record_transactions(vec![new], UnixMillis(1)).await.unwrap();
        include(&world, hash, block(height)).await;
    }
    world.store.unwind(&network("beta"), Height(4), UnixMillis(3)).await.unwrap();
    assert_eq!(states(&world).await, [state(1, "included"), state(2, "recorded")]);
}
