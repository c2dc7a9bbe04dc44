//! What is in escrow for tokens sent over IBC, and how many vouchers there are for it.

use super::{
    look::{self, QUIET_MILLIS, bounded},
    row::{be, get_bytes, get_count, get_number, get_parsed, get_text, get_time, millis},
};
use crate::{EscrowList, EscrowRow, MAX_BATCH, Result, StoreError};
use alloy_primitives::U256;
use postrider_message::{
    Alarm, AlarmKind, Height, Lane, LaneEnd, NetworkName, Point, Protocol, UnixMillis,
};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// Rows that belong to a lane.
const OF_LANE: &str = "source_network = ? AND source_point = ? AND destination_network = ? AND \
                       destination_point = ?";

/// Keeps what was read, and raises an alarm for each row with more vouchers than is in escrow, unless one
/// was raised for it within the hour.
pub(super) async fn keep(
    conn: &mut SqliteConnection,
    rows: &[EscrowRow],
    at: UnixMillis,
) -> Result<Vec<Alarm>> {
    if rows.len() > MAX_BATCH {
        return Err(StoreError::bad("escrows", format!("there are more than {MAX_BATCH}")));
    }
    let mut alarms = Vec::new();
    for row in rows {
        let mut breached = breached(conn, row).await?;
        let is_told = breached.is_some_and(|then| at.0.saturating_sub(then.0) < QUIET_MILLIS);
        if row.is_breached() && !is_told {
            breached = Some(at);
            let alarm = alarm(row, at);
            if look::raise(conn, &alarm).await? {
                alarms.push(alarm);
            }
        }
        save(conn, row, breached).await?;
    }
    Ok(alarms)
}

/// Amounts first, for the text may be cut.
fn alarm(row: &EscrowRow, at: UnixMillis) -> Alarm {
    let EscrowRow { lane, denom, escrow, vouchers, source_height, destination_height, .. } = row;
    let (source, destination) = (&lane.source.network, &lane.destination.network);
    let detail = format!(
        "more vouchers than is kept for them: {vouchers} on {destination} at {destination_height}, \
         {escrow} in escrow on {source} at {source_height}; {lane}; {denom}"
    );
    let (kind, network) = (AlarmKind::SupplyBreached, destination.clone());
    Alarm { kind, network, message: None, detail: detail.into(), at }
}

async fn breached(conn: &mut SqliteConnection, row: &EscrowRow) -> Result<Option<UnixMillis>> {
    let sql = format!("SELECT breached FROM escrows WHERE {OF_LANE} AND denom = ?");
    let found = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(row.lane.source.network.as_str())
        .bind(row.lane.source.point.as_str())
        .bind(row.lane.destination.network.as_str())
        .bind(row.lane.destination.point.as_str())
        .bind(row.denom.as_str())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map_or(Ok(None), when)
}

fn when(r: &SqliteRow) -> Result<Option<UnixMillis>> {
    let stored: Option<i64> = r.try_get("breached")?;
    stored.map(|_| Ok(UnixMillis(get_count(r, "breached")?))).transpose()
}

async fn save(
    conn: &mut SqliteConnection,
    row: &EscrowRow,
    breached: Option<UnixMillis>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO escrows (source_network, source_point, destination_network, \
         destination_point, denom, escrow, vouchers, source_height, destination_height, at, \
         breached) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (source_network, source_point, destination_network, destination_point, denom) \
         DO UPDATE SET escrow = excluded.escrow, vouchers = excluded.vouchers, \
         source_height = excluded.source_height, \
         destination_height = excluded.destination_height, at = excluded.at, \
         breached = excluded.breached",
    )
    .bind(row.lane.source.network.as_str())
    .bind(row.lane.source.point.as_str())
    .bind(row.lane.destination.network.as_str())
    .bind(row.lane.destination.point.as_str())
    .bind(row.denom.as_str())
    .bind(row.escrow.to_be_bytes::<32>().to_vec())
    .bind(row.vouchers.to_be_bytes::<32>().to_vec())
    .bind(be(row.source_height.0))
    .bind(be(row.destination_height.0))
    .bind(millis(row.at))
    .bind(breached.map(millis))
    .execute(conn)
    .await?;
    Ok(())
}

/// The tokens that were looked at on a lane, as the destination names their way.
pub(super) async fn denoms(conn: &mut SqliteConnection, lane: &Lane) -> Result<Vec<String>> {
    let sql = format!("SELECT denom FROM escrows WHERE {OF_LANE} LIMIT ?");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(lane.source.network.as_str())
        .bind(lane.source.point.as_str())
        .bind(lane.destination.network.as_str())
        .bind(lane.destination.point.as_str())
        .bind(bounded(0))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|r| get_text(r, "denom")).collect()
}

/// What was looked at, those with a breach first; at most `limit`.
pub(super) async fn list(conn: &mut SqliteConnection, limit: u32) -> Result<EscrowList> {
    let all = sqlx::query("SELECT COUNT(*) AS n FROM escrows").fetch_one(&mut *conn).await?;
    let rows = sqlx::query(
        "SELECT * FROM escrows ORDER BY vouchers <= escrow, breached IS NULL, source_network, \
         destination_network, source_point, denom LIMIT ?",
    )
    .bind(bounded(limit))
    .fetch_all(conn)
    .await?;
    let escrows = rows.iter().map(escrow).collect::<Result<Vec<_>>>()?;
    let shown = u64::try_from(escrows.len()).unwrap_or(u64::MAX);
    Ok(EscrowList { more: get_count(&all, "n")?.saturating_sub(shown), escrows })
}

fn escrow(r: &SqliteRow) -> Result<EscrowRow> {
    let end = |network, point| -> Result<LaneEnd> {
        let network: NetworkName = get_parsed(r, network)?;
        let point = Point::try_from(get_text(r, point)?)
            .map_err(|error| StoreError::unreadable(point, &error))?;
        Ok(LaneEnd { network, point })
    };
    let amount = |column| -> Result<U256> {
        let stored: [u8; 32] = get_bytes(r, column)?
            .try_into()
            .map_err(|_| StoreError::unreadable(column, &"not 32 bytes"))?;
        Ok(U256::from_be_bytes(stored))
    };
    Ok(EscrowRow {
        lane: Lane {
            protocol: Protocol::Ibc,
            source: end("source_network", "source_point")?,
            destination: end("destination_network", "destination_point")?,
        },
        denom: get_text(r, "denom")?,
        escrow: amount("escrow")?,
        vouchers: amount("vouchers")?,
        source_height: Height(get_number(r, "source_height")?),
        destination_height: Height(get_number(r, "destination_height")?),
        at: get_time(r, "at")?,
        breached: when(r)?,
    })
}
