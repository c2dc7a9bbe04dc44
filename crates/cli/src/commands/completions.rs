//! `postrider completions`.

use crate::{arguments::Arguments, failure::Failure};
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use std::io::Write;

/// Prints what makes a shell complete this command, for example
/// `postrider completions bash > ~/.local/share/bash-completion/completions/postrider`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure::Io`] if nobody takes the output.
    pub fn run(self) -> Result<(), Failure> {
        let shell = match self.shell {
            Kind::Bash => Shell::Bash,
            Kind::Zsh => Shell::Zsh,
            Kind::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut Arguments::command(), "postrider", &mut script);
        std::io::stdout().write_all(&script).map_err(Failure::io("printing the completions"))
    }
}
