//! The store in one SQLite file.
//!
//! One connection writes, and a few read beside it (write-ahead log). A commit is on disk before
//! the operation returns. A lock file beside the store keeps a second writing process out.

mod clearing;
mod duties;
mod escrows;
mod facts;
mod flight;
mod gather;
mod inclusion;
mod lanes;
mod look;
mod messages;
mod record;
mod row;
mod schema;
mod settle;
mod steer;
mod supply;
mod tally;
mod transactions;

use crate::{
    BlockBatch, Clearing, Cursor, DutyMove, EscrowList, EscrowRow, Found, FoundLanes, Gathering,
    HintBatch, InFlight, LaneEntry, LaneList, MessageDetail, MessageFilter, MessageRow,
    NewTransaction, OpenMessage, OtherSignature, Recorded, Result, Retried, SeenTransaction, Store,
    StoreError, Tally, UnaskedCredit, Unwound,
};
use alloy_primitives::B256;
use async_trait::async_trait;
use postrider_message::{
    Alarm, BlockRef, Detail, Duty, DutyId, DutyKind, Height, Lane, LaneId, Message, MessageId,
    MessageNonce, MessageStatus, NetworkName, Reason, TxHash, UnixMillis,
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

/// Rows handed over at once: each hand-over is a switch between threads.
const ROWS: usize = 2_000;
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
    /// Held as long as this process may write everything; without it only what an operator decides
    /// is written.
    lock: Option<File>,
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
        let options = durable(&path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let write = pool(1).connect_with(options).await.map_err(|e| opening(e, &path))?;
        schema::migrate(&write, &path).await?;
        let read = readers(&path).await?;
        Ok(Self { path, read, write: Some(write), lock: Some(lock) })
    }

    /// Opens the store for what an operator decides, beside a process that may be writing to it.
    /// Everything else is refused as it is to a reader.
    ///
    /// # Errors
    /// As [`Self::open_read_only`].
    pub async fn open_for_steering(path: impl AsRef<Path>) -> Result<Self> {
        let mut store = Self::open_read_only(path).await?;
        let options = durable(&store.path);
        let write = pool(1).connect_with(options).await.map_err(|e| opening(e, &store.path))?;
        store.write = Some(write);
        Ok(store)
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
        Ok(Self { path, read, write: None, lock: None })
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
        if self.lock.is_none() {
            return Err(StoreError::ReadOnly { path: self.path.clone() });
        }
        self.steering().await
    }

    /// The same for what an operator decides, which does not need the lock: each such operation
    /// looks and changes within one transaction, and nobody remembers beside the file what it
    /// changes.
    async fn steering(&self) -> Result<Transaction<'static, Sqlite>> {
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
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .row_buffer_size(ROWS)
        .disable_statement_logging()
}

/// A commit is on disk before it returns.
fn durable(path: &Path) -> SqliteConnectOptions {
    options(path).synchronous(SqliteSynchronous::Full).foreign_keys(true)
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
    ($store:expr, $operation:path $(, $argument:expr)*) => {
        within!($store, $store.writing(), $operation $(, $argument)*)
    };
}

/// The same for what an operator decides.
macro_rules! decided {
    ($store:expr, $operation:path $(, $argument:expr)*) => {
        within!($store, $store.steering(), $operation $(, $argument)*)
    };
}

