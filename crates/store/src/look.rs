//! What a person or a program looks at.

use crate::{Fees, TransactionState};
use alloy_primitives::{B256, U256};
use postrider_message::{
    AlarmKind, BlockRef, Duty, DutyKind, FactRecord, Height, HistoryEntry, Lane, LaneEvent, LaneId,
    Message, MessageId, MessageNonce, MessageStatus, NetworkName, ReasonCode, Standing, Supply,
    TxHash, UnixMillis,
};
use serde::Serialize;

/// The most entries that one look returns, whatever was asked for.
pub const MAX_LOOK: u32 = 1_000;

/// The most lanes that are named where a text does not name one.
pub const MAX_NAMED: usize = 20;

/// The most lanes whose tokens are counted in one look.
pub const MAX_SUPPLIES: u32 = 200;

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
    /// Only those that are not further for this reason, as it is shown: under what stops networks
    /// ([`postrider_message::Standing::under`]) and lanes.
    pub reason: Option<ReasonCode>,
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
    /// When an operator paused it; `None` if it is not paused.
    pub paused: Option<UnixMillis>,
    /// How many messages have each status; statuses nobody has are left out.
    pub counts: Vec<(MessageStatus, u64)>,
    /// How many messages are neither settled nor refuted.
    pub backlog: u64,
    /// Why those are not further, as it is shown, and how many for each reason.
    pub reasons: Vec<(ReasonCode, u64)>,
    /// The first of those that this node learnt of.
    pub oldest: Option<Oldest>,
    /// The tokens that it moved; `None` if its ends are no token contracts that are named.
    #[serde(skip)]
    pub supply: Option<Supply>,
}

/// The message of a lane that has waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Oldest {
    /// The message.
    pub message: MessageId,
    /// When this node first learnt of it.
    pub learnt_at: UnixMillis,
}

/// Lanes, those with the most messages on their way first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LaneList {
    /// The lanes.
    pub lanes: Vec<LaneRow>,
    /// How many more there are.
    pub more: u64,
}

/// A token that was sent over IBC (ICS-20): what its source keeps for it, and the vouchers at its
/// destination. Both are of proven states that may be compared: whatever was received in the one was sent
/// in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscrowRow {
    /// From where the token is kept to where its vouchers are.
    pub lane: Lane,
    /// Its way and its name, as the destination has them: `transfer/channel-0/uatom`.
    pub denom: String,
    /// How much of it the source keeps for the channel, in the token's smallest unit.
    pub escrow: U256,
    /// How much of the voucher there is, in the same unit.
    pub vouchers: U256,
    /// The source's block whose state was read.
    pub source_height: Height,
    /// The destination's block whose state was read.
    pub destination_height: Height,
    /// When.
    pub at: UnixMillis,
    /// When the last alarm was raised over it; it stays when the vouchers become fewer. Not looked at where
    /// a row is kept.
    pub breached: Option<UnixMillis>,
}

impl EscrowRow {
    /// Whether there are more vouchers than is kept for them.
    #[must_use]
    pub fn is_breached(&self) -> bool {
        self.vouchers > self.escrow
    }
}

/// What is in escrow, breaches first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EscrowList {
    /// The tokens.
    pub escrows: Vec<EscrowRow>,
    /// How many more there are.
    pub more: u64,
}

/// The lanes that a text may mean; of many, the first [`MAX_NAMED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundLanes {
    /// None does; these exist.
    None(Vec<Lane>),
    /// This one.
    One(Lane),
    /// Several.
    Many(Vec<Lane>),
}

/// An entry of a lane's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneEntry {
    /// When.
    pub at: UnixMillis,
    /// What an operator did.
    pub event: LaneEvent,
}

/// What asking to try a message again did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many duties are planned again at once.
    pub duties: usize,
    /// Whether an operator's hold ended with it.
    pub released: bool,
    /// Duties that stand until something else is done: held for another reason, or given up.
    pub left: Vec<Duty>,
    /// Duties whose transaction is on its way, which is followed.
    pub on_their_way: usize,
}

/// Counts of everything that is not at an end, and of alarms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many messages have each status.
    pub messages: Vec<(MessageStatus, u64)>,
    /// Why messages are not further, as it is shown, and how many for each reason.
    pub reasons: Vec<(ReasonCode, u64)>,
    /// Duties that are not at an end.
    pub duties: Vec<DutyCount>,
    /// Transactions recorded or included and not final.
    pub transactions: Vec<(NetworkName, TransactionState, u64)>,
    /// Alarms ever stored, by network.
    pub alarms: Vec<(AlarmKind, NetworkName, u64)>,
    /// The tokens that lanes moved, those with a breach first; at most [`MAX_SUPPLIES`] lanes.
    pub supplies: Vec<(Lane, Supply)>,
    /// Lanes that are paused.
    pub paused_lanes: u64,
    /// Messages that an operator holds.
    pub held_messages: u64,
}

/// Duties of one kind, to bring to one network, in one state for one reason, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyCount {
    /// The kind.
    pub kind: DutyKind,
    /// The network.
    pub network: NetworkName,
    /// The name of the state ([`postrider_message::DutyState::as_str`]).
    pub state: String,
    /// The reason.
    pub reason: ReasonCode,
    /// How many.
    pub count: u64,
}
