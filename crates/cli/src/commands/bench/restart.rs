//! How soon a node with much behind it is ready again.

use super::{layerzero::Bed, process::NodeProcess};
use crate::{
    failure::Failure,
    output::{Output, table},
    workspace::NETWORKS,
};
use alloy_primitives::{B256, Bytes, keccak256};
use clap::Args;
use postrider_devnet::{Chain, Progress};
use postrider_message::{
    BlockHash, BlockRef, Certainty, Confirmations, Duty, DutyKind, DutyState, Fact, FactRecord,
    Height, Lane, LaneEnd, Message, MessageNonce, NetworkName, Observation, Payload, PayloadHash,
    Point, Protocol, Subject, TxHash, UnixMillis,
};
use postrider_node::{Config, node::store_path};
use postrider_store::{BlockBatch, ProvenMessage, SqliteStore, Store};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long the node may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;
/// The most messages recorded at once.
const PORTION: u64 = 20_000;

/// Measures how soon a node is ready whose store holds many settled messages, and what it needs for
/// that. The messages are written into the store; none of them was sent.
#[derive(Debug, Args)]
pub struct BenchRestart {
    /// How many settled messages the store holds.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    messages: u64,
}

#[derive(Debug, Serialize)]
struct RestartReport {
    benchmark: &'static str,
    settled: u64,
    /// From the start of the process until `/ready` says so.
    seconds_to_ready: f64,
    cpu_seconds: f64,
    peak_memory_bytes: u64,
    store_bytes: u64,
}

impl BenchRestart {
    pub(super) async fn run(self, output: &Output) -> Result<(), Failure> {
        let bed = Bed::make(false, output).await?;
        let address = serve(&bed)?;
        let config = Config::load(&bed.workspace.config_path())?;
        let path = store_path(&config);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Failure::io("making the data folder"))?;
        }
        let store = SqliteStore::open(&path).await?;
        self.fill(&bed, &store, output).await?;
        store.close().await;
        let store_bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        output.step("starting the node");
        let started = Instant::now();
        let log = bed.folder.path().join("node.log");
        let node = NodeProcess::start(&bed.workspace.config_path(), &log)?;
        while !is_ready(&address).await {
            if started.elapsed() > PATIENCE {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(Failure::Other(format!("the node is not ready: {text}")));
            }
            tokio::time::sleep(LOOK).await;
        }
        let report = RestartReport {
            benchmark: "restart",
            settled: self.messages,
            seconds_to_ready: started.elapsed().as_secs_f64(),
            cpu_seconds: node.cpu_seconds(),
            peak_memory_bytes: node.peak_memory(),
            store_bytes,
        };
        for line in table(&["restart", ""], &report.rows()) {
            output.line(&line);
        }
        output.document(&report);
        drop(node);
        bed.devnet.down().await?;
        Ok(())
    }

    /// Writes messages that were sent and executed in the chains' oldest blocks, a portion a block.
    async fn fill(&self, bed: &Bed, store: &SqliteStore, output: &Output) -> Result<(), Failure> {
        let (from, to) = bed.ends()?;
        let [alpha, beta] = network_names()?;
        let mut tips = [None, None];
        let mut first = 0;
        while first < self.messages {
            output.step(&format!("writing messages, {first} of {}", self.messages));
            let last = self.messages.min(first + PORTION);
            let messages: Vec<Message> =
                (first..last).map(|n| message(n, &alpha, &beta)).collect::<Result<_, _>>()?;
            let after = |tip: Option<BlockRef>, chain: &Chain| {
                tip.map_or(chain.deployment().start_block, |tip| tip.height.0 + 1)
            };
            let here =
                [block(from, after(tips[0], from)).await?, block(to, after(tips[1], to)).await?];
            store.record_blocks(sent(&alpha, (tips[0], here[0]), &messages, &beta)).await?;
            store.record_blocks(executed(&beta, (tips[1], here[1]), &messages)).await?;
            tips = here.map(Some);
            first = last;
        }
        Ok(())
    }
}

/// Has the node serve its API; returns where.
fn serve(bed: &Bed) -> Result<String, Failure> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let address = free.map_err(Failure::io("finding a free port"))?.to_string();
    let path = bed.workspace.config_path();
    let text = std::fs::read_to_string(&path).map_err(Failure::io("reading the configuration"))?;
    let text = format!("{text}\n[api]\nlisten = \"{address}\"\n");
    std::fs::write(path, text).map_err(Failure::io("writing the configuration"))?;
    Ok(address)
}

