//! Transactions as they are asked for: by account, by hash, by message.

use super::row::{self, CHUNK, bytes, get_hash};
use crate::{Fees, InFlight, MAX_LOOK, NewSubmission, Result, StoreError, TransactionRow};
use alloy_primitives::{Bytes, U256};
use postrider_message::{DutyId, MessageId, NetworkName, TxHash};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};
use std::collections::{HashMap, HashSet};

pub(super) async fn in_flight(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    signer: &str,
) -> Result<Vec<InFlight>> {
    let rows = sqlx::query(
        "SELECT t.hash, t.nonce, t.raw, t.fees, t.recorded_at, s.id, s.target, s.data, s.value, s.gas_limit, s.purpose \
         FROM transactions t \
         JOIN transaction_submissions ts ON ts.transaction_hash = t.hash \
         JOIN submissions s ON s.id = ts.submission \
         WHERE t.network = ? AND t.signer = ? AND t.state = 'recorded' \
         ORDER BY t.nonce LIMIT ?",
    )
    .bind(network.as_str())
    .bind(signer)
    .bind(MAX_LOOK)
    .fetch_all(&mut *conn)
    .await?;
    let mut flying = rows.iter().map(flight).collect::<Result<Vec<_>>>()?;
    let mut duties = joined_duties(conn, network, signer).await?;
    let mut replaced = replaced_of(conn, network, signer).await?;
    let unwanted = unwanted(conn, network, signer).await?;
    for flight in &mut flying {
        flight.duties = duties.remove(&flight.hash).unwrap_or_default();
        flight.is_wanted = !unwanted.contains(&flight.hash);
        flight.replaced = replaced.remove(&flight.nonce).unwrap_or_default();
    }
    Ok(flying)
}

fn flight(r: &SqliteRow) -> Result<InFlight> {
    let value = row::get_bytes(r, "value")?;
    Ok(InFlight {
        hash: get_hash(r, "hash")?,
        nonce: row::get_number(r, "nonce")?,
        raw: row::get_bytes(r, "raw")?,
        fees: fees(r)?,
        submission: NewSubmission {
            id: get_hash(r, "id")?,
            to: row::get_text(r, "target")?,
            data: Bytes::from(row::get_bytes(r, "data")?),
            value: U256::try_from_be_slice(&value)
                .ok_or_else(|| StoreError::unreadable("value", &"longer than 32 bytes"))?,
            gas_limit: row::get_number(r, "gas_limit")?,
            purpose: row::get_text(r, "purpose")?,
        },
        duties: Vec::new(),
        recorded_at: row::get_time(r, "recorded_at")?,
        is_wanted: true,
        replaced: Vec::new(),
    })
}

fn fees(r: &SqliteRow) -> Result<Fees> {
    #[derive(serde::Deserialize)]
    struct Text {
        max_fee: String,
        tip: String,
    }
    let text: Text = row::get_json(r, "fees")?;
    let number = |text: String| text.parse().map_err(|e| StoreError::unreadable("fees", &e));
    Ok(Fees { max_fee: number(text.max_fee)?, tip: number(text.tip)? })
}

async fn joined_duties(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    signer: &str,
) -> Result<HashMap<TxHash, Vec<DutyId>>> {
    let rows = sqlx::query(
        "SELECT t.hash, sd.duty FROM transactions t \
         JOIN transaction_submissions ts ON ts.transaction_hash = t.hash \
         JOIN submission_duties sd ON sd.submission = ts.submission \
         WHERE t.network = ? AND t.signer = ? AND t.state = 'recorded' \
         ORDER BY sd.duty",
    )
    .bind(network.as_str())
    .bind(signer)
    .fetch_all(conn)
    .await?;
    let mut joined: HashMap<TxHash, Vec<DutyId>> = HashMap::new();
    for r in &rows {
        joined.entry(get_hash(r, "hash")?).or_default().push(get_hash(r, "duty")?);
    }
    Ok(joined)
}

