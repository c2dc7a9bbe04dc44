//! Tokens: both sides of each transfer, whatever is read first, and what follows when a block goes.

use crate::world::*;
use alloy_primitives::U256;
use postrider_message::*;
use postrider_store::*;

/// A movement of `message` in the block of a network at `height`; blocks come every 20 seconds.
fn movement(about: &Message, side: Side, amount: u128, height: u64) -> Movement {
    let on = match side {
        Side::Debit => "alpha",
        Side::Credit => "beta",
    };
    Movement {
        lane: about.lane.clone(),
        nonce: about.nonce,
        reference: about.reference.unwrap(),
        side,
        amount: Amount(amount),
        decimals: SharedDecimals(1),
        observation: Observation {
            network: network(on),
            block: block(height),
            index: about.nonce.0,
            transaction: tx(height),
        },
        time: time(height),
    }
}

fn time(height: u64) -> BlockTime {
    BlockTime(height * 20)
}

/// A batch of one block with these movements.
fn moving(on: &str, height: u64, movements: Vec<Movement>) -> BlockBatch {
    BlockBatch { movements, tip_time: Some(time(height)), ..batch(on, height - 1, height) }
}

/// A batch of one block in which a message is sent that moves so much.
fn taking(height: u64, message: &Message, amount: u128) -> BlockBatch {
    let movements = vec![movement(message, Side::Debit, amount, height)];
    let tip_time = Some(time(height));
    BlockBatch { movements, tip_time, ..sending(height, std::slice::from_ref(message)) }
}

fn giving(height: u64, message: &Message, amount: u128) -> BlockBatch {
    moving("beta", height, vec![movement(message, Side::Credit, amount, height)])
}

impl World {
    async fn put(&self, batch: BlockBatch) -> Vec<Alarm> {
        self.store.record_blocks(batch).await.unwrap().alarms
    }

    /// Debited, credited, in flight, awaited, breaches.
    async fn supply(&self) -> (u64, u64, u64, u64, u64) {
        let supply = self.store.lanes(0).await.unwrap().lanes[0].supply.unwrap();
        assert_eq!(self.store.tally().await.unwrap().supplies[0].1, supply);
        let Sums { debited, credited, in_flight, awaited } = supply.sums;
        let small = |n: U256| u64::try_from(n).unwrap();
        let sums = (small(debited), small(credited), small(in_flight), small(awaited));
        (sums.0, sums.1, sums.2, sums.3, supply.breaches)
    }

    async fn alarms(&self) -> Vec<Alarm> {
        let all = self.store.alarms(0).await.unwrap();
        all.into_iter().filter(|alarm| alarm.kind == AlarmKind::SupplyBreached).collect()
    }
}

#[tokio::test]
async fn class_e_transfers_add_up_whatever_is_read_first() {
    let world = World::new().await;
    let (one, two) = (message(1), message(2));
    assert_eq!(world.put(taking(1, &one, 70)).await, []);
    assert_eq!(world.supply().await, (70, 0, 70, 0, 0));
    world.put(batch("beta", 0, 1)).await;
    // The second is given before it is read that it was taken.
    world.put(giving(2, &one, 70)).await;
    world.put(giving(3, &two, 30)).await;
    assert_eq!(world.supply().await, (70, 70, 0, 30, 0));
    // The source is read further, and not far enough to tell.
    world.put(moving("alpha", 2, vec![])).await;
    assert_eq!(world.supply().await, (70, 70, 0, 30, 0));
    world.put(taking(3, &two, 30)).await;
    assert_eq!(world.supply().await, (100, 100, 0, 0, 0));
    // Recording once more changes nothing.
    world.put(taking(3, &two, 30)).await;
    assert_eq!(world.supply().await, (100, 100, 0, 0, 0));
    world.put(moving("alpha", 4, vec![])).await;
    world.put(moving("alpha", 5, vec![])).await;
    let world = world.reopen().await;
    assert_eq!((world.supply().await, world.alarms().await), ((100, 100, 0, 0, 0), vec![]));
}

