//! Requests to look for what is pending, and what is known of it already.

use super::row::{bytes, get_hash};
use crate::{Clearing, Result, StoreError};
use postrider_message::{MessageId, NetworkName, Point};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use std::collections::HashSet;

/// The most requests that wait.
const MAX_WAITING: i64 = 1_000;
/// How many ids are asked for at once.
const CHUNK: usize = 500;

pub(super) async fn ask(conn: &mut SqliteConnection, clearing: &Clearing) -> Result<()> {
    let waiting: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM clearings").fetch_one(&mut *conn).await?;
    if waiting >= MAX_WAITING {
        return Err(StoreError::bad("a request", "too many wait already: is a node running?"));
    }
    sqlx::query("INSERT INTO clearings (network, point, sequences) VALUES (?, ?, ?)")
        .bind(clearing.network.as_str())
        .bind(clearing.point.as_ref().map(|point| point.as_str().to_owned()))
        .bind(clearing.sequences.clone())
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn take(
    conn: &mut SqliteConnection,
    network: &NetworkName,
) -> Result<Vec<Clearing>> {
    let rows = sqlx::query("DELETE FROM clearings WHERE network = ? RETURNING point, sequences")
        .bind(network.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let point: Option<String> = row.try_get("point")?;
            let point = point.map(Point::try_from).transpose();
            Ok(Clearing {
                network: network.clone(),
                point: point.map_err(|error| StoreError::unreadable("point", &error))?,
                sequences: row.try_get("sequences")?,
            })
        })
        .collect()
}

pub(super) async fn with_payload(
    conn: &mut SqliteConnection,
    messages: &[MessageId],
) -> Result<HashSet<MessageId>> {
    let mut found = HashSet::new();
    for chunk in messages.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT id FROM messages WHERE payload IS NOT NULL AND proven AND id IN (",
        );
        let mut list = query.separated(", ");
        for message in chunk {
            list.push_bind(bytes(message.0));
        }
        query.push(")");
        for row in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.insert(get_hash(&row, "id")?);
        }
    }
    Ok(found)
}
