//! Processes that outlive the call that started them: finding out whether one still runs, ending
//! it, and making sure that none is left behind.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::error::DevnetError;

const GRACE: Duration = Duration::from_secs(5);

/// Kills another process when this one ends, however it ends: a shell waits for its input to
/// close, which the system does even after `kill -9`.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Guards the process `pid`.
    pub(crate) fn over(pid: u32) -> std::io::Result<Self> {
        Command::new("sh")
            .args(["-c", r#"read -r _; kill -9 "$1" 2>/dev/null"#, "guard"])
            .arg(pid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole group; the guard must outlive it.
            .process_group(0)
            .spawn()
            .map(Self)
    }

    /// Ends the guard without touching the guarded process.
    pub(crate) async fn disarm(mut self) {
        let _ = self.0.kill().await;
    }
}

/// The command line of a running process; nothing for one that has ended.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    if !Path::new("/proc/self/cmdline").exists() {
        let arguments = ["-o", "command=", "-p", &pid.to_string()];
        let ps = std::process::Command::new("ps").args(arguments).output();
        return line(&ps.ok()?.stdout);
    }
    // A process that has only just been started has no command line for a moment, and one that
    // ended and was not waited for has none for good.
    for _ in 0..100 {
        if let Some(line) = line(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?) {
            return Some(line);
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        if rest.starts_with(['Z', 'X']) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn line(bytes: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(bytes).replace('\0', " ");
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Sends a signal; to a process that has ended, nothing happens.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("that is no process id")?;
    match kill_process(raw, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Ends the process, at first politely. `is_it` looks at its command line, since a process id may
/// by now belong to somebody else, whom this leaves alone.
pub(crate) async fn end(
    pid: u32,
    what: &str,
    is_it: impl Fn(&str) -> bool,
) -> Result<(), DevnetError> {
    let failed = |reason: String| DevnetError::Stop { pid, what: what.to_owned(), reason };
    for signal in [Signal::TERM, Signal::KILL] {
        let start = Instant::now();
        if !command_line(pid).is_some_and(|line| is_it(&line)) {
            return Ok(());
        }
        self::signal(pid, signal).map_err(failed)?;
        while start.elapsed() < GRACE {
            if !command_line(pid).is_some_and(|line| is_it(&line)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Err(failed("it still runs 5 s after it was killed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_dropped_guard_kills_and_a_disarmed_one_does_not() {
        let mut killed = sleeper();
        drop(Guard::over(killed.id().unwrap()).unwrap());
        let status = tokio::time::timeout(Duration::from_secs(20), killed.wait()).await.unwrap();
        assert!(!status.unwrap().success());

        let mut spared = sleeper();
        Guard::over(spared.id().unwrap()).unwrap().disarm().await;
        assert!(spared.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn only_the_process_that_is_meant_is_ended() {
        let mut child = sleeper();
        let pid = child.id().unwrap();
        end(pid, "sleep", |line| line.contains("anvil")).await.unwrap();
        assert!(child.try_wait().unwrap().is_none());
        end(pid, "sleep", |line| line.contains("sleep 600")).await.unwrap();
        assert!(!child.wait().await.unwrap().success());
        end(pid, "sleep", |_| true).await.unwrap();
    }
}
