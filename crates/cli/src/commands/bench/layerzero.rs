//! Messages of LayerZero.

use super::{
    chain::{Carried, Steps, carried},
    process::NodeProcess,
    report::{Phase, Quantiles, Report, Rpc},
};
use crate::{
    commands::{devnet::bring_up, layerzero::ensure},
    failure::Failure,
    output::{Output, table},
    workspace::{NETWORKS, PASSWORD, UpstreamLine, Workspace},
};
use clap::Args;
use postrider_api::view::MessageReport;
use postrider_devnet::{Chain, Devnet, FaultyUpstream, Progress, layerzero::DEFAULT_OPTIONS};
use postrider_message::{Fact, MessageId, MessageStatus};
use postrider_node::{Config, node::store_path};
use postrider_store::{MessageDetail, MessageFilter, SqliteStore, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long all messages of a part may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many messages are sent at once: full blocks raise the price, and what cannot pay it is lost.
const PORTION: u64 = 400;
/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Measures LayerZero: a node that attests, commits and executes, with one upstream on each chain.
#[derive(Debug, Args)]
pub struct BenchLayerZero {
    /// How many messages are sent before the node starts.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    messages: u64,
    /// How many are sent at a steady rate afterwards; a tenth of the others, 20 at least, if not
    /// given.
    #[arg(long)]
    steady: Option<u64>,
    /// How many of those are sent a second.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    rate: u64,
    /// Deliver many messages in one transaction.
    #[arg(long)]
    batched: bool,
}

/// Everything that runs.
pub(super) struct Bed {
    pub(super) devnet: Devnet,
    proxies: Vec<FaultyUpstream>,
    pub(super) workspace: Workspace,
    node: Option<NodeProcess>,
    pub(super) folder: tempfile::TempDir,
}

/// What was counted when a part began.
struct Begin {
    started: Instant,
    cpu: f64,
    height: u64,
    known: BTreeSet<MessageId>,
}

impl BenchLayerZero {
    pub(super) async fn run(self, output: &Output) -> Result<(), Failure> {
        let mut bed = Bed::make(self.batched, output).await?;
        let backlog = self.backlog(&mut bed, output).await?;
        let steady = self.steady(&mut bed, output).await?;
        let mode = if self.batched { "batched" } else { "separate" };
        let path_seconds = None;
        let report = Report { benchmark: "layerzero", mode, path_seconds, backlog, steady };
        for line in table(&[mode, "backlog", "steady"], &report.rows()) {
            output.line(&line);
        }
        output.document(&report);
        let Bed { devnet, node, .. } = bed;
        drop(node);
        devnet.down().await?;
        let missing = |phase: &Phase| phase.messages - phase.settled;
        match missing(&report.backlog) + missing(&report.steady) {
            0 => Ok(()),
            n => Err(Failure::NotDelivered(format!("{n} messages were not settled"))),
        }
    }

    async fn backlog(&self, bed: &mut Bed, output: &Output) -> Result<Phase, Failure> {
        output.step(&format!("sending {} messages", self.messages));
        // A node forgets what goes far beyond a block.
        let mut sent = 0;
        while sent < self.messages {
            let portion = PORTION.min(self.messages - sent);
            sent += portion;
            bed.until_sent(sent).await?;
        }
        output.step("starting the node");
        let begin = bed.begin(BTreeSet::new()).await?;
        let log = bed.folder.path().join("node.log");
        bed.node = Some(NodeProcess::start(&bed.workspace.config_path(), &log)?);
        bed.end(begin, self.messages, output).await
    }

    async fn steady(&self, bed: &mut Bed, output: &Output) -> Result<Phase, Failure> {
        let count = self.steady.unwrap_or_else(|| (self.messages / 10).max(20));
        output.step(&format!("sending {count} messages, {} a second", self.rate));
        let known = bed.ids().await?;
        let begin = bed.begin(known).await?;
        let pause = Duration::from_secs(1) / u32::try_from(self.rate).unwrap_or(1);
        let mut tick = tokio::time::interval(pause);
        for _ in 0..count {
            tick.tick().await;
            bed.send(1).await?;
        }
        bed.end(begin, count, output).await
    }
}

impl Bed {
    pub(super) async fn make(batched: bool, output: &Output) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::io("making a folder"))?;
        let mut workspace = Workspace::new(folder.path(), 0);
        // The chains, the proxies and the node share this machine.
        workspace.timeout_ms = 20_000;
        let devnet = bring_up(&workspace, &folder.path().join("devnet"), false, output).await?;
        if batched {
            let config = Config::load(&workspace.config_path())?;
            for (name, place) in NETWORKS.iter().zip(&mut workspace.batch) {
                let name = name.parse().map_err(|e| Failure::Other(format!("{e}")))?;
                let password = || Ok(PASSWORD.into());
                *place = Some(ensure(&config, &name, None, password, output).await?.0);
            }
        }
        let mut proxies = Vec::new();
        let mut described = Vec::new();
        for chain in devnet.chains() {
            let proxy = FaultyUpstream::start(chain.url()).await?;
            let line = UpstreamLine {
                name: "proxy".into(),
                operator: "local-operator".into(),
                url: proxy.url().to_owned(),
            };
            described.push((chain.deployment().clone(), vec![line]));
            proxies.push(proxy);
        }
        workspace.write_config(&described)?;
        Ok(Self { devnet, proxies, workspace, node: None, folder })
    }

    pub(super) fn ends(&self) -> Result<(&Chain, &Chain), Failure> {
        match self.devnet.chains() {
            [from, to] => Ok((from, to)),
            _ => Err(Failure::Other("the benchmark needs exactly two chains".into())),
        }
    }

    async fn send(&self, count: u64) -> Result<(), Failure> {
        let (from, to) = self.ends()?;
        from.apps().send_mock_burst(to.deployment().eid, "bench", count, &DEFAULT_OPTIONS).await?;
        Ok(())
    }

    /// Sends what is missing until the source has so many messages in blocks.
    async fn until_sent(&self, count: u64) -> Result<(), Failure> {
        let (from, to) = self.ends()?;
        let started = Instant::now();
        loop {
            let missing = count.saturating_sub(from.apps().sent_by_mock(to.deployment()).await?);
            if missing == 0 {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Failure::Other("the source did not take all messages".into()));
            }
            // A pool forgets, without a word, what the rising price of gas has overtaken, and refuses
            // what is offered too little for the next block.
            if from.apps().pending().await? == 0
                && let Err(error) = self.send(missing).await
            {
                tracing::debug!(%error, "offered anew after the next block");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn store(&self) -> Result<SqliteStore, Failure> {
        let config = Config::load(&self.workspace.config_path())?;
        Ok(SqliteStore::open_read_only(&store_path(&config)).await?)
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
        let (_, to) = self.ends()?;
        Ok(Begin {
            started: Instant::now(),
            cpu: self.node.as_ref().map_or(0.0, NodeProcess::cpu_seconds),
            height: to.rpc().block_number().await? + 1,
            known,
        })
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
        let carried = self.carried(begin.height).await?;
        let latency_seconds = self.latencies(&begin.known, &carried).await?;
        #[allow(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
        let messages_per_second = settled as f64 / elapsed;
        let mut gas_per_message: BTreeMap<String, u64> =
            carried.gas.iter().map(|(step, gas)| (step.clone(), gas / settled.max(1))).collect();
        let total = carried.gas.values().sum::<u64>() / settled.max(1);
        gas_per_message.insert("total".into(), total);
        Ok(Phase {
            messages: count,
            settled,
            seconds: elapsed,
            messages_per_second,
            latency_seconds,
            rpc,
            gas_per_message,
            destination_blocks: carried.blocks,
            block_fill: carried.fill,
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

    async fn carried(&self, from: u64) -> Result<Carried, Failure> {
        let (_, to) = self.ends()?;
        let name = NETWORKS[1].parse().map_err(|e| Failure::Other(format!("{e}")))?;
        let at = to.deployment();
        let steps = Steps {
            payer: self.workspace.keys(&name).await?.payer,
            dvn: at.dvns.first().copied().unwrap_or_default(),
            library: at.receive_uln,
            executor: at.executor,
            batch: self.workspace.batch[1],
        };
        carried(to, (from, to.rpc().block_number().await?), &steps).await
    }

    /// Seconds by stage of the messages that were not known before.
    async fn latencies(
        &self,
        known: &BTreeSet<MessageId>,
        carried: &Carried,
    ) -> Result<BTreeMap<String, Quantiles>, Failure> {
        let store = self.store().await?;
        let mut by_stage: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut source_times: BTreeMap<u64, u64> = BTreeMap::new();
        for id in self.ids().await?.difference(known) {
            let Some(detail) = store.message(*id).await? else { continue };
            let report = MessageReport::new(&detail, &detail.row.standing);
            for stage in report.stages {
                by_stage.entry(stage.name.to_owned()).or_default().push(stage.seconds);
            }
            if let Some(seconds) = self.on_chain(&detail, carried, &mut source_times).await? {
                by_stage.entry("inclusion_to_delivery".into()).or_default().push(seconds);
            }
        }
        let of = |(stage, values)| Some((stage, Quantiles::of(values)?));
        Ok(by_stage.into_iter().filter_map(of).collect())
    }

    /// Seconds between the blocks of sending and of delivery, by their own timestamps.
    async fn on_chain(
        &self,
        detail: &MessageDetail,
        carried: &Carried,
        source_times: &mut BTreeMap<u64, u64>,
    ) -> Result<Option<f64>, Failure> {
        let height = |wanted: fn(&Fact) -> bool| {
            let record = detail.facts.iter().find(|r| wanted(&r.fact));
            record.map(|r| r.observation.block.height.0)
        };
        let (Some(sent), Some(executed)) =
            (height(|f| matches!(f, Fact::Sent)), height(|f| matches!(f, Fact::Executed)))
        else {
            return Ok(None);
        };
        let included = match source_times.get(&sent) {
            Some(at) => *at,
            None => {
                let at = self.ends()?.0.rpc().timestamp(sent).await?;
                source_times.insert(sent, at);
                at
            }
        };
        let delivered = carried.timestamps.get(&executed);
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
        Ok(delivered.map(|delivered| *delivered as f64 - included as f64))
    }
}
