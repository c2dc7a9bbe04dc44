//! What tells a journal from another one and from an older copy of itself.
//!
//! The mark is in the journal and, a second time, in its lock file, which stays when the journal is
//! replaced. Both are compared when the journal is opened.

use super::error::{Change, JournalError};
use alloy_primitives::{FixedBytes, hex};
use rand_08::RngCore;
use std::{
    fs::{File, Metadata, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// The most that is read of a lock file, in bytes; a mark takes 75.
const MAX_MARK: u64 = 200;

/// The random id that a journal gets when it is made or taken over.
pub(super) type JournalId = FixedBytes<16>;

/// Which journal, in which file, how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: JournalId,
    /// The file's inode. The device's number is left out: it changes with restarts of the machine.
    pub(super) inode: u64,
    /// How often the journal was written.
    pub(super) writes: u64,
}

impl Mark {
    pub(super) fn new(inode: u64) -> Self {
        let mut id = JournalId::ZERO;
        rand_08::rngs::OsRng.fill_bytes(&mut id.0);
        Self { id, inode, writes: 0 }
    }

    /// Always of one length, so that a new one overwrites the last whole.
    fn text(&self) -> String {
        format!("{} {:020} {:020}\n", hex::encode(self.id), self.inode, self.writes)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split_ascii_whitespace();
        let id = parts.next()?.parse().ok()?;
        let (inode, writes) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { id, inode, writes })
    }

    /// Whether the journal with this mark, found in the file `inode`, is the one that `beside` says
    /// was in use, or what gives it away. It may be ahead by what was not noted beside it before a
    /// crash.
    pub(super) fn compare(&self, inode: u64, beside: Option<Self>) -> Result<(), Change> {
        let beside = beside.ok_or(Change::Unmarked)?;
        if self.id != beside.id {
            return Err(Change::OtherJournal);
        }
        if self.inode != inode || beside.inode != inode {
            return Err(Change::OtherFile);
        }
        if self.writes < beside.writes {
            return Err(Change::Older { expected: beside.writes, found: self.writes });
        }
        Ok(())
    }
}

/// A file's place: what stays while it is open, and differs for a file put in its stead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    pub(super) inode: u64,
}

impl Place {
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

#[cfg(unix)]
impl From<&Metadata> for Place {
    fn from(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Elsewhere files are told apart by what is in them alone.
#[cfg(not(unix))]
impl From<&Metadata> for Place {
    fn from(_: &Metadata) -> Self {
        Self { device: 0, inode: 0 }
    }
}

/// The lock of a journal, and the mark in it. It goes with the value.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    journal: PathBuf,
}

impl Lock {
    /// Locks the journal at `journal` for this process, whether it is there or not.
    pub(super) fn take(journal: &Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: journal.to_owned(), source };
        let path = journal.with_extension("journal.lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, journal: journal.to_owned() }),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse(journal.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    fn io(&self, source: std::io::Error) -> JournalError {
        JournalError::Io { path: self.journal.clone(), source }
    }

    /// The mark of the journal that was in use last.
    pub(super) fn mark(&self) -> Result<Option<Mark>, JournalError> {
        let mut text = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.take(MAX_MARK).read_to_end(&mut text))
            .map_err(|e| self.io(e))?;
        Ok(std::str::from_utf8(&text).ok().and_then(Mark::parse))
    }

    /// Notes how far the journal is. It need not be on disk when this returns: a journal ahead of
    /// its mark is in order.
    pub(super) fn note(&self, mark: &Mark) -> Result<(), JournalError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(mark.text().as_bytes()))
            .map_err(|e| self.io(e))
    }

    /// Makes `mark` that of the journal in use, on disk.
    pub(super) fn adopt(&self, mark: &Mark) -> Result<(), JournalError> {
        self.note(mark)?;
        self.file.sync_all().map_err(|e| self.io(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_nothing_else_is_one() {
        let mark = Mark { inode: u64::MAX, writes: 7, ..Mark::new(0) };
        assert_eq!(Mark::parse(&mark.text()), Some(mark));
        assert_eq!(mark.text().len(), Mark::new(1).text().len());
        assert_ne!(Mark::new(1).id, Mark::new(1).id);
        for text in ["", "x", "00 1 2", &mark.text()[..40]] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn r3_what_gives_a_journal_away() {
        let mark = Mark { writes: 5, ..Mark::new(9) };
        assert_eq!(mark.compare(9, Some(mark)), Ok(()));
        assert_eq!(mark.compare(9, Some(Mark { writes: 4, ..mark })), Ok(()), "a crash");
        assert_eq!(mark.compare(9, None), Err(Change::Unmarked));
        assert_eq!(mark.compare(8, Some(mark)), Err(Change::OtherFile));
        assert_eq!(mark.compare(9, Some(Mark { inode: 8, ..mark })), Err(Change::OtherFile));
        assert_eq!(mark.compare(9, Some(Mark::new(9))), Err(Change::OtherJournal));
        let older = Change::Older { expected: 6, found: 5 };
        assert_eq!(mark.compare(9, Some(Mark { writes: 6, ..mark })), Err(older));
    }
}
