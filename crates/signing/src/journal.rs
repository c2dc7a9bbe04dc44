//! The signing journal: one store a key, locked, which says for every (domain, subject) the one
//! value that the key may sign (R3).
//!
//! The rule is the table's primary key, not the caller's discipline. A permit is given only after
//! the intent is committed to disk; the same value may be permitted again, another one only after
//! an operator's recorded release.
//!
//! A journal is never made in passing. [`Journal::create`] is for a new key, or for an operator who
//! confirms that a lost one is to be replaced; then it permits nothing until every signature the
//! lost one could have allowed has expired. A journal that was copied, restored or swapped counts as
//! lost, until an operator takes it over ([`Journal::adopt`]).

mod error;
mod file;
mod mark;
mod permit;

pub use error::{Change, JournalError};
pub use permit::{Intent, Permit, Refusal};

use alloy_primitives::{Address, B256};
use mark::{JournalId, Lock, Mark, Place};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};
use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

/// How many intents one statement records; far below SQLite's bound on parameters.
const CHUNK: usize = 400;
/// What a subject is bound to: domain, subject, value.
type Bond = (String, B256, B256);

/// The furthest in the future a signature may expire, in seconds.
pub const MAX_EXPIRY_SECONDS: u64 = 3600;

/// How a journal begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalStart {
    /// The key has never signed anything.
    FreshKey,
    /// The key may have signed before: nothing is permitted until [`MAX_EXPIRY_SECONDS`] from now.
    KeyMayHaveSigned,
}

/// What a journal has on record for a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The value that was permitted.
    pub value: B256,
    /// When first, in Unix seconds.
    pub first_at: u64,
    /// Until when its last signature counts, in Unix seconds.
    pub expires: u64,
}

/// The signing journal of one key.
#[derive(Debug)]
pub struct Journal {
    key: Address,
    path: PathBuf,
    pool: SqlitePool,
    not_before: u64,
    id: JournalId,
    place: Place,
    /// How often it was written, as far as known.
    writes: AtomicU64,
    // Held for as long as the journal is open: the lock goes with it.
    lock: Lock,
}

