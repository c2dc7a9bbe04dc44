//! What Postrider remembers, in whole operations.
//!
//! [`Store`] is the whole interface: each method is one operation that happens entirely or not at
//! all, so no caller ever holds a database transaction open, least of all over a network call.
//! Whatever changes facts or duties also settles the duties of the messages it touches, computes
//! their standing anew ([`postrider_message::status::standing`]) and appends to their history, in
//! the same transaction. [`SqliteStore`] keeps it in one SQLite file.

pub mod error;
pub mod look;
mod sqlite;
pub mod types;

pub use error::StoreError;
pub use look::{
    DutyCount, EscrowList, EscrowRow, Found, FoundLanes, LaneEntry, LaneList, LaneRow, MAX_LOOK,
    MAX_NAMED, MAX_SUPPLIES, MessageDetail, MessageFilter, MessageRow, Oldest, Retried, Tally,
    TransactionRow,
};
pub use sqlite::SqliteStore;
pub use types::{
    BlockBatch, Clearing, Cursor, DutyMove, Fees, Gathering, HintBatch, InFlight, KEEP_BLOCKS,
    MAX_BATCH, MAX_EVIDENCE_BYTES, NewSubmission, NewTransaction, OpenMessage, OtherSignature,
    ProvenMessage, Recorded, SeenTransaction, TransactionState, UnaskedCredit, Unwound,
};

