//! kill -9 at random instants while messages travel: each is delivered once, and no key signs two
//! things for one subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod support;

use alloy_primitives::{B256, Bytes};
use alloy_sol_types::SolEvent;
use postrider_devnet::layerzero::DEFAULT_OPTIONS;
use postrider_layerzero::contracts::{EndpointV2, ReceiveUln302};
use postrider_message::{DutyState, Fact};
use postrider_signing::journal::journal_path;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use support::{Setup, World, assert_executed};

/// A number from the environment: a soak asks for more.
fn asked_for(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// The instants follow from a seed, which is printed; POSTRIDER_SEED repeats a run.
fn seed() -> u64 {
    let seed = std::env::var("POSTRIDER_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("POSTRIDER_SEED={seed}");
    seed
}

/// The logs of one kind on beta, by the chain's own word.
async fn logs_on_beta<E: SolEvent>(world: &World) -> Vec<Value> {
    let topic = E::SIGNATURE_HASH;
    let filter = json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": [topic] }]);
    world.beta().rpc().call("eth_getLogs", filter).await.unwrap()
}

/// How many values the journal of each attesting key on beta holds, and for how many subjects.
async fn journalled(world: &World) -> Vec<(i64, i64)> {
    let node = &world.nodes[0];
    let keys = node.workspace.keys(&"beta".parse().unwrap()).await.unwrap();
    let folder = node.workspace.config_path().with_file_name("data").join("keys");
    let mut counts = Vec::new();
    for signer in keys.signers {
        let options = SqliteConnectOptions::new().filename(journal_path(&folder, signer));
        let mut journal = SqliteConnection::connect_with(&options).await.unwrap();
        let counted = "SELECT COUNT(*), COUNT(DISTINCT domain || hex(subject)) FROM intent";
        let row = sqlx::query(counted).fetch_one(&mut journal).await.unwrap();
        counts.push((row.get(0), row.get(1)));
        journal.close().await.unwrap();
    }
    counts
}

/// R3, R4, class (q): crash between signing, storing and submitting.
#[tokio::test(flavor = "multi_thread")]
async fn r3_r4_q_killed_at_random_each_message_is_delivered_once() {
    let kills = asked_for("POSTRIDER_KILLS", 8);
    let messages = asked_for("POSTRIDER_MESSAGES", 32).max(kills);
    let mut random = StdRng::seed_from_u64(seed());
    let mut world = World::started(Setup::default()).await;
    let eid = world.beta().deployment().eid;
    let mut sent = 0;
    for round in 1..=kills {
        let text = format!("round {round:04}");
        let count = messages * round / kills - sent;
        world.alpha().apps().send_mock_burst(eid, &text, count, &DEFAULT_OPTIONS).await.unwrap();
        sent += count;
        // The instant is the subject here: nothing is waited for.
        let instant = Duration::from_millis(random.random_range(50..2500));
        tokio::time::sleep(instant).await;
        world.node().kill();
        world.node().start();
    }
    let count = usize::try_from(messages).unwrap();
    assert_executed(&world.nodes[0].settled(count).await, count);

    let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
    for log in logs_on_beta::<EndpointV2::PacketDelivered>(&world).await {
        *delivered.entry(log["data"].to_string()).or_default() += 1;
    }
    assert_eq!(delivered.len(), count);
    assert!(delivered.values().all(|n| *n == 1), "{delivered:?}");
    let mut verified: BTreeMap<Bytes, BTreeSet<B256>> = BTreeMap::new();
    for log in logs_on_beta::<ReceiveUln302::PayloadVerified>(&world).await {
        let data: Bytes = log["data"].as_str().unwrap().parse().unwrap();
        let event = ReceiveUln302::PayloadVerified::abi_decode_data(&data).unwrap();
        verified.entry(event.1).or_default().insert(event.3);
    }
    assert_eq!(verified.len(), count);
    assert!(verified.values().all(|values| values.len() == 1), "{verified:?}");
    for detail in world.nodes[0].details().await {
        let executed = detail.facts.iter().filter(|r| matches!(r.fact, Fact::Executed)).count();
        assert_eq!(executed, 1, "{detail:?}");
        for duty in &detail.duties {
            assert!(matches!(duty.state, DutyState::Done | DutyState::NotNeeded(_)), "{duty:?}");
        }
    }
    assert!(!world.nodes[0].log_text().contains("journal_conflict"));
    world.node().kill();
    let each = i64::try_from(count).unwrap();
    assert_eq!(journalled(&world).await, [(each, each), (each, each)]);
}