/// The journal's file for `key` in `folder`.
#[must_use]
pub fn journal_path(folder: &Path, key: Address) -> PathBuf {
    folder.join(format!("{key:#x}.journal"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Journal {
    /// Makes the journal of `key` in `folder`. Where there was one before, nothing is permitted
    /// until [`MAX_EXPIRY_SECONDS`] from now, whatever `start` says.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if there is one: a journal is never replaced.
    /// [`JournalError::InUse`] if a process has it, even if its file is gone.
    pub async fn create(
        folder: &Path,
        key: Address,
        start: JournalStart,
    ) -> Result<(), JournalError> {
        let path = journal_path(folder, key);
        let lock = Lock::take(&path)?;
        if path.exists() {
            return Err(JournalError::Exists(path));
        }
        let was_another = lock.mark()?.is_some();
        let not_before = match start {
            JournalStart::FreshKey if !was_another => 0,
            _ => now().saturating_add(MAX_EXPIRY_SECONDS),
        };
        // A journal is complete or not there: it gets its name only when it is written.
        let draft = path.with_extension("journal.new");
        let io = |source| JournalError::Io { path: path.clone(), source };
        match std::fs::remove_file(&draft) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let pool = file::connect(&draft, true).await?;
        let mark = Mark::new(Place::of(&draft).map_err(io)?.inode);
        let written = file::write_new(&pool, key, not_before, &mark).await;
        pool.close().await;
        written.map_err(|source| JournalError::Database { path: path.clone(), source })?;
        file::put_aside(&path).map_err(io)?;
        lock.adopt(&mark)?;
        std::fs::hard_link(&draft, &path).map_err(io)?;
        std::fs::remove_file(&draft).map_err(io)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(io)
    }

    /// Takes over the journal of `key` in `folder` that is not the one that was in use. What it
    /// knows is kept, and nothing is permitted until [`MAX_EXPIRY_SECONDS`] from now.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if it is the one that was in use, so that there is nothing to take
    /// over; else as [`Self::open`].
    pub async fn adopt(folder: &Path, key: Address) -> Result<(), JournalError> {
        let (journal, found) = Self::connect(folder, key).await?;
        let adopted = journal.take_over(found).await;
        journal.close().await;
        adopted
    }

    async fn take_over(&self, found: Mark) -> Result<(), JournalError> {
        if found.compare(self.place.inode, self.lock.mark()?).is_ok() {
            return Err(JournalError::Exists(self.path.clone()));
        }
        let mark = Mark { writes: found.writes, ..Mark::new(self.place.inode) };
        let not_before = now().saturating_add(MAX_EXPIRY_SECONDS).max(self.not_before);
        sqlx::query("UPDATE journal SET id = ?, inode = ?, not_before = ?")
            .bind(mark.id.as_slice())
            .bind(mark.inode.cast_signed())
            .bind(not_before.cast_signed())
            .execute(&self.pool)
            .await
            .map_err(|e| self.database(e))?;
        self.lock.adopt(&mark)
    }

    /// Opens the journal of `key` in `folder` and locks it for this process.
    ///
    /// # Errors
    /// [`JournalError::Missing`] if there is none, [`JournalError::InUse`] if another process has
    /// it, [`JournalError::Replaced`] if it is not the one that was in use before.
    pub async fn open(folder: &Path, key: Address) -> Result<Self, JournalError> {
        let (journal, found) = Self::connect(folder, key).await?;
        let beside = journal.lock.mark();
        let checked = beside.and_then(|beside| {
            found.compare(journal.place.inode, beside).map_err(|change| journal.replaced(change))
        });
        match checked {
            Ok(()) => Ok(journal),
            Err(error) => {
                journal.close().await;
                Err(error)
            }
        }
    }

    /// Locks and reads the journal, whichever it is, and gives the mark in it.
    async fn connect(folder: &Path, key: Address) -> Result<(Self, Mark), JournalError> {
        let path = journal_path(folder, key);
        if !path.exists() {
            return Err(JournalError::Missing(path));
        }
        let lock = Lock::take(&path)?;
        let place =
            Place::of(&path).map_err(|source| JournalError::Io { path: path.clone(), source })?;
        let pool = file::connect(&path, false).await?;
        match file::read(&pool, &path, key).await {
            Ok((not_before, mark)) => {
                let (id, writes) = (mark.id, AtomicU64::new(mark.writes));
                Ok((Self { key, path, pool, not_before, id, place, writes, lock }, mark))
            }
            Err(error) => {
                pool.close().await;
                Err(error)
            }
        }
    }

    fn database(&self, source: sqlx::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), source }
    }

    fn replaced(&self, change: Change) -> JournalError {
        JournalError::Replaced { path: self.path.clone(), change }
    }

    /// The key it belongs to.
    #[must_use]
    pub fn key(&self) -> Address {
        self.key
    }

    /// Until when nothing is permitted, in Unix seconds; 0 if there is no such time.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Asks leave for `intents`, in their order. What is permitted is on disk when this returns.
    ///
    /// # Errors
    /// [`JournalError::Replaced`] if another file stands in the journal's place,
    /// [`JournalError::Database`] if nothing could be recorded; then nothing is permitted.
    pub async fn permits(
        &self,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<Permit, Refusal>>, JournalError> {
        self.still_in_place()?;
        let now = now();
        let mut tx = self.pool.begin().await.map_err(|e| self.database(e))?;
        let writes = self.advance(&mut tx).await?;
        let early: Vec<Option<Refusal>> =
            intents.iter().map(|intent| self.refuse_early(intent, now)).collect();
        let timely = intents.iter().zip(&early).filter(|(_, early)| early.is_none());
        let timely: Vec<&Intent> = timely.map(|(intent, _)| intent).collect();
        let recorded = self.record(&mut tx, &timely, now).await.map_err(|e| self.database(e))?;
        let mut answers = Vec::with_capacity(intents.len());
        for (intent, early) in intents.into_iter().zip(early) {
            let refusal = match early {
                None if recorded.contains(&intent.bond()) => None,
                None => Some(self.conflict(&mut tx, &intent).await.map_err(|e| self.database(e))?),
                refusal => refusal,
            };
            answers.push(match refusal {
                None => Ok(Permit { key: self.key, intent }),
                Some(refusal) => Err(refusal),
            });
        }
        tx.commit().await.map_err(|e| self.database(e))?;
        self.note(writes)?;
        Ok(answers)
    }

    /// Whether the file at the journal's path is still the one that is open: an operator may have
    /// moved it away, and what is recorded in a file that nobody finds again binds nobody.
    fn still_in_place(&self) -> Result<(), JournalError> {
        match Place::of(&self.path) {
            Ok(place) if place == self.place => Ok(()),
            Ok(_) => Err(self.replaced(Change::OtherFile)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(self.replaced(Change::Gone)),
            Err(source) => Err(JournalError::Io { path: self.path.clone(), source }),
        }
    }

    /// Counts a write, and sees that no other journal was put in under the open file.
    async fn advance(&self, conn: &mut SqliteConnection) -> Result<u64, JournalError> {
        let database = |e| self.database(e);
        let row = sqlx::query("SELECT id, writes FROM journal")
            .fetch_one(&mut *conn)
            .await
            .map_err(database)?;
        let id: Vec<u8> = row.try_get(0).map_err(database)?;
        let found = row.try_get::<i64, _>(1).map_err(database)?.cast_unsigned();
        if id != self.id.as_slice() {
            return Err(self.replaced(Change::OtherJournal));
        }
        let expected = self.writes.load(Ordering::SeqCst);
        if found < expected {
            return Err(self.replaced(Change::Older { expected, found }));
        }
        let writes = found.saturating_add(1);
        sqlx::query("UPDATE journal SET writes = ?")
            .bind(writes.cast_signed())
            .execute(conn)
            .await
            .map_err(database)?;
        Ok(writes)
    }

    /// Notes a write that was committed, here and beside the journal.
    fn note(&self, writes: u64) -> Result<(), JournalError> {
        let writes = self.writes.fetch_max(writes, Ordering::SeqCst).max(writes);
        self.lock.note(&Mark { id: self.id, inode: self.place.inode, writes })
    }

    /// Records intents in their order; returns what each subject among them is bound to, where that
    /// is what was asked for.
    async fn record(
        &self,
        conn: &mut SqliteConnection,
        intents: &[&Intent],
        now: u64,
    ) -> Result<HashSet<Bond>, sqlx::Error> {
        let mut bonds = HashSet::with_capacity(intents.len());
        for chunk in intents.chunks(CHUNK) {
            let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO intent ");
            query.push_values(chunk, |mut row, intent| {
                row.push_bind(&intent.domain)
                    .push_bind(intent.subject.as_slice())
                    .push_bind(intent.value.as_slice())
                    .push_bind(now.cast_signed())
                    .push_bind(intent.expires.cast_signed());
            });
            // A row that asks for another value than what is there is left as it is, and not returned.
            query.push(
                " ON CONFLICT (domain, subject) DO UPDATE \
                 SET expires = max(expires, excluded.expires) WHERE value = excluded.value \
                 RETURNING domain, subject, value",
            );
            for row in query.build().persistent(false).fetch_all(&mut *conn).await? {
                let (subject, value): (Vec<u8>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
                if let (Ok(subject), Ok(value)) =
                    (B256::try_from(&subject[..]), B256::try_from(&value[..]))
                {
                    bonds.insert((row.try_get(0)?, subject, value));
                }
            }
        }
        Ok(bonds)
    }

    /// Why an intent was not recorded.
    async fn conflict(
        &self,
        conn: &mut SqliteConnection,
        intent: &Intent,
    ) -> Result<Refusal, sqlx::Error> {
        let before: Vec<u8> =
            sqlx::query_scalar("SELECT value FROM intent WHERE domain = ? AND subject = ?")
                .bind(&intent.domain)
                .bind(intent.subject.as_slice())
                .fetch_one(conn)
                .await?;
        let before = B256::try_from(before.as_slice()).unwrap_or_default();
        Ok(Refusal::Conflict { before, now: intent.value })
    }

    fn refuse_early(&self, intent: &Intent, now: u64) -> Option<Refusal> {
        if now < self.not_before {
            return Some(Refusal::TooEarly(self.not_before));
        }
        let latest = now.saturating_add(MAX_EXPIRY_SECONDS);
        (intent.expires <= now || intent.expires > latest)
            .then_some(Refusal::Expiry { expires: intent.expires, now })
    }

    /// What is on record for a subject; `None` if nothing is, or if it was released.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn recorded(
        &self,
        domain: &str,
        subject: B256,
    ) -> Result<Option<Recorded>, JournalError> {
        let found = async {
            let row = sqlx::query(
                "SELECT value, first_at, expires FROM intent WHERE domain = ? AND subject = ?",
            )
            .bind(domain)
            .bind(subject.as_slice())
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else { return Ok(None) };
            let value: Vec<u8> = row.try_get(0)?;
            Ok(Some(Recorded {
                value: B256::try_from(value.as_slice()).unwrap_or_default(),
                first_at: row.try_get::<i64, _>(1)?.cast_unsigned(),
                expires: row.try_get::<i64, _>(2)?.cast_unsigned(),
            }))
        };
        found.await.map_err(|e| self.database(e))
    }

    /// Lets another value be signed for a subject: an operator's decision, kept with its reason.
    /// False if nothing was recorded for the subject.
    ///
    /// # Errors
    /// As [`Self::permits`]; then nothing is released.
    pub async fn release(
        &self,
        domain: &str,
        subject: B256,
        why: &str,
    ) -> Result<bool, JournalError> {
        self.still_in_place()?;
        let mut tx = self.pool.begin().await.map_err(|e| self.database(e))?;
        let writes = self.advance(&mut tx).await?;
        let released = async {
            let kept = sqlx::query(
                "INSERT INTO release SELECT domain, subject, value, ?, ? FROM intent
                 WHERE domain = ? AND subject = ?",
            )
            .bind(now().cast_signed())
            .bind(why)
            .bind(domain)
            .bind(subject.as_slice())
            .execute(&mut *tx)
            .await?;
            sqlx::query("DELETE FROM intent WHERE domain = ? AND subject = ?")
                .bind(domain)
                .bind(subject.as_slice())
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(kept.rows_affected() > 0)
        };
        let released = released.await.map_err(|e| self.database(e))?;
        self.note(writes)?;
        Ok(released)
    }

    /// Closes the journal and gives its lock back.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
