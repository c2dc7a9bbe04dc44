//! Puts transfers together from their movements, and compares their two sides.

use super::{Key, leg, seconds, sum, supply};
use crate::{
    Result, StoreError,
    sqlite::{
        look,
        row::{self, be, bytes, get_count, get_hash, get_number},
    },
};
use alloy_primitives::{B256, U256};
use postrider_message::{
    Alarm, AlarmKind, Amount, BlockTime, Breach, Fact, Judgement, Lane, LaneId, Leg, MessageId,
    MessageNonce, SharedDecimals, Side, SourceView, Sums, Supply, Transfer, UnixMillis,
    supply::judge,
};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// A transfer as it was compared last.
struct Compared {
    transfer: Transfer,
    judgement: Judgement,
}

/// Puts transfers together from their movements, compares them, and brings the sums of their lanes
/// up to date. With each comes how many messages its source ever sent, where that was asked.
pub(super) async fn compare(
    conn: &mut SqliteConnection,
    keys: impl Iterator<Item = (Key, Option<u64>)>,
    at: UnixMillis,
) -> Result<Vec<Alarm>> {
    let mut alarms = Vec::new();
    let mut lanes: BTreeMap<LaneId, (Lane, Supply)> = BTreeMap::new();
    for (key, sent) in keys {
        let before = compared(conn, key).await?;
        let transfer = transfer(conn, key).await?;
        let (lane, mut supply) = match lanes.remove(&key.0) {
            Some(known) => known,
            None => lane(conn, key.0).await?,
        };
        let view = match (transfer.debit, transfer.credit) {
            (None, Some(_)) => view(conn, &lane, transfer.nonce, sent).await?,
            _ => SourceView::default(),
        };
        let now = judge(&transfer, &view).map(|judgement| Compared { transfer, judgement });
        let sums = |c: Option<&Compared>| {
            c.map_or_else(Sums::default, |c| Sums::of(&c.transfer, c.judgement))
        };
        supply.sums = supply.sums.moved(sums(before.as_ref()), sums(now.as_ref()));
        let breach = |c: Option<&Compared>| match c.map(|c| c.judgement) {
            Some(Judgement::Breached(breach)) => Some(breach),
            _ => None,
        };
        let (was, is) = (breach(before.as_ref()), breach(now.as_ref()));
        let less = supply.breaches.saturating_sub(u64::from(was.is_some()));
        supply.breaches = less.saturating_add(u64::from(is.is_some()));
        save(conn, key, now.as_ref()).await?;
        if let (None, Some(breach)) = (was, is) {
            let message = message(conn, key.0, transfer.nonce).await?;
            let detail = detail(breach, &transfer, supply.decimals, key.1, &lane);
            let network = lane.destination.network.clone();
            let kind = AlarmKind::SupplyBreached;
            let alarm = Alarm { kind, network, message, detail: detail.into(), at };
            if look::raise(conn, &alarm).await? {
                alarms.push(alarm);
            }
        }
        lanes.insert(key.0, (lane, supply));
    }
    for (id, (_, supply)) in &lanes {
        save_sums(conn, *id, supply).await?;
    }
    Ok(alarms)
}

/// What happened first, for the text may be cut.
fn detail(
    breach: Breach,
    transfer: &Transfer,
    decimals: SharedDecimals,
    reference: B256,
    lane: &Lane,
) -> String {
    let show = |leg: Option<Leg>| decimals.show(U256::from(leg.map_or(0, |leg| leg.amount.0)));
    let (credited, debited) = (show(transfer.credit), show(transfer.debit));
    format!("{breach}: credited {credited}, debited {debited}; guid {reference}; {lane}")
}

async fn compared(conn: &mut SqliteConnection, key: Key) -> Result<Option<Compared>> {
    let row = sqlx::query("SELECT * FROM transfers WHERE lane = ? AND reference = ?")
        .bind(bytes(key.0.0))
        .bind(bytes(key.1))
        .fetch_optional(conn)
        .await?;
    let Some(r) = row else { return Ok(None) };
    let name = row::get_text(&r, "judgement")?;
    let judgement = Judgement::named(&name)
        .ok_or_else(|| StoreError::unreadable("judgement", &format!("`{name}` is none")))?;
    let transfer = Transfer {
        nonce: MessageNonce(get_number(&r, "nonce")?),
        debit: leg(&r, "debited", "debited_at")?,
        credit: leg(&r, "credited", "credited_at")?,
    };
    Ok(Some(Compared { transfer, judgement }))
}

