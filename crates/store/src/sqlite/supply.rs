//! Tokens that messages moved: both sides of each transfer, how they compare, and what a lane's
//! transfers add up to.
//!
//! Movements are what blocks said. Transfers and sums follow from them, and are brought up to date
//! in the transaction that stores or takes back the movements.

mod compare;

use super::{
    look, messages,
    row::{self, be, bytes, get_count, get_hash},
};
use crate::{BlockBatch, MAX_BATCH, Result, StoreError, UnaskedCredit};
use alloy_primitives::{B256, U256};
use compare::compare;
use postrider_message::{
    Alarm, Amount, BlockTime, Height, Lane, LaneId, Leg, Movement, NetworkName, SharedDecimals,
    Side, Sums, Supply, UnixMillis, id::content_id, supply::CLOCK_SKEW,
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::collections::{BTreeSet, HashMap};

/// One message on its lane, by the protocol's own id.
type Key = (LaneId, B256);

/// Checks the batch's movements against itself.
pub(super) fn check(batch: &BlockBatch) -> Result<()> {
    let bad = |why: String| Err(StoreError::bad("a movement of tokens", why));
    if batch.movements.len() > MAX_BATCH {
        return bad(format!("there are more than {MAX_BATCH}"));
    }
    for movement in &batch.movements {
        let seen = &movement.observation;
        let end = match movement.side {
            Side::Debit => &movement.lane.source,
            Side::Credit => &movement.lane.destination,
        };
        if seen.network != batch.network || end.network != batch.network {
            return bad(format!("it stands on {}, not on {}", seen.network, batch.network));
        }
        let after = batch.previous.is_none_or(|previous| seen.block.height > previous.height);
        let within = batch.blocks.last().is_some_and(|tip| seen.block.height <= tip.height);
        if !after || !within {
            return bad(format!("it stands in {}, outside of the batch", seen.block));
        }
    }
    Ok(())
}

/// Stores the movements of a batch and compares what they touch, and what waited for the network to
/// be proven so far. Returns the alarms that were raised.
///
/// To be called when all else of the batch is stored: it looks at the messages that are proven.
pub(super) async fn record(conn: &mut SqliteConnection, batch: &BlockBatch) -> Result<Vec<Alarm>> {
    let since = batch.previous.map_or(Height(0), |block| block.height.next());
    sqlx::query(
        "UPDATE cursors SET tokens = ?1, tokens_since = ?2 WHERE network = ?3 AND tokens IS NOT ?1",
    )
    .bind(bytes(batch.tokens))
    .bind(be(since.0))
    .bind(batch.network.as_str())
    .execute(&mut *conn)
    .await?;
    if let Some(time) = batch.tip_time {
        sqlx::query("UPDATE cursors SET time = ? WHERE network = ?")
            .bind(seconds(time))
            .bind(batch.network.as_str())
            .execute(&mut *conn)
            .await?;
    }
    let lanes: HashMap<LaneId, &Lane> =
        batch.movements.iter().map(|m| (m.lane.id(), &m.lane)).collect();
    messages::save_lanes(conn, &lanes).await?;
    let mut touched = BTreeSet::new();
    for movement in &batch.movements {
        insert(conn, movement).await?;
        touched.insert((movement.lane.id(), movement.reference));
        decimals(conn, movement.lane.id(), movement.decimals).await?;
    }
    if let Some(time) = batch.tip_time {
        touched.extend(due(conn, &batch.network, time).await?);
    }
    compare(conn, touched.into_iter().map(|key| (key, None)), batch.at).await
}

/// Takes back what was seen above `to`. The network is not known to be proven up to any time until
/// it goes on.
pub(super) async fn unwind(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    to: Height,
    at: UnixMillis,
) -> Result<Vec<Alarm>> {
    sqlx::query("UPDATE cursors SET time = NULL WHERE network = ?")
        .bind(network.as_str())
        .execute(&mut *conn)
        .await?;
    let gone = sqlx::query(
        "DELETE FROM movements WHERE network = ? AND height > ? RETURNING lane, reference",
    )
    .bind(network.as_str())
    .bind(be(to.0))
    .fetch_all(&mut *conn)
    .await?;
    let touched = gone.iter().map(key).collect::<Result<BTreeSet<Key>>>()?;
    compare(conn, touched.into_iter().map(|key| (key, None)), at).await
}

/// Credits on lanes from `network` for which nobody knows yet whether they were sent before this
/// node's view of it begins.
pub(super) async fn unasked(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    limit: u32,
) -> Result<Vec<UnaskedCredit>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT t.reference, {} FROM transfers t JOIN lanes l ON l.id = t.lane \
         WHERE t.judgement = 'unasked' AND l.source_network = ? LIMIT ?",
        row::LANE
    )))
    .bind(network.as_str())
    .bind(look::bounded(limit))
    .fetch_all(conn)
    .await?;
    let credit = |r: &SqliteRow| {
        Ok(UnaskedCredit { lane: row::lane(r)?, reference: get_hash(r, "reference")? })
    };
    rows.iter().map(credit).collect()
}

