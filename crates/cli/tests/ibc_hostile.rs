//! Packets between real ibc-go chains while upstreams lie, hang and die, and while chains stand still.
//! Whatever one upstream does, nothing that is not so reaches a chain, and what is true arrives by the
//! other one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;

use cosmos::{PATIENCE, RunningNode, World};
use postrider_devnet::{CosmosAccount, Fault, FaultyUpstream};
use postrider_message::{Alarm, AlarmKind};
use postrider_store::{SqliteStore, Store};
use serde_json::{Value, json};
use std::time::Duration;

/// What is told of an upstream that is asked only where another one fails.
const SLOWLY: Fault = Fault::Slow(Duration::from_millis(40));

/// Two chains, of each of which a faulty upstream is asked, and an honest one of another operator where
/// there is one.
struct Hostile {
    world: World,
    bad: Vec<FaultyUpstream>,
    // Kept alive: they are slow, so that the faulty ones are preferred.
    _good: Vec<FaultyUpstream>,
    sent: usize,
}

impl Hostile {
    async fn start(with_honest: bool) -> Self {
        let world = World::start().await;
        world.create_path();
        Self::before(world, with_honest).await
    }

    async fn before(world: World, with_honest: bool) -> Self {
        let (mut bad, mut good) = (Vec::new(), Vec::new());
        for chain in &world.chains {
            let url = chain.rpc().url();
            let (liar, slow) = (
                FaultyUpstream::start(url).await.unwrap(),
                FaultyUpstream::start(url).await.unwrap(),
            );
            slow.set([SLOWLY]);
            let line = |name: &str, url: &str| {
                format!(
                    "{{ name = \"{name}\", operator = \"{name}-operator\", url = \"{url}\", timeout_ms = 1000 }}"
                )
            };
            let honest = if with_honest { line("good", slow.url()) } else { String::new() };
            let both = format!("upstreams = [{}, {honest}]", line("bad", liar.url()));
            world.change_config(|text| {
                let one = format!(
                    "upstreams = [{{ name = \"node\", operator = \"local\", url = \"{url}\" }}]"
                );
                text.replace(&one, &both)
            });
            bad.push(liar);
            good.push(slow);
        }
        Self { world, bad, _good: good, sent: 0 }
    }

    fn set(&self, faults: &[Fault]) {
        self.bad.iter().for_each(|bad| bad.set(faults.to_vec()));
    }

    /// Sends tokens in both directions.
    fn send(&mut self, count: usize) {
        for network in ["alpha", "beta"] {
            self.world.run_as_alice(&[
                "ibc",
                "transfer",
                network,
                "transfer/channel-0",
                "7token",
                CosmosAccount::named("bob").address(),
                "--count",
                &count.to_string(),
            ]);
        }
        self.sent += 2 * count;
    }

    async fn received(&self) -> Vec<u128> {
        let mut received = Vec::new();
        for chain in &self.world.chains {
            received.push(self.world.received(chain, CosmosAccount::named("bob").address()).await);
        }
        received
    }

    /// All that was sent is settled; each was received once, and nothing else was.
    async fn all_settled(&self) {
        let messages = self.world.until_settled(self.sent).await;
        assert_eq!(messages.len(), self.sent, "{messages:#?}");
        assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
        let each = 7 * self.sent as u128 / 2;
        assert_eq!(self.received().await, [each, each], "each was received once");
        self.world.assert_supply_agrees().await;
    }

    async fn store(&self) -> SqliteStore {
        let path = self.world.folder.path().join("data/postrider.sqlite");
        self.world.until("there is a store", async || path.is_file()).await;
        SqliteStore::open_read_only(path).await.unwrap()
    }

    async fn alarms(&self) -> Vec<Alarm> {
        self.store().await.alarms(500).await.unwrap()
    }

    /// A node that has not met these lies yet: quarantine ends with the process.
    fn node(&self) -> RunningNode {
        self.world.node()
    }

