//! Facts: learning them, taking them back, and finding those about a place on a lane.

use super::row::{self, CHUNK, be, bytes, json, millis};
use crate::Result;
use alloy_primitives::B256;
use postrider_message::{
    Certainty, Fact, FactRecord, Height, LaneId, MessageNonce, NetworkName, id::content_id,
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A place on a lane.
pub(super) type Place = (LaneId, MessageNonce);

/// What makes two records one fact: where it was seen, what it is about and its kind. One log can
/// assign work to several workers or name several attesters, so those count as well; what else the
/// fact says does not, so that proof can correct a hint.
pub(super) fn id(record: &FactRecord) -> B256 {
    let (seen, subject) = (&record.observation, &record.subject);
    let (role, who) = match &record.fact {
        Fact::Assigned { role, worker, .. } => (role.as_str(), worker.as_str()),
        Fact::Attested { by, .. } => ("", by.as_str()),
        _ => ("", ""),
    };
    content_id(
        "postrider/fact",
        &[
            seen.network.as_str().as_bytes(),
            seen.block.hash.0.as_slice(),
            &seen.index.to_be_bytes(),
            subject.lane.0.as_slice(),
            &subject.nonce.0.to_be_bytes(),
            subject.payload.as_ref().map_or(&[], |hash| hash.0.as_slice()),
            record.fact.kind().as_bytes(),
            role.as_bytes(),
            who.as_bytes(),
        ],
    )
}

pub(super) fn place(record: &FactRecord) -> Place {
    (record.subject.lane, record.subject.nonce)
}

/// Stores what is new among `records`: facts not known, facts that were hinted and are now
/// verified, and hints that now say something else. A verified fact never changes. Returns the ids
/// and places of what changed.
pub(super) async fn learn(
    conn: &mut SqliteConnection,
    records: &[FactRecord],
) -> Result<(HashSet<B256>, BTreeSet<Place>)> {
    let (mut ids, mut places) = (HashSet::new(), BTreeSet::new());
    for chunk in records.chunks(CHUNK) {
        let named: HashMap<B256, &FactRecord> = chunk.iter().map(|r| (id(r), r)).collect();
        let known = by_ids(conn, named.keys().copied()).await?;
        let changed: Vec<_> = named
            .into_iter()
            .filter(|(id, record)| known.get(id).is_none_or(|known| supersedes(record, known)))
            .collect();
        if changed.is_empty() {
            continue;
        }
        save(conn, &changed).await?;
        for (id, record) in changed {
            ids.insert(id);
            places.insert(place(record));
        }
    }
    Ok((ids, places))
}

fn supersedes(new: &FactRecord, known: &FactRecord) -> bool {
    match (known.certainty, new.certainty) {
        (Certainty::Verified, _) => false,
        (Certainty::Hinted, Certainty::Verified) => true,
        (Certainty::Hinted, Certainty::Hinted) => {
            new.fact != known.fact || new.observation != known.observation
        }
    }
}

async fn save(conn: &mut SqliteConnection, changed: &[(B256, &FactRecord)]) -> Result<()> {
    let texts = changed.iter().map(|(_, r)| json(&r.fact)).collect::<Result<Vec<_>>>()?;
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO facts (id, lane, nonce, payload, kind, fact, network, height, block_hash, \
         position, transaction_hash, certainty, hinted_at, verified_at) ",
    );
    query.push_values(changed.iter().zip(texts), |mut values, ((id, record), text)| {
        let (subject, seen) = (&record.subject, &record.observation);
        let at = millis(record.at);
        let (certainty, hinted_at, verified_at) = match record.certainty {
            Certainty::Hinted => ("hinted", Some(at), None),
            Certainty::Verified => ("verified", None, Some(at)),
        };
        values
            .push_bind(bytes(*id))
            .push_bind(bytes(subject.lane.0))
            .push_bind(be(subject.nonce.0))
            .push_bind(subject.payload.map(|hash| bytes(hash.0)))
            .push_bind(record.fact.kind())
            .push_bind(text)
            .push_bind(seen.network.to_string())
            .push_bind(be(seen.block.height.0))
            .push_bind(bytes(seen.block.hash.0))
            .push_bind(be(seen.index))
            .push_bind(bytes(seen.transaction.0))
            .push_bind(certainty)
            .push_bind(hinted_at)
            .push_bind(verified_at);
    });
    query.push(
        " ON CONFLICT (id) DO UPDATE SET fact = excluded.fact, height = excluded.height, \
         transaction_hash = excluded.transaction_hash, certainty = excluded.certainty, \
         hinted_at = COALESCE(facts.hinted_at, excluded.hinted_at), \
         verified_at = COALESCE(facts.verified_at, excluded.verified_at)",
    );
    query.build().persistent(false).execute(&mut *conn).await?;
    Ok(())
}

