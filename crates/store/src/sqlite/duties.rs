//! Duties: adding, finding and moving them.

use super::{
    facts, messages,
    row::{self, CHUNK, be, bytes, get_hash, json, millis},
    settle::{self, Changes},
};
use crate::{DutyMove, MAX_BATCH, MAX_LOOK, OpenDuty, Result, StoreError};
use postrider_message::{Duty, DutyId, DutyKind, MessageId, MessageNonce, NetworkName, UnixMillis};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::{BTreeSet, HashMap};

/// The place of a kind of work in a message's way.
fn step(kind: DutyKind) -> i64 {
    match kind {
        DutyKind::Attest => 1,
        DutyKind::Commit => 2,
        DutyKind::Execute => 3,
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
        for (id, duty) in owed {
            let message = messages.get(&duty.message).ok_or_else(|| {
                StoreError::bad("a duty", format!("its message {} is not known", duty.message))
            })?;
            insert(conn, id, duty, (message.lane.id(), message.nonce), at).await?;
            added.insert(id, duty.message);
        }
    }
    Ok(added)
}

async fn insert(
    conn: &mut SqliteConnection,
    id: DutyId,
    duty: &Duty,
    (lane, nonce): facts::Place,
    at: UnixMillis,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO duties (id, message, lane, nonce, step, kind, network, worker, state, detail, \
         attempts, not_before, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(bytes(id.0))
    .bind(bytes(duty.message.0))
    .bind(bytes(lane.0))
    .bind(be(nonce.0))
    .bind(step(duty.kind))
    .bind(duty.kind.as_str())
    .bind(duty.network.as_str())
    .bind(duty.worker.as_str())
    .bind(duty.state.as_str())
    .bind(json(&duty.state)?)
    .bind(duty.attempts)
    .bind(millis(duty.not_before))
    .bind(millis(at))
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores what can change about a duty.
pub(super) async fn save(
    conn: &mut SqliteConnection,
    id: DutyId,
    duty: &Duty,
    at: UnixMillis,
) -> Result<()> {
    sqlx::query(
        "UPDATE duties SET state = ?, detail = ?, attempts = ?, not_before = ?, updated_at = ? \
         WHERE id = ?",
    )
    .bind(duty.state.as_str())
    .bind(json(&duty.state)?)
    .bind(duty.attempts)
    .bind(millis(duty.not_before))
    .bind(millis(at))
    .bind(bytes(id.0))
    .execute(conn)
    .await?;
    Ok(())
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
        query.push(") ORDER BY d.message, d.step, d.network, d.worker");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            let (id, duty) = row::duty(&r)?;
            found.entry(duty.message).or_default().push((id, duty));
        }
    }
    Ok(found)
}

/// Reads all open duties of the network from one index, and lets each lane have its share, so that
/// a lane full of work that waits does not hide the others.
pub(super) const OPEN: &str = "SELECT id, message, lane, nonce, step FROM ( \
     SELECT d.id, d.message, d.lane, d.nonce, d.step, \
     ROW_NUMBER() OVER (PARTITION BY d.lane ORDER BY d.nonce, d.step, d.id) AS turn \
     FROM duties d JOIN messages m ON m.id = d.message \
     WHERE d.network = ? AND d.state IN ('waiting', 'ready', 'submitted') \
     AND d.not_before <= ? AND m.proven AND NOT m.gone) AS owed \
     ORDER BY turn, lane LIMIT ?";

pub(super) async fn open(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    now: UnixMillis,
    limit: u32,
) -> Result<Vec<OpenDuty>> {
    let rows = sqlx::query(OPEN)
        .bind(network.as_str())
        .bind(millis(now))
        .bind(limit.min(MAX_LOOK))
        .fetch_all(&mut *conn)
        .await?;
    let mut order = BTreeSet::new();
    for r in &rows {
        let nonce = MessageNonce(row::get_number(r, "nonce")?);
        let place: facts::Place = (get_hash(r, "lane")?, nonce);
        let (id, message) = (get_hash::<DutyId>(r, "id")?, get_hash::<MessageId>(r, "message")?);
        order.insert((place, row::get_count(r, "step")?, id, message));
    }
    let ids: Vec<DutyId> = order.iter().map(|(_, _, id, _)| *id).collect();
    let mut about: Vec<MessageId> = order.iter().map(|(.., message)| *message).collect();
    about.dedup();
    let places = order.iter().map(|(place, ..)| *place).collect();
    let mut duties = by_ids(conn, &ids).await?;
    let messages = messages::by_ids(conn, &about).await?;
    let facts = facts::at_places(conn, &places).await?;
    let open = order.into_iter().filter_map(|(place, _, id, message)| {
        let message = messages.get(&message)?.clone();
        let payload = message.payload.hash();
        let known = facts.get(&place).map(Vec::as_slice).unwrap_or_default();
        let facts = facts::about(known, payload).into_iter().map(|(_, r)| r).collect();
        Some(OpenDuty { duty: duties.remove(&id)?, message, facts })
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
    let mut moved = 0;
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
        save(conn, step.duty, duty, at).await?;
        moved += 1;
        if duty.state != before.state {
            changes.duties.insert(step.duty);
            changes.messages.insert(duty.message);
        }
    }
    settle::follow(conn, &changes, at).await?;
    Ok(moved)
}