/// A message is debited once, whatever was said of it: the least counts. All credits count.
async fn transfer(conn: &mut SqliteConnection, key: Key) -> Result<Transfer> {
    let rows = sqlx::query(
        "SELECT nonce, side, amount, time FROM movements WHERE lane = ? AND reference = ?",
    )
    .bind(bytes(key.0.0))
    .bind(bytes(key.1))
    .fetch_all(conn)
    .await?;
    let mut whole = Transfer::default();
    for r in &rows {
        let Some(leg) = leg(r, "amount", "time")? else { continue };
        whole.nonce = MessageNonce(get_number(r, "nonce")?);
        match row::get_named(r, "side")? {
            Side::Debit => {
                let least = whole.debit.filter(|known| known.amount <= leg.amount);
                whole.debit = Some(least.unwrap_or(leg));
            }
            Side::Credit => {
                whole.credit = Some(whole.credit.map_or(leg, |known| Leg {
                    amount: Amount(known.amount.0.saturating_add(leg.amount.0)),
                    time: known.time.min(leg.time),
                }));
            }
        }
    }
    Ok(whole)
}

async fn lane(conn: &mut SqliteConnection, id: LaneId) -> Result<(Lane, Supply)> {
    let r = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT s.*, {} FROM supplies s JOIN lanes l ON l.id = s.lane WHERE s.lane = ?",
        row::LANE
    )))
    .bind(bytes(id.0))
    .fetch_one(conn)
    .await?;
    Ok((row::lane(&r)?, supply(&r)?))
}

async fn view(
    conn: &mut SqliteConnection,
    lane: &Lane,
    nonce: MessageNonce,
    sent: Option<u64>,
) -> Result<SourceView> {
    let until = sqlx::query("SELECT time FROM cursors WHERE network = ? AND time IS NOT NULL")
        .bind(lane.source.network.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let unread = sqlx::query(
        "SELECT 1 AS one FROM facts f JOIN cursors c ON c.network = f.network \
         WHERE f.lane = ? AND f.nonce = ? AND f.kind = ? AND f.certainty = 'verified' \
         AND f.network = ? AND (c.tokens_since IS NULL OR f.height < c.tokens_since) LIMIT 1",
    )
    .bind(bytes(lane.id().0))
    .bind(be(nonce.0))
    .bind(Fact::Sent.kind())
    .bind(lane.source.network.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let first =
        sqlx::query("SELECT nonce FROM messages WHERE lane = ? AND proven ORDER BY nonce LIMIT 1")
            .bind(bytes(lane.id().0))
            .fetch_optional(conn)
            .await?;
    Ok(SourceView {
        until: until.map(|r| Ok::<_, StoreError>(BlockTime(get_count(&r, "time")?))).transpose()?,
        first: first
            .map(|r| Ok::<_, StoreError>(MessageNonce(get_number(&r, "nonce")?)))
            .transpose()?,
        unread: unread.is_some(),
        sent,
    })
}

async fn message(
    conn: &mut SqliteConnection,
    lane: LaneId,
    nonce: MessageNonce,
) -> Result<Option<MessageId>> {
    let found =
        sqlx::query("SELECT id FROM messages WHERE lane = ? AND nonce = ? AND proven LIMIT 1")
            .bind(bytes(lane.0))
            .bind(be(nonce.0))
            .fetch_optional(conn)
            .await?;
    found.map(|r| get_hash(&r, "id")).transpose()
}

async fn save(conn: &mut SqliteConnection, key: Key, now: Option<&Compared>) -> Result<()> {
    let Some(Compared { transfer, judgement }) = now else {
        sqlx::query("DELETE FROM transfers WHERE lane = ? AND reference = ?")
            .bind(bytes(key.0.0))
            .bind(bytes(key.1))
            .execute(conn)
            .await?;
        return Ok(());
    };
    let amount = |leg: Option<Leg>| leg.map(|leg| leg.amount.0.to_be_bytes().to_vec());
    let time = |leg: Option<Leg>| leg.map(|leg| seconds(leg.time));
    sqlx::query(
        "INSERT INTO transfers (lane, reference, nonce, debited, debited_at, credited, \
         credited_at, judgement) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (lane, reference) DO UPDATE SET debited = excluded.debited, \
         debited_at = excluded.debited_at, credited = excluded.credited, \
         credited_at = excluded.credited_at, judgement = excluded.judgement",
    )
    .bind(bytes(key.0.0))
    .bind(bytes(key.1))
    .bind(be(transfer.nonce.0))
    .bind(amount(transfer.debit))
    .bind(time(transfer.debit))
    .bind(amount(transfer.credit))
    .bind(time(transfer.credit))
    .bind(judgement.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

async fn save_sums(conn: &mut SqliteConnection, lane: LaneId, supply: &Supply) -> Result<()> {
    let Sums { debited, credited, in_flight, awaited } = supply.sums;
    sqlx::query(
        "UPDATE supplies SET debited = ?, credited = ?, in_flight = ?, awaited = ?, breaches = ? \
         WHERE lane = ?",
    )
    .bind(sum(debited))
    .bind(sum(credited))
    .bind(sum(in_flight))
    .bind(sum(awaited))
    .bind(i64::try_from(supply.breaches).unwrap_or(i64::MAX))
    .bind(bytes(lane.0))
    .execute(conn)
    .await?;
    Ok(())
}