    /// Both chains make so many more blocks.
    async fn blocks_later(&self, count: u64) {
        for chain in &self.world.chains {
            let height = chain.rpc().height().await.unwrap();
            chain.rpc().wait_for_height(height + count, PATIENCE).await.unwrap();
        }
    }
}

fn of_a_proof(params: &Value) -> bool {
    params["prove"] == json!(true)
}

/// Adds to a height that stands in an answer as a string.
fn shift(height: &mut Value, by: i64) {
    let shifted = height.as_str().unwrap().parse::<i64>().unwrap() + by;
    *height = json!(shifted.max(1).to_string());
}

fn height_lie(by: i64) -> Fault {
    Fault::tell("status", move |_, told| {
        shift(&mut told["sync_info"]["latest_block_height"], by);
    })
}

/// Tells for ever what it tells first.
fn standing_still() -> Fault {
    let first = std::sync::OnceLock::new();
    Fault::tell("status", move |_, told| *told = first.get_or_init(|| told.clone()).clone())
}

/// One of two upstreams tells what is not so: all that is sent is brought with the help of the other one, and
/// an alarm names the first with these words.
async fn is_found_out_by_the_other(lie: Fault, words: &str) {
    let mut hostile = Hostile::start(true).await;
    let _node = hostile.node();
    hostile.set(&[lie]);
    hostile.send(2);
    hostile.all_settled().await;
    let alarms = hostile.alarms().await;
    assert!(!alarms.is_empty(), "nobody noticed\n{}", hostile.world.log());
    for alarm in &alarms {
        let detail = alarm.detail.to_string();
        assert_eq!(alarm.kind, AlarmKind::UpstreamDissents, "{detail}");
        assert!(detail.contains("upstream bad") && detail.contains(words), "{detail}");
    }
}

/// A lying upstream that is the only one moves nothing, and the network says why it does not go on; when it
/// tells the truth again, all that was sent meanwhile arrives.
async fn moves_nothing_alone(lie: Fault, words: &str) {
    let mut hostile = Hostile::start(false).await;
    let before = hostile.received().await;
    let node = hostile.node();
    let store = hostile.store().await;
    hostile.set(&[lie]);
    hostile.send(1);
    let found_out = async || {
        let alarms = hostile.alarms().await;
        alarms.iter().any(|alarm| {
            alarm.kind == AlarmKind::UpstreamDissents && alarm.detail.to_string().contains(words)
        })
    };
    hostile.world.until(&format!("an alarm says: {words}"), found_out).await;
    let waits =
        async || store.conditions().await.unwrap().iter().any(|(_, r)| r.code() == "quorum_lost");
    hostile.world.until("the network stops", waits).await;
    hostile.blocks_later(3).await;
    assert_eq!(hostile.received().await, before);
    node.kill();
    hostile.set(&[]);
    let _node = hostile.node();
    hostile.all_settled().await;
}

fn forged_header() -> Fault {
    Fault::tell("commit", |_, told| {
        told["signed_header"]["header"]["app_hash"] = json!("AB".repeat(32));
    })
}

fn forged_value() -> Fault {
    Fault::tell("abci_query", |params, told| {
        if of_a_proof(params) && !told["response"]["value"].is_null() {
            told["response"]["value"] = json!("AAAA");
        }
    })
}

fn forged_absence() -> Fault {
    Fault::tell("abci_query", |params, told| {
        if of_a_proof(params) {
            told["response"]["value"] = Value::Null;
        }
    })
}

const FORGED_HEADER: &str = "but the header hashes to";
const FORGED_VALUE: &str = "the proof is of another value";
const FORGED_ABSENCE: &str = "the proof is of presence where absence was claimed";

/// R1, class (h).
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_header_is_found_out_and_another_upstream_asked() {
    is_found_out_by_the_other(forged_header(), FORGED_HEADER).await;
}

/// R1, class (h).
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_value_is_found_out_and_another_upstream_asked() {
    is_found_out_by_the_other(forged_value(), FORGED_VALUE).await;
}

