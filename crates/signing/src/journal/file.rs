//! The journal's database: making, opening and reading it.

use super::{
    error::JournalError,
    mark::{JournalId, Mark},
};
use alloy_primitives::Address;
use sqlx::{
    Connection, Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

/// The version of the schema. Version 1 had no mark.
const FORMAT: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    key BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    inode INTEGER NOT NULL,
    writes INTEGER NOT NULL
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

/// Puts aside what SQLite left of a journal that is gone: it would be taken for a part of the new
/// one.
pub(super) fn put_aside(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut left = path.as_os_str().to_owned();
        left.push(suffix);
        let mut aside = left.clone();
        aside.push(".lost");
        match std::fs::rename(left, aside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a new journal's tables and its one row, into its file alone.
pub(super) async fn write_new(
    pool: &SqlitePool,
    key: Address,
    not_before: u64,
    mark: &Mark,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SCHEMA).execute(pool).await?;
    sqlx::query("INSERT INTO journal VALUES (1, ?, ?, ?, ?, ?, ?)")
        .bind(FORMAT)
        .bind(key.as_slice())
        .bind(not_before.cast_signed())
        .bind(mark.id.as_slice())
        .bind(mark.inode.cast_signed())
        .bind(mark.writes.cast_signed())
        .execute(pool)
        .await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await.map(|_| ())
}

/// Reads until when the journal at `path` permits nothing, and its mark.
pub(super) async fn read(
    pool: &SqlitePool,
    path: &Path,
    key: Address,
) -> Result<(u64, Mark), JournalError> {
    let database = |source| JournalError::Database { path: path.to_owned(), source };
    let row = sqlx::query("SELECT * FROM journal").fetch_one(pool).await.map_err(database)?;
    let found: i64 = row.try_get("version").map_err(database)?;
    if found != FORMAT {
        return Err(JournalError::Format { path: path.to_owned(), expected: FORMAT, found });
    }
    let found: Vec<u8> = row.try_get("key").map_err(database)?;
    if found != key.as_slice() {
        let found = alloy_primitives::hex::encode_prefixed(found);
        return Err(JournalError::OtherKey { path: path.to_owned(), expected: key, found });
    }
    let number = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned).map_err(database);
    let id: Vec<u8> = row.try_get("id").map_err(database)?;
    let mark = Mark {
        id: JournalId::try_from(id.as_slice()).unwrap_or_default(),
        inode: number("inode")?,
        writes: number("writes")?,
    };
    Ok((number("not_before")?, mark))
}

pub(super) async fn connect(path: &Path, create: bool) -> Result<SqlitePool, JournalError> {
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
