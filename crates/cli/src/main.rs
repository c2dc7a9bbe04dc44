//! The `postrider` command.

use clap::Parser;
use postrider_cli::{arguments::Arguments, commands::Command, output::Output};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Start(_)) {
        with_one_heap();
    }
    run(arguments)
}

/// Starts this program anew, once, with one heap for all threads. By default glibc gives every thread its
/// own, of which what one burst has filled stays empty: `postrider bench ibc` took 84 MB instead of 52.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn with_one_heap() {
    use std::os::unix::process::CommandExt;
    // malloc reads it before anything runs, so that setting it here would be too late.
    const SETTING: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(SETTING).is_some() {
        return;
    }
    let Ok(own) = std::env::current_exe() else { return };
    // It returns only where it failed; then it goes on with several heaps.
    let _ =
        std::process::Command::new(own).args(std::env::args_os().skip(1)).env(SETTING, "1").exec();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn with_one_heap() {}

#[tokio::main]
async fn run(arguments: Arguments) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&arguments.log))
        .with_writer(std::io::stderr)
        .with_target(false)
        // It would tell of a line that cannot be written with `eprintln!`, which panics for the same
        // cause: a full disk under the log would end the node.
        .log_internal_errors(false)
        .init();
    let output = Output::new(arguments.json);
    match arguments.command.run(&output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}