/// R1, class (h).
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_absence_is_found_out_and_another_upstream_asked() {
    is_found_out_by_the_other(forged_absence(), FORGED_ABSENCE).await;
}

/// R1, class (h).
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_header_of_the_only_upstream_moves_nothing() {
    moves_nothing_alone(forged_header(), FORGED_HEADER).await;
}

/// R1, class (h).
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_value_of_the_only_upstream_moves_nothing() {
    moves_nothing_alone(forged_value(), FORGED_VALUE).await;
}

/// R1, class (h).
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_a_forged_absence_of_the_only_upstream_moves_nothing() {
    moves_nothing_alone(forged_absence(), FORGED_ABSENCE).await;
}

/// R1, class (d): what was received is not timed out, though the only upstream denies it in every way it can:
/// no events, no index, no list tells of it, and of its receipt alone it says that there is none.
#[tokio::test(flavor = "multi_thread")]
async fn r1_d_a_receipt_that_is_denied_times_nothing_out() {
    let mut hostile = Hostile::start(false).await;
    let roles = ("[ibc.alpha]\nroles = [\"relay\"]", "[ibc.alpha]\nroles = [\"watch\"]");
    hostile.world.change_config(|text| text.replace(roles.0, roles.1));
    let node = hostile.node();
    let (alice, bob) = (CosmosAccount::named("alice"), CosmosAccount::named("bob"));
    let had = hostile.world.chains[0].rpc().balance(alice.address(), "token").await.unwrap();
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    hostile.world.run_as_alice(&[&over[..], &["--timeout", "15"]].concat());
    let is_received = async || hostile.received().await == [0, 7];
    hostile.world.until("it is received in time", is_received).await;
    node.kill();
    hostile.blocks_later(15).await;

    hostile.world.forget_everything();
    hostile.world.change_config(|text| text.replace(roles.1, roles.0));
    hostile.bad[1].set([
        Fault::tell("block_results", |_, told| told["txs_results"] = Value::Null),
        Fault::tell("tx_search", |_, told| {
            *told = json!({ "txs": [], "total_count": "0" });
        }),
        Fault::tell("abci_query", |params, told| {
            let key = alloy_primitives::hex::decode(params["data"].as_str().unwrap_or_default());
            let key = String::from_utf8_lossy(&key.unwrap_or_default()).into_owned();
            if of_a_proof(params) && key.starts_with("receipts/") {
                told["response"]["value"] = Value::Null;
            } else if params["path"].as_str().is_some_and(|p| p.ends_with("/UnreceivedPackets")) {
                // Sequence 1 is among those that were not received.
                told["response"]["value"] = json!("CgEB");
            }
        }),
    ]);
    let node = hostile.node();
    let denied = async || {
        let alarms = hostile.alarms().await;
        alarms.iter().any(|alarm| alarm.detail.to_string().contains(FORGED_ABSENCE))
    };
    hostile.world.until("the denial is found out", denied).await;
    hostile.blocks_later(4).await;
    let has = hostile.world.chains[0].rpc().balance(alice.address(), "token").await.unwrap();
    assert_eq!(has, had - 7, "nothing was paid back");
    node.kill();

    hostile.set(&[]);
    let _node = hostile.node();
    hostile.sent = 1;
    let messages = hostile.world.until_settled(1).await;
    assert_eq!(messages[0]["outcome"], "succeeded", "{messages:#?}");
    hostile.world.assert_supply_agrees().await;
}

/// Classes (h), (i): an upstream that is behind, or stands still, is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn h_i_an_upstream_that_is_behind_holds_nothing_up() {
    let mut hostile = Hostile::start(true).await;
    let _node = hostile.node();
    for lie in [height_lie(-1_000), height_lie(-20), standing_still()] {
        hostile.set(&[]);
        hostile.send(1);
        hostile.all_settled().await;
        hostile.set(&[lie]);
        hostile.send(2);
        hostile.all_settled().await;
    }
    assert!(hostile.alarms().await.is_empty(), "being behind is no lie");
}

