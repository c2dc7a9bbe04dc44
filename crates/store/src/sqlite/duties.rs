//! Duties: adding, finding and moving them.

use super::{
    facts, messages,
    row::{self, CHUNK, be, bytes, get_hash, json, millis},
    settle::{self, Changes},
};
use crate::{DutyMove, MAX_BATCH, MAX_LOOK, OpenMessage, Result, StoreError};
use postrider_message::{
    Duty, DutyId, DutyKind, LaneId, MessageId, MessageNonce, NetworkName, UnixMillis,
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::{HashMap, HashSet};

/// The place of a kind of work in a message's way.
fn step(kind: DutyKind) -> i64 {
    match kind {
        DutyKind::Attest => 1,
        DutyKind::Commit => 2,
        DutyKind::Execute => 3,
        DutyKind::Compose => 4,
        DutyKind::Receive => 1,
        DutyKind::Acknowledge => 2,
        DutyKind::TimeOut => 3,
    }
}

/// Adds those that are not known; returns them with their messages.
pub(super) async fn add(
    conn: &mut SqliteConnection,
    duties: &[Duty],
    at: UnixMillis,
) -> Result<HashMap<DutyId, MessageId>> {
    let mut added = HashMap::new();
    for chunk in duties.chunks(CHUNK) {
        let ids: Vec<DutyId> = chunk.iter().map(Duty::id).collect();
        let known = by_ids(conn, &ids).await?;
        let owed: HashMap<DutyId, &Duty> =
            ids.into_iter().zip(chunk).filter(|(id, _)| !known.contains_key(id)).collect();
        if owed.is_empty() {
            continue;
        }
        let mut about: Vec<MessageId> = owed.values().map(|d| d.message).collect();
        about.dedup();
        let messages = messages::by_ids(conn, &about).await?;
        let mut rows = Vec::with_capacity(owed.len());
        for (id, duty) in owed {
            let message = messages.get(&duty.message).ok_or_else(|| {
                StoreError::bad("a duty", format!("its message {} is not known", duty.message))
            })?;
            rows.push((id, duty, (message.lane.id(), message.nonce), json(&duty.state)?));
            added.insert(id, duty.message);
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO duties (id, message, lane, nonce, step, kind, part, network, worker, \
             state, detail, attempts, not_before, updated_at) ",
        );
        query.push_values(&rows, |mut values, (id, duty, (lane, nonce), detail)| {
            values
                .push_bind(bytes(id.0))
                .push_bind(bytes(duty.message.0))
                .push_bind(bytes(lane.0))
                .push_bind(be(nonce.0))
                .push_bind(step(duty.kind))
                .push_bind(duty.kind.as_str())
                .push_bind(duty.part)
                .push_bind(duty.network.as_str())
                .push_bind(duty.worker.as_str())
                .push_bind(duty.state.as_str())
                .push_bind(detail.as_str())
                .push_bind(duty.attempts)
                .push_bind(millis(duty.not_before))
                .push_bind(millis(at));
        });
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(added)
}

/// Adds those that are not known, and settles their messages; returns how many there are.
pub(super) async fn owe(
    conn: &mut SqliteConnection,
    duties: &[Duty],
    at: UnixMillis,
) -> Result<usize> {
    let added = add(conn, duties, at).await?;
    let count = added.len();
    let changes = Changes {
        messages: added.values().copied().collect(),
        duties: added.into_keys().collect(),
        ..Changes::default()
    };
    settle::follow(conn, &changes, at).await?;
    Ok(count)
}

/// Stores what can change about duties.
pub(super) async fn save_all<'a>(
    conn: &mut SqliteConnection,
    duties: impl IntoIterator<Item = (&'a DutyId, &'a Duty)>,
    at: UnixMillis,
) -> Result<()> {
    let rows = duties
        .into_iter()
        .map(|(id, duty)| Ok((*id, duty, json(&duty.state)?)))
        .collect::<Result<Vec<_>>>()?;
    for chunk in rows.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "WITH new (id, state, detail, attempts, not_before, at) AS (",
        );
        query.push_values(chunk, |mut values, (id, duty, detail)| {
            values
                .push_bind(bytes(id.0))
                .push_bind(duty.state.as_str())
                .push_bind(detail.as_str())
                .push_bind(duty.attempts)
                .push_bind(millis(duty.not_before))
                .push_bind(millis(at));
        });
        query.push(
            ") UPDATE duties SET state = new.state, detail = new.detail, \
             attempts = new.attempts, not_before = new.not_before, updated_at = new.at \
             FROM new WHERE duties.id = new.id",
        );
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
}

/// The kinds of duties towards messages.
pub(super) async fn kinds(
    conn: &mut SqliteConnection,
    of: &[MessageId],
) -> Result<HashSet<(MessageId, DutyKind)>> {
    let mut found = HashSet::new();
    for chunk in of.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT DISTINCT message, kind FROM duties WHERE message IN (",
        );
        let mut list = query.separated(", ");
        for message in chunk {
            list.push_bind(bytes(message.0));
        }
        query.push(")");
        for row in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.insert((get_hash(&row, "message")?, row::get_named(&row, "kind")?));
        }
    }
    Ok(found)
}

