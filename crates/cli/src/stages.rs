//! A message's way in stages, with the time each took.

use postrider_message::{Certainty, Fact, FactRecord, HistoryEvent, Outcome, Standing, UnixMillis};
use postrider_store::MessageDetail;
use serde::Serialize;

/// A stage that a message has reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// Its name: seen, final, proven, attested, committed, executed, settled.
    pub name: &'static str,
    /// Seconds since the message was first seen.
    pub seconds: f64,
    /// What it rests on.
    pub detail: String,
}

/// A message as commands show it.
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
            remedy: standing.reason.as_ref().and_then(|r| r.remedy()),
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
    if let Some(sent) = fact(|f| matches!(f, Fact::Sent)).next() {
        add("seen", seen, place(sent));
        if let Some(at) = verified_at(detail, |f| matches!(f, Fact::Sent)) {
            let block = sent.observation.block;
            add("final", at, format!("the quorum agreed on the chain of {block}"));
            add(
                "proven",
                at,
                format!("its receipt leads to the receipts root of {}", block.height),
            );
        }
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
        let name = Outcome::of(&end.fact).map_or("executed", Outcome::as_str);
        add(name, end.at, place(end));
        if let Some(at) = verified_at(detail, |f| Outcome::of(f).is_some()) {
            add("settled", at, format!("final on {}", end.observation.network));
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
