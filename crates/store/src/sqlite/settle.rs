//! What follows from changed facts and duties: settled duties, standings and history.

use super::{
    duties,
    facts::{self, Place},
    flight,
    row::{self, CHUNK, bytes, json, millis},
};
use crate::Result;
use alloy_primitives::B256;
use postrider_message::{
    Certainty, Detail, Duty, DutyId, DutyKind, DutyState, Fact, FactRecord, HistoryEvent,
    MessageId, MessageNonce, PayloadHash, Reason, Standing, Steering, TxHash, UnixMillis, duty,
    status,
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What an operation changed, before anything follows from it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Messages that were not known before.
    pub(super) new_messages: HashSet<MessageId>,
    /// Messages that are affected whatever happened to facts.
    pub(super) messages: BTreeSet<MessageId>,
    /// Facts that were learnt, or became verified.
    pub(super) learnt: HashSet<B256>,
    /// Where those stand.
    pub(super) places: BTreeSet<Place>,
    /// Facts that were taken back.
    pub(super) lost: Vec<FactRecord>,
    /// Duties that are new or were moved.
    pub(super) duties: HashSet<DutyId>,
}

/// What followed.
#[derive(Debug, Default)]
pub(super) struct Consequences {
    /// Every message that was computed anew.
    pub(super) affected: Vec<MessageId>,
    /// Messages that lost what says they were sent, after this node had attested them.
    pub(super) signed: Vec<MessageId>,
}

/// A message as it was before.
struct Known {
    id: MessageId,
    place: Place,
    payload: PayloadHash,
    standing: Option<Standing>,
    proven: bool,
    gone: bool,
    sent_transaction: Option<TxHash>,
    /// An operator holds it, and why.
    held: Option<Detail>,
}

/// Settles and computes anew every message that `changes` concerns, and writes its history.
pub(super) async fn follow(
    conn: &mut SqliteConnection,
    changes: &Changes,
    at: UnixMillis,
) -> Result<Consequences> {
    let mut lost: HashMap<Place, Vec<&FactRecord>> = HashMap::new();
    for record in &changes.lost {
        lost.entry(facts::place(record)).or_default().push(record);
    }
    let places: BTreeSet<Place> = changes.places.iter().chain(lost.keys()).copied().collect();
    let mut affected = changes.messages.clone();
    affected.extend(&changes.new_messages);
    affected.extend(messages_at(conn, &places).await?);

    let mut done = Consequences { affected: affected.into_iter().collect(), signed: Vec::new() };
    for chunk in done.affected.chunks(CHUNK) {
        let messages = load(conn, chunk).await?;
        let places = messages.iter().map(|m| m.place).collect();
        let known = facts::at_places(conn, &places).await?;
        let mut duties = duties::of_messages(conn, chunk).await?;
        let hashes: Vec<TxHash> =
            known.values().flatten().map(|(_, r)| r.observation.transaction).collect();
        let ours = flight::ours(conn, &hashes).await?;
        let mut history = Vec::new();
        let mut settled: Vec<(DutyId, Duty)> = Vec::new();
        let mut stood = Vec::new();
        for message in messages {
            let names = |r: &FactRecord| r.subject.payload.is_none_or(|p| p == message.payload);
            let known = known.get(&message.place).map(Vec::as_slice).unwrap_or_default();
            let known = facts::about(known, message.payload);
            let lost = lost.get(&message.place).map(Vec::as_slice).unwrap_or_default();
            let lost = lost.iter().copied().filter(|r| names(r)).collect::<Vec<_>>();
            let mut owed = duties.remove(&message.id).unwrap_or_default();
            if lost.iter().any(|r| r.fact == Fact::Sent) && attested(conn, &owed).await? {
                done.signed.push(message.id);
            }
            let mut events = heard(&message, changes, &known, &lost);
            let known: Vec<FactRecord> = known.into_iter().map(|(_, r)| r).collect();
            let reopen = !lost.is_empty() || nilified(&events);
            let moved = settle(&mut owed, &known, &ours, reopen);
            for (id, duty) in &owed {
                if moved.contains(id) {
                    settled.push((*id, duty.clone()));
                }
                if moved.contains(id) || changes.duties.contains(id) {
                    events.push(HistoryEvent::Duty { kind: duty.kind, state: duty.state.clone() });
                }
            }
            stood.extend(stand(&message, &known, &owed, &mut events));
            history.extend(events.into_iter().map(|event| (message.id, event)));
        }
        duties::save_all(conn, settled.iter().map(|(id, duty)| (id, duty)), at).await?;
        save(conn, &stood, at).await?;
        append(conn, &history, at).await?;
    }
    Ok(done)
}

