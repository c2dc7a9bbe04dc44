//! The store in one SQLite file.
//!
//! One connection writes, and a few read beside it (write-ahead log). A commit is on disk before
//! the operation returns. A lock file beside the store keeps a second writing process out.

mod duties;
mod facts;
mod flight;
mod look;
mod messages;
mod record;
mod row;
mod schema;
mod settle;
mod transactions;

use crate::{
    BlockBatch, Cursor, DutyMove, Found, HintBatch, InFlight, LaneRow, MessageDetail,
    MessageFilter, MessageRow, NewTransaction, OpenDuty, Recorded, Result, Store, StoreError,
    Unwound,
};
use async_trait::async_trait;
use postrider_message::{
    Alarm, BlockRef, Height, MessageId, MessageStatus, NetworkName, Reason, TxHash, UnixMillis,
};
use sqlx::{
    ConnectOptions, Connection, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    collections::HashSet,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long an operation waits for another process that reads or copies the file.
const BUSY: Duration = Duration::from_secs(10);
/// How many operations read at once.
const READERS: u32 = 4;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    read: SqlitePool,
    write: Option<SqlitePool>,
    /// Held as long as this process may write.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store for writing; makes it if there is none, and brings it to this release's
    /// layout.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open for writing; [`StoreError::Open`],
    /// [`StoreError::Corrupt`], [`StoreError::Layout`] and what a medium can do.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let lock = lock(&path)?;
        let options = options(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let write = pool(1).connect_with(options).await.map_err(|e| opening(e, &path))?;
        schema::migrate(&write, &path).await?;
        let read = readers(&path).await?;
        Ok(Self { path, read, write: Some(write), _lock: Some(lock) })
    }

    /// Opens the store for reading only, beside a process that may be writing to it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none; [`StoreError::Open`], [`StoreError::Corrupt`],
    /// [`StoreError::Layout`] and what a medium can do.
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        let read = readers(&path).await?;
        schema::check(&read, &path).await?;
        Ok(Self { path, read, write: None, _lock: None })
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for running operations, and closes the file. Dropping the store is as safe, but does
    /// not wait.
    pub async fn close(self) {
        self.read.close().await;
        if let Some(write) = &self.write {
            write.close().await;
        }
    }

    /// Starts a transaction that is alone in writing from its first statement on, so that what it
    /// reads cannot change before it writes.
    async fn writing(&self) -> Result<Transaction<'static, Sqlite>> {
        let Some(pool) = &self.write else {
            return Err(StoreError::ReadOnly { path: self.path.clone() });
        };
        pool.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.failed(e))
    }

    /// Starts a transaction in which all reads see one state of the store.
    async fn reading(&self) -> Result<Transaction<'static, Sqlite>> {
        self.read.begin().await.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: impl Into<StoreError>) -> StoreError {
        error.into().at(&self.path)
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).disable_statement_logging()
}

/// After an error such as a full disk SQLite ends the transaction by itself, which the driver does
/// not notice: such a connection would never be of use again, so it gives way to a new one.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).before_acquire(|connection, _| {
        Box::pin(async move { Ok(!connection.is_in_transaction()) })
    })
}

async fn readers(path: &Path) -> Result<SqlitePool> {
    pool(READERS).connect_with(options(path).read_only(true)).await.map_err(|e| opening(e, path))
}

fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let open =
        |e: std::io::Error| StoreError::Open { path: path.to_owned(), detail: e.to_string() };
    let file =
        File::options().create(true).truncate(false).write(true).open(&name).map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Locked { path: path.to_owned(), lock: name })
        }
        Err(TryLockError::Error(e)) => Err(open(e)),
    }
}

fn opening(error: sqlx::Error, path: &Path) -> StoreError {
    match StoreError::from(error).at(path) {
        StoreError::Database { path, detail } => StoreError::Open { path, detail },
        other => other,
    }
}

/// Runs one operation on a connection: entirely, or not at all.
macro_rules! whole {
    ($store:expr, $operation:path $(, $argument:expr)*) => {{
        let mut transaction = $store.writing().await?;
        let done =
            $operation(&mut transaction $(, $argument)*).await.map_err(|e| $store.failed(e))?;
        transaction.commit().await.map_err(|e| $store.failed(e))?;
        Ok(done)
    }};
}

/// Reads one state of the store.
macro_rules! snapshot {
    ($store:expr, $operation:path $(, $argument:expr)*) => {{
        let mut transaction = $store.reading().await?;
        $operation(&mut transaction $(, $argument)*).await.map_err(|e| $store.failed(e))
    }};
}

#[async_trait]
impl Store for SqliteStore {
    async fn cursor(&self, network: &NetworkName) -> Result<Option<Cursor>> {
        snapshot!(self, record::cursor, network)
    }

    async fn record_blocks(&self, batch: BlockBatch) -> Result<Recorded> {
        whole!(self, record::blocks, &batch)
    }

    async fn record_hints(&self, batch: HintBatch) -> Result<Recorded> {
        whole!(self, record::hints, &batch)
    }

    async fn unwind(&self, network: &NetworkName, to: Height, at: UnixMillis) -> Result<Unwound> {
        whole!(self, record::unwind, network, to, at)
    }

