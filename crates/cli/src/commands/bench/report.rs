//! What a benchmark reports. All benchmarks share this shape.

use serde::Serialize;
use std::collections::BTreeMap;

/// The whole document.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Which benchmark, and in which mode.
    pub(super) benchmark: &'static str,
    pub(super) mode: &'static str,
    /// How long it took to make what the messages travel on, where the benchmark makes that itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_seconds: Option<f64>,
    /// All messages sent before the node starts.
    pub(super) backlog: Phase,
    /// Messages sent at a steady rate to a node that runs.
    pub(super) steady: Phase,
}

/// One part of a benchmark.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) messages: u64,
    pub(super) settled: u64,
    /// From the start until all are settled.
    pub(super) seconds: f64,
    pub(super) messages_per_second: f64,
    /// Seconds by stage: since the node first saw the message, and `inclusion_to_delivery` between
    /// the timestamps of the source's and the destination's block.
    pub(super) latency_seconds: BTreeMap<String, Quantiles>,
    /// All upstreams together, counted at the proxies.
    pub(super) rpc: Rpc,
    /// By step, and `total`.
    pub(super) gas_per_message: BTreeMap<String, u64>,
    /// From the first to the last block of the destination that holds a transaction of the node.
    pub(super) destination_blocks: u64,
    /// Gas used of the gas there is, in all of those but the last; nothing if there is but one.
    pub(super) block_fill: Option<f64>,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
}

/// Half, and 99 of 100, are no longer than this.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// What went over the wire.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Rpc {
    pub(super) requests: u64,
    pub(super) calls: u64,
    pub(super) bytes_received: u64,
    /// The calls, by method.
    pub(super) calls_by_method: BTreeMap<String, u64>,
}

impl Quantiles {
    /// Of these values; `None` without any.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied()
        };
        Some(Self { p50: at(50)?, p99: at(99)? })
    }
}

impl Report {
    /// Rows for people: what, backlog, steady.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let both = |name: &str, of: &dyn Fn(&Phase) -> String| {
            vec![name.to_owned(), of(&self.backlog), of(&self.steady)]
        };
        #[allow(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
        let each = |n: u64, phase: &Phase| n as f64 / phase.settled.max(1) as f64;
        let mut rows = vec![
            both("messages settled", &|p| format!("{} of {}", p.settled, p.messages)),
            both("seconds", &|p| format!("{:.2}", p.seconds)),
            both("messages a second", &|p| format!("{:.1}", p.messages_per_second)),
            both("destination blocks", &|p| p.destination_blocks.to_string()),
            both("block fill", &|p| {
                p.block_fill.map_or("-".into(), |fill| format!("{:.1} %", fill * 100.0))
            }),
            both("HTTP requests a message", &|p| format!("{:.3}", each(p.rpc.requests, p))),
            both("calls a message", &|p| format!("{:.2}", each(p.rpc.calls, p))),
            both("bytes received a message", &|p| format!("{:.0}", each(p.rpc.bytes_received, p))),
            both("CPU seconds", &|p| format!("{:.2}", p.cpu_seconds)),
            both("peak memory, MB", &|p| (p.peak_memory_bytes / 1_000_000).to_string()),
        ];
        for step in self.backlog.gas_per_message.keys() {
            rows.push(both(&format!("gas a message, {step}"), &|p| {
                p.gas_per_message.get(step).map_or("-".into(), u64::to_string)
            }));
        }
        for stage in self.backlog.latency_seconds.keys() {
            rows.push(both(&format!("seconds until {stage}, p50 and p99"), &|p| {
                let found = p.latency_seconds.get(stage);
                found.map_or("-".into(), |q| format!("{:.2} {:.2}", q.p50, q.p99))
            }));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let q = Quantiles::of((1..=200).map(f64::from).collect()).unwrap();
        assert_eq!((q.p50, q.p99), (100.0, 198.0));
        let one = Quantiles::of(vec![7.0]).unwrap();
        assert_eq!((one.p50, one.p99), (7.0, 7.0));
        assert!(Quantiles::of(vec![]).is_none());
    }
}
