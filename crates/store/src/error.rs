//! What can go wrong in a store.

use postrider_message::{
    BlockRef, DutyId, Height, LaneId, MessageId, MessageStatus, NetworkName, TxHash,
};
use std::path::{Path, PathBuf};

/// Why an operation of the store did not happen. None of an operation that failed is stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to this store.
    #[error(
        "the store {} is in use by another process (lock file {}); stop that one, or give this one \
         a store of its own", path.display(), lock.display()
    )]
    Locked {
        /// The store's file.
        path: PathBuf,
        /// The file whose lock is held.
        lock: PathBuf,
    },
    /// There is no store to read.
    #[error("there is no store at {}; `postrider start` makes it", path.display())]
    Missing {
        /// The store's file.
        path: PathBuf,
    },
    /// The file could not be opened.
    #[error("cannot open the store {}: {detail}; check that the folder exists and may be written", path.display())]
    Open {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The file is damaged, or is no store.
    #[error("the store {} is damaged or is no store: {detail}; {remedy}", path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// What was found.
        detail: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The file was laid out by another release.
    #[error("the store {} does not fit this release: {detail}", path.display())]
    Layout {
        /// The store's file.
        path: PathBuf,
        /// How, and what to do.
        detail: String,
    },
    /// No room is left where the store is.
    #[error("no room is left for the store {}; free some, and it goes on by itself", path.display())]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// Something else held the file for too long.
    #[error("the store {} is busy: {detail}; it is tried again", path.display())]
    Busy {
        /// The store's file.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// The disk failed.
    #[error(
        "reading or writing the store {} failed: {detail}; it is tried again; look at the disk: its \
         health, the space on it, limits on the size of files",
        path.display()
    )]
    Disk {
        /// The store's file.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// It was opened for reading only.
    #[error("the store {} was opened for reading only", path.display())]
    ReadOnly {
        /// The store's file.
        path: PathBuf,
    },
    /// The cursor is not where the caller thought; read it again.
    #[error(
        "the cursor of {network} is at {}, not at {}; read it again",
        place(found),
        place(expected)
    )]
    CursorMoved {
        /// The network.
        network: NetworkName,
        /// Where the caller thought it was.
        expected: Option<BlockRef>,
        /// Where it is.
        found: Option<BlockRef>,
    },
    /// The block to go back to is not remembered.
    #[error(
        "block {height} of {network} is not among the remembered blocks, so the store cannot go \
         back to it; a deeper one is needed, or a new store"
    )]
    UnknownBlock {
        /// The network.
        network: NetworkName,
        /// The height asked for.
        height: Height,
    },
    /// What should be stored contradicts itself.
    #[error("refused to store {what}: {why}")]
    BadBatch {
        /// What it was.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The account's nonce already carries a transaction that was not given up.
    #[error(
        "nonce {nonce} of {signer} on {network} already carries a transaction; name it as the one \
         that is replaced"
    )]
    NonceTaken {
        /// The network.
        network: NetworkName,
        /// The account.
        signer: String,
        /// Its nonce.
        nonce: u64,
    },
    /// No such transaction was recorded.
    #[error("transaction {hash} was never recorded")]
    UnknownTransaction {
        /// The hash asked for.
        hash: TxHash,
    },
    /// No such duty was recorded.
    #[error("duty {duty} was never recorded")]
    UnknownDuty {
        /// The id asked for.
        duty: DutyId,
    },
    /// No such lane is known.
    #[error("lane {lane} is not known; `postrider lanes` lists those that are")]
    UnknownLane {
        /// The id asked for.
        lane: LaneId,
    },
    /// No such message is known.
    #[error("message {message} is not known; `postrider messages` lists those that are")]
    UnknownMessage {
        /// The id asked for.
        message: MessageId,
    },
    /// There is nothing left to decide about a message.
    #[error("message {message} is {status}: it has ended, and nothing is left to hold or to try")]
    HasEnded {
        /// The message.
        message: MessageId,
        /// Where it stands.
        status: MessageStatus,
    },
    /// A stored value cannot be read.
    #[error("column {column} of the store {} holds what cannot be read: {detail}", path.display())]
    Unreadable {
        /// The store's file.
        path: PathBuf,
        /// Where.
        column: String,
        /// What is wrong.
        detail: String,
    },
    /// The database refused for another reason.
    #[error("the store {} failed: {detail}", path.display())]
    Database {
        /// The store's file.
        path: PathBuf,
        /// What it said.
        detail: String,
    },
}

const CORRUPT_REMEDY: &str = "move it away and start again with a new one: messages are read again \
     from the chains. The signing journals are other files; leave them where they are";

fn place(block: &Option<BlockRef>) -> String {
    block.as_ref().map_or_else(|| "no block".to_owned(), ToString::to_string)
}

impl StoreError {
    /// Whether the same operation can succeed later without anybody changing its arguments.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. } | Self::Disk { .. })
    }

    pub(crate) fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), detail: detail.into(), remedy: CORRUPT_REMEDY }
    }

    pub(crate) fn bad(what: &'static str, why: impl Into<String>) -> Self {
        Self::BadBatch { what, why: why.into() }
    }

    pub(crate) fn unreadable(column: &str, detail: &dyn std::fmt::Display) -> Self {
        Self::Unreadable {
            path: PathBuf::new(),
            column: column.to_owned(),
            detail: detail.to_string(),
        }
    }

    /// Names the file in an error that came from inside an operation.
    pub(crate) fn at(mut self, file: &Path) -> Self {
        if let Self::Corrupt { path, .. }
        | Self::Full { path }
        | Self::Busy { path, .. }
        | Self::Disk { path, .. }
        | Self::ReadOnly { path }
        | Self::Unreadable { path, .. }
        | Self::Database { path, .. } = &mut self
        {
            *path = file.to_owned();
        }
        self
    }
}

/// Result codes of SQLite (<https://www.sqlite.org/rescode.html>); the low byte of an extended code
/// is its primary code.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let path = PathBuf::new();
        let detail = error.to_string();
        match &error {
            sqlx::Error::ColumnDecode { index, source } => {
                return Self::unreadable(index, source);
            }
            sqlx::Error::PoolTimedOut => return Self::Busy { path, detail },
            _ => {}
        }
        let code = error
            .as_database_error()
            .and_then(|e| e.code())
            .and_then(|code| code.parse::<i32>().ok());
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy { path, detail },
            Some(8) => Self::ReadOnly { path },
            Some(10) => Self::Disk { path, detail },
            Some(11 | 26) => Self::corrupt(&path, detail),
            Some(13) => Self::Full { path },
            _ => Self::Database { path, detail },
        }
    }
}
