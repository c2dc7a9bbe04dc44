//! Packets of IBC.

use super::{
    process::NodeProcess,
    report::{Phase, Quantiles, Report, Rpc},
};
use crate::{
    failure::Failure,
    output::{Output, table},
    workspace::PASSWORD,
};
use clap::Args;
use postrider_devnet::{
    CosmosAccount, CosmosChain, CosmosPlan, CosmosRpc, FaultyUpstream, Progress, Simd,
};
use postrider_ibc::{
    ChannelEndId, Height, Order, PortId, Timeout,
    messages::{self, Signer},
};
use postrider_message::{Fact, KeyName, MessageId, MessageStatus, UnixMillis};
use postrider_node::{
    Config, CosmosNetwork,
    ibc::{
        direct,
        path::{self, Channel, MadeSide, Over, PathSide, Wanted},
    },
    node::{keys_path, store_path},
};
use postrider_signing::{CosmosAlgorithm, Keystore, Password};
use postrider_store::{MessageFilter, SqliteStore, Store};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

const NAMES: [&str; 2] = ["alpha", "beta"];
/// How long all messages of a part may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Transfers of one transaction.
const PORTION: u64 = 100;

/// Measures IBC classic: a node that relays transfers between two ibc-go chains and their
/// acknowledgements back, with one upstream on each.
#[derive(Debug, Args)]
pub struct BenchIbc {
    /// How many transfers are sent before the node starts.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    messages: u64,
    /// How many are sent at a steady rate afterwards; a twentieth of the others, 20 at least, if not
    /// given.
    #[arg(long)]
    steady: Option<u64>,
    /// Send half of them the other way.
    #[arg(long)]
    both: bool,
}

/// Everything that runs.
struct Bed {
    chains: Vec<CosmosChain>,
    proxies: Vec<FaultyUpstream>,
    /// Who sends, apart from the node: straight to the chains, so that it is not counted.
    senders: Vec<PathSide>,
    channels: Vec<ChannelEndId>,
    node: Option<NodeProcess>,
    folder: tempfile::TempDir,
    path_seconds: f64,
}

/// What was counted when a part began.
struct Begin {
    started: Instant,
    cpu: f64,
    heights: Vec<u64>,
    known: BTreeSet<MessageId>,
}

impl BenchIbc {
    pub(super) async fn run(self, output: &Output) -> Result<(), Failure> {
        let mut bed = Bed::make(output).await?;
        let backlog = self.backlog(&mut bed, output).await?;
        let steady = self.steady(&mut bed, output).await?;
        let mode = if self.both { "both" } else { "one" };
        let path_seconds = Some(bed.path_seconds);
        let report = Report { benchmark: "ibc", mode, path_seconds, backlog, steady };
        output.line(&format!("path created in {:.1} s", bed.path_seconds));
        for line in table(&[mode, "backlog", "steady"], &report.rows()) {
            output.line(&line);
        }
        output.document(&report);
        let missing = |phase: &Phase| phase.messages - phase.settled;
        match missing(&report.backlog) + missing(&report.steady) {
            0 => Ok(()),
            n => Err(Failure::NotDelivered(format!("{n} messages were not settled"))),
        }
    }

    async fn backlog(&self, bed: &mut Bed, output: &Output) -> Result<Phase, Failure> {
        output.step(&format!("sending {} transfers", self.messages));
        let mut left = self.messages;
        let mut turn = 0;
        while left > 0 {
            let portion = PORTION.min(left);
            bed.send(if self.both { turn % 2 } else { 0 }, portion).await?;
            left -= portion;
            turn += 1;
        }
        output.step("starting the node");
        let begin = bed.begin(BTreeSet::new()).await?;
        let log = bed.folder.path().join("node.log");
        bed.node = Some(NodeProcess::start(&bed.config("node"), &log)?);
        bed.end(begin, self.messages, output).await
    }

    async fn steady(&self, bed: &mut Bed, output: &Output) -> Result<Phase, Failure> {
        let count = self.steady.unwrap_or_else(|| (self.messages / 20).max(20));
        output.step(&format!("sending {count} transfers, one after the other"));
        let begin = bed.begin(bed.ids().await?).await?;
        for turn in 0..count {
            let way = if self.both { usize::from(turn % 2 == 1) } else { 0 };
            bed.send(way, 1).await?;
        }
        bed.end(begin, count, output).await
    }
}

