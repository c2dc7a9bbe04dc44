//! What goes into the store and what comes out of it.

use alloy_primitives::{B256, Bytes, U256};
use postrider_message::{
    BlockRef, Duty, DutyId, DutyState, FactRecord, Height, HistoryEntry, Lane, LaneId, Message,
    MessageId, MessageNonce, MessageStatus, NetworkName, Standing, TxHash, UnixMillis,
};
use serde::Serialize;
use std::{fmt, ops::RangeInclusive};

/// How many of a network's newest blocks are remembered: as deep as a reorganisation can be undone.
pub const KEEP_BLOCKS: usize = 1024;

/// The most blocks, messages, facts or duties that one batch may hold of each.
pub const MAX_BATCH: usize = 100_000;

/// The most bytes of evidence for one message.
pub const MAX_EVIDENCE_BYTES: usize = 16 << 20;

/// The most entries that one look returns, whatever was asked for.
pub const MAX_LOOK: u32 = 1_000;

/// How far a network was read and proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The last block that was recorded.
    pub tip: BlockRef,
    /// The newest recorded blocks, newest first, at most [`KEEP_BLOCKS`]; the first is the tip.
    pub recent: Vec<BlockRef>,
}

/// A message with what proves that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenMessage {
    /// The message.
    pub message: Message,
    /// The proof, in the verifier's own encoding; at most [`MAX_EVIDENCE_BYTES`].
    pub evidence: Vec<u8>,
}

/// Blocks of one network and all that was proven to stand in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBatch {
    /// The network.
    pub network: NetworkName,
    /// Where the cursor must be; `None` if the network has none yet.
    pub previous: Option<BlockRef>,
    /// The blocks, ascending; the last becomes the cursor. Heights may be left out.
    pub blocks: Vec<BlockRef>,
    /// Messages sent in them; each needs its `Sent` fact in `facts`.
    pub messages: Vec<ProvenMessage>,
    /// Facts seen in them, all verified, all above `previous` and not above the last block.
    pub facts: Vec<FactRecord>,
    /// What this node owes; a duty that is known already stays as it is.
    pub duties: Vec<Duty>,
    /// The time now.
    pub at: UnixMillis,
}

/// What recording did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Every message whose facts, duties or standing may have changed.
    pub affected: Vec<MessageId>,
    /// How many messages were not known before.
    pub new_messages: usize,
}

/// What one upstream says about a range of blocks that may still go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintBatch {
    /// The network.
    pub network: NetworkName,
    /// The heights that were looked at; what was hinted there before and is not named again goes.
    pub heights: RangeInclusive<Height>,
    /// Messages seen there.
    pub messages: Vec<Message>,
    /// Facts seen there, all hinted. Facts not above the cursor are left out: there all is known.
    pub facts: Vec<FactRecord>,
    /// The time now.
    pub at: UnixMillis,
}

/// What going back did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwound {
    /// How many facts were taken back.
    pub taken_back: usize,
    /// Every message that lost one.
    pub affected: Vec<MessageId>,
    /// Messages that are no longer known to be sent although this node had attested them, or had
    /// sent off an attestation.
    pub signed: Vec<MessageId>,
}

/// A duty that is not at its end, with all that is needed to plan it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDuty {
    /// The duty.
    pub duty: Duty,
    /// Its message.
    pub message: Message,
    /// What is known about that message, in the order of heights and positions.
    pub facts: Vec<FactRecord>,
}

/// A move of a duty, done only if the duty is still in the state that the mover saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyMove {
    /// Which duty.
    pub duty: DutyId,
    /// The name of the state it must be in ([`DutyState::as_str`]).
    pub from: &'static str,
    /// Where it goes.
    pub to: DutyState,
    /// From when it may be tried; `None` leaves that as it is.
    pub not_before: Option<UnixMillis>,
    /// Whether this was a try.
    pub count_attempt: bool,
}

/// What a transaction offers to pay, in the network's smallest unit for each unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fees {
    /// At most this in all (EIP-1559 `maxFeePerGas`).
    #[serde(serialize_with = "decimal")]
    pub max_fee: u128,
    /// At most this to the block's producer (EIP-1559 `maxPriorityFeePerGas`).
    #[serde(serialize_with = "decimal")]
    pub tip: u128,
}

fn decimal<S: serde::Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

/// A call that duties want included, apart from the transactions that carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewSubmission {
    /// The content hash of the call.
    pub id: B256,
    /// The account or contract called, in the network's canonical text.
    pub to: String,
    /// The call's data.
    pub data: Bytes,
    /// The amount sent along, in the network's smallest unit.
    pub value: U256,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// What it is for, in a few words.
    pub purpose: String,
}