use alloy_primitives::B256;
use async_trait::async_trait;
use postrider_message::{
    Alarm, BlockRef, Detail, Duty, DutyId, DutyKind, Height, Lane, LaneId, Message, MessageId,
    MessageNonce, MessageStatus, NetworkName, Reason, TxHash, UnixMillis,
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
    /// seen in them, returns transactions included in them to the state before, and raises the
    /// alarms: that final blocks were replaced, and each message that was signed for.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlock`] if that block is not remembered.
    async fn unwind(&self, network: &NetworkName, to: Height, at: UnixMillis) -> Result<Unwound>;

    /// Credits of tokens on lanes from `network` whose debit may have been before this node's view of
    /// it begins ([`postrider_message::Judgement::Unasked`]); at most `limit`.
    async fn unasked_credits(
        &self,
        network: &NetworkName,
        limit: u32,
    ) -> Result<Vec<UnaskedCredit>>;

    /// Compares credits anew, each with how many messages its source says it ever sent on the lane.
    /// Returns the alarms that were raised.
    async fn answer_credits(
        &self,
        answers: Vec<(UnaskedCredit, u64)>,
        at: UnixMillis,
    ) -> Result<Vec<Alarm>>;

    /// Keeps what chains have in escrow and how many vouchers there are for it, in place of what was read of
    /// the same tokens before. Returns the alarms that were raised, each at most once an hour: where there
    /// are more vouchers than is in escrow.
    ///
    /// # Errors
    /// [`StoreError::BadBatch`] if there are too many.
    async fn keep_escrows(&self, rows: Vec<EscrowRow>, at: UnixMillis) -> Result<Vec<Alarm>>;

    /// The tokens of that kind which were read of a lane: their ways, as its destination names them; at most
    /// [`MAX_LOOK`].
    async fn escrow_denoms(&self, lane: &Lane) -> Result<Vec<String>>;

    // --- what this node owes ---

    /// The messages that are proven to be sent and have a duty to bring to `network` that waits or
    /// is ready and may be tried at `now`, in the order in which lanes take turns: the lowest nonce
    /// of each lane, beginning after `after`, then the next of each. Those of paused lanes and held
    /// messages are left out.
    async fn open_messages(
        &self,
        network: &NetworkName,
        now: UnixMillis,
        after: Option<LaneId>,
        limit: u32,
    ) -> Result<Vec<OpenMessage>>;

    /// The messages with these protocol's own ids; at most [`MAX_LOOK`].
    async fn messages_by_reference(&self, references: &[B256]) -> Result<Vec<Message>>;

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

    // --- what others sign with this node ---

    /// The message that is proven, and not only hinted, to be sent at this place.
    async fn sent_at(
        &self,
        network: &NetworkName,
        block: BlockRef,
        index: u64,
    ) -> Result<Option<MessageId>>;

    /// Sets the terms on which signatures of others are gathered. Terms with the digest that stands
    /// already keep the signatures that have come; others replace them, signatures included. What
    /// expired before `now`, in Unix seconds, goes.
    ///
    /// # Errors
    /// [`StoreError::BadBatch`] if there are too many.
    async fn propose(&self, new: Vec<Gathering>, now: u64) -> Result<()>;

    /// Keeps signatures, of each signer one, whose terms still stand; returns how many are new.
    /// Whether they are signatures at all is for the caller to know.
    async fn keep_signatures(&self, new: Vec<OtherSignature>) -> Result<usize>;

    /// The terms of those of `duties` that have any, with the signatures that have come.
    async fn gathered(&self, duties: &[DutyId]) -> Result<Vec<(Gathering, Vec<OtherSignature>)>>;

    // --- what this node sends ---

    /// Stores signed transactions, to be called before they are broadcast; their open duties become
    /// submitted, with one more attempt. Recording one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NonceTaken`], [`StoreError::UnknownDuty`], [`StoreError::UnknownTransaction`]
    /// if the one to replace is not known, [`StoreError::BadBatch`] if it cannot be replaced.
    async fn record_transactions(&self, new: Vec<NewTransaction>, at: UnixMillis) -> Result<()>;

    /// The account's transactions that are recorded and not known to be included, by nonce; at most
    /// [`MAX_LOOK`].
    async fn in_flight(&self, network: &NetworkName, signer: &str) -> Result<Vec<InFlight>>;

    /// One more than the greatest nonce of the account that carries a transaction not replaced or
    /// dropped; `None` if there is none. The network's own count may be greater.
    async fn next_nonce(&self, network: &NetworkName, signer: &str) -> Result<Option<u64>>;

    /// These transactions stand in blocks of the network that were read as hints, as those are that
    /// come with [`Store::record_hints`]. What of ours is among them is included, and others with
    /// its nonce are replaced. A submitted duty that all its transactions left without effect waits
    /// to be tried again. A final one stays final.
    async fn transactions_included(
        &self,
        network: &NetworkName,
        seen: Vec<SeenTransaction>,
        at: UnixMillis,
    ) -> Result<()>;

    /// The chain has used no nonce of the account from `nonce` on: transactions thought to be
    /// included that carry one are not, and go back to recorded. Returns how many.
    async fn transactions_missing(
        &self,
        network: &NetworkName,
        signer: &str,
        nonce: u64,
        at: UnixMillis,
    ) -> Result<u64>;

    /// A transaction was given up and will not be broadcast again. Its submitted duties that no
    /// other live transaction carries wait to be planned again.
    ///
    /// # Errors
    /// [`StoreError::UnknownTransaction`] if no such transaction is live.
    async fn transaction_dropped(&self, hash: TxHash, why: String, at: UnixMillis) -> Result<()>;

    /// Those of `hashes` that this node has signed, whatever became of them.
    async fn is_ours(&self, hashes: &[TxHash]) -> Result<HashSet<TxHash>>;

    // --- what an operator decides ---

    /// Pauses a lane: its duties are handed out no more, except those on their way. `false` if it
    /// is paused already.
    ///
    /// # Errors
    /// [`StoreError::UnknownLane`].
    async fn pause_lane(&self, lane: LaneId, at: UnixMillis) -> Result<bool>;

    /// Lets a paused lane go on. `false` if it is not paused.
    ///
    /// # Errors
    /// [`StoreError::UnknownLane`].
    async fn resume_lane(&self, lane: LaneId, at: UnixMillis) -> Result<bool>;

    /// Holds a message back: its duties are handed out no more, except those on their way. `false`
    /// if it is held for the same words already.
    ///
    /// # Errors
    /// [`StoreError::UnknownMessage`]; [`StoreError::HasEnded`] if it is settled or refuted.
    async fn hold_message(
        &self,
        message: MessageId,
        because: Detail,
        at: UnixMillis,
    ) -> Result<bool>;

    /// Lets a held message go on. `false` if no operator holds it.
    ///
    /// # Errors
    /// [`StoreError::UnknownMessage`].
    async fn release_message(&self, message: MessageId, at: UnixMillis) -> Result<bool>;

    /// Makes a message's waiting duties due at once, whatever their schedule, and ends an
    /// operator's hold. What is held for another reason stays.
    ///
    /// # Errors
    /// [`StoreError::UnknownMessage`]; [`StoreError::HasEnded`] if it is settled or refuted.
    async fn retry_message(&self, message: MessageId, at: UnixMillis) -> Result<Retried>;

    // --- what a person looks at ---

    /// The lanes that a text may mean ([`postrider_message::Lane::answers_to`]); one whose whole
    /// name it is comes before those of whose it is a part.
    async fn find_lanes(&self, text: &str) -> Result<FoundLanes>;

    /// What operators did to a lane, newest first.
    async fn lane_history(&self, lane: LaneId, limit: u32) -> Result<Vec<LaneEntry>>;

    /// Asks the node to look for what state says is pending.
    ///
    /// # Errors
    /// [`StoreError::BadBatch`] if a thousand such requests wait.
    async fn ask_clearing(&self, clearing: Clearing) -> Result<()>;

    /// The requests of that kind for a network, each handed out once.
    async fn take_clearings(&self, network: &NetworkName) -> Result<Vec<Clearing>>;

    /// Those of `messages` that are proven to be sent and whose payload is known.
    async fn with_payload(&self, messages: &[MessageId]) -> Result<HashSet<MessageId>>;

    /// The messages that are proven to be sent with these numbers over a lane.
    async fn proven_at(&self, lane: LaneId, nonces: &[MessageNonce]) -> Result<Vec<MessageId>>;

    /// Owes duties beside those that were recorded with their messages, which are known; those that are
    /// known stay as they are. Tells how many are new.
    async fn owe(&self, duties: Vec<Duty>, at: UnixMillis) -> Result<usize>;

    /// Which kinds of duties there are towards `messages`, ended ones among them.
    async fn duty_kinds(&self, messages: &[MessageId]) -> Result<HashSet<(MessageId, DutyKind)>>;

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

    /// Lanes, those with the most messages on their way first.
    async fn lanes(&self, limit: u32) -> Result<LaneList>;

    /// What is in escrow and how many vouchers there are for it, breaches first.
    async fn escrows(&self, limit: u32) -> Result<EscrowList>;

    /// Counts of everything that is not at an end, in one look.
    async fn tally(&self) -> Result<Tally>;

    /// Writes to the store, to see that it can be written.
    async fn check_writable(&self, at: UnixMillis) -> Result<()>;

    /// Reads the whole store and checks that it hangs together.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with what was found and what to do.
    async fn check_integrity(&self) -> Result<()>;
}
