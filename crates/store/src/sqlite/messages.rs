//! Messages, their lanes and their evidence.

use super::row::{self, CHUNK, be, bytes, get_hash, millis};
use crate::{MAX_LOOK, Result};
use alloy_primitives::B256;
use postrider_message::{
    BlockRef, Lane, LaneId, Message, MessageId, MessageNonce, MessageStatus, NetworkName,
    UnixMillis,
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::{HashMap, HashSet};

/// What happens to a message that is known already. Its id binds lane, nonce and payload, but not
/// its options and reference, so a hint may have told them wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overwrite {
    /// Proven: what was there gives way.
    Hints,
    /// Hinted: what is there stays.
    Nothing,
}

/// Stores messages; returns those not known before.
pub(super) async fn save(
    conn: &mut SqliteConnection,
    messages: &[&Message],
    overwrite: Overwrite,
    at: UnixMillis,
) -> Result<HashSet<MessageId>> {
    let lanes: HashMap<LaneId, &Lane> = messages.iter().map(|m| (m.lane.id(), &m.lane)).collect();
    save_lanes(conn, &lanes).await?;
    let mut new = HashSet::new();
    for chunk in messages.chunks(CHUNK) {
        let named: HashSet<MessageId> = chunk.iter().map(|m| m.id()).collect();
        let known = known(conn, &named).await?;
        new.extend(named.difference(&known));
        let mut once = HashSet::new();
        let rows = chunk.iter().filter(|m| once.insert(m.id()));
        insert(conn, rows.copied(), overwrite, at).await?;
    }
    Ok(new)
}

pub(super) async fn save_lanes(
    conn: &mut SqliteConnection,
    lanes: &HashMap<LaneId, &Lane>,
) -> Result<()> {
    for (id, lane) in lanes {
        sqlx::query(
            "INSERT INTO lanes (id, protocol, source_network, source_point, destination_network, \
             destination_point) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(bytes(id.0))
        .bind(lane.protocol.as_str())
        .bind(lane.source.network.as_str())
        .bind(lane.source.point.as_str())
        .bind(lane.destination.network.as_str())
        .bind(lane.destination.point.as_str())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn known(
    conn: &mut SqliteConnection,
    ids: &HashSet<MessageId>,
) -> Result<HashSet<MessageId>> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM messages WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(bytes(id.0));
    }
    query.push(")");
    let rows = query.build().persistent(false).fetch_all(conn).await?;
    rows.iter().map(|r| get_hash(r, "id")).collect()
}

async fn insert(
    conn: &mut SqliteConnection,
    messages: impl Iterator<Item = &Message>,
    overwrite: Overwrite,
    at: UnixMillis,
) -> Result<()> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO messages (id, lane, nonce, payload_hash, payload, options, reference, status, \
         learnt_at, updated_at) ",
    );
    query.push_values(messages, |mut values, message| {
        values
            .push_bind(bytes(message.id().0))
            .push_bind(bytes(message.lane.id().0))
            .push_bind(be(message.nonce.0))
            .push_bind(bytes(message.payload.hash().0))
            .push_bind(message.payload.bytes().map(|payload| payload.to_vec()))
            .push_bind(message.options.to_vec())
            .push_bind(message.reference.map(bytes))
            .push_bind(MessageStatus::Observed.as_str())
            .push_bind(millis(at))
            .push_bind(millis(at));
    });
    query.push(match overwrite {
        Overwrite::Hints => {
            " ON CONFLICT (id) DO UPDATE SET \
             payload = COALESCE(excluded.payload, messages.payload), \
             options = excluded.options, reference = excluded.reference"
        }
        Overwrite::Nothing => " ON CONFLICT (id) DO NOTHING",
    });
    query.build().persistent(false).execute(conn).await?;
    Ok(())
}

/// Stores the evidence for messages that were sent in `block` each.
pub(super) async fn save_evidence(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    all: &[(MessageId, BlockRef, &[u8])],
) -> Result<()> {
    for chunk in all.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO evidence (message, network, height, block_hash, evidence) ",
        );
        query.push_values(chunk, |mut values, (message, block, evidence)| {
            values
                .push_bind(bytes(message.0))
                .push_bind(network.to_string())
                .push_bind(be(block.height.0))
                .push_bind(bytes(block.hash.0))
                .push_bind(*evidence);
        });
        query.push(" ON CONFLICT (message, block_hash) DO NOTHING");
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(super) async fn evidence(
    conn: &mut SqliteConnection,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, BlockRef, Vec<u8>)>> {
    let mut found = Vec::new();
    for chunk in messages.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT message, height, block_hash, evidence FROM evidence WHERE message IN (",
        );
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(bytes(id.0));
        }
        query.push(") ORDER BY message, height");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            let block = row::get_block(&r, "height", "block_hash")?;
            found.push((get_hash(&r, "message")?, block, row::get_bytes(&r, "evidence")?));
        }
    }
    Ok(found)
}

pub(super) async fn by_reference(
    conn: &mut SqliteConnection,
    references: &[B256],
) -> Result<Vec<Message>> {
    let mut found = Vec::new();
    for chunk in references.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {}, {} FROM messages m JOIN lanes l ON l.id = m.lane WHERE m.reference IN (",
            row::MESSAGE,
            row::LANE
        ));
        let mut list = query.separated(", ");
        for reference in chunk {
            list.push_bind(bytes(*reference));
        }
        query.push(") LIMIT ").push_bind(MAX_LOOK);
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.push(row::message(&r)?);
        }
    }
    Ok(found)
}

/// The messages with these ids.
pub(super) async fn by_ids(
    conn: &mut SqliteConnection,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, Message>> {
    let mut found = HashMap::new();
    for chunk in ids.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {}, {} FROM messages m JOIN lanes l ON l.id = m.lane WHERE m.id IN (",
            row::MESSAGE,
            row::LANE
        ));
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(bytes(id.0));
        }
        query.push(")");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.insert(get_hash(&r, "id")?, row::message(&r)?);
        }
    }
    Ok(found)
}

/// The messages that are proven to be sent with these numbers over a lane.
pub(super) async fn proven_at(
    conn: &mut SqliteConnection,
    lane: LaneId,
    nonces: &[MessageNonce],
) -> Result<Vec<MessageId>> {
    let mut found = Vec::new();
    for chunk in nonces.chunks(CHUNK) {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT id FROM messages WHERE proven AND lane = ");
        query.push_bind(bytes(lane.0)).push(" AND nonce IN (");
        let mut list = query.separated(", ");
        for nonce in chunk {
            list.push_bind(be(nonce.0));
        }
        query.push(")");
        for row in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.push(get_hash(&row, "id")?);
        }
    }
    Ok(found)
}
