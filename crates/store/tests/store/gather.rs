use crate::world::*;
use alloy_primitives::Address;
use postrider_message::*;
use postrider_store::*;

fn terms(about: &Message, digest: u64, expires: u64) -> Gathering {
    let duty = duty(about, DutyKind::Attest).id();
    Gathering { duty, confirmations: Confirmations(u64::MAX), expires, digest: hash(digest) }
}

fn signature(of: &Gathering, signer: u8) -> OtherSignature {
    OtherSignature {
        duty: of.duty,
        digest: of.digest,
        signer: Address::repeat_byte(signer),
        signature: vec![signer; 65],
    }
}

async fn gathered(world: &World, of: &Gathering) -> Option<(Gathering, Vec<OtherSignature>)> {
    let mut found = world.store.gathered(&[of.duty]).await.unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

/// R4: what was agreed on and what has come survive a kill; a second of one signer adds nothing.
#[tokio::test]
async fn r4_signatures_that_have_come_are_kept_with_their_terms() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1)])).await.unwrap();
    let terms = terms(&message(1), 1, 2_000);
    let keep = async |list| world.store.keep_signatures(list).await.unwrap();
    assert_eq!(keep(vec![signature(&terms, 1)]).await, 0, "nobody asked for it");
    world.store.propose(vec![terms], 1_000).await.unwrap();
    assert_eq!(gathered(&world, &terms).await, Some((terms, vec![])));
    let both = vec![signature(&terms, 1), signature(&terms, 2)];
    assert_eq!(keep(both.clone()).await, 2);
    assert_eq!(keep(both.clone()).await, 0);
    // The same terms again change nothing.
    world.store.propose(vec![terms], 1_000).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(gathered(&world, &terms).await, Some((terms, both)));
}

/// R3: a signature never joins those over other bytes.
#[tokio::test]
async fn r3_other_terms_take_the_signatures_with_them() {
    let world = World::new().await;
    let before = terms(&message(1), 1, 2_000);
    let after = terms(&message(1), 2, 3_000);
    world.store.propose(vec![before], 1_000).await.unwrap();
    world.store.keep_signatures(vec![signature(&before, 1)]).await.unwrap();
    world.store.propose(vec![after], 1_000).await.unwrap();
    assert_eq!(world.store.keep_signatures(vec![signature(&before, 2)]).await.unwrap(), 0);
    assert_eq!(gathered(&world, &after).await, Some((after, vec![])));
    // What expired goes, whoever it belonged to.
    world.store.keep_signatures(vec![signature(&after, 3)]).await.unwrap();
    world.store.propose(vec![], 3_001).await.unwrap();
    assert_eq!(gathered(&world, &after).await, None);
}

/// R1, class (d): a message is found where it is proven to be sent, and nowhere else.
#[tokio::test]
async fn r1_d_a_message_is_found_by_its_place_only_if_it_is_proven() {
    let world = World::new().await;
    let (one, hint) = (message(1), message(9));
    world.store.record_blocks(sending(1, &[one.clone(), message(2)])).await.unwrap();
    let mut told = hints("alpha", (2, 2), vec![hinted(fact(&hint, Fact::Sent, "alpha", 2))]);
    told.messages = vec![hint.clone()];
    world.store.record_hints(told).await.unwrap();
    let at = async |on: &str, place: BlockRef, index: u64| {
        world.store.sent_at(&network(on), place, index).await.unwrap()
    };
    assert_eq!(at("alpha", block(1), 1).await, Some(one.id()));
    assert_eq!(at("alpha", block(1), 2).await, Some(message(2).id()));
    for (on, place, index) in [
        ("alpha", block(1), 3),
        ("beta", block(1), 1),
        ("alpha", block_of(1, 1), 1),
        ("alpha", BlockRef { height: Height(2), ..block(1) }, 1),
        ("alpha", block(2), 9),
    ] {
        assert_eq!(at(on, place, index).await, None, "{on} {place} {index}");
    }
}
