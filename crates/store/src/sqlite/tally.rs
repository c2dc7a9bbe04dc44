//! Counts for whoever watches the node, and a probe.

use super::{
    lanes::PENDING,
    look::{self, SHOWN, SHOWN_BY},
    row::{get_count, get_named, get_parsed, get_text, millis},
    supply,
};
use crate::{DutyCount, MAX_SUPPLIES, Result, Tally};
use postrider_message::UnixMillis;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

/// What [`postrider_message::Steering::duty`] makes of duties `d`.
pub(super) const DUTIES: &str = "SELECT d.kind, d.network, \
     CASE WHEN d.state NOT IN ('waiting', 'ready') THEN d.state \
       WHEN h.message IS NOT NULL THEN 'held' \
       WHEN p.lane IS NOT NULL THEN 'waiting' ELSE d.state END AS shown_state, \
     CASE WHEN d.state NOT IN ('waiting', 'ready') THEN json_extract(d.detail, '$.reason.code') \
       WHEN h.message IS NOT NULL THEN 'held_by_operator' \
       WHEN p.lane IS NOT NULL THEN 'lane_paused' \
       ELSE json_extract(d.detail, '$.reason.code') END AS reason, \
     COUNT(*) AS n FROM duties d \
     LEFT JOIN holds h ON h.message = d.message LEFT JOIN pauses p ON p.lane = d.lane \
     WHERE d.state NOT IN ('done', 'not_needed') \
     GROUP BY d.kind, d.network, shown_state, reason";

/// A hold outlives the end of its message, which may be taken back; it counts while there is none.
const HELD: &str = "SELECT COUNT(*) AS n FROM holds h JOIN messages m ON m.id = h.message \
     WHERE m.status NOT IN ('settled', 'refuted') AND NOT m.gone";

pub(super) async fn tally(conn: &mut SqliteConnection) -> Result<Tally> {
    let reasons = format!(
        "SELECT {SHOWN} AS reason, COUNT(*) AS n FROM messages m {SHOWN_BY} \
         WHERE {PENDING} GROUP BY {SHOWN} ORDER BY 1"
    );
    let transactions = "SELECT network, state, COUNT(*) AS n FROM transactions \
         WHERE state IN ('recorded', 'included') GROUP BY network, state";
    let alarms = "SELECT kind, network, COUNT(*) AS n FROM alarms GROUP BY kind, network";
    Ok(Tally {
        messages: look::counts(conn).await?,
        reasons: each(conn, &reasons, |r| Ok((get_parsed(r, "reason")?, get_count(r, "n")?)))
            .await?,
        duties: each(conn, DUTIES, duty_count).await?,
        transactions: each(conn, transactions, |r| {
            Ok((get_parsed(r, "network")?, get_named(r, "state")?, get_count(r, "n")?))
        })
        .await?,
        alarms: each(conn, alarms, |r| {
            Ok((get_named(r, "kind")?, get_parsed(r, "network")?, get_count(r, "n")?))
        })
        .await?,
        supplies: supply::all(conn, MAX_SUPPLIES).await?,
        paused_lanes: count(conn, "SELECT COUNT(*) AS n FROM pauses").await?,
        held_messages: count(conn, HELD).await?,
    })
}

fn duty_count(r: &SqliteRow) -> Result<DutyCount> {
    Ok(DutyCount {
        kind: get_named(r, "kind")?,
        network: get_parsed(r, "network")?,
        state: get_text(r, "shown_state")?,
        reason: get_parsed(r, "reason")?,
        count: get_count(r, "n")?,
    })
}

async fn each<T>(
    conn: &mut SqliteConnection,
    sql: &str,
    take: impl Fn(&SqliteRow) -> Result<T>,
) -> Result<Vec<T>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(conn).await?;
    rows.iter().map(take).collect()
}

async fn count(conn: &mut SqliteConnection, sql: &'static str) -> Result<u64> {
    get_count(&sqlx::query(sql).fetch_one(conn).await?, "n")
}

/// A commit reaches the disk, so a full or failing one shows here.
pub(super) async fn probe(conn: &mut SqliteConnection, at: UnixMillis) -> Result<()> {
    sqlx::query(
        "INSERT INTO probes (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
    )
    .bind(millis(at))
    .execute(conn)
    .await?;
    Ok(())
}