    async fn open_duties(
        &self,
        network: &NetworkName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<OpenDuty>> {
        snapshot!(self, duties::open, network, now, limit)
    }

    async fn message_evidence(
        &self,
        messages: &[MessageId],
    ) -> Result<Vec<(MessageId, BlockRef, Vec<u8>)>> {
        snapshot!(self, messages::evidence, messages)
    }

    async fn move_duties(&self, moves: Vec<DutyMove>, at: UnixMillis) -> Result<usize> {
        whole!(self, duties::shift, &moves, at)
    }

    async fn record_transaction(&self, new: NewTransaction, at: UnixMillis) -> Result<()> {
        whole!(self, transactions::record, &new, at)
    }

    async fn in_flight(&self, network: &NetworkName, signer: &str) -> Result<Vec<InFlight>> {
        snapshot!(self, flight::in_flight, network, signer)
    }

    async fn next_nonce(&self, network: &NetworkName, signer: &str) -> Result<Option<u64>> {
        snapshot!(self, flight::next_nonce, network, signer)
    }

    async fn transaction_included(
        &self,
        hash: TxHash,
        block: BlockRef,
        success: bool,
        at: UnixMillis,
    ) -> Result<()> {
        whole!(self, transactions::included, hash, block, success, at)
    }

    async fn transaction_final(&self, hash: TxHash, at: UnixMillis) -> Result<()> {
        whole!(self, transactions::finalise, hash, at)
    }

    async fn transaction_dropped(&self, hash: TxHash, why: String, at: UnixMillis) -> Result<()> {
        whole!(self, transactions::dropped, hash, &why, at)
    }

    async fn is_ours(&self, hashes: &[TxHash]) -> Result<HashSet<TxHash>> {
        snapshot!(self, flight::ours, hashes)
    }

    async fn set_condition(&self, network: &NetworkName, why: Option<Reason>) -> Result<()> {
        whole!(self, look::set_condition, network, why.as_ref())
    }

    async fn conditions(&self) -> Result<Vec<(NetworkName, Reason)>> {
        snapshot!(self, look::conditions)
    }

    async fn raise(&self, alarm: Alarm) -> Result<bool> {
        whole!(self, look::raise, &alarm)
    }

    async fn alarms(&self, limit: u32) -> Result<Vec<Alarm>> {
        snapshot!(self, look::alarms, limit)
    }

    async fn messages(&self, filter: MessageFilter) -> Result<Vec<MessageRow>> {
        snapshot!(self, look::list, &filter)
    }

    async fn find(&self, text: &str) -> Result<Found> {
        snapshot!(self, look::find, text)
    }

    async fn message(&self, id: MessageId) -> Result<Option<MessageDetail>> {
        snapshot!(self, look::detail, id)
    }

    async fn counts(&self) -> Result<Vec<(MessageStatus, u64)>> {
        snapshot!(self, look::counts)
    }

    async fn lanes(&self) -> Result<Vec<LaneRow>> {
        snapshot!(self, look::lanes)
    }

    async fn check_integrity(&self) -> Result<()> {
        snapshot!(self, look::check_integrity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use postrider_message::BlockHash;
    use sqlx::Row;

    fn batch(from: Option<BlockRef>, count: u64) -> BlockBatch {
        let first = from.map_or(1, |block| block.height.0 + 1);
        let block = |n| BlockRef { height: Height(n), hash: BlockHash(B256::repeat_byte(1)) };
        BlockBatch {
            network: "alpha".parse().unwrap(),
            previous: from,
            blocks: (first..first + count).map(block).collect(),
            messages: vec![],
            facts: vec![],
            duties: vec![],
            at: UnixMillis(1),
        }
    }

    #[tokio::test]
    async fn r4_a_full_disk_is_retried_and_loses_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
        let first = batch(None, 1);
        store.record_blocks(first.clone()).await.unwrap();
        let write = store.write.as_ref().unwrap();
        sqlx::query("PRAGMA max_page_count = 1").execute(write).await.unwrap();
        let second = batch(first.blocks.last().copied(), 1_000);
        let error = store.record_blocks(second.clone()).await.unwrap_err();
        assert!(matches!(&error, StoreError::Full { path } if path == store.path()), "{error}");
        assert!(error.is_retryable());
        let cursor = store.cursor(&first.network).await.unwrap().unwrap();
        assert_eq!(Some(&cursor.tip), first.blocks.last());
        sqlx::query("PRAGMA max_page_count = 1000000").execute(write).await.unwrap();
        store.record_blocks(second).await.unwrap();
    }

    #[tokio::test]
    async fn frequent_questions_use_their_indexes() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
        let cases = [
            (duties::OPEN, "duties_open"),
            (
                "WITH wanted (lane, nonce) AS (VALUES (x'00', x'00')) SELECT f.id FROM wanted w \
                 CROSS JOIN facts f WHERE f.lane = w.lane AND f.nonce = w.nonce",
                "facts_place",
            ),
            (
                "SELECT id FROM facts f WHERE f.certainty = 'hinted' AND f.network = 'a' \
                 AND f.height BETWEEN x'00' AND x'01'",
                "facts_hinted",
            ),
        ];
        for (sql, index) in cases {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows = sqlx::query(explain).fetch_all(&store.read).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|r| r.get("detail")).collect();
            assert!(plan.iter().any(|line| line.contains(index)), "{plan:#?}");
        }
    }
}
