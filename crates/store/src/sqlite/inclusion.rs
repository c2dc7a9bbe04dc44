//! What becomes of transactions once blocks include them.

use super::{
    duties, facts, messages,
    row::{CHUNK, be, bytes, get_hash, millis},
    settle::{self, Changes},
};
use crate::{MAX_BATCH, Result, SeenTransaction, StoreError};
use postrider_message::{
    BlockRef, Duty, DutyId, DutyState, MessageId, NetworkName, TxHash, UnixMillis, duty,
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Marks ours among those seen, and lets duties that were left without effect be tried again.
pub(super) async fn included(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    seen: &[SeenTransaction],
    at: UnixMillis,
) -> Result<()> {
    let ours = mark(conn, network, seen, at).await?;
    let changes = in_vain(conn, network, &ours, at).await?;
    settle::follow(conn, &changes, at).await?;
    Ok(())
}

/// Marks as included what of ours is among those seen; returns which they are.
pub(super) async fn mark(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    seen: &[SeenTransaction],
    at: UnixMillis,
) -> Result<Vec<TxHash>> {
    if seen.len() > MAX_BATCH {
        return Err(StoreError::bad("transactions seen", format!("more than {MAX_BATCH}")));
    }
    let mut ours = Vec::new();
    if seen.is_empty() || !flying(conn, network).await? {
        return Ok(ours);
    }
    let by_hash: HashMap<TxHash, &SeenTransaction> = seen.iter().map(|s| (s.hash, s)).collect();
    let hashes: Vec<TxHash> = by_hash.keys().copied().collect();
    for chunk in hashes.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT hash FROM transactions WHERE state IN ('recorded', 'included', 'replaced') \
             AND network = ",
        );
        query.push_bind(network.to_string()).push(" AND hash IN (");
        let mut list = query.separated(", ");
        for hash in chunk {
            list.push_bind(bytes(hash.0));
        }
        query.push(")");
        let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
        let found = rows.iter().map(|r| get_hash(r, "hash")).collect::<Result<Vec<TxHash>>>()?;
        let found: Vec<_> = found.iter().filter_map(|hash| by_hash.get(hash).copied()).collect();
        include(conn, &found, at).await?;
        ours.extend(found.iter().map(|seen| seen.hash));
    }
    Ok(ours)
}

/// Whether anything of ours is on its way there: most blocks come when nothing is.
async fn flying(conn: &mut SqliteConnection, network: &NetworkName) -> Result<bool> {
    let row = sqlx::query(
        "SELECT 1 AS one FROM transactions WHERE network = ? AND state IN ('recorded', 'included') \
         LIMIT 1",
    )
    .bind(network.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Others with the nonce of one that is included give way. Where another one with its nonce is final,
/// what an upstream says of this one is not true.
async fn include(
    conn: &mut SqliteConnection,
    seen: &[&SeenTransaction],
    at: UnixMillis,
) -> Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    let new = |update: &str| {
        let mut query =
            QueryBuilder::<Sqlite>::new("WITH new (hash, height, block, success, at) AS (");
        query.push_values(seen, |mut values, seen| {
            values
                .push_bind(bytes(seen.hash.0))
                .push_bind(be(seen.block.height.0))
                .push_bind(bytes(seen.block.hash.0))
                .push_bind(seen.succeeded)
                .push_bind(millis(at));
        });
        query.push(update);
        query
    };
    let mut give_way = new("), taken AS (SELECT t.network, t.signer, t.nonce, t.hash FROM new \
           JOIN transactions t ON t.hash = new.hash) \
         UPDATE transactions SET state = 'replaced', included_height = NULL, \
         included_hash = NULL, success = NULL FROM taken \
         WHERE transactions.network = taken.network AND transactions.signer = taken.signer \
         AND transactions.nonce = taken.nonce AND transactions.hash <> taken.hash \
         AND transactions.state IN ('recorded', 'included')");
    give_way.build().persistent(false).execute(&mut *conn).await?;
    let mut include =
        new(") UPDATE transactions SET state = 'included', included_height = new.height, \
         included_hash = new.block, success = new.success, updated_at = new.at FROM new \
         WHERE transactions.hash = new.hash AND NOT EXISTS (SELECT 1 FROM transactions other \
           WHERE other.network = transactions.network AND other.signer = transactions.signer \
           AND other.nonce = transactions.nonce AND other.hash <> transactions.hash \
           AND other.state = 'final')");
    include.build().persistent(false).execute(conn).await?;
    Ok(())
}

/// With the cursor at `tip`: what is included in blocks that it passed is final, and what is
/// included in another block than stands there is not included. Returns what is final now.
pub(super) async fn pass(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    tip: BlockRef,
    at: UnixMillis,
) -> Result<Vec<TxHash>> {
    // A block that was passed long ago is not remembered; what is not contradicted stands.
    sqlx::query(
        "UPDATE transactions SET state = 'recorded', included_height = NULL, \
         included_hash = NULL, success = NULL, updated_at = ?1 FROM blocks b \
         WHERE transactions.network = ?2 AND transactions.state = 'included' \
         AND transactions.included_height <= ?3 AND b.network = transactions.network \
         AND b.height = transactions.included_height AND b.hash <> transactions.included_hash",
    )
    .bind(millis(at))
    .bind(network.as_str())
    .bind(be(tip.height.0))
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query(
        "UPDATE transactions SET state = 'final', updated_at = ? \
         WHERE network = ? AND state = 'included' AND included_height <= ? RETURNING hash",
    )
    .bind(millis(at))
    .bind(network.as_str())
    .bind(be(tip.height.0))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|r| get_hash(r, "hash")).collect()
}