/// Classes (e) and (f): given and never taken, or more than was taken.
#[tokio::test]
async fn class_e_what_no_debit_covers_is_an_alarm_once() {
    let world = World::new().await;
    let (one, forged) = (message(1), message(2));
    world.put(taking(1, &one, 70)).await;
    world.put(batch("beta", 0, 1)).await;
    let alarms = world.put(giving(2, &one, 71)).await;
    assert_eq!(alarms.len(), 1);
    assert_eq!((alarms[0].network.as_str(), alarms[0].message), ("beta", Some(one.id())));
    let said = alarms[0].detail.to_string();
    let guid = one.reference.unwrap().to_string();
    for part in ["more than the source debited", "credited 7.1, debited 7", &guid, "alpha app"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(world.put(giving(3, &forged, 500)).await, []);
    assert_eq!(world.put(moving("alpha", 2, vec![])).await, [], "it may still be read");
    assert_eq!(world.put(moving("alpha", 3, vec![])).await, [], "clocks may differ");
    let alarms = world.put(moving("alpha", 4, vec![])).await;
    assert!(alarms[0].detail.to_string().contains("debited nothing"), "{alarms:?}");
    assert_eq!(alarms[0].message, None);
    assert_eq!(world.put(moving("alpha", 5, vec![])).await, []);
    assert_eq!(world.supply().await, (70, 571, 0, 0, 2));
    assert_eq!(world.alarms().await.len(), 2);
    // What is debited afterwards for the same message does not make it good.
    world.put(taking(6, &forged, 500)).await;
    assert_eq!(world.supply().await, (570, 571, 0, 0, 2));
    assert_eq!(world.alarms().await.len(), 2);
}

/// Two credits in the name of one message count together, and no amount overflows.
#[tokio::test]
async fn class_e_credits_of_one_message_count_together() {
    let world = World::new().await;
    let one = message(1);
    world.put(taking(1, &one, u128::MAX)).await;
    world.put(batch("beta", 0, 1)).await;
    assert_eq!(world.put(giving(2, &one, u128::MAX)).await, []);
    let mut again = movement(&one, Side::Credit, 1, 3);
    again.amount = Amount(u128::MAX);
    // Beyond 128 bits it reads as the greatest, which was debited.
    assert_eq!(world.put(moving("beta", 3, vec![again])).await, []);

    let two = message(2);
    world.put(taking(2, &two, 50)).await;
    world.put(giving(4, &two, 50)).await;
    let alarms = world.put(giving(5, &two, 50)).await;
    assert!(alarms[0].detail.to_string().contains("credited 10, debited 5"), "{alarms:?}");
}

#[tokio::test]
async fn r9_what_a_block_moved_goes_with_it() {
    let world = World::new().await;
    let one = message(1);
    world.put(batch("alpha", 0, 1)).await;
    world.put(taking(2, &one, 70)).await;
    world.put(batch("beta", 0, 1)).await;
    world.put(giving(2, &one, 70)).await;
    assert_eq!(world.supply().await, (70, 70, 0, 0, 0));
    // The credit goes.
    world.store.unwind(&network("beta"), Height(1), UnixMillis(1)).await.unwrap();
    assert_eq!(world.supply().await, (70, 0, 70, 0, 0));
    world.put(giving(2, &one, 70)).await;
    // The debit goes: what was known of the source is not known any more.
    world.store.unwind(&network("alpha"), Height(1), UnixMillis(2)).await.unwrap();
    assert_eq!((world.supply().await, world.alarms().await), ((0, 0, 0, 70, 0), vec![]));
    // It comes again, in another block.
    world.put(taking(2, &one, 70)).await;
    assert_eq!((world.supply().await, world.alarms().await), ((70, 70, 0, 0, 0), vec![]));
    // It goes for good.
    world.store.unwind(&network("alpha"), Height(1), UnixMillis(3)).await.unwrap();
    for height in 2..=4 {
        world.put(moving("alpha", height, vec![])).await;
    }
    // Nothing sent is known on the lane any more, so the source is asked.
    let unasked = world.store.unasked_credits(&network("alpha"), 10).await.unwrap();
    let answers = unasked.into_iter().map(|credit| (credit, 0)).collect();
    world.store.answer_credits(answers, UnixMillis(4)).await.unwrap();
    assert_eq!(world.supply().await, (0, 70, 0, 0, 1));
    assert_eq!(world.alarms().await.len(), 1);
}

/// Where this node's view of the source begins after the message was sent, nothing is said; the
/// source tells whether that can be.
#[tokio::test]
async fn class_f_a_credit_from_before_the_view_is_asked_about() {
    let world = World::new().await;
    let (early, forged) = (message(4), message(9));
    world.put(moving("alpha", 1, vec![])).await;
    world.put(batch("beta", 0, 1)).await;
    world.put(giving(2, &early, 70)).await;
    world.put(giving(3, &forged, 80)).await;
    for height in 2..=5 {
        assert_eq!(world.put(moving("alpha", height, vec![])).await, []);
    }
    assert_eq!(world.supply().await, (0, 0, 0, 150, 0));
    assert!(world.store.unasked_credits(&network("beta"), 10).await.unwrap().is_empty());
    let unasked = world.store.unasked_credits(&network("alpha"), 10).await.unwrap();
    assert_eq!(unasked.len(), 2);
    let answers: Vec<_> = unasked.into_iter().map(|credit| (credit, 8)).collect();
    let alarms = world.store.answer_credits(answers.clone(), UnixMillis(6)).await.unwrap();
    assert_eq!(alarms.len(), 1);
    assert!(alarms[0].detail.to_string().contains(&forged.reference.unwrap().to_string()));
    assert_eq!(world.supply().await, (0, 80, 0, 0, 1));
    assert!(world.store.unasked_credits(&network("alpha"), 10).await.unwrap().is_empty());
    // The same answers again say nothing new.
    assert_eq!(world.store.answer_credits(answers, UnixMillis(7)).await.unwrap(), []);
    assert_eq!(world.supply().await, (0, 80, 0, 0, 1));
}

#[tokio::test]
async fn r4_a_batch_with_a_bad_movement_leaves_everything_as_it_was() {
    let world = World::new().await;
    let one = message(1);
    let good = taking(1, &one, 70);
    let with = |change: fn(&mut Movement)| {
        let mut bad = good.clone();
        change(&mut bad.movements[0]);
        bad
    };
    for bad in [
        with(|m| m.observation.network = network("beta")),
        with(|m| m.side = Side::Credit),
        with(|m| m.observation.block = block(2)),
    ] {
        let error = world.store.record_blocks(bad).await.unwrap_err();
        assert!(matches!(error, StoreError::BadBatch { .. }), "{error}");
        assert_eq!(world.store.cursor(&network("alpha")).await.unwrap(), None);
    }
    world.put(good).await;
    assert_eq!(world.supply().await, (70, 0, 70, 0, 0));
}

/// A token that is named when its messages are under way: what was sent before is not blamed, what is
/// sent afterwards and debits nothing is.
#[tokio::test]
async fn class_e_l_only_what_was_looked_for_can_be_missing() {
    let world = World::new().await;
    let (early, late) = (message(1), message(2));
    let without = |height, message: &Message| BlockBatch {
        tip_time: Some(time(height)),
        ..sending(height, std::slice::from_ref(message))
    };
    let named = |batch| BlockBatch { tokens: hash(77), ..batch };
    world.put(without(1, &early)).await;
    // From here on the token is named; the second message debits nothing all the same.
    world.put(named(without(2, &late))).await;
    world.put(batch("beta", 0, 1)).await;
    world.put(giving(2, &early, 70)).await;
    world.put(giving(3, &late, 80)).await;
    let mut alarms = vec![];
    for height in 3..=6 {
        alarms.extend(world.put(named(moving("alpha", height, vec![]))).await);
    }
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0].message, Some(late.id()));
    assert_eq!(world.supply().await, (0, 80, 0, 0, 1));
}