macro_rules! within {
    ($store:expr, $transaction:expr, $operation:path $(, $argument:expr)*) => {{
        let mut transaction = $transaction.await?;
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

    async fn unasked_credits(
        &self,
        network: &NetworkName,
        limit: u32,
    ) -> Result<Vec<UnaskedCredit>> {
        snapshot!(self, supply::unasked, network, limit)
    }

    async fn answer_credits(
        &self,
        answers: Vec<(UnaskedCredit, u64)>,
        at: UnixMillis,
    ) -> Result<Vec<Alarm>> {
        whole!(self, supply::answered, &answers, at)
    }

    async fn open_messages(
        &self,
        network: &NetworkName,
        now: UnixMillis,
        after: Option<LaneId>,
        limit: u32,
    ) -> Result<Vec<OpenMessage>> {
        snapshot!(self, duties::open, network, now, after, limit)
    }

    async fn messages_by_reference(&self, references: &[B256]) -> Result<Vec<Message>> {
        snapshot!(self, messages::by_reference, references)
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

    async fn sent_at(
        &self,
        network: &NetworkName,
        block: BlockRef,
        index: u64,
    ) -> Result<Option<MessageId>> {
        snapshot!(self, gather::sent_at, network, block, index)
    }

    async fn propose(&self, new: Vec<Gathering>, now: u64) -> Result<()> {
        whole!(self, gather::propose, &new, now)
    }

    async fn keep_signatures(&self, new: Vec<OtherSignature>) -> Result<usize> {
        whole!(self, gather::keep, &new)
    }

    async fn gathered(&self, duties: &[DutyId]) -> Result<Vec<(Gathering, Vec<OtherSignature>)>> {
        snapshot!(self, gather::of, duties)
    }

    async fn record_transactions(&self, new: Vec<NewTransaction>, at: UnixMillis) -> Result<()> {
        whole!(self, transactions::record, &new, at)
    }

    async fn in_flight(&self, network: &NetworkName, signer: &str) -> Result<Vec<InFlight>> {
        snapshot!(self, flight::in_flight, network, signer)
    }

    async fn next_nonce(&self, network: &NetworkName, signer: &str) -> Result<Option<u64>> {
        snapshot!(self, flight::next_nonce, network, signer)
    }

    async fn transactions_included(
        &self,
        network: &NetworkName,
        seen: Vec<SeenTransaction>,
        at: UnixMillis,
    ) -> Result<()> {
        whole!(self, inclusion::included, network, &seen, at)
    }

    async fn transactions_missing(
        &self,
        network: &NetworkName,
        signer: &str,
        nonce: u64,
        at: UnixMillis,
    ) -> Result<u64> {
        whole!(self, inclusion::missing, network, signer, nonce, at)
    }

    async fn transaction_dropped(&self, hash: TxHash, why: String, at: UnixMillis) -> Result<()> {
        whole!(self, transactions::dropped, hash, &why, at)
    }

    async fn is_ours(&self, hashes: &[TxHash]) -> Result<HashSet<TxHash>> {
        snapshot!(self, flight::ours, hashes)
    }

    async fn ask_clearing(&self, clearing: Clearing) -> Result<()> {
        decided!(self, clearing::ask, &clearing)
    }

    async fn keep_escrows(&self, rows: Vec<EscrowRow>, at: UnixMillis) -> Result<Vec<Alarm>> {
        whole!(self, escrows::keep, &rows, at)
    }

    async fn escrow_denoms(&self, lane: &Lane) -> Result<Vec<String>> {
        snapshot!(self, escrows::denoms, lane)
    }

    async fn escrows(&self, limit: u32) -> Result<EscrowList> {
        snapshot!(self, escrows::list, limit)
    }

    async fn take_clearings(&self, network: &NetworkName) -> Result<Vec<Clearing>> {
        whole!(self, clearing::take, network)
    }

    async fn with_payload(&self, messages: &[MessageId]) -> Result<HashSet<MessageId>> {
        snapshot!(self, clearing::with_payload, messages)
    }

    async fn proven_at(&self, lane: LaneId, nonces: &[MessageNonce]) -> Result<Vec<MessageId>> {
        snapshot!(self, messages::proven_at, lane, nonces)
    }

    async fn owe(&self, duties: Vec<Duty>, at: UnixMillis) -> Result<usize> {
        whole!(self, duties::owe, &duties, at)
    }

    async fn duty_kinds(&self, messages: &[MessageId]) -> Result<HashSet<(MessageId, DutyKind)>> {
        snapshot!(self, duties::kinds, messages)
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

    async fn pause_lane(&self, lane: LaneId, at: UnixMillis) -> Result<bool> {
        decided!(self, steer::pause, lane, at)
    }

    async fn resume_lane(&self, lane: LaneId, at: UnixMillis) -> Result<bool> {
        decided!(self, steer::resume, lane, at)
    }

    async fn hold_message(
        &self,
        message: MessageId,
        because: Detail,
        at: UnixMillis,
    ) -> Result<bool> {
        decided!(self, steer::hold, message, &because, at)
    }

    async fn release_message(&self, message: MessageId, at: UnixMillis) -> Result<bool> {
        decided!(self, steer::release, message, at)
    }

    async fn retry_message(&self, message: MessageId, at: UnixMillis) -> Result<Retried> {
        decided!(self, steer::retry, message, at)
    }

    async fn find_lanes(&self, text: &str) -> Result<FoundLanes> {
        snapshot!(self, lanes::find, text)
    }

    async fn lane_history(&self, lane: LaneId, limit: u32) -> Result<Vec<LaneEntry>> {
        snapshot!(self, lanes::history, lane, limit)
    }

    async fn lanes(&self, limit: u32) -> Result<LaneList> {
        snapshot!(self, lanes::list, limit)
    }

    async fn tally(&self) -> Result<Tally> {
        snapshot!(self, tally::tally)
    }

    async fn check_writable(&self, at: UnixMillis) -> Result<()> {
        whole!(self, tally::probe, at)
    }

    async fn check_integrity(&self) -> Result<()> {
        snapshot!(self, look::check_integrity)
    }
}

#[cfg(test)]
mod tests;
