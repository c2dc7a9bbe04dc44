//! Packets between real ibc-go chains, from the command line to the acknowledgement.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "support/cosmos.rs"]
mod cosmos;
#[path = "support/governance.rs"]
mod governance;

use cosmos::World;
use governance::{hand_in, quickly_governed};
use postrider_devnet::{CosmosAccount, FaultyUpstream};
use rand::{RngExt, SeedableRng};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_cross_and_are_acknowledged() {
    let world = World::start().await;
    let path = world.create_path();
    assert_eq!(path["sides"][0]["channel"], "channel-0", "{path:#}");
    let again = world.create_path();
    assert_eq!(again["sides"][0]["channel"], "channel-0", "{again:#}");
    assert_eq!(again["steps"], 0, "nothing is made twice: {again:#}");

    let _node = world.node();
    let bob = CosmosAccount::named("bob");
    let transfer = |network: &str, count: &str| {
        let over = ["ibc", "transfer", network, "transfer/channel-0", "7token", bob.address()];
        world.run_as_alice(&[&over[..], &["--count", count]].concat())
    };
    transfer("alpha", "3");
    transfer("beta", "2");
    let messages = world.until_settled(5).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    world.assert_supply_agrees().await;
}

/// A packet that nobody brought in time comes back, and one to nobody is refused and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_or_refused_comes_back() {
    let world = World::start().await;
    world.create_path();
    let alice = CosmosAccount::named("alice");
    let bob = CosmosAccount::named("bob");
    let had = world.chains[0].rpc().balance(alice.address(), "token").await.unwrap();
    let send = |receiver: &str, timeout: &str| {
        let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", receiver];
        world.run_as_alice(&[&over[..], &["--timeout", timeout]].concat());
    };
    // Nobody relays yet: these are too late when somebody does, by time and by height.
    send(bob.address(), "1");
    let beta = world.chains[1].rpc();
    let height = beta.height().await.unwrap() + 3;
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    let until = format!("1-{height}");
    world.run_as_alice(&[&over[..], &["--timeout-height", &until]].concat());
    beta.wait_for_height(height + 1, cosmos::PATIENCE).await.unwrap();
    let _node = world.node();
    send("nobody", "600");
    let messages = world.until_settled(3).await;
    let mut outcomes: Vec<_> = messages.iter().map(|m| m["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["app_error", "timed_out", "timed_out"], "{messages:#?}");
    let has = world.chains[0].rpc().balance(alice.address(), "token").await.unwrap();
    assert_eq!(has, had, "the tokens are back");
    world.assert_supply_agrees().await;
}

/// R4, class (q): the node is killed at 20 random instants under 500 transfers, in both directions, some
/// sent before it first ran: each is received once and acknowledged once.
#[tokio::test(flavor = "multi_thread")]
async fn r4_q_kills_lose_nothing_and_double_nothing() {
    let seed: u64 = std::env::var("POSTRIDER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("POSTRIDER_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let world = World::start().await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let transfer = |network: &str| {
        let over = ["ibc", "transfer", network, "transfer/channel-0", "1token", bob.address()];
        world.run_as_alice(&[&over[..], &["--count", "50"]].concat())
    };
    transfer("alpha");
    for kill in 0..20 {
        let node = world.node();
        if kill % 2 == 0 && kill < 18 {
            transfer(if kill % 4 == 0 { "beta" } else { "alpha" });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(300..2_500))).await;
        node.kill();
    }
    let _node = world.node();
    let messages = world.until_settled(500).await;
    assert_eq!(messages.len(), 500);
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    for (chain, sent) in world.chains.iter().zip([250u128, 250]) {
        let vouchers = world.received(chain, bob.address()).await;
        assert_eq!(vouchers, sent, "each was received once");
    }
    let relayer = CosmosAccount::named("relayer");
    for chain in &world.chains {
        let brought = cosmos::brought_by(chain, relayer.address()).await;
        let twice = brought.messages - brought.effective;
        println!("{}: {twice} messages paid for twice; {brought:?}", chain.chain_id());
        assert_eq!(brought.effective, 500, "{brought:?}");
    }
    world.assert_supply_agrees().await;
}

/// Two relayers that know nothing of each other, without a stand-by delay: all is received and acknowledged
/// once, and each counts for its operator what it paid for in vain, as the chains show it.
#[tokio::test(flavor = "multi_thread")]
async fn q_two_relayers_settle_all_once_and_count_what_the_race_cost() {
    let world = World::start().await;
    world.create_path();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.change_config(|text| format!("[api]\nlisten = \"127.0.0.1:{port}\"\n{text}"));
    let bob = CosmosAccount::named("bob");
    let first = world.node();
    let second = world.second_node("bob", "");
    for network in ["alpha", "beta", "alpha", "beta"] {
        let over = ["ibc", "transfer", network, "transfer/channel-0", "1token", bob.address()];
        world.run_as_alice(&[&over[..], &["--count", "20"]].concat());
    }
    let messages = world.until_settled(80).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    let mut effective = 0;
    for (name, host) in [("relayer", "127.0.0.1"), ("bob", "127.0.0.2")] {
        for (network, chain) in ["alpha", "beta"].iter().zip(&world.chains) {
            let counted = async || {
                let text = metrics(host, port);
                let count = |why: &str| -> u64 {
                    let name = "postrider_transactions_in_vain_total";
                    let line = format!("{name}{{network=\"{network}\",why=\"{why}\"}} ");
                    let found = text.lines().find_map(|l| l.strip_prefix(&line));
                    found.map_or(0, |n| n.parse().unwrap())
                };
                count("failed") + count("late")
            };
            let account = CosmosAccount::named(name);
            let mut brought = cosmos::Brought::default();
            let agree = async || {
                brought = cosmos::brought_by(chain, account.address()).await;
                counted().await == brought.in_vain
            };
            world.until("the node counts what the chain shows", agree).await;
            println!("{name} on {network}: {brought:?}");
            effective += brought.effective;
        }
    }
    assert_eq!(effective, 160, "each was received and acknowledged once");
    world.assert_supply_agrees().await;
    drop((first, second));
}

fn metrics(host: &str, port: u16) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((host, port)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// What was received before this node's view begins is acknowledged all the same: state says that the packet
/// is pending and that it was received, and the acknowledgement is found where it was written.
#[tokio::test(flavor = "multi_thread")]
async fn r4_acknowledgements_of_before_are_found() {
    let world = World::start().await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&[&over[..], &["--count", "3"]].concat());
    // A relayer that only receives.
    world.change_config(|text| {
        text.replace("[ibc.alpha]\nroles = [\"relay\"]", "[ibc.alpha]\nroles = [\"watch\"]")
    });
    let node = world.node();
    world
        .until("they are received", async || {
            world.received(&world.chains[1], bob.address()).await == 21
        })
        .await;
    node.kill();
    world.forget_everything();
    world.change_config(|text| text.replace("\"watch\"", "\"relay\""));
    let _node = world.node();
    let runs = async || world.command(&["messages"]).output().unwrap().status.success();
    world.until("the store is made", runs).await;
    let messages = world.until_settled(3).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    world.assert_supply_agrees().await;
}

/// What no block that is searched has is found by an index, a range of sequences at a time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_further_back_than_is_searched_is_found_by_an_index() {
    let world = World::start().await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&[&over[..], &["--count", "5"]].concat());
    let height = world.chains[0].rpc().height().await.unwrap();
    world.chains[0].rpc().wait_for_height(height + 8, cosmos::PATIENCE).await.unwrap();
    let proxy = FaultyUpstream::start(world.chains[0].rpc().url()).await.unwrap();
    world.change_config(|text| {
        text.replace(world.chains[0].rpc().url(), proxy.url())
            .replace("[ibc.alpha]\n", "[ibc.alpha]\nsearch_blocks = 1\n")
    });
    let _node = world.node();
    let runs = async || world.command(&["messages"]).output().unwrap().status.success();
    world.until("the store is made", runs).await;
    let messages = world.until_settled(5).await;
    assert!(messages.iter().all(|m| m["outcome"] == "succeeded"), "{messages:#?}");
    let calls = proxy.stats().calls;
    assert_eq!(calls.get("tx_search"), Some(&1), "one question for all five: {calls:?}");
    world.assert_supply_agrees().await;
}

