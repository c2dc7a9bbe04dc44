//! Lanes in a list.

use postrider_message::{Sums, Supply, UnixMillis};
use postrider_store::{LaneList, LaneRow};
use serde::Serialize;
use std::collections::BTreeMap;

/// A lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneReport {
    /// The lane's id.
    pub id: String,
    /// The lane.
    pub lane: String,
    /// Whether an operator paused it.
    pub paused: bool,
    /// For how many seconds.
    pub paused_seconds: Option<f64>,
    /// How many messages have each status.
    pub messages: BTreeMap<&'static str, u64>,
    /// How many messages have not ended.
    pub backlog: u64,
    /// The one that has waited longest.
    pub oldest: Option<OldestReport>,
    /// Why messages are not further, by the reason's code.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The tokens that it moved, where its ends are token contracts that the configuration names.
    pub tokens: Option<TokensReport>,
}

/// The tokens that a lane moved, in whole tokens as decimal numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokensReport {
    /// What proven sends debited.
    pub debited: String,
    /// What proven deliveries credited. More than was debited only after a breach.
    pub credited: String,
    /// What was debited for messages that have credited nothing.
    pub in_flight: String,
    /// What was credited, where the source is not proven up to then.
    pub awaited: String,
    /// Whether all that was debited is credited, and nothing else.
    pub even: bool,
    /// How many credits are not covered by a debit.
    pub breaches: u64,
}

impl TokensReport {
    fn new(supply: &Supply) -> Self {
        let show = |units| supply.decimals.show(units);
        let Sums { debited, credited, in_flight, awaited } = supply.sums;
        Self {
            debited: show(debited),
            credited: show(credited),
            in_flight: show(in_flight),
            awaited: show(awaited),
            even: supply.is_even(),
            breaches: supply.breaches,
        }
    }
}

/// The message of a lane that has waited longest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OldestReport {
    /// The message.
    pub id: String,
    /// Seconds since this node first learnt of it.
    pub age_seconds: f64,
}

/// Lanes, those with the most messages on their way first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneReports {
    /// The lanes.
    pub lanes: Vec<LaneReport>,
    /// How many more there are.
    pub more: u64,
}

impl LaneReports {
    /// Lanes as they are shown at `now`.
    #[must_use]
    pub fn new(list: &LaneList, now: UnixMillis) -> Self {
        let lanes = list.lanes.iter().map(|row| LaneReport::new(row, now)).collect();
        Self { lanes, more: list.more }
    }
}

impl LaneReport {
    fn new(row: &LaneRow, now: UnixMillis) -> Self {
        Self {
            id: row.id.to_string(),
            lane: row.lane.to_string(),
            paused: row.paused.is_some(),
            paused_seconds: row.paused.map(|at| now.seconds_since(at)),
            messages: row.counts.iter().map(|(status, n)| (status.as_str(), *n)).collect(),
            backlog: row.backlog,
            oldest: row.oldest.map(|oldest| OldestReport {
                id: oldest.message.to_string(),
                age_seconds: now.seconds_since(oldest.learnt_at),
            }),
            reasons: row.reasons.iter().map(|(code, n)| (code.as_str(), *n)).collect(),
            tokens: row.supply.as_ref().map(TokensReport::new),
        }
    }
}