/// Class (h): an upstream that tells of blocks which it does not show is not listened to any more, however
/// far ahead they are.
#[tokio::test(flavor = "multi_thread")]
async fn h_blocks_that_nobody_shows_hold_nothing_up() {
    let mut hostile = Hostile::start(true).await;
    for by in [2, 20, 1_000_000] {
        hostile.set(&[]);
        let node = hostile.node();
        hostile.send(1);
        hostile.all_settled().await;
        hostile.set(&[height_lie(by)]);
        hostile.send(2);
        hostile.all_settled().await;
        node.kill();
    }
    let alarms = hostile.alarms().await;
    let hides = |alarm: &&Alarm| alarm.detail.to_string().contains("which it does not show");
    assert!(alarms.iter().filter(hides).count() >= 2, "{alarms:?}");
    assert!(alarms.iter().all(|a| a.detail.to_string().contains("upstream bad")), "{alarms:?}");
}

/// R1, class (f): events of packets that were never sent, beside those that were.
#[tokio::test(flavor = "multi_thread")]
async fn r1_f_forged_events_bring_nothing() {
    let mut hostile = Hostile::start(false).await;
    let node = hostile.node();
    hostile.send(1);
    hostile.all_settled().await;
    for (chain, bad) in hostile.world.chains.iter().zip(&hostile.bad) {
        let forged = forged_event(chain.rpc(), "send_packet", 777).await;
        bad.set([Fault::tell("block_results", move |_, told| {
            let events = &mut told["finalize_block_events"];
            if events.is_null() {
                *events = json!([]);
            }
            events.as_array_mut().unwrap().push(forged.clone());
        })]);
    }
    hostile.send(2);
    hostile.blocks_later(4).await;
    hostile.all_settled().await;
    node.kill();
    // The same where nothing is known yet.
    hostile.world.forget_everything();
    let _node = hostile.node();
    hostile.sent = 0;
    let before = hostile.received().await;
    hostile.send(1);
    let messages = hostile.world.until_settled(2).await;
    assert_eq!(messages.len(), 2, "{messages:#?}");
    let after: Vec<u128> = before.iter().map(|before| before + 7).collect();
    assert_eq!(hostile.received().await, after);
}

/// Classes (d) and (f): no packet that is yet to be sent is committed to. An upstream that tells of its
/// acknowledgement, or of its timeout, ends nothing: it is brought when it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn r1_d_f_packets_are_not_ended_before_they_are_sent() {
    let mut hostile = Hostile::start(false).await;
    let _node = hostile.node();
    hostile.send(1);
    hostile.all_settled().await;
    for (chain, bad) in hostile.world.chains.iter().zip(&hostile.bad) {
        let mut forged = Vec::new();
        for sequence in 2..=4 {
            let mut event = forged_event(chain.rpc(), "acknowledge_packet", sequence).await;
            forged.push(event.clone());
            event["type"] = json!("timeout_packet");
            forged.push(event);
        }
        bad.set([Fault::tell("block_results", move |_, told| {
            let events = &mut told["finalize_block_events"];
            if events.is_null() {
                *events = json!([]);
            }
            events.as_array_mut().unwrap().extend(forged.clone());
        })]);
    }
    hostile.blocks_later(4).await;
    hostile.set(&[]);
    hostile.send(3);
    hostile.all_settled().await;
}

/// The first event of a kind that a chain tells of, as if it concerned another packet.
async fn forged_event(rpc: &postrider_devnet::CosmosRpc, kind: &str, sequence: u64) -> Value {
    for height in 1..=rpc.height().await.unwrap() {
        let told = rpc.block_results(height).await.unwrap();
        let transactions = told["txs_results"].as_array().into_iter().flatten();
        let mut events = transactions.filter_map(|t| t["events"].as_array()).flatten();
        let Some(event) = events.find(|event| event["type"] == kind) else { continue };
        let mut event = event.clone();
        for attribute in event["attributes"].as_array_mut().unwrap() {
            if attribute["key"] == "packet_sequence" {
                attribute["value"] = json!(sequence.to_string());
            }
        }
        return event;
    }
    panic!("no {kind} is told of");
}