/// A signed transaction that is about to be broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransaction {
    /// The network.
    pub network: NetworkName,
    /// The account that signed it, in the network's canonical text.
    pub signer: String,
    /// The account's nonce that it uses up.
    pub nonce: u64,
    /// Its hash.
    pub hash: TxHash,
    /// The signed bytes.
    pub raw: Vec<u8>,
    /// What it offers to pay.
    pub fees: Fees,
    /// The call that it carries.
    pub submission: NewSubmission,
    /// The duties that the call is for.
    pub duties: Vec<DutyId>,
    /// The transaction with the same nonce whose place it takes.
    pub replaces: Option<TxHash>,
}

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// Signed and stored; perhaps broadcast.
    Recorded,
    /// In a block that may still go.
    Included,
    /// In a final block.
    Final,
    /// Another one took its nonce.
    Replaced,
    /// Given up.
    Dropped,
}

impl TransactionState {
    /// The state's name in tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Included => "included",
            Self::Final => "final",
            Self::Replaced => "replaced",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A transaction that was recorded and is not final yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Its hash.
    pub hash: TxHash,
    /// The account's nonce that it uses up.
    pub nonce: u64,
    /// The signed bytes, to broadcast again.
    pub raw: Vec<u8>,
    /// What it offers to pay.
    pub fees: Fees,
    /// The call that it carries.
    pub submission: NewSubmission,
    /// The duties that the call is for.
    pub duties: Vec<DutyId>,
    /// When it was recorded.
    pub recorded_at: UnixMillis,
    /// [`TransactionState::Recorded`] or [`TransactionState::Included`].
    pub state: TransactionState,
    /// The block that includes it.
    pub included: Option<BlockRef>,
    /// Earlier transactions of the same nonce: one of them may be included in its stead.
    pub replaced: Vec<TxHash>,
}

/// A transaction as a person looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransactionRow {
    /// The network.
    pub network: NetworkName,
    /// The account that signed it.
    pub signer: String,
    /// The account's nonce.
    pub nonce: u64,
    /// Its hash.
    pub hash: TxHash,
    /// What it offers to pay.
    pub fees: Fees,
    /// How far it has come.
    pub state: TransactionState,
    /// Why it was dropped.
    pub note: Option<String>,
    /// The block that includes it.
    pub included: Option<BlockRef>,
    /// What its receipt said. It does not tell whether a duty is done.
    pub success: Option<bool>,
    /// What its call is for.
    pub purpose: String,
    /// When it was recorded.
    pub recorded_at: UnixMillis,
}

/// Which messages to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only those with this status.
    pub status: Option<MessageStatus>,
    /// Only those sent from or to this network.
    pub network: Option<NetworkName>,
    /// Only those on this lane.
    pub lane: Option<LaneId>,
    /// Only those neither settled nor refuted.
    pub open_only: bool,
    /// Also those that no chain speaks of any more.
    pub include_gone: bool,
    /// At most this many; [`MAX_LOOK`] if it is 0 or more than that.
    pub limit: u32,
    /// Only those older than the row with this sequence: the last row's, for the next page.
    pub after: Option<u64>,
}

/// A message in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageRow {
    /// The place in the list; newer ones have greater numbers.
    pub sequence: u64,
    /// The message's id.
    pub id: MessageId,
    /// The lane's id.
    pub lane_id: LaneId,
    /// The lane.
    pub lane: Lane,
    /// The number on the lane.
    pub nonce: MessageNonce,
    /// The protocol's own id.
    pub reference: Option<B256>,
    /// How far it has come.
    pub standing: Standing,
    /// When this node first learnt of it.
    pub learnt_at: UnixMillis,
    /// When anything about it last changed.
    pub updated_at: UnixMillis,
    /// The transaction that sent it, as far as known.
    pub transaction: Option<TxHash>,
    /// No chain speaks of it any more.
    pub gone: bool,
}

/// What a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No message.
    None,
    /// This one.
    One(MessageId),
    /// Several; the first of them.
    Many(Vec<MessageId>),
}

/// All there is to know about a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageDetail {
    /// As in a list.
    pub row: MessageRow,
    /// The message.
    pub message: Message,
    /// What chains said, in the order of heights and positions on each network.
    pub facts: Vec<FactRecord>,
    /// What this node owes, in the protocol's order.
    pub duties: Vec<Duty>,
    /// The transactions that carried it, oldest first.
    pub transactions: Vec<TransactionRow>,
    /// What happened, oldest first; the newest [`MAX_LOOK`] entries.
    pub history: Vec<HistoryEntry>,
}

/// A lane in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneRow {
    /// The lane's id.
    pub id: LaneId,
    /// The lane.
    pub lane: Lane,
    /// How many messages have each status; statuses nobody has are left out.
    pub counts: Vec<(MessageStatus, u64)>,
    /// When the oldest message that is neither settled nor refuted was learnt.
    pub oldest_open: Option<UnixMillis>,
}
