//! What is wrong with a configuration, for people.

use std::{fmt, ops::Range, path::Path};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the file, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// The problems, in the order they were found; at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            let line = problem.line.map(|l| format!(":{l}")).unwrap_or_default();
            write!(f, "{newline}{}{line}: {}; {}", self.file, problem.what, problem.remedy)?;
        }
        Ok(())
    }
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::one(path, None, &format!("cannot be read: {error}"), "`postrider init` writes one")
    }

    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| line_of(text, &span));
        let remedy = "correct that line; docs/operate.md lists every setting";
        Self::one(path, line, error.message().trim(), remedy)
    }

    fn one(path: &Path, line: Option<usize>, what: &str, remedy: &str) -> Self {
        let problem = Problem { line, what: what.into(), remedy: remedy.into() };
        Self { file: path.display().to_string(), problems: vec![problem] }
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1
}

/// Collects problems.
pub(super) struct Problems<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, span: Option<Range<usize>>, what: &str, remedy: &str) {
        self.found.push(Problem {
            line: span.map(|span| line_of(self.text, &span)),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn finish(self) -> Result<(), ConfigError> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(ConfigError { file: self.path.display().to_string(), problems: self.found })
    }
}