/// The chain's block at a height, once it is there.
async fn block(chain: &Chain, height: u64) -> Result<BlockRef, Failure> {
    while chain.rpc().block_number().await? < height {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let hash = BlockHash(chain.rpc().block_hash(height).await?);
    Ok(BlockRef { height: Height(height), hash })
}

fn message(n: u64, from: &NetworkName, to: &NetworkName) -> Result<Message, Failure> {
    let end = |network: &NetworkName, eid: u32| {
        let point = Point::try_from(format!("{eid}/{:#066x}", 0x5151))
            .map_err(|e| Failure::Other(e.to_string()))?;
        Ok::<_, Failure>(LaneEnd { network: network.clone(), point })
    };
    let lane = Lane {
        protocol: Protocol::LayerZero,
        source: end(from, 40_001)?,
        destination: end(to, 40_002)?,
    };
    let hash = keccak256(n.to_be_bytes());
    Ok(Message {
        lane,
        nonce: MessageNonce(n + 1),
        payload: Payload::Known { bytes: Bytes::from(vec![7; 64]), hash: PayloadHash(hash) },
        options: Bytes::from(vec![3; 22]),
        reference: Some(hash),
    })
}

fn record(message: &Message, fact: Fact, on: &NetworkName, block: BlockRef) -> FactRecord {
    let transaction = TxHash(message.reference.unwrap_or_default());
    FactRecord {
        subject: Subject {
            lane: message.lane.id(),
            nonce: message.nonce,
            payload: Some(message.payload.hash()),
        },
        fact,
        observation: Observation {
            network: on.clone(),
            block,
            index: message.nonce.0,
            transaction,
        },
        certainty: Certainty::Verified,
        at: UnixMillis::now(),
    }
}

fn nothing(on: &NetworkName, (previous, block): (Option<BlockRef>, BlockRef)) -> BlockBatch {
    BlockBatch {
        network: on.clone(),
        previous,
        blocks: vec![block],
        messages: Vec::new(),
        facts: Vec::new(),
        duties: Vec::new(),
        moves: Vec::new(),
        included: Vec::new(),
        movements: Vec::new(),
        tokens: B256::ZERO,
        tip_time: None,
        at: UnixMillis::now(),
    }
}

/// The block in which the messages were sent, with duties that are done.
fn sent(
    on: &NetworkName,
    at: (Option<BlockRef>, BlockRef),
    messages: &[Message],
    to: &NetworkName,
) -> BlockBatch {
    let duty = |message: &Message, kind| Duty {
        message: message.id(),
        kind,
        part: 0,
        network: to.clone(),
        worker: "0x5151".into(),
        state: DutyState::Done,
        attempts: 1,
        not_before: UnixMillis(0),
    };
    let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
    BlockBatch {
        messages: messages
            .iter()
            .map(|message| ProvenMessage { message: message.clone(), evidence: vec![9; 600] })
            .collect(),
        facts: messages.iter().map(|m| record(m, Fact::Sent, on, at.1)).collect(),
        duties: messages.iter().flat_map(|m| kinds.map(|kind| duty(m, kind))).collect(),
        ..nothing(on, at)
    }
}

/// The block in which they were attested, committed and executed.
fn executed(
    on: &NetworkName,
    at: (Option<BlockRef>, BlockRef),
    messages: &[Message],
) -> BlockBatch {
    let attested = Fact::Attested { by: "0x5151".into(), confirmations: Confirmations(1) };
    let facts = [attested, Fact::Committed, Fact::Executed];
    let all = |m| facts.clone().map(|fact| record(m, fact, on, at.1));
    BlockBatch { facts: messages.iter().flat_map(all).collect(), ..nothing(on, at) }
}

/// Whether the node at this address says that it is ready.
async fn is_ready(address: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request =
            format!("GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await.ok()?;
        Some(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

impl RestartReport {
    fn rows(&self) -> Vec<Vec<String>> {
        #[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        [
            ("settled messages", self.settled.to_string()),
            ("seconds to ready", format!("{:.2}", self.seconds_to_ready)),
            ("CPU seconds", format!("{:.2}", self.cpu_seconds)),
            ("peak memory", megabytes(self.peak_memory_bytes)),
            ("store", megabytes(self.store_bytes)),
        ]
        .map(|(name, value)| vec![name.to_owned(), value])
        .to_vec()
    }
}

fn network_names() -> Result<[NetworkName; 2], Failure> {
    let name = |name: &str| name.parse().map_err(|e| Failure::Other(format!("{e}")));
    Ok([name(NETWORKS[0])?, name(NETWORKS[1])?])
}
