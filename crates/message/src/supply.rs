//! Tokens that travel with messages: what proven sends debited, what proven deliveries credited, and
//! whether the one covers the other.
//!
//! A token contract takes or burns at the source and gives or mints at the destination, and only its
//! messages bind the one to the other. So each [`Movement`] is read from the receipts of a token
//! contract that the operator named, and [`judge`] compares the two sides of each [`Transfer`]. If
//! no transfer is a [`Judgement::Breached`], a lane has credited no more than it debited.

use crate::{fact::Observation, id::MessageNonce, lane::Lane};
use alloy_primitives::{B256, U256};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far the clocks of two networks may differ, in seconds, before the order of two of their
/// blocks is relied on.
pub const CLOCK_SKEW: u64 = 15;

/// A quantity of a token, in the smallest unit that all networks share ("shared decimals"). A
/// greater one than 128 bits hold reads as the greatest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

/// How many digits of a token's amounts stand behind the decimal point, on every network alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharedDecimals(pub u8);

impl SharedDecimals {
    /// A quantity of smallest units as a decimal number of whole tokens: `12.5`.
    #[must_use]
    pub fn show(self, units: U256) -> String {
        let digits = units.to_string();
        let behind = usize::from(self.0);
        let digits = format!("{digits:0>width$}", width = behind.saturating_add(1));
        let (whole, part) = digits.split_at(digits.len().saturating_sub(behind));
        match part.trim_end_matches('0') {
            "" => whole.to_owned(),
            part => format!("{whole}.{part}"),
        }
    }
}

/// Seconds since 1970-01-01 UTC, by the clock of a network: a block's timestamp.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BlockTime(pub u64);

impl BlockTime {
    /// Whether this time is surely after `other`, which another network's clock may tell.
    #[must_use]
    pub fn is_surely_after(self, other: Self) -> bool {
        self.0 > other.0.saturating_add(CLOCK_SKEW)
    }
}

/// Which end of a transfer a token contract spoke at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The source took it.
    Debit,
    /// The destination gave it.
    Credit,
}

impl Side {
    /// The side's name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

/// Tokens taken or given, as the receipts of a proven block say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The lane of the message that carries them.
    pub lane: Lane,
    /// Its number there; 0, which no message has, for a credit that names a message which was not
    /// delivered.
    pub nonce: MessageNonce,
    /// The protocol's own id of the message (LayerZero's guid).
    pub reference: B256,
    /// Taken or given.
    pub side: Side,
    /// How much.
    pub amount: Amount,
    /// How amounts of this token are shown.
    pub decimals: SharedDecimals,
    /// Where it was seen.
    pub observation: Observation,
    /// When, by that network's clock.
    pub time: BlockTime,
}

/// One side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// How much was taken or given.
    pub amount: Amount,
    /// When, by that network's clock.
    pub time: BlockTime,
}

/// What one message moved, as far as it is proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The message's number on its lane.
    pub nonce: MessageNonce,
    /// What the source took.
    pub debit: Option<Leg>,
    /// What the destination gave, all of it together, and when first.
    pub credit: Option<Leg>,
}

/// How far the source of a lane is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceView {
    /// Up to when everything that was sent is proven.
    pub until: Option<BlockTime>,
    /// The least number of a message on the lane that is proven to be sent. Greater ones were sent
    /// after it, so all of them are known.
    pub first: Option<MessageNonce>,
    /// The message is proven to be sent, in a block before those in which debits of the sender were
    /// looked for.
    pub unread: bool,
    /// How many messages the source says, by a quorum, that it has ever sent on the lane.
    pub sent: Option<u64>,
}

/// What is wrong with a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// The source debited nothing for it.
    NeverDebited,
    /// More was given than taken.
    MoreThanDebited,
    /// It was given before it was taken.
    BeforeDebited,
    /// No message was delivered that it could belong to.
    NotDelivered,
}

impl Breach {
    /// The breach's name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverDebited => "never_debited",
            Self::MoreThanDebited => "more_than_debited",
            Self::BeforeDebited => "before_debited",
            Self::NotDelivered => "not_delivered",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NeverDebited => "the source debited nothing for it",
            Self::MoreThanDebited => "it is more than the source debited",
            Self::BeforeDebited => "it was credited before the source debited it",
            Self::NotDelivered => "no message was delivered that it belongs to",
        })
    }
}

/// How the two sides of a transfer compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Debited, and not credited yet.
    InFlight,
    /// Credited, and covered by what was debited.
    Even,
    /// Credited, and the source is not proven up to then: what covers it may still be read.
    Awaited,
    /// Credited, and the source must be asked whether it ever sent so many messages.
    Unasked,
    /// Credited, and sent before this node's view of the source begins: nothing can be said.
    BeforeView,
    /// Credited, and not covered.
    Breached(Breach),
}