/// A filter keeps packets back with a reason; once it is gone, an operator clears them by their sequences.
#[tokio::test(flavor = "multi_thread")]
async fn o_filters_hold_back_and_clearing_takes_up() {
    let world = World::start().await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.change_config(|text| {
        let settings = "[ibc.alpha]\nexclude = [\"transfer/*:1..2\"]\nmax_memo_bytes = 9\n";
        text.replace("[ibc.alpha]\n", settings)
    });
    let node = world.node();
    world.run_as_alice(&[&over[..], &["--count", "3"]].concat());
    world.run_as_alice(&[&over[..], &["--memo", "0123456789"]].concat());
    world
        .until("one crosses", async || world.received(&world.chains[1], bob.address()).await == 7)
        .await;
    let reasons = || {
        let messages = world.messages();
        messages.iter().filter(|m| m["reason_code"] == "filtered_out").count()
    };
    world.until("the others say why not", async || reasons() == 3).await;
    drop(node);
    world.change_config(|text| {
        text.replace("exclude = [\"transfer/*:1..2\"]\nmax_memo_bytes = 9\n", "")
    });
    let _node = world.node();
    let asked = world.run(&["ibc", "clear", "alpha", "transfer/channel-0", "--sequences", "1..4"]);
    assert_eq!(asked["asked"], true);
    world
        .until("all have crossed", async || {
            world.received(&world.chains[1], bob.address()).await == 28
        })
        .await;
    world.until_settled(4).await;
    world.assert_supply_agrees().await;
}

