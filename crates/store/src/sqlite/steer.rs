//! What an operator decides: lanes paused, messages held, duties tried again.

use super::{
    duties,
    row::{bytes, get_named, millis},
    settle::{self, Changes},
};
use crate::{Result, Retried, StoreError};
use postrider_message::{
    Detail, DutyState, HistoryEvent, LaneEvent, LaneId, MessageId, MessageStatus, Reason, Steering,
    UnixMillis,
};
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeSet;

pub(super) async fn pause(
    conn: &mut SqliteConnection,
    lane: LaneId,
    at: UnixMillis,
) -> Result<bool> {
    known_lane(conn, lane).await?;
    let done =
        sqlx::query("INSERT INTO pauses (lane, at) VALUES (?, ?) ON CONFLICT (lane) DO NOTHING")
            .bind(bytes(lane.0))
            .bind(millis(at))
            .execute(&mut *conn)
            .await?;
    note(conn, lane, LaneEvent::Paused, done.rows_affected(), at).await
}

pub(super) async fn resume(
    conn: &mut SqliteConnection,
    lane: LaneId,
    at: UnixMillis,
) -> Result<bool> {
    known_lane(conn, lane).await?;
    let done = sqlx::query("DELETE FROM pauses WHERE lane = ?")
        .bind(bytes(lane.0))
        .execute(&mut *conn)
        .await?;
    note(conn, lane, LaneEvent::Resumed, done.rows_affected(), at).await
}

async fn known_lane(conn: &mut SqliteConnection, lane: LaneId) -> Result<()> {
    let found = sqlx::query("SELECT 1 FROM lanes WHERE id = ?")
        .bind(bytes(lane.0))
        .fetch_optional(conn)
        .await?;
    found.map(|_| ()).ok_or(StoreError::UnknownLane { lane })
}

/// Notes what was done to a lane, if anything was.
async fn note(
    conn: &mut SqliteConnection,
    lane: LaneId,
    event: LaneEvent,
    rows: u64,
    at: UnixMillis,
) -> Result<bool> {
    if rows == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO lane_history (lane, at, event) VALUES (?, ?, ?)")
        .bind(bytes(lane.0))
        .bind(millis(at))
        .bind(event.as_str())
        .execute(conn)
        .await?;
    Ok(true)
}

pub(super) async fn hold(
    conn: &mut SqliteConnection,
    message: MessageId,
    because: &Detail,
    at: UnixMillis,
) -> Result<bool> {
    not_ended(conn, message).await?;
    let done = sqlx::query(
        "INSERT INTO holds (message, because, at) VALUES (?, ?, ?) \
         ON CONFLICT (message) DO UPDATE SET because = excluded.because, at = excluded.at \
         WHERE holds.because <> excluded.because",
    )
    .bind(bytes(message.0))
    .bind(because.to_string())
    .bind(millis(at))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    tell(conn, message, HistoryEvent::Held { because: because.clone() }, at).await?;
    Ok(true)
}

pub(super) async fn release(
    conn: &mut SqliteConnection,
    message: MessageId,
    at: UnixMillis,
) -> Result<bool> {
    status_of(conn, message).await?;
    let released = remove_hold(conn, message).await?;
    if released {
        tell(conn, message, HistoryEvent::Released, at).await?;
    }
    Ok(released)
}

pub(super) async fn retry(
    conn: &mut SqliteConnection,
    message: MessageId,
    at: UnixMillis,
) -> Result<Retried> {
    not_ended(conn, message).await?;
    let mut retried = Retried { released: remove_hold(conn, message).await?, ..Retried::default() };
    let mut changes = Changes::default();
    let owed = duties::of_messages(conn, &[message]).await?.remove(&message).unwrap_or_default();
    for (id, mut duty) in owed {
        match duty.state {
            DutyState::Waiting(_) | DutyState::Ready(_) => {
                duty.state = DutyState::Waiting(Reason::AwaitingPlan);
                duty.not_before = UnixMillis(0);
                duties::save_all(conn, [(&id, &duty)], at).await?;
                changes.duties.insert(id);
                retried.duties += 1;
            }
            DutyState::Held(_) | DutyState::Failed(_) => retried.left.push(duty),
            DutyState::Submitted(_) => retried.on_their_way += 1,
            DutyState::Done | DutyState::NotNeeded(_) => {}
        }
    }
    if retried.duties == 0 && !retried.released {
        return Ok(retried);
    }
    settle::append(conn, &[(message, HistoryEvent::Retried)], at).await?;
    changes.messages = BTreeSet::from([message]);
    settle::follow(conn, &changes, at).await?;
    Ok(retried)
}

/// What an operator has stopped that concerns this message.
pub(super) async fn of(
    conn: &mut SqliteConnection,
    message: MessageId,
    lane: LaneId,
) -> Result<Steering> {
    let r = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM pauses WHERE lane = ?) AS paused, \
         (SELECT because FROM holds WHERE message = ?) AS held",
    )
    .bind(bytes(lane.0))
    .bind(bytes(message.0))
    .fetch_one(conn)
    .await?;
    let held: Option<String> = r.try_get("held")?;
    Ok(Steering { lane_paused: r.try_get("paused")?, held: held.map(Detail::from) })
}

async fn remove_hold(conn: &mut SqliteConnection, message: MessageId) -> Result<bool> {
    let done = sqlx::query("DELETE FROM holds WHERE message = ?")
        .bind(bytes(message.0))
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes what was done to a message, and computes it anew.
async fn tell(
    conn: &mut SqliteConnection,
    message: MessageId,
    event: HistoryEvent,
    at: UnixMillis,
) -> Result<()> {
    settle::append(conn, &[(message, event)], at).await?;
    let changes = Changes { messages: BTreeSet::from([message]), ..Changes::default() };
    settle::follow(conn, &changes, at).await.map(|_| ())
}

async fn status_of(conn: &mut SqliteConnection, message: MessageId) -> Result<MessageStatus> {
    let found = sqlx::query("SELECT status FROM messages WHERE id = ?")
        .bind(bytes(message.0))
        .fetch_optional(conn)
        .await?;
    get_named(&found.ok_or(StoreError::UnknownMessage { message })?, "status")
}

async fn not_ended(conn: &mut SqliteConnection, message: MessageId) -> Result<()> {
    match status_of(conn, message).await? {
        status @ (MessageStatus::Settled | MessageStatus::Refuted) => {
            Err(StoreError::HasEnded { message, status })
        }
        _ => Ok(()),
    }
}
