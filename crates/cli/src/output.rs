//! Printing: text for people, or one JSON document for programs.

use crate::failure::Failure;
use postrider_devnet::Progress;
use serde::Serialize;
use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

/// Where a command prints.
#[derive(Debug, Clone)]
pub struct Output {
    json: bool,
    started: Instant,
}

impl Output {
    /// Prints JSON or text.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json, started: Instant::now() }
    }

    /// Whether JSON is asked for.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line of text for people; nothing where JSON is asked for.
    pub fn line(&self, text: &str) {
        if !self.json {
            self.write(text);
        }
    }

    /// The one document for programs; nothing where text is asked for.
    pub fn document(&self, document: &impl Serialize) {
        if self.json {
            match serde_json::to_string_pretty(document) {
                Ok(text) => self.write(&text),
                Err(error) => self.note(&format!("the answer cannot be shown as JSON: {error}")),
            }
        }
    }

    /// A line on standard error, whatever is asked for.
    pub fn note(&self, text: &str) {
        // If nobody reads standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A failure: text on standard error, and with JSON a document on standard output.
    pub fn failure(&self, failure: &Failure) {
        // These commands have printed their document: what they found, or would do.
        if !matches!(failure, Failure::Check(_) | Failure::NotDelivered(_) | Failure::Told(_)) {
            self.document(&serde_json::json!({ "error": failure.to_string() }));
        }
        self.note(&format!("postrider: {failure}"));
    }

    #[allow(clippy::unused_self)]
    fn write(&self, text: &str) {
        // A closed pipe (`| head`) ends the reading, not the work.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

impl Progress for Output {
    fn step(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if self.json || !std::io::stderr().is_terminal() {
            self.note(&format!("[{seconds:6.1} s] {text}"));
        } else {
            self.note(&format!("\u{1b}[2m[{seconds:6.1} s]\u{1b}[0m {text}"));
        }
    }
}

/// Rows as text, each column as wide as its widest cell.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(head.get(column).map(|h| h.len()))
            .max()
            .unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> =
            cells.enumerate().map(|(i, cell)| format!("{cell:<w$}", w = width(i))).collect();
        cells.join("  ").trim_end().to_owned()
    };
    std::iter::once(line(&mut head.iter().copied()))
        .chain(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))))
        .collect()
}
