//! No chain outlives the process that started it, not even when that process is killed.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postrider_devnet::{Anvil, AnvilOptions, Packages, Silent};

const CHILD: &str = "POSTRIDER_TEST_START_AND_WAIT";

/// In the child process: starts a chain, says its process id, and waits to be killed.
async fn start_and_wait() {
    let packages = Packages::ensure(&Silent).await.unwrap();
    let anvil = Anvil::start(packages.anvil(), &AnvilOptions::new(31_999)).await.unwrap();
    // Straight to the output, around the capture of the test harness.
    let line = format!("\npid {}\n", anvil.pid());
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_chain_ends_with_a_parent_that_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        start_and_wait().await;
    }
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_chain_ends_with_a_parent_that_is_killed", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid: u32 = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("pid ").map(|pid| pid.parse().unwrap()))
        .unwrap();
    let runs = || {
        let arguments = ["-o", "command=", "-p", &pid.to_string()];
        let ps = Command::new("ps").args(arguments).output().unwrap();
        String::from_utf8_lossy(&ps.stdout).contains("31999")
    };
    assert!(runs());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let start = Instant::now();
    while runs() {
        assert!(start.elapsed() < Duration::from_secs(30), "the chain outlives its parent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
