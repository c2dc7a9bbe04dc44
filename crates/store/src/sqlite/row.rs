//! How values stand in columns, and how rows become values again.

use crate::{Result, StoreError};
use alloy_primitives::{B256, Bytes};
use postrider_message::{
    BlockHash, BlockRef, Duty, DutyId, FactRecord, Height, Lane, LaneEnd, LaneId, Message,
    MessageId, MessageNonce, Observation, Payload, PayloadHash, Point, Standing, Subject, TxHash,
    UnixMillis,
};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};
use std::str::FromStr;

/// How many rows or ids one statement takes; far below SQLite's bound on parameters.
pub(super) const CHUNK: usize = 400;

/// A number as 8 big-endian bytes.
pub(super) fn be(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// A hash as its bytes.
pub(super) fn bytes(hash: B256) -> Vec<u8> {
    hash.to_vec()
}

/// A time; the year 292,278,994 is as late as it gets.
pub(super) fn millis(time: UnixMillis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// A structured value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::bad("a value", e.to_string()))
}

pub(super) fn get_bytes(row: &SqliteRow, column: &str) -> Result<Vec<u8>> {
    Ok(row.try_get(column)?)
}

pub(super) fn get_text(row: &SqliteRow, column: &str) -> Result<String> {
    Ok(row.try_get(column)?)
}

pub(super) fn get_hash<T: From<B256>>(row: &SqliteRow, column: &str) -> Result<T> {
    hash_of(&get_bytes(row, column)?, column)
}

pub(super) fn get_optional_hash<T: From<B256>>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    let stored: Option<Vec<u8>> = row.try_get(column)?;
    stored.map(|bytes| hash_of(&bytes, column)).transpose()
}

fn hash_of<T: From<B256>>(bytes: &[u8], column: &str) -> Result<T> {
    B256::try_from(bytes).map(T::from).map_err(|e| StoreError::unreadable(column, &e))
}

pub(super) fn get_number(row: &SqliteRow, column: &str) -> Result<u64> {
    number_of(&get_bytes(row, column)?, column)
}

fn number_of(bytes: &[u8], column: &str) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|e| StoreError::unreadable(column, &e))
}

/// A count, a sequence or another number that is kept as an INTEGER.
pub(super) fn get_count(row: &SqliteRow, column: &str) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|e| StoreError::unreadable(column, &e))
}

pub(super) fn get_time(row: &SqliteRow, column: &str) -> Result<UnixMillis> {
    Ok(UnixMillis(get_count(row, column)?))
}

pub(super) fn get_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    serde_json::from_str(&get_text(row, column)?).map_err(|e| StoreError::unreadable(column, &e))
}

/// A value of an enum by its name.
pub(super) fn get_named<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    let name = serde_json::Value::String(get_text(row, column)?);
    serde_json::from_value(name).map_err(|e| StoreError::unreadable(column, &e))
}

pub(super) fn get_parsed<T>(row: &SqliteRow, column: &str) -> Result<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    get_text(row, column)?.parse().map_err(|e| StoreError::unreadable(column, &e))
}

fn get_point(row: &SqliteRow, column: &str) -> Result<Point> {
    Point::try_from(get_text(row, column)?).map_err(|e| StoreError::unreadable(column, &e))
}

pub(super) fn get_block(row: &SqliteRow, height: &str, hash: &str) -> Result<BlockRef> {
    Ok(BlockRef {
        height: Height(get_number(row, height)?),
        hash: get_hash::<BlockHash>(row, hash)?,
    })
}

pub(super) fn get_optional_block(
    row: &SqliteRow,
    height: &str,
    hash: &str,
) -> Result<Option<BlockRef>> {
    let present: Option<Vec<u8>> = row.try_get(height)?;
    present.map(|_| get_block(row, height, hash)).transpose()
}

/// The columns of [`lane`], of table `l`.
pub(super) const LANE: &str = "l.protocol, l.source_network, l.source_point, \
     l.destination_network, l.destination_point";

pub(super) fn lane(row: &SqliteRow) -> Result<Lane> {
    Ok(Lane {
        protocol: get_named(row, "protocol")?,
        source: LaneEnd {
            network: get_parsed(row, "source_network")?,
            point: get_point(row, "source_point")?,
        },
        destination: LaneEnd {
            network: get_parsed(row, "destination_network")?,
            point: get_point(row, "destination_point")?,
        },
    })
}

/// The columns of [`message`], of table `m`, besides those of its lane.
pub(super) const MESSAGE: &str = "m.id, m.nonce, m.payload_hash, m.payload, m.options, m.reference";

pub(super) fn message(row: &SqliteRow) -> Result<Message> {
    let hash: PayloadHash = get_hash(row, "payload_hash")?;
    let payload: Option<Vec<u8>> = row.try_get("payload")?;
    Ok(Message {
        lane: lane(row)?,
        nonce: MessageNonce(get_number(row, "nonce")?),
        payload: match payload {
            Some(bytes) => Payload::Known { bytes: bytes.into(), hash },
            None => Payload::Committed(hash),
        },
        options: Bytes::from(get_bytes(row, "options")?),
        reference: get_optional_hash(row, "reference")?,
    })
}

pub(super) fn standing(row: &SqliteRow) -> Result<Option<Standing>> {
    let stored: Option<String> = row.try_get("standing")?;
    stored
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| StoreError::unreadable("standing", &e))
}

/// The columns of [`fact`], of table `f`.
pub(super) const FACT: &str = "f.id, f.lane, f.nonce, f.payload, f.fact, f.network, f.height, \
     f.block_hash, f.position, f.transaction_hash, f.certainty, \
     COALESCE(f.hinted_at, f.verified_at) AS at";

pub(super) fn fact(row: &SqliteRow) -> Result<FactRecord> {
    Ok(FactRecord {
        subject: Subject {
            lane: get_hash::<LaneId>(row, "lane")?,
            nonce: MessageNonce(get_number(row, "nonce")?),
            payload: get_optional_hash(row, "payload")?,
        },
        fact: get_json(row, "fact")?,
        observation: Observation {
            network: get_parsed(row, "network")?,
            block: get_block(row, "height", "block_hash")?,
            index: get_number(row, "position")?,
            transaction: get_hash::<TxHash>(row, "transaction_hash")?,
        },
        certainty: get_named(row, "certainty")?,
        at: get_time(row, "at")?,
    })
}

/// The columns of [`duty`], of table `d`.
pub(super) const DUTY: &str =
    "d.id, d.message, d.kind, d.part, d.network, d.worker, d.detail, d.attempts, d.not_before";

pub(super) fn duty(row: &SqliteRow) -> Result<(DutyId, Duty)> {
    let duty = Duty {
        message: get_hash::<MessageId>(row, "message")?,
        kind: get_named(row, "kind")?,
        part: u16::try_from(get_count(row, "part")?)
            .map_err(|e| StoreError::unreadable("part", &e))?,
        network: get_parsed(row, "network")?,
        worker: get_text(row, "worker")?,
        state: get_json(row, "detail")?,
        attempts: u32::try_from(get_count(row, "attempts")?).unwrap_or(u32::MAX),
        not_before: get_time(row, "not_before")?,
    };
    Ok((get_hash(row, "id")?, duty))
}
