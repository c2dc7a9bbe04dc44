//! Why a journal cannot be used.

use super::MAX_EXPIRY_SECONDS;
use alloy_primitives::Address;
use std::path::PathBuf;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none.
    #[error(
        "no signing journal at {0}: its key stays stopped. If it is lost, run `postrider keys \
         journal` and wait until what it allowed has expired"
    )]
    Missing(PathBuf),
    /// There is one already, and it is the one that was in use.
    #[error("a signing journal exists at {0}, and is in order; it is never replaced")]
    Exists(PathBuf),
    /// Another process has it.
    #[error(
        "the signing journal {0} is in use by another process, a node or another command: stop \
         that first"
    )]
    InUse(PathBuf),
    /// It is not the one that was in use, or an older copy of it.
    #[error(
        "the signing journal {path} {change}; it may not know of all that its key signed, so the \
         key stays stopped. Put back the one that was in use (by `mv`: a copy is another file), or \
         run `postrider keys journal`, which keeps what this one knows and permits nothing for \
         {MAX_EXPIRY_SECONDS} s"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        change: Change,
    },
    /// It belongs to another key.
    #[error("the signing journal {path} belongs to key {found}, not {expected}")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        expected: Address,
        /// The key it belongs to.
        found: String,
    },
    /// Another version of Postrider wrote it.
    #[error(
        "the signing journal {path} has format {found}, and format {expected} is understood: use \
         the version of Postrider that wrote it, or move it away and run `postrider keys journal`"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that is understood.
        expected: i64,
        /// The format it has.
        found: i64,
    },
    /// The file cannot be read or written.
    #[error("the signing journal {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database reports an error.
    #[error(
        "the signing journal {path}: {source}; nothing is signed with its key until it can be read \
         and written: look at the disk and the space on it"
    )]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
}

/// What shows that a journal is not the one that was in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Change {
    /// Nothing beside it says which journal was in use.
    #[error("has nothing beside it that says which one was in use (its `.journal.lock` is gone)")]
    Unmarked,
    /// It was made apart from the one in use.
    #[error("is another one than was in use")]
    OtherJournal,
    /// The same content in another file: copied, or restored from a backup.
    #[error("is a copy: its file is not the one that was in use")]
    OtherFile,
    /// It knows less than the one in use did.
    #[error("is an older copy: it was written {found} times, the one in use {expected} times")]
    Older {
        /// How often the one in use was written.
        expected: u64,
        /// How often this one was.
        found: u64,
    },
    /// It was moved or deleted while open.
    #[error("was moved away while in use")]
    Gone,
}