async fn by_ids(
    conn: &mut SqliteConnection,
    ids: impl Iterator<Item = B256>,
) -> Result<HashMap<B256, FactRecord>> {
    let mut query =
        QueryBuilder::<Sqlite>::new(format!("SELECT {} FROM facts f WHERE f.id IN (", row::FACT));
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(bytes(id));
    }
    query.push(")");
    read(conn, query).await.map(|facts| facts.into_iter().collect())
}

/// Every fact about `places`, in the order of heights and positions on each network.
pub(super) async fn at_places(
    conn: &mut SqliteConnection,
    places: &BTreeSet<Place>,
) -> Result<HashMap<Place, Vec<(B256, FactRecord)>>> {
    let mut found: HashMap<Place, Vec<(B256, FactRecord)>> = HashMap::new();
    let places: Vec<_> = places.iter().collect();
    for chunk in places.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new("WITH wanted (lane, nonce) AS (");
        push_places(&mut query, chunk);
        query.push(format!(
            ") SELECT {} FROM wanted w CROSS JOIN facts f \
             WHERE f.lane = w.lane AND f.nonce = w.nonce",
            row::FACT
        ));
        for (id, record) in read(conn, query).await? {
            found.entry(place(&record)).or_default().push((id, record));
        }
    }
    for records in found.values_mut() {
        records.sort_by(|(_, a), (_, b)| {
            (&a.observation.network, a.position()).cmp(&(&b.observation.network, b.position()))
        });
    }
    Ok(found)
}

/// Appends the places as `VALUES`.
pub(super) fn push_places(query: &mut QueryBuilder<Sqlite>, places: &[&Place]) {
    query.push_values(places.iter(), |mut values, (lane, nonce)| {
        values.push_bind(bytes(lane.0)).push_bind(be(nonce.0));
    });
}

/// Those of all facts at a place that concern the message with this payload.
pub(super) fn about(
    at_place: &[(B256, FactRecord)],
    payload: postrider_message::PayloadHash,
) -> Vec<(B256, FactRecord)> {
    let all = || at_place.iter().map(|(_, record)| record);
    let about = |r: &FactRecord| postrider_message::fact::concerns(r, payload, all());
    at_place.iter().filter(|(_, record)| about(record)).cloned().collect()
}

/// Removes the hints of a network from `from` to `to`, except those in `keep`.
pub(super) async fn take_back_hints(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    (from, to): (Height, Height),
    keep: &HashSet<B256>,
) -> Result<Vec<FactRecord>> {
    let mut query = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {} FROM facts f WHERE f.certainty = 'hinted' AND f.network = ",
        row::FACT
    ));
    query.push_bind(network.to_string());
    query.push(" AND f.height BETWEEN ").push_bind(be(from.0));
    query.push(" AND ").push_bind(be(to.0));
    let mut lost = read(conn, query).await?;
    lost.retain(|(id, _)| !keep.contains(id));
    remove(conn, lost).await
}

/// Removes every fact of a network above `to`.
pub(super) async fn take_back_above(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    to: Height,
) -> Result<Vec<FactRecord>> {
    let mut query = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {} FROM facts f WHERE f.network = ",
        row::FACT
    ));
    query.push_bind(network.to_string());
    query.push(" AND f.height > ").push_bind(be(to.0));
    let lost = read(conn, query).await?;
    remove(conn, lost).await
}

async fn remove(
    conn: &mut SqliteConnection,
    lost: Vec<(B256, FactRecord)>,
) -> Result<Vec<FactRecord>> {
    for chunk in lost.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM facts WHERE id IN (");
        let mut list = query.separated(", ");
        for (id, _) in chunk {
            list.push_bind(bytes(*id));
        }
        query.push(")");
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(lost.into_iter().map(|(_, record)| record).collect())
}

async fn read(
    conn: &mut SqliteConnection,
    mut query: QueryBuilder<Sqlite>,
) -> Result<Vec<(B256, FactRecord)>> {
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    rows.iter().map(|r| Ok((row::get_hash(r, "id")?, row::fact(r)?))).collect()
}