/// Puts back to be tried again each submitted duty of these transactions of which no chain says
/// that its aim is reached, unless another transaction for it is still on its way.
pub(super) async fn in_vain(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    transactions: &[TxHash],
    at: UnixMillis,
) -> Result<Changes> {
    let mut owed = carried(conn, network, transactions).await?;
    let ids: Vec<MessageId> =
        owed.values().map(|d| d.message).collect::<BTreeSet<_>>().into_iter().collect();
    let messages = messages::by_ids(conn, &ids).await?;
    let places = messages.values().map(|m| (m.lane.id(), m.nonce)).collect();
    let known = facts::at_places(conn, &places).await?;
    let mut changes = Changes::default();
    for (id, duty) in &mut owed {
        let Some(message) = messages.get(&duty.message) else { continue };
        let place = (message.lane.id(), message.nonce);
        let records = known.get(&place).map(Vec::as_slice).unwrap_or_default();
        let records: Vec<_> =
            facts::about(records, message.payload.hash()).into_iter().map(|(_, r)| r).collect();
        if duty::seems_done(duty, &records) {
            continue;
        }
        (duty.state, duty.not_before) = duty::in_vain(duty, &records, at);
        changes.duties.insert(*id);
        changes.messages.insert(duty.message);
    }
    let moved = owed.iter().filter(|(id, _)| changes.duties.contains(*id));
    duties::save_all(conn, moved, at).await?;
    Ok(changes)
}

/// The submitted duties of these transactions that no transaction on its way carries.
async fn carried(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    transactions: &[TxHash],
) -> Result<HashMap<DutyId, Duty>> {
    let mut ids = HashSet::new();
    for chunk in transactions.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT DISTINCT sd.duty FROM transaction_submissions ts \
             JOIN submission_duties sd ON sd.submission = ts.submission \
             JOIN duties d ON d.id = sd.duty AND d.state = 'submitted' \
             WHERE NOT EXISTS ( \
               SELECT 1 FROM submission_duties other \
               JOIN transaction_submissions ots ON ots.submission = other.submission \
               JOIN transactions t ON t.hash = ots.transaction_hash \
               WHERE other.duty = sd.duty AND t.state = 'recorded') \
             AND ts.transaction_hash IN (",
        );
        let mut list = query.separated(", ");
        for hash in chunk {
            list.push_bind(bytes(hash.0));
        }
        query.push(")");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            ids.insert(get_hash::<DutyId>(&r, "duty")?);
        }
    }
    let ids: Vec<DutyId> = ids.into_iter().collect();
    let mut owed = duties::by_ids(conn, &ids).await?;
    owed.retain(|_, d| matches!(d.state, DutyState::Submitted(_)) && d.network == *network);
    Ok(owed)
}

/// Puts back to recorded what carries a nonce that the chain has not used.
pub(super) async fn missing(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    signer: &str,
    nonce: u64,
    at: UnixMillis,
) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE transactions SET state = 'recorded', included_height = NULL, \
         included_hash = NULL, success = NULL, updated_at = ? \
         WHERE network = ? AND signer = ? AND nonce >= ? AND state IN ('included', 'final')",
    )
    .bind(millis(at))
    .bind(network.as_str())
    .bind(signer)
    .bind(be(nonce))
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