impl Judgement {
    /// The judgement's name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Even => "even",
            Self::Awaited => "awaited",
            Self::Unasked => "unasked",
            Self::BeforeView => "before_view",
            Self::Breached(breach) => breach.as_str(),
        }
    }

    /// The judgement of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::InFlight,
            Self::Even,
            Self::Awaited,
            Self::Unasked,
            Self::BeforeView,
            Self::Breached(Breach::NeverDebited),
            Self::Breached(Breach::MoreThanDebited),
            Self::Breached(Breach::BeforeDebited),
            Self::Breached(Breach::NotDelivered),
        ]
        .into_iter()
        .find(|judgement| judgement.as_str() == name)
    }
}

/// Compares the two sides of a transfer; `None` if nothing was moved.
///
/// A message is sent before it is delivered, so a credit that no proven debit covers is a breach
/// once everything is known that the source did until then, and not before: until then the debit
/// may stand in a block that is not proven yet.
#[must_use]
pub fn judge(transfer: &Transfer, source: &SourceView) -> Option<Judgement> {
    use Judgement as J;
    let Some(credit) = transfer.credit else {
        return transfer.debit.map(|_| J::InFlight);
    };
    if let Some(debit) = transfer.debit {
        return Some(if credit.amount > debit.amount {
            J::Breached(Breach::MoreThanDebited)
        } else if debit.time.is_surely_after(credit.time) {
            J::Breached(Breach::BeforeDebited)
        } else {
            J::Even
        });
    }
    if transfer.nonce == MessageNonce(0) {
        return Some(J::Breached(Breach::NotDelivered));
    }
    if !source.until.is_some_and(|until| until.is_surely_after(credit.time)) {
        return Some(J::Awaited);
    }
    if source.unread {
        return Some(J::BeforeView);
    }
    if source.first.is_some_and(|first| first <= transfer.nonce) {
        return Some(J::Breached(Breach::NeverDebited));
    }
    Some(match source.sent {
        None => J::Unasked,
        Some(sent) if sent < transfer.nonce.0 => J::Breached(Breach::NeverDebited),
        Some(_) => J::BeforeView,
    })
}

/// What transfers of a lane add up to, in the smallest shared unit. No number of messages that a
/// lane can carry overflows 256 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// What proven sends debited.
    pub debited: U256,
    /// What proven deliveries credited of it. Greater than `debited` only after a breach.
    pub credited: U256,
    /// What was debited for messages that have credited nothing.
    pub in_flight: U256,
    /// What was credited and is not counted as credited while the source is not proven up to then.
    pub awaited: U256,
}

impl Sums {
    /// What a transfer that is judged so adds to those of its lane.
    #[must_use]
    pub fn of(transfer: &Transfer, judgement: Judgement) -> Self {
        let units = |leg: Option<Leg>| U256::from(leg.map_or(0, |leg| leg.amount.0));
        let (debited, credited) = (units(transfer.debit), units(transfer.credit));
        let none = Self::default();
        match judgement {
            Judgement::InFlight => Self { debited, in_flight: debited, ..none },
            Judgement::Even | Judgement::Breached(_) => Self { debited, credited, ..none },
            Judgement::Awaited | Judgement::Unasked => Self { awaited: credited, ..none },
            Judgement::BeforeView => none,
        }
    }

    /// These with what a transfer added before taken away and what it adds now put in.
    #[must_use]
    pub fn moved(self, before: Self, now: Self) -> Self {
        let moved =
            |sum: U256, before: U256, now: U256| sum.saturating_sub(before).saturating_add(now);
        Self {
            debited: moved(self.debited, before.debited, now.debited),
            credited: moved(self.credited, before.credited, now.credited),
            in_flight: moved(self.in_flight, before.in_flight, now.in_flight),
            awaited: moved(self.awaited, before.awaited, now.awaited),
        }
    }
}

/// The supply that a lane moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Supply {
    /// How its amounts are shown.
    pub decimals: SharedDecimals,
    /// What its transfers add up to.
    pub sums: Sums,
    /// How many credits are not covered.
    pub breaches: u64,
}

impl Supply {
    /// Whether everything that was debited is credited, and nothing else.
    #[must_use]
    pub fn is_even(&self) -> bool {
        let Sums { debited, credited, in_flight, awaited } = self.sums;
        debited == credited && in_flight.is_zero() && awaited.is_zero() && self.breaches == 0
    }
}

#[cfg(test)]
mod tests;
