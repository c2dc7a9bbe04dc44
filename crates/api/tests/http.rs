//! What HTTP answers, over a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use alloy_primitives::{B256, Bytes, U256};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use postrider_message::*;
use postrider_node::{Config, Context};
use postrider_store::*;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// An answer longer than this is not bounded.
const MOST: usize = 4 << 20;

struct World {
    context: Arc<Context>,
    router: Router,
    _folder: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The code of an error that names what is wrong and what to do.
    fn code(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        assert!(!error["what"].as_str().unwrap().is_empty(), "{json}");
        assert!(!error["remedy"].as_str().unwrap().is_empty(), "{json}");
        error["code"].as_str().unwrap().to_owned()
    }
}

const COSMOS: &str = r#"
[networks.hub]
kind = "cosmos"
chain_id = "hub-1"
prefix = "cosmos"
gas = { price = "0.025uatom" }
trust = { height = 1, hash = "0101010101010101010101010101010101010101010101010101010101010101", period_hours = 336 }
upstreams = [{ name = "node", operator = "us", url = "http://127.0.0.1:1" }]
"#;

fn config() -> Config {
    let network = |name: &str, id: u64| {
        format!(
            "[networks.{name}]\nkind = \"evm\"\nchain_id = {id}\nquorum = 1\n\
             finality = \"finalized\"\nupstreams = [{{ name = \"up\", operator = \"us\", \
             url = \"http://user:secret@127.0.0.1:1/key-in-path\" }}]\n"
        )
    };
    let text = network("alpha", 1) + &network("beta", 2) + COSMOS;
    Config::parse(&text, Path::new("postrider.toml"), Path::new("/nowhere")).unwrap()
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
        let context = Arc::new(Context::new(config(), Arc::new(store)).unwrap());
        let router = postrider_api::router(Arc::clone(&context));
        Self { context, router, _folder: folder }
    }

    /// With messages 1 to `count` sent on one lane, one on another, all waiting to be attested.
    async fn with_messages(count: u64) -> Self {
        let world = Self::new().await;
        let mut messages: Vec<Message> = (1..=count).map(|n| message("app", n)).collect();
        messages.push(message("other", 1));
        world.context.store.record_blocks(sending(&messages)).await.unwrap();
        world
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), MOST).await.expect("a bounded answer");
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }
}

fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

fn message(application: &str, nonce: u64) -> Message {
    let end = |name: &str| LaneEnd {
        network: network(name),
        point: Point::try_from(application.to_owned()).unwrap(),
    };
    Message {
        lane: Lane {
            protocol: Protocol::LayerZero,
            source: end("alpha"),
            destination: end("beta"),
        },
        nonce: MessageNonce(nonce),
        payload: Payload::Known {
            bytes: Bytes::from(nonce.to_be_bytes().to_vec()),
            hash: PayloadHash(B256::with_last_byte(7)),
        },
        options: Bytes::new(),
        reference: None,
    }
}

fn sending(messages: &[Message]) -> BlockBatch {
    let block = BlockRef { height: Height(1), hash: BlockHash(B256::with_last_byte(1)) };
    let sent = |(i, m): (usize, &Message)| FactRecord {
        subject: Subject { lane: m.lane.id(), nonce: m.nonce, payload: Some(m.payload.hash()) },
        fact: Fact::Sent,
        observation: Observation {
            network: network("alpha"),
            block,
            index: i as u64,
            transaction: TxHash(B256::with_last_byte(9)),
        },
        certainty: Certainty::Verified,
        at: UnixMillis(1),
    };
    let owed = |m: &Message| Duty {
        message: m.id(),
        kind: DutyKind::Attest,
        part: 0,
        network: network("beta"),
        worker: "0xours".into(),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    };
    let proven = |m: &Message| ProvenMessage { message: m.clone(), evidence: b"proof".to_vec() };
    BlockBatch {
        network: network("alpha"),
        previous: None,
        blocks: vec![block],
        messages: messages.iter().map(proven).collect(),
        facts: messages.iter().enumerate().map(sent).collect(),
        duties: messages.iter().map(owed).collect(),
        moves: vec![],
        included: vec![],
        movements: vec![],
        tokens: B256::ZERO,
        tip_time: None,
        at: UnixMillis(1),
    }
}

