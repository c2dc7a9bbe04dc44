//! What a person looks at: lists, one message with all about it, lanes and alarms.

use super::{
    duties, facts, flight, messages,
    row::{self, bytes, get_count, get_hash, get_named, millis},
    settle, steer,
};
use crate::{Found, MAX_LOOK, MessageDetail, MessageFilter, MessageRow, Result, StoreError};
use alloy_primitives::B256;
use postrider_message::{
    Alarm, Duty, MessageId, MessageNonce, MessageStatus, NetworkName, Reason, Standing, Steering,
    UnixMillis,
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::collections::BTreeSet;

/// How many messages [`Found::Many`] names.
const MAX_FOUND: u32 = 20;

/// An alarm is not raised again while the same one is younger than this.
pub(super) const QUIET_MILLIS: u64 = 60 * 60 * 1000;

/// What a limit given by a caller means.
pub(super) fn bounded(limit: u32) -> u32 {
    if limit == 0 { MAX_LOOK } else { limit.min(MAX_LOOK) }
}

const ROW: &str = "m.sequence, m.id, m.lane, m.nonce, m.reference, m.status, m.standing, \
     m.learnt_at, m.updated_at, m.sent_transaction, m.gone, p.lane IS NOT NULL AS paused";

fn message_row(r: &SqliteRow) -> Result<MessageRow> {
    let status: MessageStatus = get_named(r, "status")?;
    let standing = row::standing(r)?.unwrap_or(Standing { status, outcome: None, reason: None });
    // A hold is part of the stored standing; a pause, which concerns many, is not.
    let steering = Steering { lane_paused: r.try_get("paused")?, held: None };
    Ok(MessageRow {
        sequence: get_count(r, "sequence")?,
        id: get_hash(r, "id")?,
        lane_id: get_hash(r, "lane")?,
        lane: row::lane(r)?,
        nonce: MessageNonce(row::get_number(r, "nonce")?),
        reference: row::get_optional_hash(r, "reference")?,
        standing: steering.standing(standing),
        learnt_at: row::get_time(r, "learnt_at")?,
        updated_at: row::get_time(r, "updated_at")?,
        transaction: row::get_optional_hash(r, "sent_transaction")?,
        gone: r.try_get("gone")?,
    })
}

/// The code of the reason that is shown for a message `m`: what [`Steering::standing`] and then
/// [`Standing::under`] make of the stored one.
pub(super) const SHOWN: &str = "CASE WHEN p.lane IS NOT NULL AND m.status = 'verified' \
     AND json_extract(m.standing, '$.reason.code') NOT IN ('not_ours', 'awaiting_inclusion') \
     THEN 'lane_paused' ELSE COALESCE(json_extract(c.reason, '$.code'), \
     json_extract(m.standing, '$.reason.code')) END";

/// The joins that [`SHOWN`] needs.
pub(super) const SHOWN_BY: &str = "LEFT JOIN pauses p ON p.lane = m.lane \
     LEFT JOIN conditions c ON json_extract(m.standing, '$.reason.code') IN \
     ('awaiting_finality', 'awaiting_confirmations', 'awaiting_inclusion') \
     AND c.network = json_extract(m.standing, '$.reason.network')";

fn select_rows() -> QueryBuilder<Sqlite> {
    QueryBuilder::new(format!(
        "SELECT {ROW}, {} FROM messages m JOIN lanes l ON l.id = m.lane {SHOWN_BY} WHERE ",
        row::LANE
    ))
}

pub(super) async fn list(
    conn: &mut SqliteConnection,
    filter: &MessageFilter,
) -> Result<Vec<MessageRow>> {
    let mut query = select_rows();
    let before = filter.after.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
    query.push("m.sequence < ").push_bind(before);
    if let Some(status) = filter.status {
        query.push(" AND m.status = ").push_bind(status.as_str());
    }
    if let Some(network) = &filter.network {
        query.push(" AND (l.source_network = ").push_bind(network.to_string());
        query.push(" OR l.destination_network = ").push_bind(network.to_string()).push(")");
    }
    if let Some(lane) = filter.lane {
        query.push(" AND m.lane = ").push_bind(bytes(lane.0));
    }
    if let Some(reason) = filter.reason {
        query.push(format!(" AND m.status <> 'settled' AND {SHOWN} = "));
        query.push_bind(reason.as_str());
    }
    if filter.open_only {
        query.push(" AND m.status NOT IN ('settled', 'refuted')");
    }
    if !filter.include_gone {
        query.push(" AND NOT m.gone");
    }
    query.push(" ORDER BY m.sequence DESC LIMIT ").push_bind(bounded(filter.limit));
    let rows = query.build().fetch_all(conn).await?;
    rows.iter().map(message_row).collect()
}

/// The smallest and the greatest hash that begin with these digits.
fn range_of(text: &str) -> Option<(B256, B256)> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    if !is_hex || !(1..=64).contains(&digits.len()) {
        return None;
    }
    Some((format!("{digits:0<64}").parse().ok()?, format!("{digits:f<64}").parse().ok()?))
}

