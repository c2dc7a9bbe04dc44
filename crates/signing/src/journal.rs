//! The signing journal: one store a key, locked, which says for every (domain, subject) the one
//! value that the key may sign (R3).
//!
//! The rule is the table's primary key, not the caller's discipline. A permit is given only after
//! the intent is committed to disk; the same value may be permitted again, another one only after
//! an operator's recorded release.
//!
//! A journal is never made in passing. [`Journal::create`] is for a new key, or for an operator who
//! confirms that a lost one is to be replaced; then it permits nothing until every signature the
//! lost one could have allowed has expired.

use crate::key::Attestable;
use alloy_primitives::{Address, B256};
use sqlx::{
    Connection, Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The furthest in the future a signature may expire, in seconds.
pub const MAX_EXPIRY_SECONDS: u64 = 3600;

const SCHEMA: &str = "
CREATE TABLE journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    key BLOB NOT NULL,
    not_before INTEGER NOT NULL
) STRICT;
CREATE TABLE intent (
    domain TEXT NOT NULL,
    subject BLOB NOT NULL CHECK (length(subject) = 32),
    value BLOB NOT NULL CHECK (length(value) = 32),
    first_at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (domain, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE release (
    domain TEXT NOT NULL,
    subject BLOB NOT NULL,
    value BLOB NOT NULL,
    released_at INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT;";

/// How a journal begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalStart {
    /// The key has never signed anything.
    FreshKey,
    /// The key may have signed before: nothing is permitted until [`MAX_EXPIRY_SECONDS`] from now.
    KeyMayHaveSigned,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none.
    #[error(
        "no signing journal at {0}: its key stays stopped. If it is lost, run `postrider keys \
         journal` and wait until what it allowed has expired"
    )]
    Missing(PathBuf),
    /// There is one already.
    #[error("a signing journal exists at {0}; it is never replaced")]
    Exists(PathBuf),
    /// Another process has it.
    #[error("the signing journal {0} is in use by another process")]
    InUse(PathBuf),
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
    /// The file cannot be read or written.
    #[error("the signing journal {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database reports an error.
    #[error("the signing journal {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
}

/// Why a permit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another value was permitted for the same subject.
    #[error(
        "value {before} was permitted for this subject before; {now} needs an operator's release"
    )]
    Conflict {
        /// The value permitted before.
        before: B256,
        /// The value asked for now.
        now: B256,
    },
    /// The journal replaces a lost one, whose signatures may still count.
    #[error("the journal replaces a lost one and permits nothing before {0} (Unix seconds)")]
    TooEarly(u64),
    /// The signature would count for too long, or not at all.
    #[error("expiry {expires} is not within {MAX_EXPIRY_SECONDS} seconds from now ({now})")]
    Expiry {
        /// The expiry asked for, in Unix seconds.
        expires: u64,
        /// Now, in Unix seconds.
        now: u64,
    },
}

/// What a key is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    domain: String,
    subject: B256,
    value: B256,
    expires: u64,
}

impl Intent {
    /// The intent to sign `what`.
    #[must_use]
    pub fn of(what: &dyn Attestable) -> Self {
        Self {
            domain: what.domain(),
            subject: what.subject(),
            value: what.value(),
            expires: what.expires(),
        }
    }
}

/// The journal's leave to sign one value. Only a journal gives one, after it wrote the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    key: Address,
    intent: Intent,
}

impl Permit {
    pub(crate) fn allows(&self, key: Address, what: &dyn Attestable) -> bool {
        self.key == key && self.intent == Intent::of(what)
    }
}

/// The signing journal of one key.
#[derive(Debug)]
pub struct Journal {
    key: Address,
    path: PathBuf,
    pool: SqlitePool,
    not_before: u64,
    // Held for as long as the journal is open: the lock goes with it.
    _lock: File,
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
    /// Makes the journal of `key` in `folder`.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if there is one: a journal is never replaced.
    pub async fn create(
        folder: &Path,
        key: Address,
        start: JournalStart,
    ) -> Result<(), JournalError> {
        let path = journal_path(folder, key);
        if path.exists() {
            return Err(JournalError::Exists(path));
        }
        let not_before = match start {
            JournalStart::FreshKey => 0,
            JournalStart::KeyMayHaveSigned => now().saturating_add(MAX_EXPIRY_SECONDS),
        };
        // A journal is complete or not there: it gets its name only when it is written.
        let draft = path.with_extension("journal.new");
        let io = |source| JournalError::Io { path: path.clone(), source };
        match std::fs::remove_file(&draft) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let pool = connect(&draft, true).await?;
        let written = async {
            sqlx::raw_sql(SCHEMA).execute(&pool).await?;
            sqlx::query("INSERT INTO journal VALUES (1, 1, ?, ?)")
                .bind(key.as_slice())
                .bind(not_before.cast_signed())
                .execute(&pool)
                .await?;
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await
        }
        .await;
        pool.close().await;
        written.map_err(|source| JournalError::Database { path: path.clone(), source })?;
        std::fs::hard_link(&draft, &path).map_err(io)?;
        std::fs::remove_file(&draft).map_err(io)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(io)
    }

