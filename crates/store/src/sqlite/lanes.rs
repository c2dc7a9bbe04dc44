//! Lanes as a person looks at them.

use super::{
    look::{SHOWN, SHOWN_BY, bounded},
    row::{self, bytes, get_count, get_hash, get_named, get_parsed, get_time},
    supply,
};
use crate::{FoundLanes, LaneEntry, LaneList, LaneRow, MAX_NAMED, Oldest, Result};
use postrider_message::{Lane, LaneId};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::collections::HashMap;

/// How many lanes are read at once where all are gone through.
const PAGE: u32 = 500;

/// Which messages are on their way; the index `messages_pending` holds these.
pub(super) const PENDING: &str = "m.status NOT IN ('settled', 'refuted') AND NOT m.gone";

pub(super) async fn list(conn: &mut SqliteConnection, limit: u32) -> Result<LaneList> {
    let all = sqlx::query("SELECT COUNT(*) AS n FROM lanes").fetch_one(&mut *conn).await?;
    let mut lanes = first(conn, bounded(limit)).await?;
    let places: HashMap<LaneId, usize> =
        lanes.iter().enumerate().map(|(i, lane)| (lane.id, i)).collect();
    let ids: Vec<LaneId> = lanes.iter().map(|lane| lane.id).collect();
    let mut each = async |sql: String, take: fn(&mut LaneRow, &SqliteRow) -> Result<()>| {
        for r in of_lanes(conn, &sql, &ids).await? {
            let place = places.get(&get_hash(&r, "lane")?);
            if let Some(lane) = place.and_then(|i| lanes.get_mut(*i)) {
                take(lane, &r)?;
            }
        }
        Ok::<(), crate::StoreError>(())
    };
    each(COUNTS.to_owned(), |lane, r| {
        lane.counts.push((get_named(r, "status")?, get_count(r, "n")?));
        Ok(())
    })
    .await?;
    each(reasons(), |lane, r| {
        lane.reasons.push((get_parsed(r, "reason")?, get_count(r, "n")?));
        Ok(())
    })
    .await?;
    each(oldest(), |lane, r| {
        let (message, learnt_at) = (get_hash(r, "id")?, get_time(r, "learnt_at")?);
        lane.oldest = Some(Oldest { message, learnt_at });
        Ok(())
    })
    .await?;
    let mut supplies = supply::of_lanes(conn, &ids).await?;
    for lane in &mut lanes {
        lane.supply = supplies.remove(&lane.id);
        lane.counts.sort();
        lane.reasons.sort();
    }
    let more = get_count(&all, "n")?.saturating_sub(lanes.len() as u64);
    Ok(LaneList { lanes, more })
}

/// The lanes with the most messages on their way, paused ones before others with as many.
async fn first(conn: &mut SqliteConnection, limit: u32) -> Result<Vec<LaneRow>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT l.id, {}, p.at AS paused, COALESCE(b.n, 0) AS backlog FROM lanes l \
         LEFT JOIN pauses p ON p.lane = l.id \
         LEFT JOIN (SELECT m.lane, COUNT(*) AS n FROM messages m WHERE {PENDING} \
           GROUP BY m.lane) AS b ON b.lane = l.id \
         ORDER BY backlog DESC, p.at IS NULL, l.protocol, l.source_network, l.source_point, \
         l.destination_network, l.destination_point LIMIT ?",
        row::LANE
    )))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let lane = |r: &SqliteRow| {
        let paused: Option<i64> = r.try_get("paused")?;
        Ok(LaneRow {
            id: get_hash(r, "id")?,
            lane: row::lane(r)?,
            paused: paused.map(|_| get_time(r, "paused")).transpose()?,
            counts: Vec::new(),
            backlog: get_count(r, "backlog")?,
            reasons: Vec::new(),
            oldest: None,
            supply: None,
        })
    };
    rows.iter().map(lane).collect()
}

/// Runs a query about messages `m` that ends where the lanes it is about are to follow.
async fn of_lanes(
    conn: &mut SqliteConnection,
    sql: &str,
    lanes: &[LaneId],
) -> Result<Vec<SqliteRow>> {
    let (before, after) = sql.split_once('?').unwrap_or((sql, ""));
    let mut query = QueryBuilder::<Sqlite>::new(before);
    let mut list = query.separated(", ");
    for lane in lanes {
        list.push_bind(bytes(lane.0));
    }
    query.push(after);
    Ok(query.build().persistent(false).fetch_all(conn).await?)
}

/// `?` stands for the lanes.
pub(super) const COUNTS: &str = "SELECT m.lane, m.status, COUNT(*) AS n FROM messages m \
     WHERE NOT m.gone AND m.lane IN (?) GROUP BY m.lane, m.status";

pub(super) fn reasons() -> String {
    format!(
        "SELECT m.lane, {SHOWN} AS reason, COUNT(*) AS n FROM messages m {SHOWN_BY} \
         WHERE {PENDING} AND m.lane IN (?) GROUP BY m.lane, {SHOWN}"
    )
}

pub(super) fn oldest() -> String {
    format!(
        "SELECT lane, id, learnt_at FROM (SELECT m.lane, m.id, m.learnt_at, \
         ROW_NUMBER() OVER (PARTITION BY m.lane ORDER BY m.sequence) AS turn FROM messages m \
         WHERE {PENDING} AND m.lane IN (?)) AS waiting WHERE turn = 1"
    )
}

pub(super) async fn find(conn: &mut SqliteConnection, text: &str) -> Result<FoundLanes> {
    let (mut known, mut fitting) = (Vec::new(), Vec::new());
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT l.id, {} FROM lanes l WHERE l.id > ? ORDER BY l.id LIMIT ?",
            row::LANE
        )))
        .bind(after.clone())
        .bind(PAGE)
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = rows.last() else { break };
        after = row::get_bytes(last, "id")?;
        for r in &rows {
            let lane = row::lane(r)?;
            if lane.is_called(text) {
                return Ok(FoundLanes::One(lane));
            }
            let list = if lane.answers_to(text) { &mut fitting } else { &mut known };
            if list.len() < MAX_NAMED {
                list.push(lane);
            }
        }
    }
    let in_order = |mut lanes: Vec<Lane>| {
        lanes.sort();
        lanes
    };
    Ok(match <[Lane; 1]>::try_from(fitting) {
        Ok([lane]) => FoundLanes::One(lane),
        Err(none) if none.is_empty() => FoundLanes::None(in_order(known)),
        Err(many) => FoundLanes::Many(in_order(many)),
    })
}

pub(super) async fn history(
    conn: &mut SqliteConnection,
    lane: LaneId,
    limit: u32,
) -> Result<Vec<LaneEntry>> {
    let rows = sqlx::query(
        "SELECT at, event FROM lane_history WHERE lane = ? ORDER BY sequence DESC LIMIT ?",
    )
    .bind(bytes(lane.0))
    .bind(bounded(limit))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|r| Ok(LaneEntry { at: get_time(r, "at")?, event: get_named(r, "event")? }))
        .collect()
}