pub(super) async fn find(conn: &mut SqliteConnection, text: &str) -> Result<Found> {
    let Some((low, high)) = range_of(text) else {
        return Ok(Found::None);
    };
    let rows = sqlx::query(
        "SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 \
         UNION SELECT id FROM messages WHERE reference BETWEEN ?1 AND ?2 \
         UNION SELECT id FROM messages WHERE sent_transaction BETWEEN ?1 AND ?2 LIMIT ?3",
    )
    .bind(bytes(low))
    .bind(bytes(high))
    .bind(MAX_FOUND)
    .fetch_all(conn)
    .await?;
    let ids = rows.iter().map(|r| get_hash(r, "id")).collect::<Result<Vec<MessageId>>>()?;
    Ok(match ids.as_slice() {
        [] => Found::None,
        [id] => Found::One(*id),
        _ => Found::Many(ids),
    })
}

pub(super) async fn detail(
    conn: &mut SqliteConnection,
    id: MessageId,
) -> Result<Option<MessageDetail>> {
    let mut query = select_rows();
    query.push("m.id = ").push_bind(bytes(id.0));
    let Some(found) = query.build().fetch_optional(&mut *conn).await? else {
        return Ok(None);
    };
    let row = message_row(&found)?;
    let Some(message) = messages::by_ids(conn, &[id]).await?.remove(&id) else {
        return Ok(None);
    };
    let place = (row.lane_id, row.nonce);
    let payload = message.payload.hash();
    let facts = facts::at_places(conn, &BTreeSet::from([place])).await?.remove(&place);
    let facts = facts::about(&facts.unwrap_or_default(), payload);
    let duties = duties::of_messages(conn, &[id]).await?.remove(&id).unwrap_or_default();
    let steering = steer::of(conn, id, row.lane_id).await?;
    let shown = |duty: Duty| Duty { state: steering.duty(duty.state.clone()), ..duty };
    let duties: Vec<Duty> = duties.into_iter().map(|(_, duty)| shown(duty)).collect();
    Ok(Some(MessageDetail {
        row,
        facts: facts.into_iter().map(|(_, record)| record).collect(),
        duties,
        transactions: flight::of_message(conn, id).await?,
        history: settle::history(conn, id, MAX_LOOK).await?,
        message,
    }))
}

pub(super) async fn counts(conn: &mut SqliteConnection) -> Result<Vec<(MessageStatus, u64)>> {
    let rows =
        sqlx::query("SELECT status, COUNT(*) AS n FROM messages WHERE NOT gone GROUP BY status")
            .fetch_all(conn)
            .await?;
    let mut counts = rows
        .iter()
        .map(|r| Ok((get_named(r, "status")?, get_count(r, "n")?)))
        .collect::<Result<Vec<(MessageStatus, u64)>>>()?;
    counts.sort();
    Ok(counts)
}