/// Whether an attestation is out: done, or ever put into a transaction, whatever became of that.
async fn attested(conn: &mut SqliteConnection, owed: &[(DutyId, Duty)]) -> Result<bool> {
    for (id, duty) in owed.iter().filter(|(_, duty)| duty.kind == DutyKind::Attest) {
        if duty.state == DutyState::Done {
            return Ok(true);
        }
        let sent = sqlx::query("SELECT 1 AS one FROM submission_duties WHERE duty = ? LIMIT 1")
            .bind(bytes(id.0))
            .fetch_optional(&mut *conn)
            .await?;
        if sent.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was taken back and what was learnt, for the message's history.
fn heard(
    message: &Known,
    changes: &Changes,
    records: &[(B256, FactRecord)],
    lost: &[&FactRecord],
) -> Vec<HistoryEvent> {
    let is_new = changes.new_messages.contains(&message.id);
    let taken_back = lost.iter().map(|r| HistoryEvent::TakenBack {
        fact: r.fact.clone(),
        observation: r.observation.clone(),
    });
    let learnt =
        records.iter().filter(|(id, _)| is_new || changes.learnt.contains(id)).map(|(_, r)| {
            HistoryEvent::Learnt {
                fact: r.fact.clone(),
                certainty: r.certainty,
                observation: r.observation.clone(),
            }
        });
    taken_back.chain(learnt).collect()
}

fn nilified(events: &[HistoryEvent]) -> bool {
    events.iter().any(|e| matches!(e, HistoryEvent::Learnt { fact: Fact::Nilified, .. }))
}

/// Moves duties as facts ask; returns those that moved.
///
/// A duty that ended is opened again only when a fact went away or undid others: a planner may have
/// ended it after reading the destination, before the fact that says so is proven.
fn settle(
    owed: &mut [(DutyId, Duty)],
    records: &[FactRecord],
    ours: &HashSet<TxHash>,
    reopen: bool,
) -> HashSet<DutyId> {
    let mut moved = HashSet::new();
    for (id, duty) in owed {
        let next = duty::settle(duty, records, &|hash| ours.contains(&hash));
        if let Some(state) = next.filter(|state| reopen || !state.is_open()) {
            duty.state = state;
            moved.insert(*id);
        } else if duty::is_freed(duty, records) {
            duty.state = DutyState::Waiting(Reason::AwaitingPlan);
            duty.not_before = UnixMillis(0);
            moved.insert(*id);
        }
    }
    moved
}

/// How a message stands now.
struct Stood {
    id: MessageId,
    standing: Standing,
    proven: bool,
    gone: bool,
    sent_transaction: Option<TxHash>,
}

/// Computes the message's standing; `None` if nothing about it changed.
fn stand(
    known: &Known,
    records: &[FactRecord],
    owed: &[(DutyId, Duty)],
    events: &mut Vec<HistoryEvent>,
) -> Option<Stood> {
    let duties: Vec<Duty> = owed.iter().map(|(_, duty)| duty.clone()).collect();
    let steering = Steering { lane_paused: false, held: known.held.clone() };
    let standing = steering.standing(status::standing(records, &duties));
    let sent = records.iter().filter(|r| r.fact == Fact::Sent).max_by_key(|r| r.certainty);
    let proven = sent.is_some_and(|r| r.certainty == Certainty::Verified);
    let sent_transaction = sent.map(|r| r.observation.transaction);
    // A fact that names a nonce only says nothing about this payload ever having been sent.
    let named = sent.is_some() || records.iter().any(|r| r.subject.payload.is_some());
    let tried = duties.iter().any(|d| d.attempts > 0 || matches!(d.state, DutyState::Submitted(_)));
    let gone = !named && !tried;

    let moved = known.standing.as_ref() != Some(&standing);
    if moved {
        events.push(HistoryEvent::Standing(standing.clone()));
    }
    let same =
        (known.proven, known.gone, known.sent_transaction) == (proven, gone, sent_transaction);
    let id = known.id;
    (!events.is_empty() || !same).then_some(Stood { id, standing, proven, gone, sent_transaction })
}

async fn save(conn: &mut SqliteConnection, stood: &[Stood], at: UnixMillis) -> Result<()> {
    let rows = stood
        .iter()
        .map(|stood| Ok((stood, json(&stood.standing)?)))
        .collect::<Result<Vec<_>>>()?;
    for chunk in rows.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "WITH new (id, status, standing, proven, gone, sent, at) AS (",
        );
        query.push_values(chunk, |mut values, (stood, standing)| {
            values
                .push_bind(bytes(stood.id.0))
                .push_bind(stood.standing.status.as_str())
                .push_bind(standing.as_str())
                .push_bind(stood.proven)
                .push_bind(stood.gone)
                .push_bind(stood.sent_transaction.map(|hash| bytes(hash.0)))
                .push_bind(millis(at));
        });
        query.push(
            ") UPDATE messages SET status = new.status, standing = new.standing, \
             proven = new.proven, gone = new.gone, sent_transaction = new.sent, \
             updated_at = new.at FROM new WHERE messages.id = new.id",
        );
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(super) async fn append(
    conn: &mut SqliteConnection,
    history: &[(MessageId, HistoryEvent)],
    at: UnixMillis,
) -> Result<()> {
    for chunk in history.chunks(CHUNK) {
        let texts = chunk.iter().map(|(_, event)| json(event)).collect::<Result<Vec<_>>>()?;
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO history (message, at, event) ");
        query.push_values(chunk.iter().zip(texts), |mut values, ((message, _), text)| {
            values.push_bind(bytes(message.0)).push_bind(millis(at)).push_bind(text);
        });
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn messages_at(
    conn: &mut SqliteConnection,
    places: &BTreeSet<Place>,
) -> Result<Vec<MessageId>> {
    let mut found = Vec::new();
    let places: Vec<_> = places.iter().collect();
    for chunk in places.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new("WITH wanted (lane, nonce) AS (");
        facts::push_places(&mut query, chunk);
        query.push(
            ") SELECT m.id FROM wanted w CROSS JOIN messages m \
             WHERE m.lane = w.lane AND m.nonce = w.nonce",
        );
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.push(row::get_hash(&r, "id")?);
        }
    }
    Ok(found)
}

async fn load(conn: &mut SqliteConnection, ids: &[MessageId]) -> Result<Vec<Known>> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT id, lane, nonce, payload_hash, standing, proven, gone, sent_transaction, \
         (SELECT because FROM holds WHERE message = messages.id) AS held \
         FROM messages WHERE id IN (",
    );
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(bytes(id.0));
    }
    query.push(") ORDER BY sequence");
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    rows.iter()
        .map(|r| {
            let nonce = MessageNonce(row::get_number(r, "nonce")?);
            Ok(Known {
                id: row::get_hash(r, "id")?,
                place: (row::get_hash(r, "lane")?, nonce),
                payload: row::get_hash(r, "payload_hash")?,
                standing: row::standing(r)?,
                proven: r.try_get("proven")?,
                gone: r.try_get("gone")?,
                sent_transaction: row::get_optional_hash(r, "sent_transaction")?,
                held: r.try_get::<Option<String>, _>("held")?.map(Detail::from),
            })
        })
        .collect()
}

/// The newest entries of a message's history, oldest first.
pub(super) async fn history(
    conn: &mut SqliteConnection,
    message: MessageId,
    limit: u32,
) -> Result<Vec<postrider_message::HistoryEntry>> {
    let rows = sqlx::query(
        "SELECT sequence, at, event FROM history WHERE message = ? ORDER BY sequence DESC LIMIT ?",
    )
    .bind(bytes(message.0))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .rev()
        .map(|r| {
            Ok(postrider_message::HistoryEntry {
                sequence: row::get_count(r, "sequence")?,
                message,
                at: row::get_time(r, "at")?,
                event: row::get_json(r, "event")?,
            })
        })
        .collect()
}
