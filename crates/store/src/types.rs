//! What goes into the store, and what the node takes out of it.

use alloy_primitives::{Address, B256, Bytes, U256};
use postrider_message::{
    Alarm, BlockRef, BlockTime, Confirmations, Duty, DutyId, DutyState, FactRecord, Height, Lane,
    Message, MessageId, Movement, NetworkName, Point, TxHash, UnixMillis,
};
use serde::Serialize;
use std::{fmt, ops::RangeInclusive};

/// How many of a network's newest blocks are remembered: as deep as a reorganisation can be undone.
pub const KEEP_BLOCKS: usize = 1024;

/// The most blocks, messages, facts or duties that one batch may hold of each.
pub const MAX_BATCH: usize = 100_000;

/// The most bytes of evidence for one message.
pub const MAX_EVIDENCE_BYTES: usize = 16 << 20;

/// How far a network was read and proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The last block that was recorded.
    pub tip: BlockRef,
    /// The newest recorded blocks, newest first, at most [`KEEP_BLOCKS`]; the first is the tip.
    pub recent: Vec<BlockRef>,
}

/// A request to look for packets that a network's state says are pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearing {
    /// Where they were sent.
    pub network: NetworkName,
    /// The end they were sent from, in the protocol's own text; `None` for all.
    pub point: Option<Point>,
    /// Which of them, in the protocol's own text, at most 4,096 bytes; `None` for all.
    pub sequences: Option<String>,
}

/// A message with what proves that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenMessage {
    /// The message.
    pub message: Message,
    /// The proof, in the verifier's own encoding, at most [`MAX_EVIDENCE_BYTES`]; empty where it
    /// will not be needed again.
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
    /// Duties that go on with what was found, moved after all else is recorded.
    pub moves: Vec<DutyMove>,
    /// Transactions that stand in the blocks, where they are read with them and not ahead as hints.
    pub included: Vec<SeenTransaction>,
    /// Tokens that were taken or given in them.
    pub movements: Vec<Movement>,
    /// Stands for the token contracts that those are read of. With another value than before, what
    /// was sent earlier may have debited what nobody read.
    pub tokens: B256,
    /// The last block's time: everything until then is known once this is recorded. `None` leaves
    /// what was known.
    pub tip_time: Option<BlockTime>,
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
    /// Alarms that it raised.
    pub alarms: Vec<Alarm>,
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
    /// Transactions seen there; those that are not this node's mean nothing to the store.
    pub transactions: Vec<SeenTransaction>,
    /// The time now.
    pub at: UnixMillis,
}

/// A transaction in a block, as one upstream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenTransaction {
    /// Its hash.
    pub hash: TxHash,
    /// The block.
    pub block: BlockRef,
    /// Whether it did not revert. It does not tell whether a duty is done.
    pub succeeded: bool,
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

/// Tokens that were credited, of which nobody knows yet whether the message that moved them was
/// sent before this node's view of its source begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnaskedCredit {
    /// The lane.
    pub lane: Lane,
    /// The protocol's own id of the message.
    pub reference: B256,
}

/// A message with work to do for it on one network, and all that is needed to plan it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenMessage {
    /// The message.
    pub message: Message,
    /// What this node owes it on that network, whatever its state, in the protocol's order.
    pub duties: Vec<Duty>,
    /// What is known about it, in the order of heights and positions.
    pub facts: Vec<FactRecord>,
}

/// The terms on which an attestation is signed by several processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathering {
    /// The attestation.
    pub duty: DutyId,
    /// The depth that is vouched for.
    pub confirmations: Confirmations,
    /// When the signatures stop counting, in Unix seconds.
    pub expires: u64,
    /// What is signed, which follows from the message and these terms.
    pub digest: B256,
}

/// Another process' signature for an attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherSignature {
    /// The attestation.
    pub duty: DutyId,
    /// What is signed.
    pub digest: B256,
    /// Whose it is.
    pub signer: Address,
    /// The signature in the protocol's own form, 1 to 256 bytes.
    pub signature: Vec<u8>,
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
    /// In a block that the cursor has passed.
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

/// A transaction that was recorded and that no block is known to include.
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
    /// Whether any message that it is for is still proven to be sent, or it is for none.
    pub is_wanted: bool,
    /// Earlier transactions of the same nonce: one of them may be included in its stead.
    pub replaced: Vec<TxHash>,
}