pub(super) async fn set_condition(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    why: Option<&Reason>,
) -> Result<()> {
    match why {
        Some(reason) => {
            sqlx::query(
                "INSERT INTO conditions VALUES (?, ?)
                 ON CONFLICT (network) DO UPDATE SET reason = excluded.reason",
            )
            .bind(network.as_str())
            .bind(row::json(reason)?)
            .execute(conn)
            .await?
        }
        None => {
            sqlx::query("DELETE FROM conditions WHERE network = ?")
                .bind(network.as_str())
                .execute(conn)
                .await?
        }
    };
    Ok(())
}

pub(super) async fn conditions(conn: &mut SqliteConnection) -> Result<Vec<(NetworkName, Reason)>> {
    sqlx::query("SELECT network, reason FROM conditions ORDER BY network")
        .fetch_all(conn)
        .await?
        .iter()
        .map(|r| Ok((row::get_parsed(r, "network")?, row::get_json(r, "reason")?)))
        .collect()
}

pub(super) async fn raise(conn: &mut SqliteConnection, alarm: &Alarm) -> Result<bool> {
    let detail = alarm.detail.to_string();
    let since = UnixMillis(alarm.at.0.saturating_sub(QUIET_MILLIS));
    let same = sqlx::query(
        "SELECT 1 FROM alarms WHERE kind = ? AND network = ? AND detail = ? AND at > ? LIMIT 1",
    )
    .bind(alarm.kind.as_str())
    .bind(alarm.network.as_str())
    .bind(detail.as_str())
    .bind(millis(since))
    .fetch_optional(&mut *conn)
    .await?;
    if same.is_some() {
        return Ok(false);
    }
    sqlx::query("INSERT INTO alarms (kind, network, message, detail, at) VALUES (?, ?, ?, ?, ?)")
        .bind(alarm.kind.as_str())
        .bind(alarm.network.as_str())
        .bind(alarm.message.map(|id| bytes(id.0)))
        .bind(detail)
        .bind(millis(alarm.at))
        .execute(conn)
        .await?;
    Ok(true)
}

pub(super) async fn alarms(conn: &mut SqliteConnection, limit: u32) -> Result<Vec<Alarm>> {
    let rows = sqlx::query(
        "SELECT kind, network, message, detail, at FROM alarms ORDER BY sequence DESC LIMIT ?",
    )
    .bind(bounded(limit))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|r| {
            Ok(Alarm {
                kind: get_named(r, "kind")?,
                network: row::get_parsed(r, "network")?,
                message: row::get_optional_hash(r, "message")?,
                detail: row::get_text(r, "detail")?.into(),
                at: row::get_time(r, "at")?,
            })
        })
        .collect()
}

pub(super) async fn check_integrity(conn: &mut SqliteConnection) -> Result<()> {
    let rows = sqlx::query("PRAGMA quick_check(5)").fetch_all(conn).await?;
    let lines = rows.iter().map(|r| Ok(r.try_get::<String, _>(0)?)).collect::<Result<Vec<_>>>()?;
    if lines == ["ok"] {
        return Ok(());
    }
    Err(StoreError::corrupt(std::path::Path::new(""), lines.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_a_range_of_hashes() {
        let (low, high) = range_of(" 0xAb1 ").unwrap();
        assert!(low.to_string().starts_with("0xab1000") && low.to_string().ends_with("000"));
        assert!(high.to_string().starts_with("0xab1fff") && high.to_string().ends_with("fff"));
        let whole = B256::repeat_byte(7);
        assert_eq!(range_of(&whole.to_string()), Some((whole, whole)));
        for bad in ["", "0x", "xyz", "é", "0x12 34", &"1".repeat(65)] {
            assert_eq!(range_of(bad), None, "{bad}");
        }
    }
}