/// Compares credits again, given how many messages the source ever sent on their lane.
pub(super) async fn answered(
    conn: &mut SqliteConnection,
    answers: &[(UnaskedCredit, u64)],
    at: UnixMillis,
) -> Result<Vec<Alarm>> {
    let keys =
        answers.iter().map(|(credit, sent)| ((credit.lane.id(), credit.reference), Some(*sent)));
    compare(conn, keys, at).await
}

/// What the named lanes moved; lanes that move no tokens are left out.
pub(super) async fn of_lanes(
    conn: &mut SqliteConnection,
    lanes: &[LaneId],
) -> Result<HashMap<LaneId, Supply>> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM supplies WHERE lane IN (");
    let mut list = query.separated(", ");
    for lane in lanes {
        list.push_bind(bytes(lane.0));
    }
    query.push(")");
    let rows = query.build().persistent(false).fetch_all(conn).await?;
    rows.iter().map(|r| Ok((get_hash(r, "lane")?, supply(r)?))).collect()
}

/// What lanes moved, in the lanes' order; at most `limit`.
pub(super) async fn all(conn: &mut SqliteConnection, limit: u32) -> Result<Vec<(Lane, Supply)>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT s.*, {} FROM supplies s JOIN lanes l ON l.id = s.lane \
         ORDER BY s.breaches = 0, l.source_network, l.source_point, l.destination_network, \
         l.destination_point LIMIT ?",
        row::LANE
    )))
    .bind(look::bounded(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|r| Ok((row::lane(r)?, supply(r)?))).collect()
}

async fn insert(conn: &mut SqliteConnection, movement: &Movement) -> Result<()> {
    let seen = &movement.observation;
    let id = content_id(
        "postrider/movement",
        &[
            seen.network.as_str().as_bytes(),
            seen.block.hash.0.as_slice(),
            &seen.index.to_be_bytes(),
            movement.side.as_str().as_bytes(),
        ],
    );
    sqlx::query(
        "INSERT INTO movements (id, lane, nonce, reference, side, amount, network, height, \
         block_hash, position, transaction_hash, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(bytes(id))
    .bind(bytes(movement.lane.id().0))
    .bind(be(movement.nonce.0))
    .bind(bytes(movement.reference))
    .bind(movement.side.as_str())
    .bind(movement.amount.0.to_be_bytes().to_vec())
    .bind(seen.network.as_str())
    .bind(be(seen.block.height.0))
    .bind(bytes(seen.block.hash.0))
    .bind(be(seen.index))
    .bind(bytes(seen.transaction.0))
    .bind(seconds(movement.time))
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the lane one that moves tokens, and says how they are shown.
async fn decimals(
    conn: &mut SqliteConnection,
    lane: LaneId,
    decimals: SharedDecimals,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO supplies (lane, decimals, debited, credited, in_flight, awaited, breaches) \
         VALUES (?1, ?2, ?3, ?3, ?3, ?3, 0) \
         ON CONFLICT (lane) DO UPDATE SET decimals = excluded.decimals",
    )
    .bind(bytes(lane.0))
    .bind(decimals.0)
    .bind(sum(U256::ZERO))
    .execute(conn)
    .await?;
    Ok(())
}

/// The credits that waited until `network` is proven up to `time`.
async fn due(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    time: BlockTime,
) -> Result<Vec<Key>> {
    let rows = sqlx::query(
        "SELECT t.lane, t.reference FROM transfers t JOIN lanes l ON l.id = t.lane \
         WHERE t.judgement = 'awaited' AND t.credited_at < ? AND l.source_network = ?",
    )
    .bind(seconds(BlockTime(time.0.saturating_sub(CLOCK_SKEW))))
    .bind(network.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(key).collect()
}

fn supply(r: &SqliteRow) -> Result<Supply> {
    let sum = |column: &str| {
        let stored = row::get_bytes(r, column)?;
        <[u8; 32]>::try_from(stored)
            .map(U256::from_be_bytes)
            .map_err(|_| StoreError::unreadable(column, &"not 32 bytes"))
    };
    Ok(Supply {
        decimals: SharedDecimals(u8::try_from(get_count(r, "decimals")?).unwrap_or(u8::MAX)),
        sums: Sums {
            debited: sum("debited")?,
            credited: sum("credited")?,
            in_flight: sum("in_flight")?,
            awaited: sum("awaited")?,
        },
        breaches: get_count(r, "breaches")?,
    })
}

fn leg(r: &SqliteRow, amount: &str, time: &str) -> Result<Option<Leg>> {
    let stored: Option<Vec<u8>> = r.try_get(amount)?;
    let Some(stored) = stored else { return Ok(None) };
    let units = <[u8; 16]>::try_from(stored)
        .map(u128::from_be_bytes)
        .map_err(|_| StoreError::unreadable(amount, &"not 16 bytes"))?;
    Ok(Some(Leg { amount: Amount(units), time: BlockTime(get_count(r, time)?) }))
}

fn key(r: &SqliteRow) -> Result<Key> {
    Ok((get_hash(r, "lane")?, get_hash(r, "reference")?))
}

fn sum(units: U256) -> Vec<u8> {
    units.to_be_bytes::<32>().to_vec()
}

/// A network's time; what no clock tells reads as the latest.
fn seconds(time: BlockTime) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