    /// Opens the journal of `key` in `folder` and locks it for this process.
    ///
    /// # Errors
    /// [`JournalError::Missing`] if there is none, [`JournalError::InUse`] if another process has
    /// it.
    pub async fn open(folder: &Path, key: Address) -> Result<Self, JournalError> {
        let path = journal_path(folder, key);
        if !path.exists() {
            return Err(JournalError::Missing(path));
        }
        let io = |source| JournalError::Io { path: path.clone(), source };
        let lock = File::create(path.with_extension("journal.lock")).map_err(io)?;
        if lock.try_lock().is_err() {
            return Err(JournalError::InUse(path));
        }
        let pool = connect(&path, false).await?;
        let database = |source| JournalError::Database { path: path.clone(), source };
        let row = sqlx::query("SELECT key, not_before FROM journal")
            .fetch_one(&pool)
            .await
            .map_err(database)?;
        let found: Vec<u8> = row.try_get(0).map_err(database)?;
        let not_before: i64 = row.try_get(1).map_err(database)?;
        if found != key.as_slice() {
            let found = alloy_primitives::hex::encode_prefixed(found);
            return Err(JournalError::OtherKey { path, expected: key, found });
        }
        Ok(Self { key, path, pool, not_before: not_before.cast_unsigned(), _lock: lock })
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
    /// [`JournalError::Database`] if nothing could be recorded; then nothing is permitted.
    pub async fn permits(
        &self,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<Permit, Refusal>>, JournalError> {
        self.record(intents)
            .await
            .map_err(|source| JournalError::Database { path: self.path.clone(), source })
    }

    async fn record(
        &self,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<Permit, Refusal>>, sqlx::Error> {
        let now = now();
        let mut tx = self.pool.begin().await?;
        let mut answers = Vec::with_capacity(intents.len());
        for intent in intents {
            if let Some(refusal) = self.refuse_early(&intent, now) {
                answers.push(Err(refusal));
                continue;
            }
            sqlx::query(
                "INSERT INTO intent VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (domain, subject) DO UPDATE SET expires = max(expires, excluded.expires)
                 WHERE value = excluded.value",
            )
            .bind(&intent.domain)
            .bind(intent.subject.as_slice())
            .bind(intent.value.as_slice())
            .bind(now.cast_signed())
            .bind(intent.expires.cast_signed())
            .execute(&mut *tx)
            .await?;
            let recorded: Vec<u8> =
                sqlx::query_scalar("SELECT value FROM intent WHERE domain = ? AND subject = ?")
                    .bind(&intent.domain)
                    .bind(intent.subject.as_slice())
                    .fetch_one(&mut *tx)
                    .await?;
            answers.push(if recorded == intent.value.as_slice() {
                Ok(Permit { key: self.key, intent })
            } else {
                let before = B256::try_from(recorded.as_slice()).unwrap_or_default();
                Err(Refusal::Conflict { before, now: intent.value })
            });
        }
        tx.commit().await?;
        Ok(answers)
    }

    fn refuse_early(&self, intent: &Intent, now: u64) -> Option<Refusal> {
        if now < self.not_before {
            return Some(Refusal::TooEarly(self.not_before));
        }
        let latest = now.saturating_add(MAX_EXPIRY_SECONDS);
        (intent.expires <= now || intent.expires > latest)
            .then_some(Refusal::Expiry { expires: intent.expires, now })
    }

    /// Lets another value be signed for a subject: an operator's decision, kept with its reason.
    /// False if nothing was recorded for the subject.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn release(
        &self,
        domain: &str,
        subject: B256,
        why: &str,
    ) -> Result<bool, JournalError> {
        let released = async {
            let mut tx = self.pool.begin().await?;
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
        released.await.map_err(|source| JournalError::Database { path: self.path.clone(), source })
    }

    /// Closes the journal and gives its lock back.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

async fn connect(path: &Path, create: bool) -> Result<SqlitePool, JournalError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    SqlitePoolOptions::new()
        .max_connections(1)
        // On a full disk SQLite ends a transaction by itself, and the connection would be unusable.
        .before_acquire(|connection, _| {
            Box::pin(async move { Ok(!connection.is_in_transaction()) })
        })
        .connect_with(options)
        .await
        .map_err(|source| JournalError::Database { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Address = Address::repeat_byte(1);

    fn intent(subject: u8, value: u8) -> Intent {
        Intent {
            domain: "d".into(),
            subject: B256::repeat_byte(subject),
            value: B256::repeat_byte(value),
            expires: now() + 60,
        }
    }

    async fn fresh() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        Journal::create(folder.path(), KEY, JournalStart::FreshKey).await.unwrap();
        let journal = Journal::open(folder.path(), KEY).await.unwrap();
        (folder, journal)
    }

    async fn ask(journal: &Journal, intent: Intent) -> Result<Permit, Refusal> {
        journal.permits(vec![intent]).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn r3_q_one_value_a_subject_also_after_a_restart() {
        let (folder, journal) = fresh().await;
        assert!(ask(&journal, intent(1, 1)).await.is_ok());
        assert!(ask(&journal, intent(1, 1)).await.is_ok(), "the same value again");
        let conflict =
            Refusal::Conflict { before: B256::repeat_byte(1), now: B256::repeat_byte(2) };
        assert_eq!(ask(&journal, intent(1, 2)).await, Err(conflict.clone()));
        journal.close().await;
        let journal = Journal::open(folder.path(), KEY).await.unwrap();
        assert_eq!(ask(&journal, intent(1, 2)).await, Err(conflict));
        assert!(ask(&journal, intent(2, 2)).await.is_ok());
        // Within one batch too.
        let both = journal.permits(vec![intent(3, 1), intent(3, 2)]).await.unwrap();
        assert!(both[0].is_ok() && both[1].is_err());
    }

    #[tokio::test]
    async fn r3_another_value_needs_a_release() {
        let (_folder, journal) = fresh().await;
        ask(&journal, intent(1, 1)).await.unwrap();
        assert!(journal.release("d", B256::repeat_byte(1), "reorganised").await.unwrap());
        assert!(ask(&journal, intent(1, 2)).await.is_ok());
        assert!(ask(&journal, intent(1, 1)).await.is_err());
        assert!(!journal.release("d", B256::repeat_byte(9), "").await.unwrap());
    }

    #[tokio::test]
    async fn r3_a_lost_journal_stops_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Journal::open(folder.path(), KEY).await;
        assert!(matches!(missing, Err(JournalError::Missing(_))));
        Journal::create(folder.path(), KEY, JournalStart::KeyMayHaveSigned).await.unwrap();
        let again = Journal::create(folder.path(), KEY, JournalStart::FreshKey).await;
        assert!(matches!(again, Err(JournalError::Exists(_))));
        let journal = Journal::open(folder.path(), KEY).await.unwrap();
        assert!(matches!(ask(&journal, intent(1, 1)).await, Err(Refusal::TooEarly(_))));
    }

    #[tokio::test]
    async fn r3_one_process_one_journal_and_one_key() {
        let (folder, _journal) = fresh().await;
        let second = Journal::open(folder.path(), KEY).await;
        assert!(matches!(second, Err(JournalError::InUse(_))));
        let other = Address::repeat_byte(2);
        std::fs::copy(journal_path(folder.path(), KEY), journal_path(folder.path(), other))
            .unwrap();
        let other = Journal::open(folder.path(), other).await;
        assert!(matches!(other, Err(JournalError::OtherKey { .. })), "{other:?}");
    }

    #[tokio::test]
    async fn r3_an_expiry_is_capped() {
        let (_folder, journal) = fresh().await;
        for expires in [0, now(), now() + MAX_EXPIRY_SECONDS + 60, u64::MAX] {
            let refused = ask(&journal, Intent { expires, ..intent(1, 1) }).await;
            assert!(matches!(refused, Err(Refusal::Expiry { .. })), "{expires}");
        }
    }
}
