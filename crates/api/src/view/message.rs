//! A message: its place in a list, all about it, and its way in stages with the time each took.

use postrider_message::{
    Certainty, Fact, FactRecord, HistoryEvent, NetworkName, Outcome, Protocol, Reason, Standing,
    UnixMillis,
};
use postrider_store::{MAX_LOOK, MessageDetail, MessageRow};
use serde::Serialize;

/// A message in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The message's id.
    pub id: String,
    /// Its lane.
    pub lane: String,
    /// Its number on the lane.
    pub nonce: u64,
    /// Its status.
    pub status: &'static str,
    /// How it ended.
    pub outcome: Option<&'static str>,
    /// Why it is not further.
    pub reason: Option<String>,
    /// The same as one word.
    pub reason_code: Option<&'static str>,
    /// Seconds since this node first learnt of it.
    pub age_seconds: f64,
}

impl Listed {
    /// A row as it is shown at `now`, under what stops networks.
    #[must_use]
    pub fn new(row: MessageRow, conditions: &[(NetworkName, Reason)], now: UnixMillis) -> Self {
        let standing = row.standing.under(conditions);
        Self {
            id: row.id.to_string(),
            lane: row.lane.to_string(),
            nonce: row.nonce.0,
            status: standing.status.as_str(),
            outcome: standing.outcome.map(Outcome::as_str),
            reason: standing.reason.as_ref().map(ToString::to_string),
            reason_code: standing.reason.as_ref().map(Reason::code),
            age_seconds: now.seconds_since(row.learnt_at),
        }
    }
}

/// Messages, the newest first.
#[derive(Debug, Clone, Serialize)]
pub struct MessageList {
    /// The messages.
    pub messages: Vec<Listed>,
    /// What to give as `after` to see the next ones; nothing if there are none.
    pub next: Option<u64>,
}

impl MessageList {
    /// A page of at most `limit` rows, of which one more was asked for than is shown.
    #[must_use]
    pub fn new(
        mut rows: Vec<MessageRow>,
        limit: u32,
        conditions: &[(NetworkName, Reason)],
        now: UnixMillis,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| is_more).map(|row| row.sequence);
        let messages = rows.into_iter().map(|row| Listed::new(row, conditions, now)).collect();
        Self { messages, next }
    }
}

/// All about one message.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// In short.
    #[serde(flatten)]
    pub report: MessageReport,
    /// In full.
    pub detail: MessageDetail,
    /// How many facts are left out of `detail`: anyone can cause some kinds of them.
    pub facts_left_out: usize,
}

impl Trace {
    /// All about a message, under what stops networks.
    #[must_use]
    pub fn new(mut detail: MessageDetail, conditions: &[(NetworkName, Reason)]) -> Self {
        let standing = detail.row.standing.clone().under(conditions);
        let report = MessageReport::new(&detail, &standing);
        let most = usize::try_from(MAX_LOOK).unwrap_or(usize::MAX);
        let facts_left_out = detail.facts.len().saturating_sub(most);
        detail.facts.truncate(most);
        Self { report, detail, facts_left_out }
    }
}

/// A stage that a message has reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// Its name. Of LayerZero: seen, final, proven, attested, committed, executed, settled; of IBC: seen,
    /// proven, received, then succeeded, app_error or timed_out, and settled.
    pub name: &'static str,
    /// Seconds since the message was first seen.
    pub seconds: f64,
    /// What it rests on.
    pub detail: String,
}

/// A message in short.
#[derive(Debug, Clone, Serialize)]
pub struct MessageReport {
    /// The message's id.
    pub id: String,
    /// Its lane.
    pub lane: String,
    /// Its number on the lane.
    pub nonce: u64,
    /// Its status.
    pub status: &'static str,
    /// How it ended.
    pub outcome: Option<&'static str>,
    /// Why it is not further.
    pub reason: Option<String>,
    /// The same as one word.
    pub reason_code: Option<&'static str>,
    /// What can be done about that.
    pub remedy: Option<&'static str>,
    /// The stages it has reached, in order.
    pub stages: Vec<Stage>,
}

impl MessageReport {
    /// The report of a message, whose standing may have been put down to a network's condition.
    #[must_use]
    pub fn new(detail: &MessageDetail, standing: &Standing) -> Self {
        Self {
            id: detail.row.id.to_string(),
            lane: detail.row.lane.to_string(),
            nonce: detail.row.nonce.0,
            status: standing.status.as_str(),
            outcome: standing.outcome.map(Outcome::as_str),
            reason: standing.reason.as_ref().map(ToString::to_string),
            reason_code: standing.reason.as_ref().map(Reason::code),
            remedy: standing.reason.as_ref().and_then(Reason::remedy),
            stages: stages(detail),
        }
    }
}

/// The stages a message has reached, in order.
#[must_use]
pub fn stages(detail: &MessageDetail) -> Vec<Stage> {
    let seen = detail.row.learnt_at;
    let mut stages = Vec::new();
    let mut add = |name, at: UnixMillis, detail: String| {
        stages.push(Stage { name, seconds: at.seconds_since(seen), detail });
    };
    let place = |r: &FactRecord| {
        let seen = &r.observation;
        format!("{} block {}, transaction {}", seen.network, seen.block.height, seen.transaction)
    };
    let fact = |wanted: fn(&Fact) -> bool| detail.facts.iter().filter(move |r| wanted(&r.fact));
    let is_ibc = detail.row.lane.protocol == Protocol::Ibc;
    if let Some(sent) = fact(|f| matches!(f, Fact::Sent)).next() {
        add("seen", seen, place(sent));
        let block = sent.observation.block;
        match verified_at(detail, |f| matches!(f, Fact::Sent)) {
            Some(at) if is_ibc => {
                let network = &sent.observation.network;
                let state =
                    format!("the state after {network} block {} commits to it", block.height);
                add("proven", at, state);
            }
            Some(at) => {
                add("final", at, format!("the quorum agreed on the chain of {block}"));
                let root = format!("its receipt leads to the receipts root of {}", block.height);
                add("proven", at, root);
            }
            None => {}
        }
    }
    if let Some(received) = fact(|f| matches!(f, Fact::Received)).next() {
        add("received", received.at, place(received));
    }
    let last_attested = fact(|f| matches!(f, Fact::Attested { .. })).max_by_key(|r| r.at);
    if let Some(attested) = last_attested {
        let count = fact(|f| matches!(f, Fact::Attested { .. })).count();
        add("attested", attested.at, format!("{count} attestation(s), {}", place(attested)));
    }
    if let Some(committed) = fact(|f| matches!(f, Fact::Committed)).next() {
        add("committed", committed.at, place(committed));
    }
    if let Some(end) = fact(|f| Outcome::of(f).is_some()).next() {
        // An acknowledgement may say that the receiver refused.
        let told = detail.row.standing.outcome.filter(|_| is_ibc);
        let name = told.or(Outcome::of(&end.fact)).map_or("executed", Outcome::as_str);
        add(name, end.at, place(end));
        if let Some(at) = verified_at(detail, |f| Outcome::of(f).is_some()) {
            let how = if is_ibc { "proven" } else { "final" };
            add("settled", at, format!("{how} on {}", end.observation.network));
        }
    }
    stages
}

/// When a fact of this kind was last learnt as verified.
fn verified_at(detail: &MessageDetail, wanted: fn(&Fact) -> bool) -> Option<UnixMillis> {
    detail.history.iter().rev().find_map(|entry| match &entry.event {
        HistoryEvent::Learnt { fact, certainty: Certainty::Verified, .. } if wanted(fact) => {
            Some(entry.at)
        }
        _ => None,
    })
}