#[tokio::test]
async fn messages_come_in_pages_and_by_filter() {
    let world = World::with_messages(7).await;
    let (mut path, mut seen) = ("/messages?limit=3".to_owned(), vec![]);
    loop {
        let page = world.json(&path).await;
        let messages = page["messages"].as_array().unwrap();
        assert!(messages.len() <= 3);
        seen.extend(messages.iter().map(|m| m["nonce"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/messages?limit=3&after={next}");
    }
    assert_eq!(seen, [1, 7, 6, 5, 4, 3, 2, 1]);
    let other = message("other", 1).lane;
    let id = other.id().to_string();
    for (query, count) in [
        ("status=verified", 8),
        ("status=settled", 0),
        ("lane=other", 1),
        (&format!("lane={id}"), 1),
        ("reason=awaiting_plan", 8),
        ("reason=lane_paused", 0),
        ("network=beta&open=true", 8),
        ("network=gamma", 0),
    ] {
        let found = world.json(&format!("/messages?{query}")).await;
        assert_eq!(found["messages"].as_array().unwrap().len(), count, "{query}");
    }
    world.context.store.pause_lane(other.id(), UnixMillis(2)).await.unwrap();
    let found = world.json("/messages?reason=lane_paused").await;
    assert_eq!(found["messages"][0]["lane"], other.to_string());
    assert_eq!(found["messages"][0]["reason_code"], "lane_paused");
}

#[tokio::test]
async fn all_about_a_message_is_found_by_its_first_digits() {
    let world = World::with_messages(2).await;
    let id = message("app", 1).id();
    for text in [id.to_string(), id.short()] {
        let found = world.json(&format!("/messages/{text}")).await;
        assert_eq!(found["id"], id.to_string());
        assert_eq!(found["reason_code"], "awaiting_plan");
        assert_eq!(found["detail"]["duties"][0]["kind"], "attest");
        assert_eq!(found["facts_left_out"], 0);
    }
    // All of them were sent by one transaction.
    let sent = TxHash(B256::with_last_byte(9));
    let several = world.get(&format!("/messages/{sent}")).await;
    assert_eq!((several.status, several.code().as_str()), (StatusCode::CONFLICT, "ambiguous"));
    let none = world.get("/messages/0xffffffff").await;
    assert_eq!((none.status, none.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn escrows_tell_what_is_kept_and_made() {
    let world = World::with_messages(1).await;
    let row = |denom: &str, vouchers: u64| EscrowRow {
        lane: message("app", 1).lane,
        denom: format!("transfer/channel-0/{denom}"),
        escrow: U256::from(5),
        vouchers: U256::from(vouchers),
        source_height: Height(7),
        destination_height: Height(8),
        at: UnixMillis(1),
        breached: None,
    };
    let rows = vec![row("even", 5), row("more", 6)];
    world.context.store.keep_escrows(rows, UnixMillis(1)).await.unwrap();
    let found = world.json("/escrows?limit=1").await;
    let first = &found["escrows"][0];
    assert_eq!((found["escrows"].as_array().unwrap().len(), &found["more"]), (1, &json!(1)));
    assert_eq!(first["denom"], "transfer/channel-0/more");
    assert_eq!((&first["escrow"], &first["vouchers"]), (&json!("5"), &json!("6")));
    assert_eq!((&first["breached"], &first["even"]), (&json!(true), &json!(false)));
    assert_eq!((&first["source_height"], &first["destination_height"]), (&json!(7), &json!(8)));
    assert_eq!(world.json("/escrows").await["escrows"][1]["even"], true);
}

#[tokio::test]
async fn lanes_tell_their_backlog_and_reasons() {
    let world = World::with_messages(3).await;
    let other = message("other", 1).lane;
    world.context.store.pause_lane(other.id(), UnixMillis(2)).await.unwrap();
    let found = world.json("/lanes").await;
    let lanes = found["lanes"].as_array().unwrap();
    assert_eq!((lanes.len(), found["more"].as_u64()), (2, Some(0)));
    assert_eq!(
        (lanes[0]["backlog"].as_u64(), lanes[0]["paused"].as_bool()),
        (Some(3), Some(false))
    );
    assert_eq!(lanes[0]["reasons"]["awaiting_plan"], 3);
    assert_eq!(lanes[0]["messages"]["verified"], 3);
    assert_eq!(lanes[0]["oldest"]["id"], message("app", 1).id().to_string());
    assert_eq!(lanes[1]["paused"], true);
    assert_eq!(lanes[1]["reasons"]["lane_paused"], 1);
    let first = world.json("/lanes?limit=1").await;
    assert_eq!((first["lanes"].as_array().unwrap().len(), first["more"].as_u64()), (1, Some(1)));
}

#[tokio::test]
async fn ready_says_what_is_not() {
    let world = World::new().await;
    assert_eq!(world.json("/health").await["alive"], true);
    let codes = async || {
        let answer = world.get("/ready").await;
        let json = answer.json();
        let why: Vec<(String, String)> = json["why_not"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| {
                assert!(
                    !w["what"].as_str().unwrap().is_empty()
                        && !w["remedy"].as_str().unwrap().is_empty()
                );
                let network = w["network"].as_str().unwrap_or("-").to_owned();
                (w["code"].as_str().unwrap().to_owned(), network)
            })
            .collect();
        let expected =
            if why.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(answer.status, expected);
        assert_eq!(json["ready"], why.is_empty());
        why
    };
    let said = |list: &[(&str, &str)]| {
        list.iter().map(|(c, n)| ((*c).to_owned(), (*n).to_owned())).collect::<Vec<_>>()
    };
    let behind = ["alpha", "beta", "hub"].map(|name| ("not_caught_up", name));
    assert_eq!(codes().await, said(&behind));
    for network in world.context.networks.values() {
        network.progress.send_modify(|p| p.caught_up = true);
    }
    assert_eq!(codes().await, said(&[("not_caught_up", "hub")]));
    let hub = &world.context.cosmos[&network("hub")];
    hub.progress.send_modify(|p| p.caught_up = true);
    assert_eq!(codes().await, said(&[]));
    let lost =
        Reason::QuorumLost { network: network("beta"), agreeing: 0, needed: 1, configured: 1 };
    world.context.store.set_condition(&network("beta"), Some(lost)).await.unwrap();
    assert_eq!(codes().await, said(&[("quorum_lost", "beta")]));
    world.context.store.set_condition(&network("beta"), None).await.unwrap();
    let alpha = world.context.network(&network("alpha")).unwrap();
    alpha.progress.send_modify(|p| p.stopped = true);
    assert_eq!(codes().await, said(&[("follower_stopped", "alpha")]));
    hub.progress.send_modify(|p| p.stopped = true);
    assert_eq!(codes().await, said(&[("follower_stopped", "alpha"), ("follower_stopped", "hub")]));
}

#[tokio::test]
async fn ready_says_when_the_store_cannot_be_written() {
    let world = World::with_messages(1).await;
    let path = world._folder.path().join("store.db");
    let store = SqliteStore::open_read_only(path).await.unwrap();
    let context = Arc::new(Context::new(config(), Arc::new(store)).unwrap());
    for network in context.networks.values() {
        network.progress.send_modify(|p| p.caught_up = true);
    }
    for network in context.cosmos.values() {
        network.progress.send_modify(|p| p.caught_up = true);
    }
    let world = World { router: postrider_api::router(Arc::clone(&context)), context, ..world };
    let answer = world.get("/ready").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["why_not"][0]["code"], "store_not_writable");
}

#[tokio::test]
async fn metrics_carry_the_words_used_everywhere() {
    let world = World::with_messages(2).await;
    let store = &world.context.store;
    store.pause_lane(message("other", 1).lane.id(), UnixMillis(2)).await.unwrap();
    let lost =
        Reason::QuorumLost { network: network("beta"), agreeing: 0, needed: 1, configured: 1 };
    store.set_condition(&network("beta"), Some(lost)).await.unwrap();
    let alarm = Alarm {
        kind: AlarmKind::QuorumLost,
        network: network("beta"),
        message: None,
        detail: "x".into(),
        at: UnixMillis(1),
    };
    store.raise(alarm).await.unwrap();
    let alpha = world.context.network(&network("alpha")).unwrap();
    alpha.progress.send_modify(|p| (p.head, p.durable) = (Height(12), Height(10)));
    alpha.wallets.note("0xpayer", alloy_primitives::U256::MAX);
    let hub = &world.context.cosmos[&network("hub")];
    hub.progress.send_modify(|p| (p.head, p.durable) = (Height(7), Height(4)));
    hub.wallets.note("cosmos1payer", alloy_primitives::U256::from(42));

    let answer = world.get("/metrics").await;
    assert!(
        answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "postrider_messages{status=\"verified\"} 3",
        "postrider_messages_pending{reason=\"lane_paused\"} 1",
        "postrider_duties{kind=\"attest\",network=\"beta\",state=\"waiting\",reason=\"lane_paused\"} 1",
        "postrider_duties{kind=\"attest\",network=\"beta\",state=\"waiting\",reason=\"awaiting_plan\"} 2",
        "postrider_lanes_paused 1",
        "postrider_alarms_total{kind=\"quorum_lost\",network=\"beta\"} 1",
        "postrider_network_condition{network=\"beta\",reason=\"quorum_lost\"} 1",
        "postrider_follower_height{network=\"alpha\"} 10",
        "postrider_follower_lag_blocks{network=\"alpha\"} 2",
        "postrider_follower_height{network=\"hub\"} 4",
        "postrider_follower_lag_blocks{network=\"hub\"} 3",
        "postrider_follower_caught_up{network=\"hub\"} 0",
        "postrider_wallet_balance{network=\"hub\",address=\"cosmos1payer\"} 42",
        "postrider_upstream_usable{network=\"hub\",upstream=\"node\"} 1",
        "postrider_upstream_requests_total{network=\"alpha\",upstream=\"up\"} 0",
        "postrider_upstream_errors_total{network=\"beta\",upstream=\"up\"} 0",
        &format!(
            "postrider_wallet_balance{{network=\"alpha\",address=\"0xpayer\"}} {}",
            alloy_primitives::U256::MAX
        ),
    ] {
        assert!(answer.text.lines().any(|l| l == line), "{line} is not in\n{}", answer.text);
    }
    // Each family once, and every sample under its own: scrapers refuse anything else.
    let mut family = "";
    let mut seen = std::collections::BTreeSet::new();
    for line in answer.text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(seen.insert(family), "{family} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(name, family);
        }
    }
}

#[tokio::test]
async fn r10_hostile_parameters_are_refused_with_what_to_do() {
    let world = World::with_messages(1).await;
    let long = "x".repeat(40_000);
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=99999999999999999999999",
        "limit=1e3",
        "limit=",
        "limit=1&limit=2",
        "after=-1",
        "after=0x1",
        "after=18446744073709551616",
        "status=Verified",
        "status=%00",
        "reason=%27%20OR%201%3D1%20--",
        "network=../../etc",
        "open=maybe",
        "lane=nowhere",
        "lane=",
        "lane=a%00b",
        "unknown=1",
        "status[]=verified",
        &format!("status={long}"),
        &format!("lane={long}"),
        &format!("{long}=1"),
    ] {
        let answer = world.get(&format!("/messages?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text);
        assert_eq!(answer.code(), "bad_parameter", "{query}");
        assert!(answer.text.len() < 2_000, "what was sent is not sent back whole");
    }
    // The largest cursor there is, and bytes that are no text.
    for query in ["after=18446744073709551615", "limit=500"] {
        world.json(&format!("/messages?{query}")).await;
    }
    let odd = world.get("/messages?status=%ff%fe").await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    for query in ["limit=0", "limit=1000000", "after=1"] {
        let answer = world.get(&format!("/lanes?{query}")).await;
        assert_eq!(answer.code(), "bad_parameter", "{query}");
    }
}

#[tokio::test]
async fn r10_path_tricks_lead_nowhere() {
    let world = World::with_messages(1).await;
    let long = format!("/messages/{}", "a".repeat(40_000));
    for path in [
        "/",
        "/nothing",
        "/messages/",
        "/messages/..",
        "/messages/../../etc/passwd",
        "/messages/..%2f..%2fetc%2fpasswd",
        "/messages/%2e%2e",
        "/messages/0x",
        "/messages/x",
        "/messages/%00",
        "/messages/0x1/more",
        "/messages/'%20OR%20'1'='1",
        "//messages",
        "/METRICS",
        "/lanes/x",
        long.as_str(),
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
        assert_eq!(answer.code(), "not_found", "{path}");
        assert!(answer.text.len() < 2_000);
    }
    let bytes = world.get("/messages/%ff").await;
    assert_eq!((bytes.status, bytes.code().as_str()), (StatusCode::BAD_REQUEST, "bad_parameter"));
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let world = World::with_messages(1).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/messages", "/lanes", "/ready", "/metrics", "/messages/0x1"] {
            let answer = world.ask(method.clone(), path).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.code(), "read_only");
        }
    }
}

#[tokio::test]
async fn r8_no_answer_names_an_upstreams_url() {
    let world = World::with_messages(1).await;
    for path in ["/health", "/ready", "/messages", "/lanes", "/metrics", "/x", "/messages?limit=0"]
    {
        let answer = world.get(path).await;
        for secret in ["secret", "key-in-path", "127.0.0.1", "store.db"] {
            assert!(!answer.text.contains(secret), "{path} tells {secret}: {}", answer.text);
        }
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

/// Over a real socket: it answers, bytes that are no HTTP stop nobody, and it ends when told to
/// although a client stays connected.
#[tokio::test]
async fn r10_serving_survives_noise_and_ends_when_told() {
    let world = World::with_messages(1).await;
    let listener = postrider_api::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = postrider_api::serve(listener, Arc::clone(&world.context), stop.clone());
    let serving = tokio::spawn(serving);

    let mut noise = TcpStream::connect(address).await.unwrap();
    noise.write_all(&[0xff; 300_000]).await.ok();
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /health HTTP/1.1\r\nHos").await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");

    let taken = postrider_api::bind(address).await.unwrap_err();
    assert!(taken.to_string().contains("choose another"), "{taken}");
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), serving).await;
    ended.expect("it ends").unwrap().unwrap();
}

/// What a lane moved is told in the same words by lanes and metrics; lanes without tokens tell
/// nothing of them.
#[tokio::test]
async fn class_e_tokens_of_a_lane_are_told_everywhere() {
    let world = World::new().await;
    let carrier = message("app", 1);
    let mut batch = sending(&[carrier.clone(), message("other", 1)]);
    batch.movements.push(Movement {
        lane: carrier.lane.clone(),
        nonce: carrier.nonce,
        reference: B256::with_last_byte(5),
        side: Side::Debit,
        amount: Amount(12_500_000),
        decimals: SharedDecimals(6),
        observation: batch.facts[0].observation.clone(),
        time: BlockTime(1),
    });
    world.context.store.record_blocks(batch).await.unwrap();
    let lanes = world.json("/lanes").await;
    let tokens: Vec<&Value> =
        lanes["lanes"].as_array().unwrap().iter().map(|lane| &lane["tokens"]).collect();
    let expected = serde_json::json!({
        "debited": "12.5", "credited": "0", "in_flight": "12.5", "awaited": "0", "even": false,
        "breaches": 0,
    });
    assert_eq!(tokens.iter().filter(|tokens| ***tokens == expected).count(), 1, "{tokens:?}");
    assert_eq!(tokens.iter().filter(|tokens| tokens.is_null()).count(), 1, "{tokens:?}");
    let metrics = world.get("/metrics").await.text;
    let lane = carrier.lane.to_string();
    for line in [
        format!("postrider_lane_tokens{{lane=\"{lane}\",what=\"in_flight\"}} 12.5"),
        format!("postrider_lane_breaches{{lane=\"{lane}\"}} 0"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}
