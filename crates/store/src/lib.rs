//! What Postrider remembers, in whole operations.
//!
//! [`Store`] is the whole interface: each method is one operation that happens entirely or not at
//! all, so no caller ever holds a database transaction open, least of all over a network call.
//! Whatever changes facts or duties also settles the duties of the messages it touches, computes
//! their standing anew ([`postrider_message::status::standing`]) and appends to their history, in
//! the same transaction. [`SqliteStore`] keeps it in one SQLite file.

pub mod error;
mod sqlite;
pub mod types;

pub use error::StoreError;
pub use sqlite::SqliteStore;
pub use types::{
    BlockBatch, Cursor, DutyMove, Fees, Found, HintBatch, InFlight, KEEP_BLOCKS, LaneRow,
    MAX_BATCH, MAX_EVIDENCE_BYTES, MAX_LOOK, MessageDetail, MessageFilter, MessageRow,
    NewSubmission, NewTransaction, OpenDuty, ProvenMessage, Recorded, TransactionRow,
    TransactionState, Unwound,
};

use async_trait::async_trait;
use postrider_message::{
    Alarm, BlockRef, Height, MessageId, MessageStatus, NetworkName, Reason, TxHash, UnixMillis,
};
use std::collections::HashSet;

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The operations of a store. Each of them can fail as its medium can ([`StoreError::Full`],
/// [`StoreError::Busy`], [`StoreError::Disk`], [`StoreError::Corrupt`]); further errors are named.
#[async_trait]
pub trait Store: Send + Sync {
    // --- what chains say ---

    /// How far `network` was read and proven; `None` if nothing of it was recorded.
    async fn cursor(&self, network: &NetworkName) -> Result<Option<Cursor>>;

    /// Moves the cursor over blocks and stores all that was proven to stand in them.
    ///
    /// Facts that were only hinted up to the new cursor and are not proven by now are taken back.
    /// Recording a batch again whose last block is the cursor stores nothing twice.
    ///
    /// # Errors
    /// [`StoreError::CursorMoved`] if the cursor is not at `previous`; [`StoreError::BadBatch`].
    async fn record_blocks(&self, batch: BlockBatch) -> Result<Recorded>;

    /// Stores what one upstream says ahead of the cursor, in place of what was hinted for the same
    /// heights. Never moves the cursor, and never changes what is proven.
    ///
    /// # Errors
    /// [`StoreError::BadBatch`].
    async fn record_hints(&self, batch: HintBatch) -> Result<Recorded>;

    /// Goes back to the block at height `to`: forgets the blocks above it, takes back every fact
    /// seen in them, and returns transactions included in them to the state before.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlock`] if that block is not remembered.
    async fn unwind(&self, network: &NetworkName, to: Height, at: UnixMillis) -> Result<Unwound>;

    // --- what this node owes ---

    /// The open duties to bring to `network` that may be tried at `now` and whose message is proven
    /// to be sent, by lane, nonce and the protocol's order of work. If there are more than `limit`,
    /// every lane has its share of them, lowest nonces first.
    async fn open_duties(
        &self,
        network: &NetworkName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<OpenDuty>>;

    /// What proves that these messages were sent, and in which block.
    async fn message_evidence(
        &self,
        messages: &[MessageId],
    ) -> Result<Vec<(MessageId, BlockRef, Vec<u8>)>>;

    /// Moves duties that are still in the state that the mover saw; returns how many of them
    /// changed. A duty that is to go where it is already does not change and writes nothing.
    ///
    /// # Errors
    /// [`StoreError::BadBatch`] if there are too many.
    async fn move_duties(&self, moves: Vec<DutyMove>, at: UnixMillis) -> Result<usize>;

    // --- what this node sends ---

    /// Stores a signed transaction, to be called before it is broadcast; its open duties become
    /// submitted, with one more attempt. Recording the same transaction again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NonceTaken`], [`StoreError::UnknownDuty`], [`StoreError::UnknownTransaction`]
    /// if the one to replace is not known, [`StoreError::BadBatch`] if it cannot be replaced.
    async fn record_transaction(&self, new: NewTransaction, at: UnixMillis) -> Result<()>;

    /// The account's transactions that are recorded or included but not final, by nonce; at most
    /// [`MAX_LOOK`].
    async fn in_flight(&self, network: &NetworkName, signer: &str) -> Result<Vec<InFlight>>;

    /// One more than the greatest nonce of the account that carries a transaction not replaced or
    /// dropped; `None` if there is none. The network's own count may be greater.
    async fn next_nonce(&self, network: &NetworkName, signer: &str) -> Result<Option<u64>>;

    /// A transaction stands in a block. Others with its nonce become replaced, so this also works
    /// for one that was thought to be replaced. A final one stays final.
    ///
    /// # Errors
    /// [`StoreError::UnknownTransaction`].
    async fn transaction_included(
        &self,
        hash: TxHash,
        block: BlockRef,
        success: bool,
        at: UnixMillis,
    ) -> Result<()>;

    /// An included transaction's block is final.
    ///
    /// # Errors
    /// [`StoreError::UnknownTransaction`] if no such transaction is included.
    async fn transaction_final(&self, hash: TxHash, at: UnixMillis) -> Result<()>;

    /// A transaction was given up and will not be broadcast again. Its submitted duties that no
    /// other live transaction carries wait to be planned again.
    ///
    /// # Errors
    /// [`StoreError::UnknownTransaction`] if no such transaction is live.
    async fn transaction_dropped(&self, hash: TxHash, why: String, at: UnixMillis) -> Result<()>;

    /// Those of `hashes` that this node has signed, whatever became of them.
    async fn is_ours(&self, hashes: &[TxHash]) -> Result<HashSet<TxHash>>;

    // --- what a person looks at ---

    /// Notes why a network as a whole does not go on; `None` when it does again.
    async fn set_condition(&self, network: &NetworkName, why: Option<Reason>) -> Result<()>;

    /// The networks that do not go on, and why.
    async fn conditions(&self) -> Result<Vec<(NetworkName, Reason)>>;

    /// Stores an alarm; `false` if one of the same kind, network and detail is less than an hour
    /// old.
    async fn raise(&self, alarm: Alarm) -> Result<bool>;

    /// The newest alarms, newest first.
    async fn alarms(&self, limit: u32) -> Result<Vec<Alarm>>;

    /// Messages, newest first.
    async fn messages(&self, filter: MessageFilter) -> Result<Vec<MessageRow>>;

    /// The messages whose id, reference or sending transaction begins with these hexadecimal
    /// digits, `0x` before them or not.
    async fn find(&self, text: &str) -> Result<Found>;

    /// All about one message.
    async fn message(&self, id: MessageId) -> Result<Option<MessageDetail>>;

    /// How many messages have each status; statuses nobody has are left out.
    async fn counts(&self) -> Result<Vec<(MessageStatus, u64)>>;

    /// The lanes that have messages.
    async fn lanes(&self) -> Result<Vec<LaneRow>>;

    /// Reads the whole store and checks that it hangs together.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with what was found and what to do.
    async fn check_integrity(&self) -> Result<()>;
}