/// Of two relayers with wallets of their own, the one that stands by pays for nothing while the first lives,
/// and takes over when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_relayer_that_stands_by_takes_over() {
    let world = World::start().await;
    world.create_path();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    let first = world.node();
    let second = world.second_node("bob", "standby_seconds = 5");
    let paid = async || {
        let mut paid = 0;
        for chain in &world.chains {
            paid += cosmos::transactions_of(chain, bob.address()).await;
        }
        paid
    };
    world.run_as_alice(&[&over[..], &["--count", "20"]].concat());
    world.until_settled(20).await;
    assert_eq!(paid().await, 0, "the second one paid for nothing");
    first.kill();
    world.run_as_alice(&[&over[..], &["--count", "5"]].concat());
    let all = async || world.received(&world.chains[1], bob.address()).await == 7 * 25;
    world.until("the second one brings them", all).await;
    // A node's index tells of a transaction a moment after its block.
    world.until("and pays for it", async || paid().await > 0).await;
    world.assert_supply_agrees().await;
    drop(second);
}

/// Class (e): a client that nothing is shown to is led on all the same, long before it expires; one that has
/// expired is told of by whoever watches, and holds back what must be shown to it with that reason, until the
/// proposal that is written for it is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn e_clients_are_kept_alive_and_one_that_expired_is_told_of_and_recovered() {
    let world = World::start_with(quickly_governed).await;
    world.change_config(|text| text.replace("period_hours = 336", "period_hours = 0.017"));
    world.create_path();
    world.change_config(|text| text.replace("period_hours = 0.017", "period_hours = 336"));
    let updates = async |chain: usize| cosmos::updates_on(&world.chains[chain]).await;
    let before = [updates(0).await, updates(1).await];
    let node = world.node();
    let refreshed = async || updates(0).await >= before[0] + 2 && updates(1).await >= before[1] + 2;
    world.until("both clients are refreshed twice", refreshed).await;
    assert!(world.messages().is_empty());
    node.kill();
    let bob = CosmosAccount::named("bob");
    let over = ["ibc", "transfer", "alpha", "transfer/channel-0", "7token", bob.address()];
    world.run_as_alice(&over);
    // Nobody refreshes them any more; a node that only watches tells of it while there is time.
    world.change_config(|text| text.replace("roles = [\"relay\"]", "roles = []"));
    let watching = world.node();
    let alarm = |what: &str| {
        world.log().lines().any(|line| line.contains("ALARM: client") && line.contains(what))
    };
    world.until("an alarm tells that one expires soon", async || alarm("expires soon")).await;
    assert!(!alarm("has expired"), "the alarm came before it was too late");
    world.until("an alarm tells that one has expired", async || alarm("has expired")).await;
    watching.kill();
    world.change_config(|text| text.replace("roles = []", "roles = [\"relay\"]"));
    let _node = world.node();
    let held = async || {
        let messages = world.messages();
        messages.first().is_some_and(|message| message["reason_code"] == "client_unusable")
    };
    world.until("the message says why it waits", held).await;
    for (chain, on, of) in [(0, "alpha", "beta"), (1, "beta", "alpha")] {
        let made = world.run(&["ibc", "client", "create", on, of]);
        assert_eq!(made["client"], "07-tendermint-1", "{made}");
        let ids = ["07-tendermint-0", "07-tendermint-1"];
        let write = ["ibc", "client", "recover", on, ids[0], ids[1], "--deposit", "1000stake"];
        let proposal = world.run(&write);
        hand_in(&world, &world.chains[chain], proposal).await;
    }
    let messages = world.until_settled(1).await;
    assert_eq!(messages[0]["outcome"], "succeeded", "{messages:#?}");
    world.assert_supply_agrees().await;
}
