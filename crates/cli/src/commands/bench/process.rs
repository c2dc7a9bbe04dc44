//! The node as a process of its own, and what it uses of the machine.

use crate::{failure::Failure, workspace::PASSWORD};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// A node that runs.
pub(super) struct NodeProcess {
    child: Child,
}

impl NodeProcess {
    /// Starts this same program as a node; what it logs goes to `log`.
    pub(super) fn start(config: &Path, log: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::io("finding this program"))?;
        let log = std::fs::File::create(log).map_err(Failure::io("making the node's log"))?;
        let child = Command::new(program)
            .args(["start", "--config"])
            .arg(config)
            .env("POSTRIDER_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Failure::io("starting the node"))?;
        Ok(Self { child })
    }

    /// Seconds of processor time used so far, in user and kernel mode (`/proc/PID/stat`); 0 where
    /// the system does not tell.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(self.file("stat")).unwrap_or_default();
        // The name in parentheses may hold spaces; utime and stime are the 12th and 13th after it.
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        // Linux counts in hundredths of a second for every program (USER_HZ).
        ticks / 100.0
    }

    /// The most memory in use since the last [`Self::forget_peak`], in bytes (`VmHWM`).
    pub(super) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(self.file("status")).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
            .map_or(0, |kilobytes| kilobytes * 1024)
    }

    /// Lets the peak begin anew.
    pub(super) fn forget_peak(&self) {
        // Where this is not allowed the peak is the whole run's.
        let _ = std::fs::write(self.file("clear_refs"), "5");
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
