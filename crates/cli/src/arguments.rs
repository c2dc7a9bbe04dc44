//! The command line as a whole.

use crate::commands::Command;
use clap::Parser;

/// Carries messages between blockchains, and proves each one first.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the configuration is not valid; 4 a message was
/// not delivered.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, about, long_about)]
pub struct Arguments {
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to log on standard error, for example `info` or `postrider_node=debug`.
    #[arg(long, global = true, default_value = "warn", env = "POSTRIDER_LOG")]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