pub(super) async fn by_ids(
    conn: &mut SqliteConnection,
    ids: &[DutyId],
) -> Result<HashMap<DutyId, Duty>> {
    let mut found = HashMap::new();
    for chunk in ids.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {} FROM duties d WHERE d.id IN (",
            row::DUTY
        ));
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(bytes(id.0));
        }
        query.push(")");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            let (id, duty) = row::duty(&r)?;
            found.insert(id, duty);
        }
    }
    Ok(found)
}

/// The duties of these messages, in the protocol's order.
pub(super) async fn of_messages(
    conn: &mut SqliteConnection,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, Vec<(DutyId, Duty)>>> {
    let mut found: HashMap<MessageId, Vec<(DutyId, Duty)>> = HashMap::new();
    for chunk in messages.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {} FROM duties d WHERE d.message IN (",
            row::DUTY
        ));
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(bytes(id.0));
        }
        query.push(") ORDER BY d.message, d.step, d.part, d.network, d.worker");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            let (id, duty) = row::duty(&r)?;
            found.entry(duty.message).or_default().push((id, duty));
        }
    }
    Ok(found)
}

/// Reads all duties of the network that can be planned from one index, and lets each lane have its
/// turn, so that a lane full of work that waits does not hide the others, nor many such lanes those
/// after them. What an operator has stopped is left out.
pub(super) const OPEN: &str = "SELECT message, lane, nonce FROM ( \
     SELECT d.message, d.lane, d.nonce, \
     ROW_NUMBER() OVER (PARTITION BY d.lane ORDER BY d.nonce, d.message) AS turn \
     FROM duties d JOIN messages m ON m.id = d.message \
     WHERE d.network = ? AND d.state IN ('waiting', 'ready') \
     AND d.not_before <= ? AND m.proven AND NOT m.gone \
     AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.lane = d.lane) \
     AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.message = d.message) \
     GROUP BY d.lane, d.nonce, d.message) AS owed \
     ORDER BY turn, lane <= ?, lane LIMIT ?";

pub(super) async fn open(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    now: UnixMillis,
    after: Option<LaneId>,
    limit: u32,
) -> Result<Vec<OpenMessage>> {
    let rows = sqlx::query(OPEN)
        .bind(network.as_str())
        .bind(millis(now))
        .bind(after.map(|lane| bytes(lane.0)).unwrap_or_default())
        .bind(limit.min(MAX_LOOK))
        .fetch_all(&mut *conn)
        .await?;
    let mut order: Vec<(facts::Place, MessageId)> = Vec::with_capacity(rows.len());
    for r in &rows {
        let nonce = MessageNonce(row::get_number(r, "nonce")?);
        order.push(((get_hash(r, "lane")?, nonce), get_hash(r, "message")?));
    }
    let ids: Vec<MessageId> = order.iter().map(|(_, message)| *message).collect();
    let places = order.iter().map(|(place, _)| *place).collect();
    let mut duties = of_messages(conn, &ids).await?;
    let mut messages = messages::by_ids(conn, &ids).await?;
    let facts = facts::at_places(conn, &places).await?;
    let open = order.into_iter().filter_map(|(place, id)| {
        let message = messages.remove(&id)?;
        let known = facts.get(&place).map(Vec::as_slice).unwrap_or_default();
        let facts = facts::about(known, message.payload.hash());
        let facts = facts.into_iter().map(|(_, r)| r).collect();
        let owed = duties.remove(&id).unwrap_or_default().into_iter().map(|(_, duty)| duty);
        let duties = owed.filter(|duty| duty.network == *network).collect();
        Some(OpenMessage { message, duties, facts })
    });
    Ok(open.collect())
}

pub(super) async fn shift(
    conn: &mut SqliteConnection,
    moves: &[DutyMove],
    at: UnixMillis,
) -> Result<usize> {
    if moves.len() > MAX_BATCH {
        return Err(StoreError::bad("moves of duties", format!("more than {MAX_BATCH}")));
    }
    let ids: Vec<DutyId> = moves.iter().map(|m| m.duty).collect();
    let mut duties = by_ids(conn, &ids).await?;
    let mut changes = Changes::default();
    let mut moved = HashSet::new();
    for step in moves {
        let Some(duty) = duties.get_mut(&step.duty).filter(|d| d.state.as_str() == step.from)
        else {
            continue;
        };
        let before = duty.clone();
        duty.state = step.to.clone();
        duty.not_before = step.not_before.unwrap_or(duty.not_before);
        duty.attempts = duty.attempts.saturating_add(u32::from(step.count_attempt));
        if *duty == before {
            continue;
        }
        moved.insert(step.duty);
        if duty.state != before.state {
            changes.duties.insert(step.duty);
            changes.messages.insert(duty.message);
        }
    }
    save_all(conn, duties.iter().filter(|(id, _)| moved.contains(*id)), at).await?;
    settle::follow(conn, &changes, at).await?;
    Ok(moved.len())
}