/// Transactions all of whose messages are no longer proven to be sent.
async fn unwanted(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    signer: &str,
) -> Result<HashSet<TxHash>> {
    let rows = sqlx::query(
        "SELECT t.hash FROM transactions t \
         JOIN transaction_submissions ts ON ts.transaction_hash = t.hash \
         JOIN submission_duties sd ON sd.submission = ts.submission \
         JOIN duties d ON d.id = sd.duty JOIN messages m ON m.id = d.message \
         WHERE t.network = ? AND t.signer = ? AND t.state = 'recorded' \
         GROUP BY t.hash HAVING MAX(m.proven) = 0",
    )
    .bind(network.as_str())
    .bind(signer)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|r| get_hash(r, "hash")).collect()
}

async fn replaced_of(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    signer: &str,
) -> Result<HashMap<u64, Vec<TxHash>>> {
    let rows = sqlx::query(
        "SELECT o.nonce, o.hash FROM transactions t \
         JOIN transactions o ON o.network = t.network AND o.signer = t.signer \
         AND o.nonce = t.nonce AND o.state = 'replaced' \
         WHERE t.network = ? AND t.signer = ? AND t.state = 'recorded' \
         ORDER BY o.recorded_at",
    )
    .bind(network.as_str())
    .bind(signer)
    .fetch_all(conn)
    .await?;
    let mut replaced: HashMap<u64, Vec<TxHash>> = HashMap::new();
    for r in &rows {
        replaced.entry(row::get_number(r, "nonce")?).or_default().push(get_hash(r, "hash")?);
    }
    Ok(replaced)
}

pub(super) async fn next_nonce(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    signer: &str,
) -> Result<Option<u64>> {
    let row = sqlx::query(
        "SELECT nonce FROM transactions WHERE network = ? AND signer = ? \
         AND state IN ('recorded', 'included', 'final') ORDER BY nonce DESC LIMIT 1",
    )
    .bind(network.as_str())
    .bind(signer)
    .fetch_optional(conn)
    .await?;
    row.map(|r| Ok(row::get_number(&r, "nonce")?.saturating_add(1))).transpose()
}

pub(super) async fn ours(
    conn: &mut SqliteConnection,
    hashes: &[TxHash],
) -> Result<HashSet<TxHash>> {
    let mut found = HashSet::new();
    for chunk in hashes.chunks(CHUNK) {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT hash FROM transactions WHERE hash IN (");
        let mut list = query.separated(", ");
        for hash in chunk {
            list.push_bind(bytes(hash.0));
        }
        query.push(")");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            found.insert(get_hash(&r, "hash")?);
        }
    }
    Ok(found)
}

/// The transactions that carried a duty of the message, oldest first.
pub(super) async fn of_message(
    conn: &mut SqliteConnection,
    message: MessageId,
) -> Result<Vec<TransactionRow>> {
    let rows = sqlx::query(
        "SELECT DISTINCT t.hash, t.network, t.signer, t.nonce, t.fees, t.state, t.note, \
         t.included_height, t.included_hash, t.success, t.recorded_at, s.purpose \
         FROM duties d JOIN submission_duties sd ON sd.duty = d.id \
         JOIN submissions s ON s.id = sd.submission \
         JOIN transaction_submissions ts ON ts.submission = s.id \
         JOIN transactions t ON t.hash = ts.transaction_hash \
         WHERE d.message = ? ORDER BY t.recorded_at, t.nonce, t.hash LIMIT ?",
    )
    .bind(bytes(message.0))
    .bind(MAX_LOOK)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|r| {
            Ok(TransactionRow {
                network: row::get_parsed(r, "network")?,
                signer: row::get_text(r, "signer")?,
                nonce: row::get_number(r, "nonce")?,
                hash: get_hash(r, "hash")?,
                fees: fees(r)?,
                state: row::get_named(r, "state")?,
                note: r.try_get("note")?,
                included: row::get_optional_block(r, "included_height", "included_hash")?,
                success: r.try_get("success")?,
                purpose: row::get_text(r, "purpose")?,
                recorded_at: row::get_time(r, "recorded_at")?,
            })
        })
        .collect()
}
