//! The benchmarks themselves: that they end, and what their documents hold. How fast anything is, they print.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use serde_json::Value;
use std::process::Command;

/// Runs a benchmark, and gives its document.
fn run(arguments: &[&str]) -> Value {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_postrider"));
    let told = bench.arg("--json").arg("bench").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}\n{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_str(&text).expect(&text)
}

/// Both phases have all fields that programs read, and all was settled.
fn assert_whole(report: &Value, benchmark: &str, messages: [u64; 2], steps: &[&str]) {
    assert_eq!(report["benchmark"], benchmark, "{report:#}");
    for (phase, messages) in ["backlog", "steady"].iter().zip(messages) {
        let phase = &report[phase];
        assert_eq!(phase["messages"], messages, "{report:#}");
        assert_eq!(phase["settled"], messages, "{report:#}");
        let numbers = [
            &phase["seconds"],
            &phase["messages_per_second"],
            &phase["rpc"]["requests"],
            &phase["rpc"]["calls"],
            &phase["rpc"]["bytes_received"],
            &phase["gas_per_message"]["total"],
            &phase["destination_blocks"],
            &phase["cpu_seconds"],
            &phase["peak_memory_bytes"],
        ];
        for number in numbers {
            assert!(number.as_f64().is_some_and(|n| n > 0.0), "{report:#}");
        }
        let latencies = phase["latency_seconds"].as_object().unwrap();
        assert!(!latencies.is_empty(), "{report:#}");
        for quantiles in latencies.values() {
            assert!(quantiles["p50"].is_number() && quantiles["p99"].is_number(), "{report:#}");
        }
        for step in steps {
            assert!(phase["gas_per_message"][step].is_u64(), "{step}: {report:#}");
        }
        assert!(phase.as_object().unwrap().contains_key("block_fill"), "{report:#}");
    }
}

#[test]
fn the_benchmark_of_ibc_tells_all_that_programs_read() {
    let report = run(&["ibc", "--messages", "60", "--steady", "4", "--both"]);
    assert_whole(&report, "ibc", [60, 4], &["receive", "acknowledge"]);
    assert_eq!(report["mode"], "both");
    assert!(report["path_seconds"].is_f64(), "{report:#}");
}

#[test]
fn the_benchmark_of_layerzero_tells_all_that_programs_read() {
    let report = run(&["layerzero", "--messages", "40", "--steady", "4", "--batched"]);
    assert_whole(&report, "layerzero", [40, 4], &["attest", "deliver"]);
    assert_eq!(report["mode"], "batched");
}