/// Class (h): an upstream that keeps events back delays a packet at most: the chain's state says that it is
/// pending, and it is found when an operator asks for that, and on the schedule.
#[tokio::test(flavor = "multi_thread")]
async fn h_events_that_are_kept_back_are_found_by_what_state_says() {
    let mut hostile = Hostile::start(true).await;
    hostile
        .world
        .change_config(|text| text.replace("[ibc.beta]\n", "[ibc.beta]\nclear_minutes = 1\n"));
    let _node = hostile.node();
    hostile.send(1);
    hostile.all_settled().await;
    hostile.set(&[Fault::tell("block_results", |_, told| {
        for transaction in told["txs_results"].as_array_mut().into_iter().flatten() {
            if let Some(events) = transaction["events"].as_array_mut() {
                events.retain(|event| event["type"] != "send_packet");
            }
        }
    })]);
    hostile.send(2);
    let expected = 7 * 3;
    hostile
        .world
        .until("they are found and brought", async || {
            // Nobody asks for what was sent from beta.
            hostile.world.run(&["ibc", "clear", "alpha", "transfer/channel-0"]);
            hostile.received().await == [expected, expected]
        })
        .await;
    hostile.all_settled().await;
}

/// Under each of these faults of one upstream, from the middle of things on, the other one serves.
async fn fails_in_the_middle(faults: Vec<Fault>) {
    let mut hostile = Hostile::start(true).await;
    for fault in faults {
        hostile.set(&[]);
        let node = hostile.node();
        hostile.send(1);
        hostile.all_settled().await;
        hostile.send(2);
        // A connection that breaks off is counted nowhere.
        let is_counted = fault != Fault::Dead;
        if fault == Fault::Mute {
            let is_open = async || hostile.bad.iter().all(|bad| bad.stats().sockets > 0);
            hostile.world.until("blocks are told of over WebSocket", is_open).await;
        }
        hostile.set(&[fault]);
        let before: Vec<u64> = hostile.bad.iter().map(|bad| bad.stats().requests).collect();
        hostile.send(2);
        hostile.all_settled().await;
        for (bad, before) in hostile.bad.iter().zip(before) {
            assert!(!is_counted || bad.stats().requests > before, "it was not asked");
        }
        node.kill();
    }
}

/// Class (h), rules R6 and R10: an upstream that breaks off, babbles, is of another chain, or has no more
/// answers to give for a while.
#[tokio::test(flavor = "multi_thread")]
async fn r6_r10_an_upstream_that_dies_or_babbles_holds_nothing_up() {
    let another = Fault::tell("status", |_, told| {
        told["node_info"]["network"] = json!("other-1");
    });
    let limited = Fault::RateLimited { retry_after: Some(Duration::from_secs(2)) };
    fails_in_the_middle(vec![Fault::Dead, Fault::Garbage, another, limited]).await;
}

/// Class (h), rules R6 and R10: an upstream that takes questions and is silent, whose answer never ends, or
/// whose WebSocket says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn r6_r10_an_upstream_that_hangs_or_never_ends_holds_nothing_up() {
    fails_in_the_middle(vec![Fault::Hang, Fault::Endless, Fault::Mute]).await;
}

/// The answer of a pool that takes a transaction; nobody hands it on.
fn swallowed(params: &Value) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::Digest;
    let raw = STANDARD.decode(params["tx"].as_str().unwrap()).unwrap();
    let hash = alloy_primitives::hex::encode_upper(sha2::Sha256::digest(raw));
    json!({ "code": 0, "data": "", "log": "", "codespace": "", "hash": hash })
}