impl Bed {
    async fn make(output: &Output) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::io("making a folder"))?;
        output.step("starting the chains");
        let simd = Simd::ensure(output).await?;
        let (mut chains, mut proxies) = (Vec::new(), Vec::new());
        for name in NAMES {
            let plan = CosmosPlan::new(format!("{name}-1"), folder.path().join(name));
            let chain = CosmosChain::start(&simd, &plan).await?;
            chain.rpc().wait_for_height(2, PATIENCE).await?;
            proxies.push(FaultyUpstream::start(chain.rpc().url()).await?);
            chains.push(chain);
        }
        let (senders, channels) = (Vec::new(), Vec::new());
        let node = None;
        let path_seconds = 0.0;
        let mut bed = Self { chains, proxies, senders, channels, node, folder, path_seconds };
        let urls: Vec<String> = bed.proxies.iter().map(|p| p.url().to_owned()).collect();
        bed.write_config("node", "relayer", &urls).await?;
        let urls: Vec<String> = bed.chains.iter().map(|c| c.rpc().url().to_owned()).collect();
        bed.write_config("alice", "alice", &urls).await?;
        for name in ["relayer", "alice"] {
            let secret = CosmosAccount::named(name).secret_hex();
            let keystore = Keystore::open(&keys_path(&bed.load("node")?))?;
            keystore.import(&key_name(name)?, &secret.into(), &Password::from(PASSWORD))?;
        }
        bed.make_path(output).await?;
        Ok(bed)
    }

    fn config(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    fn load(&self, name: &str) -> Result<Config, Failure> {
        Ok(Config::load(&self.config(name))?)
    }

    async fn write_config(&self, file: &str, signer: &str, urls: &[String]) -> Result<(), Failure> {
        let mut text = String::new();
        for ((name, chain), url) in NAMES.iter().zip(&self.chains).zip(urls) {
            let commit = chain.rpc().call("commit", json!({ "height": "1" })).await?;
            let hash =
                commit.pointer("/signed_header/commit/block_id/hash").and_then(Value::as_str);
            let hash = hash.unwrap_or_default();
            text += &format!(
                "[networks.{name}]\nkind = \"cosmos\"\nchain_id = \"{name}-1\"\n\
                 prefix = \"cosmos\"\ngas = {{ price = \"0stake\" }}\n\
                 trust = {{ height = 1, hash = \"{hash}\", period_hours = 336 }}\n\
                 signer = \"{signer}\"\npoll_ms = 250\n\
                 upstreams = [{{ name = \"node\", operator = \"local\", url = \"{url}\" }}]\n\
                 [ibc.{name}]\nroles = [\"relay\"]\n"
            );
        }
        std::fs::write(self.config(file), text).map_err(Failure::io("writing the configuration"))
    }

    fn sides(&self, file: &str, key: &str) -> Result<Vec<PathSide>, Failure> {
        let config = self.load(file)?;
        let keystore = Keystore::open(&keys_path(&config))?;
        let mut sides = Vec::new();
        for (name, settings) in &config.cosmos {
            let network = CosmosNetwork::new(name.clone(), settings.clone())
                .map_err(|error| Failure::Other(error.to_string()))?;
            let password = Password::from(PASSWORD);
            let algorithm = CosmosAlgorithm::Secp256k1;
            let key = keystore.cosmos_key(&key_name(key)?, &password, algorithm)?;
            sides.push(PathSide { network: Arc::new(network), key });
        }
        Ok(sides)
    }

    async fn make_path(&mut self, output: &Output) -> Result<(), Failure> {
        let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
        let port: PortId = "transfer".parse().map_err(|e| other(&e))?;
        let wanted = Wanted {
            over: Over::ANY,
            channel: Some(Channel {
                port: port.clone(),
                counterparty_port: port,
                order: Order::Unordered,
                version: Some("ics20-1".to_owned()),
            }),
        };
        let sides = self.sides("alice", "relayer")?;
        let [a, b] = &sides[..] else {
            return Err(Failure::Other("two networks are needed".into()));
        };
        let started = Instant::now();
        let tell = |text: String| output.step(&text);
        let made = path::create(a, b, &wanted, &tell).await.map_err(|e| other(&e))?;
        self.path_seconds = started.elapsed().as_secs_f64();
        self.channels.extend(made.sides.iter().filter_map(MadeSide::end));
        self.senders = self.sides("alice", "alice")?;
        Ok(())
    }

    async fn send(&self, way: usize, count: u64) -> Result<(), Failure> {
        let (Some(side), Some(channel)) = (self.senders.get(way), self.channels.get(way)) else {
            return Err(Failure::Other("two networks are needed".into()));
        };
        let until = UnixMillis::now().0.saturating_add(3_600_000).saturating_mul(1_000_000);
        let timeout = Timeout { height: Height::default(), nanoseconds: until };
        let address = side.key.address(&side.network.config.prefix);
        let receiver = CosmosAccount::named("bob");
        let message = messages::transfer(
            channel,
            (1, "token"),
            receiver.address(),
            timeout,
            "",
            Signer(&address),
        );
        let all = vec![message; usize::try_from(count).unwrap_or(1)];
        let sent = direct::send(&side.network, &side.key, all).await;
        sent.map(|_| ()).map_err(|error| Failure::Other(error.to_string()))
    }

    async fn store(&self) -> Result<SqliteStore, Failure> {
        Ok(SqliteStore::open_read_only(&store_path(&self.load("node")?)).await?)
    }

    async fn ids(&self) -> Result<BTreeSet<MessageId>, Failure> {
        let store = self.store().await?;
        let mut ids = BTreeSet::new();
        let mut after = None;
        loop {
            let page = store.messages(MessageFilter { after, ..MessageFilter::default() }).await?;
            let Some(last) = page.last() else { return Ok(ids) };
            after = Some(last.sequence);
            ids.extend(page.iter().map(|row| row.id));
        }
    }

    async fn begin(&self, known: BTreeSet<MessageId>) -> Result<Begin, Failure> {
        for proxy in &self.proxies {
            proxy.reset_stats();
        }
        if let Some(node) = &self.node {
            node.forget_peak();
        }
        let mut heights = Vec::new();
        for chain in &self.chains {
            heights.push(chain.rpc().height().await? + 1);
        }
        let cpu = self.node.as_ref().map_or(0.0, NodeProcess::cpu_seconds);
        Ok(Begin { started: Instant::now(), cpu, heights, known })
    }

    /// Waits until all is settled, and counts.
    async fn end(&mut self, begin: Begin, count: u64, output: &Output) -> Result<Phase, Failure> {
        let wanted = count + begin.known.len() as u64;
        let settled = self.until_settled(wanted, begin.started, output).await?;
        let elapsed = begin.started.elapsed().as_secs_f64();
        let mut rpc = Rpc::default();
        for stats in self.proxies.iter().map(FaultyUpstream::stats) {
            rpc.requests += stats.requests;
            rpc.calls += stats.total_calls();
            rpc.bytes_received += stats.response_bytes;
            for (method, count) in stats.calls {
                *rpc.calls_by_method.entry(method).or_default() += count;
            }
        }
        let node = self.node.as_ref();
        let cpu_seconds = node.map_or(0.0, NodeProcess::cpu_seconds) - begin.cpu;
        let peak_memory_bytes = node.map_or(0, NodeProcess::peak_memory);
        let settled = settled.saturating_sub(begin.known.len() as u64);
        let (gas, destination_blocks) = self.carried(&begin).await?;
        let latency_seconds = self.latencies(&begin.known).await?;
        #[allow(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
        let messages_per_second = settled as f64 / elapsed;
        let mut gas_per_message: BTreeMap<String, u64> =
            gas.iter().map(|(step, gas)| (step.clone(), gas / settled.max(1))).collect();
        gas_per_message.insert("total".into(), gas.values().sum::<u64>() / settled.max(1));
        Ok(Phase {
            messages: count,
            settled,
            seconds: elapsed,
            messages_per_second,
            latency_seconds,
            rpc,
            gas_per_message,
            destination_blocks,
            // These chains' blocks have no bound of gas.
            block_fill: None,
            cpu_seconds,
            peak_memory_bytes,
        })
    }

    async fn until_settled(
        &mut self,
        wanted: u64,
        started: Instant,
        output: &Output,
    ) -> Result<u64, Failure> {
        let mut store = None;
        let mut shown = Instant::now();
        loop {
            if self.node.as_mut().is_some_and(NodeProcess::has_ended) {
                let log = self.folder.path().join("node.log");
                let text = std::fs::read_to_string(log).unwrap_or_default();
                return Err(Failure::Other(format!("the node has ended: {text}")));
            }
            // The node makes the store as it starts.
            if store.is_none() {
                store = self.store().await.ok();
            }
            let mut settled = 0;
            if let Some(store) = &store {
                let counts = store.counts().await?;
                let of = counts.iter().find(|(status, _)| *status == MessageStatus::Settled);
                settled = of.map_or(0, |(_, count)| *count);
            }
            if settled >= wanted || started.elapsed() > PATIENCE {
                return Ok(settled);
            }
            if shown.elapsed() > Duration::from_secs(2) {
                shown = Instant::now();
                output.step(&format!("{settled} of {wanted} settled"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gas by step of the node's transactions on both chains, and how many blocks of the second one its
    /// transactions take.
    async fn carried(&self, begin: &Begin) -> Result<(BTreeMap<String, u64>, u64), Failure> {
        let relayer = CosmosAccount::named("relayer");
        let mut gas: BTreeMap<String, u64> = BTreeMap::new();
        let mut last_blocks = 0;
        for (chain, from) in self.chains.iter().zip(&begin.heights) {
            let mut blocks = Vec::new();
            for height in *from..=chain.rpc().height().await? {
                let Ok(results) = chain.rpc().block_results(height).await else { continue };
                let transactions = results.get("txs_results").and_then(Value::as_array);
                for transaction in transactions.into_iter().flatten() {
                    let Some(step) = step_of(transaction, relayer.address()) else { continue };
                    let used = transaction.get("gas_used").and_then(Value::as_str);
                    let used = used.and_then(|used| used.parse().ok()).unwrap_or(0);
                    *gas.entry(step).or_default() += used;
                    blocks.push(height);
                }
            }
            let span = blocks.first().zip(blocks.last());
            last_blocks = span.map_or(0, |(first, last): (&u64, &u64)| last - first + 1);
        }
        Ok((gas, last_blocks))
    }

    /// Seconds by the chains' own clocks, from the block of sending to that of each stage.
    async fn latencies(
        &self,
        known: &BTreeSet<MessageId>,
    ) -> Result<BTreeMap<String, Quantiles>, Failure> {
        let store = self.store().await?;
        let mut by_stage: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut times: BTreeMap<(String, u64), f64> = BTreeMap::new();
        for id in self.ids().await?.difference(known) {
            let Some(detail) = store.message(*id).await? else { continue };
            let mut at = BTreeMap::new();
            for record in &detail.facts {
                let name = record.observation.network.as_str();
                let height = record.observation.block.height.0;
                let place = (name.to_owned(), height);
                let time = match times.get(&place) {
                    Some(time) => *time,
                    None => {
                        let chain = NAMES.iter().zip(&self.chains).find(|(n, _)| **n == name);
                        let Some((_, chain)) = chain else { continue };
                        let time = block_time(chain.rpc(), height).await?;
                        times.insert(place, time);
                        time
                    }
                };
                at.insert(record.fact.kind(), time);
            }
            let Some(sent) = at.get(Fact::Sent.kind()) else { continue };
            for stage in [Fact::Received.kind(), Fact::Acknowledged.kind()] {
                let seconds = at.get(stage).map(|time| time - sent);
                by_stage.entry(format!("inclusion_to_{stage}")).or_default().extend(seconds);
            }
        }
        let of = |(stage, values)| Some((stage, Quantiles::of(values)?));
        Ok(by_stage.into_iter().filter_map(of).collect())
    }
}

fn key_name(name: &str) -> Result<KeyName, Failure> {
    name.parse().map_err(|error| Failure::Other(format!("{error}")))
}

/// What a transaction of this account is for, by its first message.
fn step_of(transaction: &Value, account: &str) -> Option<String> {
    let events = transaction.get("events")?.as_array()?;
    let attribute = |kind: &str, key: &str| {
        events
            .iter()
            .filter(|event| event.get("type").and_then(Value::as_str) == Some(kind))
            .filter_map(|event| event.get("attributes")?.as_array())
            .flatten()
            .filter(|a| a.get("key").and_then(Value::as_str) == Some(key))
            .find_map(|a| a.get("value")?.as_str().map(str::to_owned))
    };
    let signer = attribute("tx", "acc_seq")?;
    signer.strip_prefix(account)?.starts_with('/').then_some(())?;
    let action = attribute("message", "action")?;
    Some(match action.rsplit('.').next().unwrap_or_default() {
        "MsgUpdateClient" => "update_client".to_owned(),
        "MsgRecvPacket" => "receive".to_owned(),
        "MsgAcknowledgement" => "acknowledge".to_owned(),
        other => other.to_owned(),
    })
}

/// A block's own time, in seconds since 1970.
async fn block_time(rpc: &CosmosRpc, height: u64) -> Result<f64, Failure> {
    let told = rpc.call("header", json!({ "height": height.to_string() })).await?;
    let text = told.pointer("/header/time").and_then(Value::as_str).unwrap_or_default();
    seconds(text).ok_or_else(|| Failure::Other(format!("block {height} has no time: `{text}`")))
}

/// Reads `2026-11-23T18:42:58.612678Z`.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    // Days since 1970 in the proleptic Gregorian calendar, years beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    #[allow(clippy::cast_precision_loss, reason = "days since 1970 are few")]
    let days = days as f64;
    Some(days * 86_400.0 + hours * 3_600.0 + minutes * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(seconds("2000-02-29T12:00:01.5Z"), Some(951_825_601.5));
        assert_eq!(seconds("2026-11-23T18:42:58Z"), Some(1_795_459_378.0));
        assert_eq!(seconds("yesterday"), None);
    }
}
