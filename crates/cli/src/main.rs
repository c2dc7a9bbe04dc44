//! The `postrider` command.

use clap::Parser;
use postrider_cli::{commands::Command, output::Output};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Carries messages between blockchains, and proves each one first.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the configuration is not valid; 4 a message was
/// not delivered.
#[derive(Parser)]
#[command(version, about, long_about)]
struct Cli {
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    /// What to log on standard error, for example `info` or `postrider_node=debug`.
    #[arg(long, global = true, default_value = "warn", env = "POSTRIDER_LOG")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&cli.log))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let output = Output::new(cli.json);
    match cli.command.run(&output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}