/// R1, class (h): an upstream that takes transactions and hands none on, or refuses all, cannot keep
/// packets from their chain while there is another one.
#[tokio::test(flavor = "multi_thread")]
async fn r1_h_an_upstream_that_swallows_or_refuses_transactions_keeps_nothing_back() {
    let mut hostile = Hostile::start(true).await;
    let _node = hostile.node();
    let refuses = Fault::Error {
        method: Some("broadcast_tx_sync".to_owned()),
        code: -32603,
        message: "Internal error: mempool is full: number of txs 5000 (max: 5000)".to_owned(),
    };
    for fault in [Fault::instead("broadcast_tx_sync", swallowed), refuses] {
        hostile.set(&[]);
        hostile.send(1);
        hostile.all_settled().await;
        hostile.set(&[fault]);
        hostile.send(2);
        hostile.all_settled().await;
    }
}

/// A chain that stands still, or is restarted, under packets in both directions: all settle when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn r6_a_chain_that_halts_is_awaited() {
    let mut hostile = Hostile::start(false).await;
    let _node = hostile.node();
    hostile.send(5);
    hostile.world.chains[1].halt().unwrap();
    let (alpha, bob) = (hostile.world.chains[0].rpc().clone(), CosmosAccount::named("bob"));
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    hostile.world.run_as_alice(&[&over[..], &["--count", "5"]].concat());
    let height = alpha.height().await.unwrap();
    alpha.wait_for_height(height + 5, PATIENCE).await.unwrap();
    hostile.world.chains[1].resume().unwrap();
    let over = ["ibc", "transfer", "beta", "transfer/channel-0", "7token", bob.address()];
    hostile.world.run_as_alice(&[&over[..], &["--count", "5"]].concat());
    hostile.sent += 10;
    hostile.all_settled().await;

    hostile.send(5);
    hostile.world.chains[0].kill().await;
    hostile.world.chains[0].restart().await.unwrap();
    hostile.all_settled().await;
}

/// Class (i), rule R6: what is pending but whose data no node has any more is held with that reason, and
/// does not go missing in silence.
#[tokio::test(flavor = "multi_thread")]
async fn r6_what_is_pruned_is_held_and_says_so() {
    const KEPT: u64 = 60;
    let world = World::start_with(|mut plan| {
        plan.block_time = Duration::from_millis(300);
        plan.keeping(KEPT)
    })
    .await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&[&over[..], &["--count", "2"]].concat());
    let sent = world.chains[0].rpc().height().await.unwrap();
    let mut roots = Vec::new();
    for chain in &world.chains {
        let rpc = chain.rpc();
        let forgets = async || {
            let status = rpc.call("status", json!({})).await.unwrap();
            let earliest = status["sync_info"]["earliest_block_height"].as_str().unwrap();
            earliest.parse::<u64>().unwrap() > sent
        };
        world.until("the block of the packets is pruned", forgets).await;
        let height = rpc.height().await.unwrap();
        let commit = rpc.call("commit", json!({ "height": height.to_string() })).await.unwrap();
        let hash = commit["signed_header"]["commit"]["block_id"]["hash"].as_str().unwrap();
        roots.push(format!(
            "trust = {{ height = {height}, hash = \"{hash}\", period_hours = 336 }}"
        ));
    }
    world.change_config(|text| {
        let mut roots = roots.iter();
        let line = |line: &str| {
            if line.starts_with("trust = ") {
                roots.next().unwrap().clone()
            } else {
                line.to_owned()
            }
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    });
    let hostile = Hostile::before(world, false).await;
    hostile.set(&[Fault::Error {
        method: Some("tx_search".to_owned()),
        code: -32603,
        message: "Internal error: transaction indexing is disabled".to_owned(),
    }]);
    let world = &hostile.world;
    let _node = world.node();
    let runs = async || world.command(&["messages"]).output().unwrap().status.success();
    world.until("the store is made", runs).await;
    let held = async || {
        let messages = world.messages();
        messages.len() == 2 && messages.iter().all(|m| m["reason_code"] == "data_not_found")
    };
    world.until("they are held for want of data", held).await;
    assert_eq!(world.received(&world.chains[1], bob.address()).await, 0);
}
